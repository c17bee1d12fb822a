"""Images in cylindrical projections that go around the Earth: the same place on both sides."""

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Transformer

from geodamage.grid import world_width
from geodamage.scene.image import open_image
from geodamage.scene.lattice import Lattice
from geodamage.windows import Window

MERCATOR, UTM = CRS.from_epsg(3857), CRS.from_epsg(32701)
LATTICE = Lattice(UTM, 1.0, 0.0, 0.0)
#: A pixel that fits the Earth a whole number of times, and one that does not.
FITTING = world_width(MERCATOR) / 40_075_016
SIZE, LAT = 200, -17.0
TOP = Transformer.from_crs(4326, MERCATOR, always_xy=True).transform(180, LAT)[1]


def ramp():
    """Return an image that is brighter to the east and to the south."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.stack([columns, rows, np.full((SIZE, SIZE), 90)]).astype(np.uint8) + 1


def write(raster, name, left, pixel, columns):
    pixels = ramp()[:, :, columns]
    transform = Affine(pixel, 0, left, 0, -pixel, TOP)
    return raster(name, pixels, crs=MERCATOR, transform=transform)


@pytest.mark.parametrize("pixel", [FITTING, 1.0])
@pytest.mark.parametrize("kind", ["beyond the east", "beyond the west", "two files"])
def test_an_image_across_180_degrees_is_read_on_both_sides(raster, pixel, kind):
    half = world_width(MERCATOR) / 2
    west = half - SIZE / 2 * pixel
    if kind == "two files":
        paths = [
            write(raster, "a.tif", west, pixel, slice(0, SIZE // 2)),
            write(raster, "b.tif", -half, pixel, slice(SIZE // 2, SIZE)),
        ]
    else:
        left = west if kind == "beyond the east" else west - 2 * half
        paths = [write(raster, "a.tif", left, pixel, slice(None))]
    image = open_image("pre", paths, bands=None, channels=3, scale=None, allow_remote=False)
    to_utm = Transformer.from_crs(4326, UTM, always_xy=True)
    x, y = to_utm.transform(180, LAT)
    window = Window(-round(y) + 20, round(x) - 60, 100, 120)
    found = image.read(LATTICE, window)
    image.close()
    columns, rows = np.meshgrid(np.arange(120) + 0.5, np.arange(100) + 0.5)
    lon, lat = to_utm.transform(window.column + columns, -(window.row + rows), direction="INVERSE")
    across = (np.asarray(lon) % 360 / 360 * 2 * half - west) / pixel - 0.5
    _, northing = Transformer.from_crs(4326, MERCATOR, always_xy=True).transform(lon, lat)
    down = (TOP - np.asarray(northing)) / pixel - 0.5
    seam = np.abs(across - SIZE / 2 + 0.5) < 1.5  # there two lattices meet
    assert found.valid[~seam].all()
    assert found.valid.mean() > 0.99
    assert np.abs(found.values[0] - across - 1)[~seam & found.valid].max() < 1.01
    assert np.abs(found.values[1] - down - 1)[~seam & found.valid].max() < 1.01
    if pixel == FITTING:
        assert found.valid.all()
