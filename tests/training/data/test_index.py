import re
import shutil

import cv2
import numpy as np
import pytest

from geodamage.errors import LabelError
from tests.fakes import write_xbd
from training.data.index import (
    IndexedPair,
    Problem,
    common_folder,
    in_metres,
    index_pairs,
    read_index,
    tier_folders,
    write_index,
)

NAMES = ["flood_00000001", "storm-b_00000007"]


@pytest.fixture
def folder(tmp_path):
    return write_xbd(tmp_path / "xbd", NAMES)


def test_a_pair_is_described(folder):
    entry, _ = index_pairs([folder])
    assert (entry.pair, entry.event, entry.folder) == (NAMES[0], "flood", ".")
    assert (entry.rows, entry.columns) == (96, 96)
    assert entry.buildings == (1, 1, 1, 1)
    assert entry.unclassified == 0
    assert entry.pixels == (96 * 96 - 4 * 25 * 21, 525, 525, 525, 525)
    side = 96 * 5e-6 * 111_320
    left, bottom, right, top = in_metres(entry.outline).bounds
    assert top - bottom == pytest.approx(side, rel=1e-6)
    assert right - left == pytest.approx(side * np.cos(np.radians(30)), rel=1e-3)


def test_all_tiers_of_a_download_are_found(tmp_path):
    write_xbd(tmp_path / "download" / "tier1", ["a_1"])
    write_xbd(tmp_path / "download" / "hold", ["a_1", "b_1"])
    for path in (tmp_path / "download" / "hold").rglob("a_1*"):
        path.unlink()
    folders = tier_folders([tmp_path / "download"])
    assert [folder.name for folder in folders] == ["tier1", "hold"]
    assert common_folder(folders) == tmp_path / "download"
    entries = [e for e in index_pairs(folders) if isinstance(e, IndexedPair)]
    assert [(e.folder, e.tier) for e in entries] == [("tier1", "tier1"), ("hold", "hold")]


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(LabelError, match=r"no xBD data; it, or one of train, tier1"):
        tier_folders([tmp_path])


def break_image(folder):
    path = folder / "images" / f"{NAMES[0]}_post_disaster.png"
    path.write_bytes(path.read_bytes()[:2000])
    return "cannot be read"


def lose_image(folder):
    (folder / "images" / f"{NAMES[0]}_pre_disaster.png").unlink()
    return "the pair is incomplete"


def shrink_image(folder):
    path = folder / "images" / f"{NAMES[0]}_post_disaster.png"
    cv2.imwrite(str(path), np.zeros((64, 96, 3), np.uint8))
    return r"pre is \(96, 96\), post \(64, 96\)"


def shrink_both(folder):
    for date in ("pre", "post"):
        path = folder / "images" / f"{NAMES[0]}_{date}_disaster.png"
        cv2.imwrite(str(path), np.zeros((48, 48, 3), np.uint8))
    return "labels reach to"


def break_labels(folder):
    (folder / "labels" / f"{NAMES[0]}_post_disaster.json").write_text("{")
    return "not an xBD label file"


@pytest.mark.parametrize(
    "damage", [break_image, lose_image, shrink_image, shrink_both, break_labels]
)
def test_an_unusable_pair_is_a_problem_and_the_others_stay(folder, damage):
    why = damage(folder)
    problem, entry = index_pairs([folder])
    assert isinstance(problem, Problem)
    assert (problem.pair, problem.fatal) == (NAMES[0], True)
    assert re.search(why, problem.why)
    assert entry.pair == NAMES[1]


def test_a_pair_without_pre_labels_is_used_and_said(folder):
    (folder / "labels" / f"{NAMES[0]}_pre_disaster.json").unlink()
    problem, first, _ = index_pairs([folder])
    assert (problem.why, problem.fatal) == ("no pre labels: post's are used", False)
    assert first.pair == NAMES[0]


def test_duplicates_are_found_by_name_and_by_image(tmp_path):
    for tier in ("tier1", "tier3"):
        write_xbd(tmp_path / tier, NAMES[:1])
    again = tmp_path / "tier3"
    for path in [*again.rglob("*flood_00000001*")]:
        shutil.copy(path, path.with_name(path.name.replace("00000001", "00000009")))
    found = list(index_pairs(tier_folders([tmp_path])))
    assert [type(item) for item in found] == [IndexedPair, Problem, Problem]
    assert [item.why for item in found[1:]] == [f"duplicate of tier1/{NAMES[0]}"] * 2


def test_an_index_comes_back_as_it_was(folder, tmp_path):
    entries = list(index_pairs([folder]))
    write_index(tmp_path / "index.csv", entries)
    again = read_index(tmp_path / "index.csv")
    assert [e.pixels for e in again] == [e.pixels for e in entries]
    assert again[0].outline.equals_exact(entries[0].outline, 1e-6)
    assert not list(tmp_path.glob("*.partial"))


def test_what_is_no_index_is_refused(tmp_path):
    path = tmp_path / "index.csv"
    path.write_text("pair\na\n")
    with pytest.raises(LabelError, match="make it by training"):
        read_index(path)
