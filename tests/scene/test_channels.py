"""Channels: colours by their tags, palettes refused, and near infrared that is called alpha."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from geodamage.errors import SceneError
from geodamage.scene.channels import choose_channels
from geodamage.scene.tiles import open_tile
from geodamage.windows import Window
from tests.conftest import make_pixels

BGRN = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined)


def test_tags_of_colour_are_the_advice_for_any_number_of_channels():
    with pytest.raises(SceneError, match=r"--bands 3,2,1$"):
        choose_channels("x.tif", BGRN, None, 3)
    with pytest.raises(SceneError, match=r"--bands 1,2,3$"):
        choose_channels("x.tif", (ColorInterp.gray, *[ColorInterp.undefined] * 7), None, 3)


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
