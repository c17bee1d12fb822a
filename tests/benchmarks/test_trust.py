"""The benchmark of trust counts what became of buildings, and goes on where it was ended."""

import json

import numpy as np
import pytest

from benchmarks.trust import (
    AS_IT_IS,
    COLUMNS,
    hidden_share,
    in_spread_order,
    key_of,
    read_kept,
    row_text,
    shifts_of,
)


def record(buildings, **facts):
    empty = {"refused": None, "warnings": [], "said": {}, "moved": None, "laid": None}
    return empty | {"buildings": buildings} | facts


PLAIN = {"p": record({"a": [1, 1, 0.0, True], "b": [4, 4, 0.0, True], "c": [2, 1, 0.0, True]})}


def cells(records):
    text = row_text("cloud", records, PLAIN)
    return dict(enumerate(cell.strip() for cell in text.strip("|").split("|")))


def test_a_row_counts_what_is_covered_and_what_is_clear():
    found = {"p": record(
        {"a": [1, 0, 0.9, True], "b": [4, 4, 0.0, True], "c": [2, 2, 0.5, True]}, warnings=["x"]
    )}  # fmt: skip
    row = cells(found)
    named = {n: row[n] for n in range(len(COLUMNS))}
    assert named[4] == "2"  # graded
    assert named[5] == "0.500"  # one of two has the grade of the pair as it is
    assert (named[6], named[7]) == ("1", "1.000")
    assert (named[8], named[9]) == ("1", "0.000")
    assert (named[10], named[11]) == ("0", "1")


def test_several_draws_of_a_pair_are_held_against_the_same_pair():
    found = {
        key_of("p", draw): record({"b": [4, grade, 0.0, True]}) for draw, grade in enumerate((4, 3))
    }
    row = cells(found)
    assert set(found) == {"p", "p~1"}
    assert (row[1], row[4]) == ("2", "2")
    assert row[5] == "0.500"


@pytest.mark.parametrize(
    ("opacity", "share"), [(0.0, 0), (0.04, 0), (0.3, 1e-4), (0.89, 1e-4), (0.95, 0.5)]
)
def test_ground_under_thin_cloud_is_neither_clear_nor_covered(opacity, share):
    cover, covered = np.zeros((6, 6)), np.zeros((6, 6))
    cover[2:4, 2:4], covered[:3] = 1, opacity
    assert hidden_share(cover, covered) == share


def test_shifts_are_held_against_the_pair_as_it_is():
    base = record({}, said={"moved": {"east_m": 1.0, "north_m": 0.0}})
    known = record({}, moved=(3.0, 4.0), said={"moved": {"east_m": 4.0, "north_m": 3.5}})
    unknown = record({}, moved=(3.0, 4.0), said={"moved": {"verdict": "unknown"}})
    assert shifts_of(known, base) == [0.5]
    assert shifts_of(unknown, base) == [None]
    assert shifts_of(known, record({})) == []
    assert shifts_of(record({}), base) == []


def test_however_few_pairs_are_taken_they_are_spread():
    order = in_spread_order([str(number) for number in range(20)])
    assert sorted(order) == list(range(20))
    assert max(order[:4]) - min(order[:4]) > 8


def test_what_was_kept_is_read_again(tmp_path):
    file = tmp_path / "kept.jsonl"
    assert read_kept(file) == read_kept(None) == {}
    line = {"condition": AS_IT_IS, "pair": "p"} | PLAIN["p"]
    file.write_text(json.dumps(line) + "\n")
    assert row_text(AS_IT_IS, read_kept(file)[AS_IT_IS], {}) == row_text(AS_IT_IS, PLAIN, {})
