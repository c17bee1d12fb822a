import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from geodamage.grid import Grid, GsdRange
from geodamage.scene.lattice import Lattice, coarsest_kept, working_lattice
from geodamage.windows import Window

UTM = CRS.from_epsg(32616)
LATTICE = Lattice(UTM, 0.5, 0.1, -0.2)
GSD = GsdRange(0.5, 0.3, 1.2)


def windows():
    number, size = st.integers(-300, 300), st.integers(1, 200)
    return st.builds(Window, number, number, size, size)


def test_lattice_grid():
    grid = LATTICE.grid(Window(10, 20, 3, 4))
    assert grid.shape == (3, 4)
    assert grid.bounds == pytest.approx((10.1, -6.7, 12.1, -5.2))


@pytest.mark.slow
@given(windows())
def test_lattice_covers_the_pixels_of_a_window(window):
    assert LATTICE.covered(LATTICE.grid(window).bounds) == window


def test_lattice_covers_only_centres():
    bounds = 0.1 + 0.26, -0.2 - 0.74, 0.1 + 1.24, -0.2 - 0.1
    assert LATTICE.covered(bounds) == Window(0, 1, 1, 1)
    assert LATTICE.covered((5.0, 5.0, 5.1, 5.1)).size == 0


def chosen(crs, transform, ground, centre=(-85.65, 30.1)):
    return working_lattice(Grid(CRS.from_epsg(crs), transform, (100, 100)), ground, centre, GSD)


def test_the_pre_image_s_pixels_are_kept():
    found = chosen(32616, Affine(0.6, 0, 629_600.2, 0, -0.6, 3_330_560.3), 0.6)
    assert (found.crs, found.pixel) == (UTM, 0.6)
    assert (629_600.2 - found.x) / 0.6 == pytest.approx(1_049_334, abs=1e-3)
    assert (found.y - 3_330_560.3) / 0.6 == pytest.approx(-5_550_934, abs=1e-3)


@pytest.mark.parametrize(("pixel", "worked_on"), [(0.3, 0.3), (0.65, 0.65), (0.7, 0.5), (1.2, 0.5)])
def test_pixels_much_coarser_than_the_model_s_own_are_drawn_out(pixel, worked_on):
    found = chosen(32616, Affine(pixel, 0, 629_600, 0, -pixel, 3_330_560), pixel)
    assert found.pixel == worked_on
    assert coarsest_kept(GSD) == pytest.approx(0.65)
    assert coarsest_kept(GsdRange(0.5, 0.3, 0.6)) == 0.6


def test_a_crop_has_the_same_lattice():
    whole = chosen(32616, Affine(0.6, 0, 366642.60000000003, 0, -0.6, 4103896.8), 0.6)
    crop = chosen(32616, Affine(0.6, 0, 367257.0, 0, -0.6, 4104511.1999999997), 0.6)
    assert whole == crop


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (4326, Affine(5e-6, 0, -85.6, 0, -5e-6, 30.1)),
        (3857, Affine(0.58, 0, -9.53e6, 0, -0.58, 3.5e6)),
        (32616, Affine(0.5, 0.01, 629_600, 0.01, -0.5, 3_330_560)),
        (32616, Affine(0.5, 0, 629_600, 0, 0.5, 3_330_560)),
        (32616, Affine(0.5, 0, 629_600, 0, -0.6, 3_330_560)),
        (2238, Affine(1.64, 0, 1_600_000, 0, -1.64, 700_000)),
    ],
)
def test_what_is_not_metric_square_and_upright_is_worked_on_in_utm(crs, transform):
    assert chosen(crs, transform, 0.50049) == Lattice(UTM, 0.5, 0.0, 0.0)


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (-180, 1, 32601),
        (180, 1, 32601),
        (179.9, -1, 32760),
        (0, 0, 32631),
        (9, 84.1, 3413),
        (9, -80.1, 3031),
    ],
)
def test_zone(lon, lat, epsg):
    assert chosen(4326, Affine(5e-6, 0, 0, 0, -5e-6, 0), 0.5, (lon, lat)).crs.to_epsg() == epsg
