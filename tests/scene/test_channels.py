"""Channels: colours by their tags, palettes refused, and near infrared that is called alpha."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp as C

from geodamage.errors import SceneError
from geodamage.scene.channels import choose_channels
from geodamage.scene.tiles import open_tile
from geodamage.windows import Window
from tests.conftest import make_pixels

BGRN = (C.blue, C.green, C.red, C.undefined)


def test_tags_of_colour_are_the_advice_for_any_number_of_channels():
    with pytest.raises(SceneError, match=r"--bands 3,2,1$"):
        choose_channels("x.tif", BGRN, None, 3)
    with pytest.raises(SceneError, match=r"--bands 1,2,3$"):
        choose_channels("x.tif", (C.gray, *[C.undefined] * 7), None, 3)


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ((C.undefined, C.red, C.green), "undefined, red, green, and the model takes red, green"),
        ((getattr(C, "nir", C.undefined), C.red, C.green), ", red, green, and the model takes"),
        ((C.red, C.red, C.red), "natural colours"),
        ((C.hue, C.saturation, C.lightness), "natural colours"),
        ((C.blue, C.green, C.red), "give --bands 3,2,1"),
        ((C.green, C.alpha, C.blue, C.red), "give --bands 4,1,3"),
    ],
)
def test_tags_of_other_colours_are_not_taken_for_red_green_and_blue(tags, told):
    with pytest.raises(SceneError, match=told):
        choose_channels("x.tif", tags, None, 3)
    assert choose_channels("x.tif", tags, (1, 3, 1), 3).indexes == (1, 3, 1)


@pytest.mark.parametrize(
    "tags",
    [(C.red, C.green, C.undefined), (C.gray, C.undefined, C.undefined), (C.gray, C.gray, C.gray)],
)
def test_tags_that_say_nothing_else_are_red_green_and_blue(tags):
    assert choose_channels("x.tif", tags, None, 3).indexes == (1, 2, 3)


def test_the_names_of_channels_go_before_tags_that_nobody_chose(raster):
    path = raster("a.tif", make_pixels(40, 50, channels=4, low=200))  # GDAL tags it red, green, ...
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("Blue", "Green", " red", "NIR")
    with pytest.raises(SceneError, match=r"channels are blue, green, red; give --bands 3,2,1"):
        open_tile(str(path), None, 3)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("Blue", "Blue", "red", "NIR")
    assert open_tile(str(path), None, 3).channels.indexes == (1, 2, 3)


def test_the_numbers_of_a_palette_are_no_brightness(raster):
    path = raster("a.tif", make_pixels(40, 50, channels=1), photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {value: (value, 0, 0, 255) for value in range(256)})
    for asked in (None, (1, 1, 1)):
        with pytest.raises(SceneError, match="-expand rgb"):
            open_tile(str(path), asked, 3)


@pytest.mark.parametrize("seed", range(3))
def test_near_infrared_that_is_tagged_as_alpha_is_said_and_switched_off(raster, seed):
    pixels = make_pixels(300, 400, channels=4, seed=seed, low=0)
    path = raster("a.tif", pixels, photometric="RGB", alpha="yes")
    tile = open_tile(str(path), None, 3)
    assert tile.channels.alpha == 4
    assert "tagged as alpha" in tile.notes[0]
    assert "give --bands 1,2,3" in tile.notes[0]
    named = open_tile(str(path), (1, 2, 3), 3)
    assert named.channels.alpha is None
    assert named.notes == ()
    found, _ = named.read(Window(0, 0, 300, 400))
    assert np.array_equal(found, pixels[:3])


def test_near_infrared_in_a_corner_of_an_empty_image_is_said(raster):
    pixels = np.zeros((4, 2000, 2000), np.uint8)
    pixels[:, :500, -500:] = make_pixels(500, 500, channels=4)
    path = raster("a.tif", pixels, photometric="RGB", alpha="yes", compress="deflate")
    assert "tagged as alpha" in open_tile(str(path), None, 3).notes[0]


@pytest.mark.parametrize("opaque", [250, 255, 2047, 65535])
@pytest.mark.parametrize("asked", [None, (1, 2, 3)])
def test_an_alpha_channel_of_any_depth_counts(raster, opaque, asked):
    pixels = make_pixels(300, 400, channels=4).astype(np.uint16 if opaque > 255 else np.uint8)
    pixels[3] = opaque
    pixels[3, :, 350:] = 0
    path = raster("a.tif", pixels, photometric="RGB", alpha="yes")
    tile = open_tile(str(path), asked, 3)
    assert tile.notes == ()
    assert np.array_equal(tile.read(Window(0, 0, 300, 400))[1], pixels[3] > 0)


@pytest.mark.parametrize("asked", [None, (1, 2, 3)])
def test_an_alpha_channel_with_soft_edges_counts(raster, asked):
    pixels = make_pixels(300, 400, channels=4)
    pixels[3] = 255
    pixels[3, :, 350:], pixels[3, :, 345:350] = 0, 100
    path = raster("a.tif", pixels, photometric="RGB", alpha="yes")
    tile = open_tile(str(path), asked, 3)
    assert tile.notes == ()
    _, valid = tile.read(Window(0, 0, 300, 400))
    assert np.array_equal(valid, pixels[3] > 0)
