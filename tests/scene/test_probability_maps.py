import numpy as np
import pytest

from geodamage.codes import MAP_UNKNOWN
from geodamage.errors import SceneError, SceneReadError
from geodamage.scene.lattice import Lattice
from geodamage.scene.probability_maps import open_map
from geodamage.windows import Window
from tests.conftest import CORNER, make_raster


def read(path, rows=4, columns=6):
    """Read a map on the lattice that `make_raster` writes on."""
    saved = open_map(path)
    try:
        lattice = Lattice(saved.image.first.grid.crs, 0.5, 0.0, 0.0)
        place = Window(round(-CORNER[1] / 0.5), round(CORNER[0] / 0.5), rows, columns)
        return saved.read(lattice, place)
    finally:
        saved.close()


def scaled(path, array, scale):
    import rasterio

    make_raster(path, array, nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (scale,) * dataset.count
    return path


VALUES = np.array([[0, 10, 100, 200, 250, 30]] * 4, np.uint8)


def test_bytes_with_their_scale_are_what_we_write(tmp_path):
    codes = VALUES.copy()
    codes[1, 1] = 255
    found = read(scaled(tmp_path / "m.tif", codes[None], 1 / 250))
    assert np.array_equal(found, np.where(codes == 255, MAP_UNKNOWN, codes))


def test_bytes_without_a_scale_go_to_255(tmp_path):
    found = read(make_raster(tmp_path / "m.tif", VALUES[None]))
    assert np.array_equal(found, np.rint(VALUES / 255 * 250))


def test_black_is_a_probability_and_no_collar(tmp_path):
    blank = np.zeros((1, 40, 40), np.uint8)
    blank[0, 30:, 30:] = 200
    found = read(make_raster(tmp_path / "m.tif", blank), 40, 40)
    assert found[0, 0] == 0
    assert MAP_UNKNOWN not in found


def test_floats_are_shares_and_nan_is_unknown(tmp_path):
    shares = (VALUES / 250).astype(np.float32)
    shares[0, 0] = np.nan
    found = read(make_raster(tmp_path / "m.tif", shares[None]))
    assert found[0, 0] == MAP_UNKNOWN
    assert np.abs(found.astype(int) - VALUES)[1:].max() <= 1


def test_graded_probabilities_are_turned_round(tmp_path):
    channels = np.stack([250 - VALUES, *[VALUES // 4] * 4])
    assert np.array_equal(read(scaled(tmp_path / "m.tif", channels, 1 / 250)), VALUES)


def test_beyond_a_map_nothing_is_known(tmp_path):
    found = read(make_raster(tmp_path / "m.tif", VALUES[None]), 6, 6)
    assert (found[4:] == MAP_UNKNOWN).all()
    assert (found[:4] != MAP_UNKNOWN).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.eye(8, dtype=np.uint8)[None], "holds 0 and 1 alone, so it is a mask"),
        (np.full((1, 8, 8), 1.5, np.float32), "a probability is 0-1"),
        (np.full((1, 8, 8), -0.5, np.float32), "a probability is 0-1"),
        (np.ones((3, 8, 8), np.uint8), r"3 channels of uint8; a probability map has one"),
        (np.ones((1, 8, 8), np.uint16), r"1 channel of uint16"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path, array, message):
    with pytest.raises(SceneError, match=message):
        open_map(make_raster(tmp_path / "m.tif", array))


def test_a_map_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SceneReadError, match="no such file"):
        open_map(tmp_path / "gone.tif")
