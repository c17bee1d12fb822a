import numpy as np
import pytest
from affine import Affine

from geodamage.scene.sheets import absolute, lay_out, pixel_coordinates
from geodamage.scene.tiles import open_tile
from geodamage.windows import Window
from tests.conftest import CORNER, make_pixels


def placed(column, row, size=0.5):
    return Affine(size, 0, CORNER[0] + column * 0.5, 0, -size, CORNER[1] - row * 0.5)


def test_absolute_counts_from_the_origin_of_the_crs():
    transform = absolute(placed(7, 9))
    assert abs(transform.c) < 1e-6
    assert abs(transform.f) < 1e-6
    rotated = Affine(0.5, 0.1, 3, 0.1, -0.5, 4)
    assert absolute(rotated) == rotated


@pytest.mark.parametrize("angle", [0, 30])
def test_pixel_coordinates_invert_the_transform(angle):
    transform = placed(3, 4) @ Affine.rotation(angle)
    columns, rows = np.array([0.0, 7.5]), np.array([2.0, 9.25])
    x = transform.a * columns + transform.b * rows + transform.c
    y = transform.d * columns + transform.e * rows + transform.f
    found = pixel_coordinates(transform, x, y)
    np.testing.assert_allclose(found, [columns, rows], atol=1e-6)


def test_lay_out_gathers_tiles_of_one_lattice(raster):
    places = {"a": (0, 0), "b": (0.5, 0), "c": (40, -8)}
    tiles = [
        open_tile(str(raster(f"{name}.tif", make_pixels(8, 8), transform=placed(*place))), None, 3)
        for name, place in places.items()
    ]
    first, second = lay_out(tiles)
    for tile in tiles:
        tile.dataset.close()
    assert [tile for tile, _ in first.tiles] == [tiles[0], tiles[2]]
    assert [tile for tile, _ in second.tiles] == [tiles[1]]
    windows = [window for _, window in first.tiles]
    assert windows[1] == windows[0].shift(-8, 40)
    assert first.limits == Window(windows[1].row, windows[0].column, 16, 48)
