from typing import get_args, get_type_hints

import pytest

from geodamage.errors import ModelError
from geodamage.model.ensemble import FLIPS
from geodamage.model.ensemble_table import MapTable, MemberTable, read_ensemble
from geodamage.model.heads import Heads
from geodamage.model.rules import PixelRules


@pytest.fixture
def table(tmp_path):
    def read(text):
        path = tmp_path / "all.toml"
        path.write_text(text)
        return read_ensemble(path)

    return read


def test_a_table_says_what_it_says_and_the_rest_are_defaults(table):
    found = table(
        "threshold = 1e-1\ngsd_native = 1\ndrop_outliers = true\n"
        "[pixels]\nthresholds = [0.1, 0.2, 0.3, 0.4]\n"
        '[[member]]\nfile = "a.onnx"\nweight = 2\nscales = [1, 0.5]\n'
        '[[member]]\nfile = "b.tif"\n'
        '[[member]]\nfile = "a.onnx"\nwidth = 64\nheads = ["damage"]\n'
    )
    assert found.facts == {"threshold": 0.1, "gsd_native": 1.0}
    assert type(found.facts["gsd_native"]) is float
    assert found.rules == PixelRules((0.1, 0.2, 0.3, 0.4))
    assert found.drops_outliers
    assert found.members == (
        MemberTable(file="a.onnx", weight=2.0, scales=(1.0, 0.5)),
        MemberTable(file="a.onnx", width=64, heads=("damage",)),
    )
    assert found.maps == (MapTable(file="b.tif"),)
    assert found.size == found.path.stat().st_size


def test_flips_and_heads_are_those_that_an_ensemble_knows():
    hints = get_type_hints(MemberTable)
    assert get_args(get_args(hints["flips"])[0]) == tuple(FLIPS)
    heads, _ = get_args(hints["heads"])  # or None
    assert get_args(get_args(heads)[0]) == Heads._fields


MEMBER = '\n[[member]]\nfile = "a.onnx"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 100_000, "not TOML"),
        ("scores = " + "{a = " * 40 + "1" + "}" * 40 + MEMBER, "nested deeper than 32"),
        ("scores = {date = 2026-01-01}" + MEMBER, "holds a date or time; write it in quotes"),
        ("tile = 0" + MEMBER, "tile = 0 is not a number of pixels"),
        ("tile = 64.0" + MEMBER, r"tile = 64\.0 is not a number of pixels"),
        ("stride = true" + MEMBER, "stride = True is not int; fix the ensemble"),
        ("name = 3" + MEMBER, "name = 3 is not str; fix the ensemble"),
        ("grade_weights = [1, 1, 1, 'x']" + MEMBER, "grade_weights = 'x' is not float"),
        (MEMBER + "weight = inf", "weight of a.onnx is not positive"),
        (MEMBER + "weight = true", "weight of a.onnx is not positive"),
        (MEMBER + "scales = [true]", "scales of a.onnx are not numbers in 0.1..10"),
        (MEMBER + "scales = []", "scales of a.onnx are not numbers in 0.1..10"),
        (
            MEMBER + "width = 0",
            "width of a.onnx is not a number of pixels, or is given with scales",
        ),
        (MEMBER + "width = 64\nscales = [1]", "width of a.onnx is not a number of pixels, or is"),
        ("[[member]]\nfile = 3", r"a member has unknown keys \[\] or no file"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(table, text, said):
    with pytest.raises(ModelError, match=said) as caught:
        table(text)
    assert "all.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)
