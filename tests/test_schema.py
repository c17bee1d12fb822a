import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from geodamage.schema import MisfitError, compare_keys, is_deeper, typed, typed_values


@dataclass(frozen=True)
class Roof:
    name: str
    slope: float
    tiles: int = 3
    flat: bool = False
    sides: tuple[float, ...] = ()
    box: tuple[int, int] = (1, 2)
    kind: Literal["gable", "hip"] = "gable"
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    more: Mapping[str, Any] = field(default_factory=dict)


def test_keys_that_are_unknown_and_missing_are_told_in_order():
    assert compare_keys(Roof, {"z": 1, "tile": 1, "name": "a"}) == (["tile", "z"], ["slope"])
    assert compare_keys(Roof, {"name": "a", "slope": 1}) == ([], [])


def test_values_become_the_types_of_the_fields():
    values = typed_values(Roof, {"slope": 1, "sides": [1, 2.5], "box": [3, 4], "more": {"a": [1]}})
    assert values == {"slope": 1.0, "sides": (1.0, 2.5), "box": (3, 4), "more": {"a": [1]}}
    assert [type(value) for value in (values["slope"], *values["sides"])] == [float] * 3


@pytest.mark.parametrize(
    ("key", "value", "inner", "expected"),
    [
        ("tiles", 1.0, 1.0, "int"),
        ("tiles", True, True, "int"),
        ("tiles", "3", "3", "int"),
        ("slope", True, True, "float"),
        ("slope", "1", "1", "float"),
        ("slope", 10**400, 10**400, "float"),
        ("flat", 0, 0, "bool"),
        ("name", 3, 3, "str"),
        ("sides", [1, "a", "b"], "a", "float"),
        ("sides", 1, 1, "tuple[float, ...]"),
        ("box", [1, 2, 3], [1, 2, 3], "tuple[int, int]"),
        ("box", [1, "a"], "a", "int"),
        ("more", [], [], "collections.abc.Mapping[str, typing.Any]"),
    ],
)
def test_what_is_of_another_type_is_named_down_to_the_value(key, value, inner, expected):
    with pytest.raises(MisfitError) as caught:
        typed_values(Roof, {key: value})
    found = caught.value
    assert (found.key, found.value, found.expected) == (key, inner, expected)
    assert str(found) == f"{key} = {inner!r} is not {expected}"


@pytest.mark.parametrize(
    ("key", "value"),
    [("kind", "flat"), ("share", 0), ("share", 1.5), ("share", math.nan), ("share", math.inf)],
)
def test_what_is_outside_its_limits_is_refused(key, value):
    with pytest.raises(MisfitError, match=key):
        typed_values(Roof, {key: value})


def test_a_list_in_a_list_is_named_by_its_value():
    with pytest.raises(MisfitError, match="pairs = 'x' is not int"):
        typed("pairs", [[1, 2], [3, "x"]], tuple[tuple[int, int], ...])


@pytest.mark.slow
def test_no_depth_of_lists_is_too_much():
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(MisfitError, match=r"deep = \(nested too deep\) is not"):
        typed("deep", nested, tuple[int, ...])


def test_depth_is_counted_over_lists_and_objects():
    assert not is_deeper(1, 0)
    assert is_deeper([1], 0)
    assert not is_deeper({"a": [1, {}]}, 3)
    assert is_deeper({"a": [1, {}]}, 2)


def test_the_help_does_not_wait_for_it():
    code = "import sys, geodamage.cli; sys.exit('msgspec' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
