"""A sample is as large as it has to be."""

import numpy as np
import pytest

from geodamage.scene.image import open_image
from geodamage.scene.tiles import Tile
from tests.conftest import make_pixels

BLOCKS = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@pytest.fixture
def parts(monkeypatch):
    """Return the windows that are read while an image is opened."""
    monkeypatch.setattr("geodamage.scene.tiles.PART", 16)
    read, found = Tile.read, []

    def counted(self, window, **options):
        found.append(window)
        return read(self, window, **options)

    monkeypatch.setattr(Tile, "read", counted)
    return found


def opened(path, **options):
    taken = {"bands": None, "channels": 3, "scale": None, "allow_remote": False} | options
    image = open_image("pre", path, **taken)
    image.close()
    return image


def test_of_8_bits_one_part_is_enough(raster, parts):
    opened(raster("a.tif", make_pixels(128, 128), **BLOCKS))
    assert len(parts) == 1


def test_an_image_that_is_stretched_is_looked_at_everywhere(raster, parts):
    opened(raster("a.tif", make_pixels(128, 128).astype(np.uint16) * 7, **BLOCKS))
    assert len(parts) == 64


def test_parts_of_one_value_are_not_enough(raster, parts):
    pixels = make_pixels(128, 128)
    pixels[1, :32] = 9
    opened(raster("a.tif", pixels, **BLOCKS))
    assert len(parts) == 17


@pytest.mark.parametrize(("row", "expected"), [(40, 17), (None, 2 * 64)])
def test_a_nodata_value_is_looked_for(raster, parts, row, expected):
    pixels = make_pixels(128, 128) % 200
    if row is not None:
        pixels[:, row, :16] = 255
    image = opened(raster("a.tif", pixels, nodata=255, **BLOCKS))
    assert len(parts) == expected - (63 if row is None else 0)
    assert image.first.is_idle == (row is None)
