"""A registration becomes words, figures and a field of shifts."""

import numpy as np
import pytest

from geodamage.grid import Grid
from geodamage.scene.registration import Registration
from geodamage.scene.shift import directed, length_of, shift_facts, shift_field
from geodamage.windows import Window
from tests.fakes import TRANSFORM, UTM

GRID = Grid(UTM, TRANSFORM, (2000, 2000))
WINDOWS = [Window(row, column, 256, 256) for row in range(0, 1600, 400)
           for column in range(0, 1600, 400)]  # fmt: skip


def test_figures_are_in_metres_east_and_north():
    facts = shift_facts(Registration(-8.0, 6.0, 2.0, 1.0, 9, 0.5), (0.5, 0.5))
    assert (facts["east_m"], facts["north_m"], facts["spread_m"]) == (3, 4, 1)
    assert facts["error_m"] == 0.5
    assert length_of(facts) == 5
    assert directed(facts) == "3.0 m east, 4.0 m north"
    assert directed({"east_m": -1, "north_m": -2}) == "1.0 m west, 2.0 m south"


def test_what_is_not_known_has_a_reason_and_no_figures():
    facts = shift_facts(Registration(blocks=4, reason="of fog"), (0.5, 0.5))
    assert (facts["verdict"], facts["why"], facts["applied"]) == ("unknown", "of fog", False)
    assert "east_m" not in facts
    with pytest.raises(ValueError, match="no shift is known"):
        shift_field(Registration(), GRID, GRID.window, WINDOWS)


def at(shift, row, column):
    x, y = GRID.xy(np.array([float(column)]), np.array([float(row)]))
    return np.ravel(shift(x, y))


def test_one_shift_is_the_same_everywhere():
    shifts = tuple((n, -8.0, 6.0) for n in range(len(WINDOWS)))
    shift, is_uneven = shift_field(
        Registration(-8.0, 6.0, shifts=shifts), GRID, GRID.window, WINDOWS
    )
    assert not is_uneven
    assert at(shift, 0, 0) == pytest.approx((3, 4))
    assert at(shift, 1900, 100) == pytest.approx((3, 4))


def test_a_shift_that_grows_is_a_field():
    shifts = tuple((n, 0.0, window.column / 100) for n, window in enumerate(WINDOWS))
    measured = Registration(0.0, 6.0, shifts=shifts)
    shift, is_uneven = shift_field(measured, GRID, GRID.window, WINDOWS)
    assert is_uneven
    assert at(shift, 500, 128 + 400) == pytest.approx((2, 0), abs=0.1)
    assert at(shift, 500, 128 + 1200) == pytest.approx((6, 0), abs=0.1)
