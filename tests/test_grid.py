import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from geodamage.grid import Grid
from geodamage.windows import Window
from tests.fakes import SMALL, TRANSFORM, UTM

GRID = Grid(UTM, TRANSFORM, (100, 200))


def test_grids_are_equal_by_value():
    assert Grid(CRS.from_epsg(32616), Affine(*TRANSFORM[:6]), (100, 200)) == GRID
    assert Grid(UTM, TRANSFORM, (100, 201)) != GRID


def test_bounds_are_left_bottom_right_top():
    assert GRID.window == Window(0, 0, 100, 200)
    assert GRID.bounds == (500_000, 3_330_510, 500_100, 3_330_560)
    assert GRID.window_bounds(Window(2, 4, 1, 1)) == (500_002, 3_330_558.5, 500_002.5, 3_330_559)


def test_bounds_of_a_rotated_grid_hold_all_its_corners():
    turned = Grid(UTM, TRANSFORM @ Affine.rotation(30), (10, 20))
    left, bottom, right, top = turned.bounds
    for column, row in ((0, 0), (20, 0), (20, 10), (0, 10)):
        x, y = turned.transform @ (column, row)
        assert left <= x <= right
        assert bottom <= y <= top


@SMALL
@given(st.integers(-50, 300), st.integers(-50, 300), st.integers(0, 50), st.integers(0, 50))
def test_a_crop_has_the_same_pixels(row, column, height, width):
    window = Window(row, column, height, width)
    crop = GRID.crop(window)
    assert crop.shape == (height, width)
    assert crop.bounds == GRID.window_bounds(window)
    points = np.arange(3.0), np.arange(3.0)
    there = GRID.xy(points[0] + column, points[1] + row)
    assert np.array_equal(crop.xy(*points), there)


def test_gsd_is_measured_on_the_ground():
    # The scale factor of UTM on its central meridian is 0.9996.
    assert GRID.gsd == pytest.approx((0.5 / 0.9996, 0.5 / 0.9996), rel=1e-5)
    degrees = Grid(CRS.from_epsg(4326), Affine(1e-5, 0, 10, 0, -1e-5, 60), (10, 10))
    across, down = degrees.gsd
    assert down == pytest.approx(1.1141, rel=1e-3)
    assert across == pytest.approx(0.5580, rel=1e-3)


@pytest.mark.parametrize(
    ("transform", "square"),
    [
        (TRANSFORM, True),
        (Affine(0.5, 0, 500_000, 0, -0.52, 3_330_560), False),
        (Affine(0.5, 0, 500_000, 0, 0.5, 3_330_560), False),
        (TRANSFORM @ Affine.rotation(5), False),
    ],
)
def test_square_means_upright_and_as_high_as_wide(transform, square):
    assert Grid(UTM, transform, (10, 10)).is_square is square


def test_it_says_where_it_is():
    assert repr(GRID) == (
        "<Grid: 100 x 200 pixels of 0.5 m, EPSG:32616; "
        "transform (0.5, 0, 500000, 0, -0.5, 3330560)>"
    )
    local = Grid(CRS.from_proj4("+proj=laea +lon_0=5 +datum=WGS84"), TRANSFORM, (1, 1))
    assert "\n" not in repr(local)
