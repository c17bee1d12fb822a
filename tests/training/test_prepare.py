import csv
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import training.prepare
from geodamage.errors import LabelError
from geodamage.xbd import Pair, find_pairs
from tests.fakes import SMALL, write_xbd
from training.prepare import PARTS, assign, count_grades, group_places, main, outline_of

NAMES = ["flood_00000001", "flood_00000002", "storm-b_00000007"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(training.prepare, "SIZE", 96)
    return write_xbd(tmp_path / "xbd", NAMES)


def test_pairs_are_found_by_their_post_labels(folder):
    pairs = find_pairs(folder)
    assert [pair.name for pair in pairs] == NAMES
    assert [pair.event for pair in pairs] == ["flood", "flood", "storm-b"]
    assert pairs[0].image("pre").name == "flood_00000001_pre_disaster.png"
    assert count_grades(pairs).tolist() == [3, 3, 3, 3]


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(LabelError, match="give the folder of an xBD download"):
        find_pairs(tmp_path)


def test_a_missing_image_is_named(folder):
    (folder / "images" / "flood_00000001_pre_disaster.png").unlink()
    with pytest.raises(LabelError, match=r"flood_00000001_pre_disaster\.\*"):
        find_pairs(folder)[0].image("pre")


def test_an_outline_is_the_image_on_the_ground(folder):
    outline = outline_of(find_pairs(folder)[1])
    side = 96 * 5e-6 * 111_320
    left, bottom, right, top = outline.bounds
    assert top - bottom == pytest.approx(side, rel=1e-6)
    assert right - left == pytest.approx(side * np.cos(np.radians(30)), rel=1e-3)


def test_close_pairs_are_one_place_and_events_are_never_mixed(folder):
    pairs = find_pairs(folder)
    apart = group_places(pairs, 100)
    assert [[pair.name for pair in place] for place in apart] == [[name] for name in NAMES]
    joined = group_places(pairs, 20_000)
    assert sorted(len(place) for place in joined) == [1, 2]


def test_pairs_without_labels_are_one_place(folder):
    for name in NAMES[:2]:
        path = folder / "labels" / f"{name}_post_disaster.json"
        path.write_text('{"features": {"xy": [], "lng_lat": []}}')
    places = group_places(find_pairs(folder), 100)
    assert [[pair.name for pair in place] for place in places] == [NAMES[:2], NAMES[2:]]


class Drawn(Pair):
    """A pair whose number says how many buildings of each grade it has."""

    def labels(self, date):
        class Label:
            def __init__(self, grade):
                self.grade = grade

        number = int(self.name.rsplit("_", 1)[1])
        return [Label(1 + n % 4) for n in range(number)]


@SMALL
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=3), min_size=1, max_size=12),
    st.integers(0, 9),
)
def test_a_place_is_in_one_part_and_the_split_can_be_repeated(sizes, seed):
    places = [
        [Drawn(f"event{n % 3}_{count}", None) for count in counts] for n, counts in enumerate(sizes)
    ]
    parts = assign(places, (0.7, 0.1, 0.2), seed)
    assert len(parts) == len(places)
    assert set(parts) <= set(PARTS)
    assert parts == assign(places, (0.7, 0.1, 0.2), seed)


def test_parts_get_their_shares():
    rng = np.random.default_rng(0)
    places = [[Drawn(f"event{n % 3}_{rng.integers(4, 40)}", None)] for n in range(90)]
    parts = assign(places, (0.7, 0.1, 0.2), 0)
    for part, share in zip(PARTS, (0.7, 0.1, 0.2), strict=True):
        mine = [place[0] for place, given in zip(places, parts, strict=True) if given == part]
        everything = count_grades([place[0] for place in places])
        assert count_grades(mine) / everything == pytest.approx(share, abs=0.05)


def test_the_command_writes_a_split(folder, tmp_path, monkeypatch, capsys):
    path = tmp_path / "split.csv"
    monkeypatch.setattr(sys, "argv", ["prepare", str(folder), "-o", str(path)])
    main()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["pair"] for row in rows] == NAMES
    assert {row["part"] for row in rows} <= set(PARTS)
    assert "grades 1-4" in capsys.readouterr().out
