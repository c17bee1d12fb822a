"""The benchmark of looking lays a pair side by side, and each copy of post lies as the first."""

import numpy as np
import pytest
import rasterio

from benchmarks.looking import laid
from geodamage.grid import GsdRange
from tests.conftest import make_pixels


@pytest.mark.filterwarnings("ignore::geodamage.errors.GeodamageWarning")
def test_copies_lie_as_the_first(raster, tmp_path):
    pair = raster("a.tif", make_pixels(64, 48)), raster("b.tif", make_pixels(64, 48)[:, :, ::-1])
    (tmp_path / "laid").mkdir()
    gsd = GsdRange(0.5, 0.3, 1.0)
    found = laid(*pair, 3, tmp_path / "laid", gsd=gsd, off=10.0)
    with rasterio.open(found[0]) as pre, rasterio.open(found[1]) as post:
        images = pre.read(), post.read()
        east = post.transform.c - pre.transform.c
        assert pre.crs == post.crs
    assert east == pytest.approx(10 + 0.5 / 3, abs=0.01)
    for image in images:
        assert image.shape == (3, 192, 144)
        assert np.array_equal(image[:, :64, :48], image[:, 128:, 96:])
