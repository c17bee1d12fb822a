import subprocess
import sys
from pathlib import Path

import pytest

from geodamage.damage import GRADES
from geodamage.xbd.folders import find_pairs, read_image
from geodamage.xbd.labels import fit_lonlat
from sample_data.pairs import EVENTS, make_pairs
from training.data.index import IndexedPair, index_pairs
from training.data.splits import overlaps

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "xbd"
    command = [sys.executable, "sample_data/make.py", "--xbd", str(folder), "--size", "192"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=120)
    return folder


@pytest.mark.slow
def test_four_pairs_of_two_events_are_drawn(folder):
    pairs = find_pairs(folder)
    assert [pair.event for pair in pairs] == sorted([*EVENTS, *EVENTS])
    assert read_image(pairs[0].image("pre")).shape == (192, 192, 3)


@pytest.mark.slow
def test_nothing_is_wrong_with_them(folder):
    found = list(index_pairs([folder]))
    assert all(isinstance(entry, IndexedPair) for entry in found)
    assert sum(map(sum, (entry.buildings for entry in found))) > 20
    assert all(sum(entry.buildings[g - 1] for entry in found) for g in GRADES)
    assert overlaps(found, ["0", "1", "2", "3"]) == []


@pytest.mark.slow
def test_post_labels_have_grades_and_pre_labels_none(folder):
    for pair in find_pairs(folder):
        assert all(label.grade is not None for label in pair.labels("post"))
        assert all(label.grade is None for label in pair.labels("pre"))
        assert fit_lonlat(pair.labels("pre")) is not None


@pytest.mark.slow
def test_the_same_set_is_drawn_again(folder, tmp_path):
    make_pairs(tmp_path, 2, 192)
    for path in sorted(tmp_path.rglob("*_disaster.*")):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()
