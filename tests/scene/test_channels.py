"""Channels: colours by their tags, palettes refused, and near infrared that is called alpha."""

import subprocess

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp as C

from geodamage.errors import SceneError
from geodamage.scene.channels import choose_channels
from geodamage.scene.image import open_image
from geodamage.scene.options import SceneOptions
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
        ((C.gray, C.alpha), r"2 channels with alpha, .* for example --bands 1,1,1$"),
        ((C.alpha, C.gray, C.undefined), r"for example --bands 2,3,3$"),
        ((C.cyan, C.magenta, C.yellow, C.black), "are cyan, magenta, yellow, black, and the model"),
        ((C.red, C.red, C.red, C.undefined), "use an image in natural colours"),
        ((C.alpha, C.undefined), r"for example --bands 2,2,2$"),
    ],
)
def test_advice_names_no_channel_that_is_no_brightness(tags, told):
    with pytest.raises(SceneError, match=told):
        choose_channels("x.tif", tags, None, 3)


def test_an_alpha_channel_alone_is_no_image():
    with pytest.raises(SceneError, match="alpha"):
        choose_channels("x.tif", (C.alpha,), None, 3)


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


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("asked", [None, (1, 1, 1)])
def test_an_image_in_which_0_is_white_is_refused_with_the_way_round(raster, dtype, asked):
    pixels = make_pixels(40, 50, channels=1).astype(dtype)
    path = raster("a.tif", pixels, photometric="miniswhite", nodata=7)
    invert = {
        "uint8": "gdal_translate -scale 0 255 255 0 -a_nodata 248 a.tif new.tif, or",
        "uint16": "gdal_translate -scale 0 65535 65535 0 -a_nodata 65528 a.tif new.tif, or",
        "float32": "leave the tag out with gdal_translate a.tif new.tif",
    }
    told = f"its tag says that 0 is white; .*{invert[dtype]}"
    with pytest.raises(SceneError, match=told if asked else "0 is white") as refused:
        open_tile(str(path), asked, 3)
    assert str(refused.value).endswith("gdal_translate a.tif new.tif")


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "turned"), [("-scale 0 255 255 0", True), ("", False)])
def test_what_the_refusal_of_a_negative_says_makes_an_image(raster, tmp_path, flags, turned):
    pixels = make_pixels(40, 50, channels=1)
    path = raster("a.tif", pixels, photometric="miniswhite")
    new = tmp_path / "new.tif"
    try:
        subprocess.run(["gdal_translate", "-q", *flags.split(), path, new], check=True)
    except FileNotFoundError:
        pytest.skip("gdal_translate is not installed")
    found, _ = open_tile(str(new), (1, 1, 1), 3).read(Window(0, 0, 40, 50))
    assert np.array_equal(found[0], 255 - pixels[0] if turned else pixels[0])


def test_one_channel_may_be_of_a_radar_and_the_advice_is_for_that_date(raster):
    grey = raster("grey.tif", make_pixels(40, 50, channels=1))
    given = {"channels": 3, "scale": None, "allow_remote": False}
    with pytest.raises(SceneError, match=r"for example --bands 1,1,1$"):
        open_image("pre", grey, bands=None, **given)
    how = SceneOptions().tiles_of("post")
    with pytest.raises(SceneError, match=r"--post-bands 1,1,1; if a radar took it, .* sar, and"):
        open_image("post", grey, scale=None, **how)
    many = raster("many.tif", make_pixels(40, 50, channels=8))
    with pytest.raises(SceneError, match=r"example --post-bands 1,2,3$"):
        open_image("post", many, scale=None, **how)
    radar = SceneOptions(post_sensor="sar", post_channels=2).tiles_of("post")
    with pytest.raises(SceneError, match=r"takes 2; choose with --post-bands, .* 1,1$"):
        open_image("post", grey, scale=None, **radar)


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


def test_no_pixel_of_a_block_too_large_is_read(raster, monkeypatch):
    """Whether alpha is alpha is looked at after the blocks are known to fit into memory."""
    path = raster("a.tif", make_pixels(64, 64, channels=4), photometric="RGB", alpha="yes")
    monkeypatch.setattr("geodamage.scene.tiles.LARGEST_BLOCK", 100)
    monkeypatch.setattr("geodamage.scene.tiles.without_false_alpha", None)  # who asks, fails
    with pytest.raises(SceneError, match="blocks of"):
        open_tile(str(path), None, 3)


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
