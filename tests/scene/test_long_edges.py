"""Long edges are straight in the CRS of their file, wherever shapes are read: pixel by pixel.

The northern edge of a box of one degree runs through the scene, along a parallel. Between its two
corners, a straight line of UTM lies a hundred metres off.
"""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Transformer

from geodamage.buildings.footprint_files import read_footprints
from geodamage.event.rollups import read_admin, roll_up_by_admin
from geodamage.grid import GsdRange
from geodamage.scene.options import SceneOptions
from geodamage.scene.pixels import OBSCURED_PRE, OUTSIDE_AOI
from geodamage.scene.scene import Scene
from tests.conftest import CORNER, UTM, make_pixels, make_raster, run_command

SIDE = 256
TO_LONLAT = Transformer.from_crs(UTM, 4326, always_xy=True)
LON, LAT = TO_LONLAT.transform(CORNER[0] + SIDE / 4, CORNER[1] - SIDE / 4)
GSD = GsdRange(0.5, 0.3, 1.0)


@pytest.fixture
def box(tmp_path):
    """Return the file of a box of one degree, whose northern edge is the middle of the scene."""
    path = tmp_path / "box.geojson"
    shape = shapely.box(LON - 0.5, LAT - 0.2, LON + 0.5, LAT)
    gpd.GeoDataFrame({"name": ["south"]}, geometry=[shape], crs=4326).to_file(path)
    return path


@pytest.fixture
def images(tmp_path):
    return [
        make_raster(tmp_path / f"{name}.tif", make_pixels(SIDE, SIDE, seed=seed))
        for seed, name in enumerate(("pre", "post"))
    ]


def latitudes(transform, shape):
    """Return the latitude of each pixel's middle, and of which it is sure that it is one side."""
    columns, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    _, lat = TO_LONLAT.transform(*(transform @ (columns, rows)))
    lat = np.asarray(lat)
    return lat, np.abs(lat - LAT) * 111_000 > 0.8


@pytest.mark.slow
def test_an_area_of_interest(images, box):
    with Scene.open(*images, gsd=GSD, options=SceneOptions(aoi=box)) as scene:
        lat, sure = latitudes(scene.grid.transform, scene.extent.shape)
        outside = scene.read(scene.extent).missing & OUTSIDE_AOI > 0
    assert 0.3 < outside.mean() < 0.7
    assert np.array_equal(outside[sure], (lat > LAT)[sure])


@pytest.mark.slow
def test_unusable_polygons(images, box):
    options = SceneOptions(pre_unusable=box, obscured="off")
    with Scene.open(*images, gsd=GSD, options=options) as scene:
        lat, sure = latitudes(scene.grid.transform, scene.extent.shape)
        marked = scene.mark(scene.read(scene.extent), scene.extent).missing & OBSCURED_PRE > 0
    assert 0.3 < marked.mean() < 0.7
    assert np.array_equal(marked[sure], (lat <= LAT)[sure])


@pytest.mark.slow
def test_an_area_that_a_score_counts_in(tmp_path, box):
    truth = np.zeros((1, SIDE, SIDE), np.uint8)
    truth[0, 20:-20, 20:-20] = 1
    path = make_raster(tmp_path / "truth.tif", truth)
    result = run_command("score", "--buildings", path, path, "--aoi", box, "--json")
    assert result.exit_code == 0, result.stderr
    lat, _ = latitudes(Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]), (SIDE, SIDE))
    expected = int(((lat <= LAT) & (truth[0] == 1)).sum())
    assert json.loads(result.stdout)["pixels"]["tp"] == pytest.approx(expected, abs=2 * SIDE)


@pytest.mark.slow
def test_footprints(images, box):
    with Scene.open(*images, gsd=GSD) as scene:
        (shape,) = read_footprints(box, scene.grid).frame.geometry
        lat, sure = latitudes(scene.grid.transform, scene.grid.shape)
        columns, rows = np.meshgrid(np.arange(lat.shape[1]) + 0.5, np.arange(lat.shape[0]) + 0.5)
        inside = shapely.contains_xy(shape, *(scene.grid.transform @ (columns, rows)))
    assert 0.3 < inside.mean() < 0.7
    assert np.array_equal(inside[sure], (lat <= LAT)[sure])


@pytest.mark.parametrize("crs", [32616, 32615, 5070])
def test_administrative_areas(tmp_path, crs):
    """The edge runs along a northing of the file; points lie 20 m beside it, on either side."""
    to_file = Transformer.from_crs(4326, crs, always_xy=True)
    x, y = to_file.transform(LON, LAT)
    path = tmp_path / "areas.gpkg"
    shape = shapely.box(x - 60_000, y - 20_000, x + 60_000, y)
    gpd.GeoDataFrame({"name": ["south"]}, geometry=[shape], crs=crs).to_file(path)
    lon, lat = to_file.transform([x, x], [y - 20, y + 20], direction="INVERSE")
    buildings = gpd.GeoDataFrame(
        {"lon": lon, "lat": lat, "damage_class": 1, "damaged": False, "area_m2": 100.0}
    )
    areas, outside = roll_up_by_admin(buildings, read_admin(path))
    assert (areas["buildings"].tolist(), outside) == ([1], 1)
