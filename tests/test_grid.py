from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from pyproj.database import query_utm_crs_info

from geodamage.grid import (
    WGS84,
    Grid,
    geodesic_area,
    geodesic_areas,
    ground_area,
    ground_scale,
    transformer,
    utm_zone,
    world_width,
)
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


@pytest.mark.slow
def test_zones_are_where_the_database_of_proj_has_them():
    rng = np.random.default_rng(0)
    zones = query_utm_crs_info(datum_name="WGS 84")
    assert len(zones) == 120
    for zone in zones:
        area = zone.area_of_use
        lon = rng.uniform(area.west, area.east, 20)
        lat = rng.uniform(area.south, area.north, 20)
        assert set(utm_zone(lon, lat).tolist()) == {int(zone.code)}


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (-180, 1, 32601),
        (180, 1, 32601),
        (186, 1, 32602),
        (179.9, -1, 32760),
        (6, 60, 32632),  # a border
        (4, 60, 32631),  # Bergen, which Norway counts to 32
        (0, 0, 32631),
        (0, 85, 32631),
        (0, -85, 32731),
    ],
)
def test_the_zone_of_a_place(lon, lat, epsg):
    assert utm_zone(np.array([lon]), np.array([lat])).tolist() == [epsg]


def test_the_area_of_a_shape_does_not_depend_on_how_its_rings_run():
    hole = shapely.box(1.25, 45.25, 1.5, 45.5)
    ring = shapely.box(1, 45, 2, 46).difference(hole)
    whole = shapely.MultiPolygon([ring, shapely.box(3, 45, 3.5, 45.5).reverse()])
    parts = [shapely.box(1, 45, 2, 46), shapely.box(3, 45, 3.5, 45.5)]
    expected = sum(abs(WGS84.geometry_area_perimeter(part)[0]) for part in parts)
    expected -= abs(WGS84.geometry_area_perimeter(hole)[0])
    assert geodesic_area(whole) == pytest.approx(expected, rel=1e-12)
    assert geodesic_area(whole.reverse()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("epsg", [32631, 32733, 3857, 3035, 2154, 2263])
def test_the_scale_of_a_place_gives_the_ground_of_a_small_square(epsg):
    crs = CRS.from_epsg(epsg)
    to_lonlat = transformer(crs, "EPSG:4326")
    west, south, east, north = crs.area_of_use.bounds
    lon = np.linspace(west, east, 7)[1:-1]
    lat = np.clip(np.linspace(south, north, 7)[1:-1], -80, 80)
    x, y = to_lonlat.transform(lon, lat, direction="INVERSE")
    side = 100.0
    squares = shapely.box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    turned = shapely.transform(squares, to_lonlat.transform, interleaved=False)
    expected = geodesic_areas(turned)
    assert side**2 * ground_scale(x, y, to_lonlat) == pytest.approx(expected, rel=2e-6)


def test_areas_are_those_of_each_shape():
    shapes = [shapely.box(1, 45, 2, 46), None, shapely.Point(1, 1), shapely.Polygon()]
    ring = shapes[0].difference(shapely.box(1.25, 45.25, 1.5, 45.5))
    shapes += [shapely.MultiPolygon([ring, shapely.box(3, 45, 4, 46)])]
    shapes += [shapely.GeometryCollection([shapes[-1], shapely.Point(0, 0)])]
    found = geodesic_areas(np.array(shapes, object))
    square, hole = (geodesic_area(shapely.box(1, 45, *end)) for end in ((2, 46), (1.25, 45.25)))
    assert found[:4].tolist() == [square, 0, 0, 0]
    assert found[4] == found[5] == pytest.approx(2 * square - hole, rel=3e-3)


def test_lines_and_points_have_no_area():
    mixed = shapely.GeometryCollection(
        [shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (9, 9)])]
    )
    assert geodesic_area(mixed) == geodesic_area(shapely.box(0, 0, 1, 1))
    assert geodesic_area(shapely.Polygon()) == 0


def test_the_area_on_the_ground_is_that_of_the_ellipsoid():
    square = shapely.box(500_000, 3_330_000, 500_100, 3_330_100)
    assert ground_area(square, UTM) == pytest.approx(100 * 100 / 0.9996**2, rel=1e-5)
    to_lonlat = Transformer.from_crs(UTM, 4326, always_xy=True)
    degrees = shapely.transform(square, to_lonlat.transform, interleaved=False)
    assert ground_area(degrees, CRS.from_epsg(4326)) == ground_area(square, UTM)


def test_it_says_where_it_is():
    assert repr(GRID) == (
        "<Grid: 100 x 200 pixels of 0.5 m, EPSG:32616; "
        "transform (0.5, 0, 500000, 0, -0.5, 3330560)>"
    )
    local = Grid(CRS.from_proj4("+proj=laea +lon_0=5 +datum=WGS84"), TRANSFORM, (1, 1))
    assert "\n" not in repr(local)


@pytest.mark.parametrize(
    ("crs", "width"),
    [
        ("EPSG:4326", 360),
        ("EPSG:4807", 400),  # grads
        ("EPSG:3857", 40_075_016.7),
        ("EPSG:3857+5773", 40_075_016.7),  # with heights
        ("EPSG:3832", 40_075_016.7),
        ("+proj=merc +lon_0=100 +x_0=5000 +units=us-ft", 131_479_451),
        ("+proj=gall", 28_337_316.1),
        ("+proj=comill", 40_075_016.7),
        ("+proj=patterson", 40_075_016.7),
        ("+proj=cea +lat_ts=30", 34_735_061),
    ],
)
def test_the_world_goes_around_in_any_cylindrical_crs(crs, width):
    assert world_width(CRS.from_user_input(crs)) == pytest.approx(width, abs=1)


@pytest.mark.parametrize(
    "crs",
    ["EPSG:32616", "EPSG:3413", "EPSG:2056", "ESRI:54009", "+proj=sinu", "+proj=aeqd", "EPSG:4936"],
)
def test_the_world_goes_around_in_no_other_crs(crs):
    assert world_width(CRS.from_user_input(crs)) is None


def test_the_way_between_two_systems_is_found_once_for_all_threads():
    # Equal systems, made twice.
    to_lonlat = transformer(CRS.from_epsg(32616), "EPSG:4326")
    assert transformer(CRS.from_user_input("EPSG:32616"), "EPSG:4326") is to_lonlat
    assert transformer(CRS.from_epsg(32617), "EPSG:4326") is not to_lonlat
    x, y = np.full(1000, 629_600.0), np.linspace(3_000_000.0, 3_600_000.0, 1000)
    expected = Transformer.from_crs(32616, 4326, always_xy=True).transform(x, y)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: to_lonlat.transform(x, y), range(16)):
            np.testing.assert_array_equal(found, expected)
