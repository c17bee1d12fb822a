"""What metadata tell of the values of an image, and what they do not."""

import json

import numpy as np
import pytest
import rasterio

from geodamage.scene.ranges import range_of
from geodamage.scene.tiles import open_tile

PIXELS = np.random.default_rng(0).integers(0, 2047, (3, 64, 64)).astype(np.uint16)


def known(path, asked=None):
    tile = open_tile(str(path), asked, 3)
    try:
        return range_of(tile)
    finally:
        tile.dataset.close()


def with_item(path, asset, **item):
    stated = {"stac_version": "1.0.0", "assets": {"data": {"href": f"./{path.name}"} | asset}}
    path.with_suffix(".json").write_text(json.dumps(stated | item))
    return path


def test_most_images_tell_nothing(raster):
    assert known(raster("a.tif", PIXELS)) is None
    assert known(raster("b.tif", PIXELS.astype(np.float32))) is None


def test_bits_per_sample_of_the_file(raster):
    found = known(raster("a.tif", PIXELS, nbits=11))
    assert (found.most, found.scale, found.sources) == (2047, None, ("NBITS",))


def test_scale_and_offset_of_the_file(raster):
    path = raster("a.tif", PIXELS)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4,) * 3, (-0.1,) * 3
    found = known(path)
    assert (found.most, found.scale, found.offset) == (None, 1e-4, -0.1)
    assert found.sources == ("the file",)


BAND = {"bits_per_sample": 12, "scale": 1e-4, "offset": -0.1, "data_type": "uint16"}


@pytest.mark.parametrize(
    "asset",
    [
        {"raster:bands": [BAND] * 3},
        {"bands": [{f"raster:{key}": value for key, value in BAND.items()}] * 3},
        {f"raster:{key}": value for key, value in BAND.items()},
        {"raster:scale": 1e-4,
         "bands": [{"raster:bits_per_sample": 12, "raster:offset": -0.1}] * 3},
    ],
)  # fmt: skip
def test_a_stac_item_beside_the_file(raster, asset):
    found = known(with_item(raster("a.tif", PIXELS), asset))
    assert (found.most, found.scale, found.offset) == (4095, 1e-4, -0.1)
    assert found.sources == ("STAC item",)
    assert found.facts()["maximum"] == 4095


def test_the_bands_that_are_used_are_asked(raster):
    bands = [{"scale": 1.0}, *[{"scale": 2e-4}] * 3]
    path = raster("a.tif", np.concatenate([PIXELS, PIXELS[:1]]))
    assert known(with_item(path, {"raster:bands": bands}), (4, 3, 2)).scale == 2e-4


@pytest.mark.parametrize(
    "asset",
    [
        {},
        {"raster:bands": [BAND]},  # not of all bands
        {"raster:bands": "three"},
        {"raster:bands": [BAND, BAND, BAND | {"scale": 2e-4, "bits_per_sample": 16}]},  # not alike
        {"raster:bands": [{"scale": 1, "bits_per_sample": 16}] * 3},  # nothing that is not known
        {"raster:bands": [{"scale": "0.1", "bits_per_sample": True}] * 3},
        {"raster:bands": [{"scale": -1.0}] * 3},
        {"raster:bands": [BAND] * 3, "href": "https://example.com/another.tif"},
    ],
)
def test_an_item_that_tells_nothing(raster, asset):
    assert known(with_item(raster("a.tif", PIXELS), asset)) is None


@pytest.mark.parametrize("assets", [None, [], {"data": 3}, {"data": {"href": 3}}])
def test_an_item_may_be_anything(raster, assets):
    assert known(with_item(raster("a.tif", PIXELS), {}, assets=assets)) is None
