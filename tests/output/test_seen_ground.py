from itertools import pairwise

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod

from geodamage.grid import Grid
from geodamage.output.seen_ground import SeenGround, read_assessed_area
from geodamage.windows import Window

GRID = Grid(CRS.from_epsg(32616), Affine(0.5, 0, 629_600, 0, -0.5, 3_330_560), (400, 600))
REGION = Window(40, 30, 200, 320)


def ground_of(seen, cuts=()):
    """Return the ground of a mask of the region, given in strips."""
    ground = SeenGround(GRID, REGION)
    rows = [0, *sorted(cuts), REGION.height]
    for first, last in pairwise(rows):
        if last > first:
            window = Window(REGION.row + first, REGION.column, last - first, REGION.width)
            ground.add(window, seen[first:last])
    return ground


def test_all_that_is_seen_is_the_region():
    ground = ground_of(np.ones(REGION.shape, bool))
    assert ground.polygon.equals(shapely.box(*GRID.window_bounds(REGION)))


def test_a_hole_of_cloud_is_a_hole():
    seen = np.ones(REGION.shape, bool)
    seen[64:128, 96:160] = False
    polygon = ground_of(seen).polygon
    assert len(polygon.interiors) == 1
    (left,), (top,) = GRID.xy(np.array([REGION.column + 96]), np.array([REGION.row + 64]))
    hole = shapely.box(left, top - 32, left + 32, top)
    assert shapely.Polygon(polygon.interiors[0]).equals(hole)


def test_nothing_seen_is_nothing():
    ground = ground_of(np.zeros(REGION.shape, bool))
    assert ground.polygon.is_empty
    assert read_assessed_area({"assessed_area": ground.facts()}) is None


@pytest.mark.slow
@given(st.lists(st.integers(1, REGION.height - 1), max_size=5), st.integers(0, 99))
def test_strips_do_not_matter(cuts, seed):
    coarse = np.random.default_rng(seed).random((25, 40)) < 0.5
    seen = np.kron(coarse, np.ones((8, 8), bool))
    assert ground_of(seen, cuts).polygon.equals(ground_of(seen).polygon)


def test_the_sidecar_says_it_in_degrees():
    seen = np.ones(REGION.shape, bool)
    seen[:, 160:] = False
    facts = {"assessed_area": ground_of(seen).facts()}
    area = read_assessed_area(facts)
    measured = Geod(ellps="WGS84").geometry_area_perimeter(area)[0]
    assert measured == pytest.approx(100 * 80, rel=0.01)
    assert facts["assessed_area"]["cell_m"] == 8.0


@pytest.mark.parametrize(
    "told", [None, {}, {"wkt": 1}, {"wkt": "nonsense"}, {"wkt": "POINT (1 1)"}]
)
def test_what_is_no_area_is_none(told):
    assert read_assessed_area({"assessed_area": told}) is None


def test_a_large_scene_has_larger_cells():
    grid = Grid(GRID.crs, GRID.transform, (40_000, 100))
    assert SeenGround(grid, grid.window).cell == 79
