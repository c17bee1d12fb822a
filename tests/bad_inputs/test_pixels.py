import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from geodamage.output.publication import read_sidecar
from tests.bad_inputs.attempts import TRUTH, grades, one, row
from tests.conftest import (
    make_arrays,
    make_raster,
)


@pytest.mark.parametrize("channels", [row(68, n, name=n) for n in (1, 2, 4, 8)])
def test_channels_that_are_not_rgb_need_bands(attempts, channels):
    # From the second on: the first is of one value over wide ground, which counts as fill.
    array = np.concatenate([make_arrays()[0]] * 4)[1 : 1 + channels]
    colours = {"photometric": "RGB", "alpha": "NO"} if channels == 4 else {}
    path = make_raster(attempts.folder / "bands.tif", array, **colours)
    attempts.refuse(pre=path, words=[path, f"{channels} channel", "--bands"])
    if channels > 1:
        return
    post = make_raster(attempts.folder / "post.tif", np.roll(make_arrays()[1], -1, 0))
    # What the detector of hidden ground says of such grey patterns differs between processors.
    frame = attempts.read("--bands", "1,1,1", "--obscured", "off", pre=path, post=post)
    assert grades(frame) == TRUTH


@pytest.mark.slow
def test_row68_blue_green_red_needs_bands(attempts):
    path = one(attempts)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    attempts.refuse(pre=path, words=[path, "--bands 3,2,1"])
    assert grades(attempts.read("--bands", "3,2,1", pre=path)) == TRUTH


@pytest.mark.parametrize(
    "dtype", [row(69, name, name=name) for name in ("int16", "int32", "complex64", "int8")]
)
def test_types_that_need_a_decision_are_refused(attempts, dtype):
    array = (make_arrays()[0] // 4).astype(dtype)
    path = make_raster(attempts.folder / "type.tif", array)
    attempts.refuse(pre=path, words=[path, dtype, "gdal_translate"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype", [row(69, name, name=name) for name in ("uint16", "float32", "float64")]
)
def test_types_of_more_than_8_bits_are_scaled_and_the_scaling_is_recorded(attempts, dtype):
    array = make_arrays()[0].astype(dtype) * 40 + 7
    path = make_raster(attempts.folder / "type.tif", array)
    frame = attempts.read(pre=path)
    assert grades(frame) == TRUTH
    facts = read_sidecar(attempts.out / "b.gpkg")["scene"]["pre"]
    assert facts["dtype"] == dtype
    assert facts["scaling"] is not None


@pytest.mark.parametrize(
    "options",
    [
        row(70, {"nodata": 7}, name="nodata"),
        row(70, {"mask": np.zeros((128, 160), np.uint8)}, name="mask"),
    ],
)
def test_an_image_without_a_valid_pixel_is_refused(attempts, options):
    path = make_raster(attempts.folder / "none.tif", np.full((3, 128, 160), 7, np.uint8), **options)
    attempts.refuse(pre=path, words=[path, "no valid pixel"])
    attempts.refuse(post=path, words=[path, "no valid pixel"])


def test_row70_an_image_all_transparent_or_black_is_refused(attempts):
    clear = np.concatenate([make_arrays()[0], np.zeros((1, 128, 160), np.uint8)])
    path = make_raster(attempts.folder / "a.tif", clear, photometric="RGB", alpha="YES")
    attempts.refuse(pre=path, words=[path, "no valid pixel"])
    black = make_raster(attempts.folder / "b.tif", np.zeros((3, 128, 160), np.uint8))
    attempts.refuse(post=black, words=[black, "no valid pixel"])
