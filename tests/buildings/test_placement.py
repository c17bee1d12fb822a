"""How far footprints lie off the buildings of a model is measured, or said to be unknown."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import shapely

from geodamage.buildings.placement import (
    Placement,
    placement_doubts,
    placement_facts,
    placement_remarks,
)
from geodamage.grid import Grid
from geodamage.prediction import Strip
from geodamage.scene.pixels import MISSING_PRE
from geodamage.windows import Window
from tests.fakes import TRANSFORM, UTM, cut_strips, given_footprints, pixel_box

SIDE = 512
GRID = Grid(UTM, TRANSFORM, (SIDE, SIDE))
SCENE = SimpleNamespace(grid=GRID, region=GRID.window, origin=(0, 0))


def houses(count=60, seed=0):
    """Return rows, columns, heights and widths of houses, pixels."""
    generator = np.random.default_rng(seed)
    places = generator.integers(20, SIDE - 50, (count, 2))
    return np.column_stack([places, generator.integers(12, 28, (count, 2))])


def seen_of(boxes, missing=None):
    """Return a strip in which a model is fairly sure of houses."""
    found = np.full((SIDE, SIDE), 0.03, np.float32)
    for row, column, height, width in boxes:
        found[row : row + height, column : column + width] = 0.9
    missing = np.zeros((SIDE, SIDE), np.uint8) if missing is None else missing
    return Strip(GRID.window, np.stack([1 - found, *[found / 4] * 4]), missing)


def shapes_of(boxes, east=0.0, south=0.0):
    """Return the footprints of houses, moved by metres."""
    return np.array([
        pixel_box(row + 2 * south, column + 2 * east, height, width)
        for row, column, height, width in boxes
    ])  # fmt: skip


def placed(shapes, strip):
    placement = Placement(SCENE, shapes)
    for part in placement.watch(cut_strips(strip, (100, 350), (200,))):
        assert isinstance(part, Strip)
    return placement, placement.measured()


@pytest.mark.slow
@pytest.mark.parametrize(("east", "south"), [(0, 0), (3, -5), (-10, 6)])
def test_a_shift_is_measured_over_strips(east, south):
    boxes = houses()
    placement, found = placed(shapes_of(boxes, east, south), seen_of(boxes))
    facts = placement_facts(found, GRID.gsd) | {"asked": "measure", "applied": False}
    assert (facts["east_m"], facts["north_m"]) == pytest.approx((east, -south), abs=0.2)
    assert facts["verdict"] == ("aligned" if (east, south) == (0, 0) else "shifted")
    shift, is_uneven = placement.field(found)
    assert not is_uneven
    middle = np.array(GRID.xy(np.array([256.0]), np.array([256.0])))
    assert np.ravel(shift(*middle)) == pytest.approx((east, -south), abs=0.2)


@pytest.mark.slow
def test_few_missing_or_other_houses_have_no_placement():
    boxes, hidden = houses(), np.full((SIDE, SIDE), MISSING_PRE, np.uint8)
    for shapes, strip in (
        (shapes_of(boxes[:1]), seen_of(boxes)),
        (np.array([None, shapely.Polygon()]), seen_of(boxes)),
        (shapes_of(boxes), seen_of(boxes, hidden)),
        (shapes_of(boxes), seen_of(houses(seed=9))),
        (shapes_of(boxes), seen_of([])),
    ):
        assert not placed(shapes, strip)[1].is_known


def said(asked, **facts):
    facts = {"asked": asked, "applied": False, "why": "of fog"} | facts
    return placement_doubts(facts), placement_remarks(facts)


def test_a_doubt_is_said_where_there_is_one():
    lies = {"verdict": "shifted", "east_m": 3.0, "north_m": -4.0}
    doubts, remarks = said("measure", **lies)
    assert "5.0 m (3.0 m east, 4.0 m south) against the buildings in pre" in doubts[0]
    assert "use --registration apply" in doubts[0]
    assert "5.0 m" in remarks[0]
    doubts, remarks = said("apply", **lies, applied=True)
    assert doubts == []
    assert "are graded where these are" in remarks[0]
    doubts, remarks = said("apply", verdict="unknown")
    assert "is not known (of fog)" in doubts[0]
    assert said("measure", verdict="unknown")[0] == []
    assert said("measure", **lies | {"verdict": "aligned"})[0] == []
    assert said("off", verdict="off") == ([], [])


def test_footprints_are_graded_elsewhere_and_stay_where_they_are():
    given = given_footprints(pixel_box(10, 10, 8, 8), None, pixel_box(30, 40, 8, 8))
    assert given.placed()[1].tolist() == [0, 0, 0]
    east = replace(given, shift=lambda x, y: (np.full_like(x, 3.0), np.full_like(y, -4.0)))
    moved, lengths = east.placed()
    assert lengths.tolist() == [5, 0, 5]
    assert moved[1] is None
    assert shapely.equals(moved[0], pixel_box(2, 4, 8, 8))
    assert shapely.equals(given.shapes[0], pixel_box(10, 10, 8, 8))


def test_blocks_beyond_the_images_are_empty():
    placement = Placement(SCENE, shapes_of(houses()))
    assert placement._drawn(Window(5000, 5000, 256, 256)).max() == 0
