import csv
import json
import sys

import cv2
import matplotlib.image
import pytest

from geodamage.xbd.folders import read_split
from tests.fakes import write_xbd
from training.data.index import IndexedPair
from training.prepare import main, take_subset

NAMES = ["flood_00000001", "flood_00000002", "storm-b_00000007"]


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["prepare", *map(str, arguments)])
    main()


@pytest.mark.slow
def test_the_command_writes_index_split_counts_and_picture(tmp_path, monkeypatch, capsys):
    folder = write_xbd(tmp_path / "xbd", NAMES)
    output = tmp_path / "prepared"
    run(monkeypatch, folder, "-o", output, "--masks")
    with (output / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["pair"] for row in rows] == NAMES
    assert {row["part"] for row in rows} <= {"train", "validation", "test"}
    counts = json.loads((output / "counts.json").read_text())
    assert counts["buildings"] == dict.fromkeys(
        ["no-damage", "minor-damage", "major-damage", "destroyed"], 3
    )
    assert sum(counts["class_weights"].values()) == pytest.approx(5)
    picture = matplotlib.image.imread(output / "classes.png")
    assert picture.shape[:2] == (480, 840)
    assert picture[..., :3].std() > 0.05
    mask = cv2.imread(str(output / "masks" / f"{NAMES[0]}_post_disaster_target.png"), -1)
    assert sorted(set(mask.ravel().tolist())) == [0, 1, 2, 3, 4]
    assert len(list((output / "masks").iterdir())) == 6
    assert "grades 1-4" in capsys.readouterr().out


@pytest.mark.slow
def test_the_split_finds_pairs_in_the_folders_of_a_download(tmp_path, monkeypatch):
    write_xbd(tmp_path / "xbd" / "tier1", ["a_1"])
    write_xbd(tmp_path / "xbd" / "tier3", ["a_1", "b_1"])
    for path in (tmp_path / "xbd" / "tier3").rglob("a_1*"):
        path.unlink()
    run(monkeypatch, tmp_path / "xbd", "-o", tmp_path / "out", "--split", "random")
    pairs = read_split(tmp_path / "out" / "split.csv", tmp_path / "xbd")
    assert all(pair.image("post").exists() for pair in pairs)
    assert [pair.folder.name for pair in pairs] == ["tier1", "tier3"]


@pytest.mark.slow
def test_a_split_that_leaks_is_refused_by_name(tmp_path, monkeypatch, capsys):
    folder = write_xbd(tmp_path / "xbd", [f"a_{n:02d}" for n in range(4)])
    for path in (folder / "labels").iterdir():  # all on the same ground
        twin = folder / "labels" / f"a_00{path.name[4:]}"
        document = json.loads(path.read_text())
        document["features"]["lng_lat"] = json.loads(twin.read_text())["features"]["lng_lat"]
        for mine, theirs in zip(
            document["features"]["lng_lat"], document["features"]["xy"], strict=True
        ):
            mine["properties"] = theirs["properties"]
        path.write_text(json.dumps(document))
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, folder, "-o", tmp_path / "out", "--split", "random")
    assert stop.value.code == 4
    message = capsys.readouterr().err
    assert "share ground: a_0" in message
    assert "--accept-overlap" in message
    run(monkeypatch, folder, "-o", tmp_path / "out", "--split", "random", "--accept-overlap")
    assert "accepted: split random: 3 pairs" in capsys.readouterr().out


@pytest.mark.slow
def test_an_index_is_used_again_unless_told_otherwise(tmp_path, monkeypatch, capsys):
    folder = write_xbd(tmp_path / "xbd", NAMES)
    run(monkeypatch, folder, "-o", tmp_path / "out")
    (folder / "images" / f"{NAMES[0]}_pre_disaster.png").unlink()
    run(monkeypatch, folder, "-o", tmp_path / "out")
    assert "3 pairs from" in capsys.readouterr().out
    run(monkeypatch, folder, "-o", tmp_path / "out", "--reindex")
    assert "2 pairs indexed, 1 left out" in capsys.readouterr().out
    assert "the pair is incomplete" in (tmp_path / "out" / "problems.csv").read_text()


@pytest.mark.slow
def test_a_part_that_stays_empty_is_said(tmp_path, monkeypatch, capsys):
    folder = write_xbd(tmp_path / "xbd", NAMES[:1])
    run(monkeypatch, folder, "-o", tmp_path / "out")
    assert "warning: no pair is in part 'validation'" in capsys.readouterr().out


def test_a_subset_takes_from_all_events_in_turn():
    entries = [
        IndexedPair(f"{event}_{n}", event, "", 8, 8, (0, 0, 0, 0), 0, (1, 0, 0, 0, 0), None)
        for event, count in (("a", 9), ("b", 2), ("c", 5))
        for n in range(count)
    ]
    chosen = take_subset(entries, 6, 0)
    assert sorted(entry.event for entry in chosen) == ["a", "a", "b", "b", "c", "c"]
    assert chosen == take_subset(entries, 6, 0)
    assert len(take_subset(entries, 99, 0)) == 16
