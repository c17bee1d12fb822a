"""What is odd about a pair and no reason to refuse it: said on stderr, and kept in the sidecar."""

import json

import numpy as np
import pytest
import rasterio

from geodamage.output.publication import read_sidecar
from tests.bad_inputs.attempts import row
from tests.conftest import make_model, make_raster
from tests.landscapes import landscape, later

PLACE = landscape(420, 420)
#: Scores of a model that was not tested with a shift above 8 pixels, of which its card makes 4 m.
KEPT = {"footprints_quadratic_kappa": 0.8, "footprints_binary_damaged_f1": 0.8}
STANDS_4_M = {"robustness": {"as it is": KEPT, **{f"shift of {n} pixels": KEPT for n in (4, 8)}}}
SHADOW = slice(10, 410, 8)


def date(path, day):
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="IMAGERY", ACQUISITIONDATETIME=f"2026-02-{day:02}T10:00:00Z")


def masked(folder):
    mask = np.full(PLACE.shape[1:], 255, np.uint8)
    return (
        make_raster(folder / "a.tif", PLACE, nodata=0, mask=mask),
        make_raster(folder / "b.tif", later(PLACE)),
    )


def shifted(folder):
    return make_raster(folder / "a.tif", PLACE), make_raster(folder / "b.tif", later(PLACE, 8, 16))


def swapped(folder):
    return make_raster(folder / "x_after.tif", PLACE), make_raster(
        folder / "x_pre.tif", later(PLACE)
    )


def dated(folder):
    paths = make_raster(folder / "a.tif", PLACE), make_raster(folder / "b.tif", later(PLACE))
    date(paths[0], 8)
    date(paths[1], 6)
    return paths


def leaning(folder):
    paths = make_raster(folder / "a.tif", PLACE), make_raster(folder / "b.tif", later(PLACE))
    item = {"stac_version": "1.0.0", "properties": {"view:off_nadir": 31}}
    paths[1].with_suffix(".json").write_text(json.dumps(item))
    return paths


def shaded(folder):
    pre = PLACE.copy()
    pre[:, SHADOW, 100:160] = 0
    return (
        make_raster(folder / "a.tif", pre, nodata=0),
        make_raster(folder / "b.tif", later(PLACE)),
    )


def saturated(folder):
    post = later(PLACE)
    post[:, :300:2] = 255
    return make_raster(folder / "a.tif", PLACE), make_raster(folder / "b.tif", post)


def grey(folder):
    return (
        make_raster(folder / "a.tif", PLACE),
        make_raster(folder / "b.tif", later(PLACE)[[0, 0, 0]]),
    )


def empty(folder):
    post = later(PLACE)
    post[:, :280] = 0
    return make_raster(folder / "a.tif", PLACE), make_raster(folder / "b.tif", post)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "told"),
    [
        row(18, masked, "has a mask and a nodata value; a pixel is valid only where", name="mask"),
        row(63, shifted, "m that the model tolerates; use --registration apply", name="shift"),
        row(64, swapped, "by their names they are swapped; check them", name="names"),
        row(66, dated, "earlier; are pre and post swapped?", name="dates"),
        row(67, leaning, "b.tif: taken 31 degrees off nadir", name="angle"),
        row(73, shaded, "in spots narrower than 9 pixels; if that is ground", name="dark"),
        row(74, saturated, "of its pixels are fully black or white", name="saturation"),
        row(74, empty, "of the overlap has no data in it", name="no data"),
        row(75, grey, "is it panchromatic, or of a radar?", name="grey"),
    ],
)
def test_what_is_odd_is_said_once_and_kept(attempts, make, told):
    model = make_model(attempts.folder / "m.onnx", scores=STANDS_4_M)
    pre, post = make(attempts.folder)
    output = attempts.out / "b.gpkg"
    result = attempts.run("--min-area", 0, pre=pre, post=post, output=output, model=model)
    assert result.exit_code == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if told in line]
    kept = [text for text in read_sidecar(output)["warnings"] if told in text]
    assert len(said) == len(kept) == 1
    assert said[0] == f"geodamage: warning: {kept[0]}"
