import json

import pytest

from geodamage.errors import InputError, SceneReadError
from geodamage.report.estimates import estimate_line, estimate_tables, read_estimate

TOTAL = {"total": 12.4, "low": 7.6, "high": 2000.0, "predicted": 11}
NAMES = ("damaged", "no-damage", "minor-damage", "major-damage", "destroyed", "no building")
FOUND = {**dict.fromkeys(NAMES, TOTAL), "buildings": 3000, "answered": 60, "says": "Only so far."}


@pytest.fixture
def write(tmp_path):
    def to(value):
        path = tmp_path / "e.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    return to


def test_an_estimate_is_told_in_tables_and_in_a_line(write):
    area = {"name": "West", "buildings": 8, "answered": 0, "damaged": {"total": None, "low": 0}}
    missed = {"total": 3, "low": 1, "high": 9}
    found = read_estimate(write({**FOUND, "missed": missed, "areas": [area]}), 3000)
    totals, areas = estimate_tables(found)
    assert totals.rows[0] == ("no-damage", "11", "12", "8", "2,000")
    assert totals.rows[-1] == ("missed", "–", "3", "1", "9")
    assert totals.note == "95 % intervals. Only so far."
    assert areas.rows == (("West", "8", "0", "–", "–", "–"),)
    assert estimate_line(found) == (
        "12 damaged, 8 to 2,000 with 95 % confidence, from 60 of 3000 buildings reviewed"
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 200_000, "cannot be read as JSON"),
        ([], "is not an estimate"),
        ({**FOUND, "damaged": {**TOTAL, "low": "7"}}, "is not an estimate"),
        ({**FOUND, "damaged": {**TOTAL, "low": float("nan")}}, "is not an estimate"),
        ({**FOUND, "damaged": {**TOTAL, "high": 10**400}}, "is not an estimate"),
        ({**FOUND, "buildings": 2}, "is of 2 buildings and the layer has 3,000"),
    ],
)
def test_what_is_no_estimate_of_the_layer_is_refused(write, value, words):
    with pytest.raises(InputError) as caught:
        read_estimate(write(value), 3000)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SceneReadError, match="no such file"):
        read_estimate(tmp_path / "e.json", 1)
