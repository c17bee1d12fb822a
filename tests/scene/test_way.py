"""The way to an image is found once for a lattice, and anew for another."""

import numpy as np
from affine import Affine
from pyproj import CRS

from geodamage.scene.image import open_image
from geodamage.scene.lattice import Lattice
from geodamage.scene.shift import LinearShift
from geodamage.scene.way import way_to
from geodamage.windows import Window
from tests.conftest import CORNER, UTM, make_pixels

LEFT, TOP = CORNER


def lattice(pixel):
    return Lattice(CRS.from_user_input(UTM), pixel, LEFT, TOP)


def image_of(path):
    return open_image("pre", path, bands=None, channels=3, scale=None, allow_remote=False)


def test_blocks_of_pixels_and_a_shift_are_on_the_way(raster):
    place = Affine(0.25, 0, LEFT, 0, -0.25, TOP)
    image = image_of(raster("a.tif", make_pixels(64, 48), transform=place))
    way = way_to(image.sheets[0], lattice(0.5))
    assert way.factors == (2, 2)
    assert way.to_sheet is None
    columns, rows = np.array([3.0]), np.array([5.0])
    plain = way.positions(None, columns, rows)
    shift = LinearShift((0.0, 0.0), (2.0, 0.0, 0.0), (-1.0, 0.0, 0.0))
    moved = way.positions(shift, columns, rows)
    assert [float(a[0] - b[0]) for a, b in zip(moved, plain, strict=True)] == [4.0, 2.0]
    image.close()


def test_another_lattice_has_its_own_way(raster, monkeypatch):
    image = image_of(raster("a.tif", make_pixels(64, 48)))
    asked = []
    monkeypatch.setattr(
        "geodamage.scene.image.way_to", lambda *given: asked.append(given) or way_to(*given)
    )
    fine, coarse, window = lattice(0.5), lattice(1.0), Window(2, 3, 8, 9)
    first = image.read(fine, window)
    image.read(coarse, window)
    again = image.read(fine, window)
    image.read(fine, window)
    assert np.array_equal(first.values, again.values)
    assert len(asked) == 3
    image.close()
