import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.buildings import packing
from geodamage.buildings.components import Patch
from geodamage.buildings.packing import pack, shelve
from geodamage.windows import Window
from tests.fakes import SMALL


@SMALL
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=40))
def test_boxes_lie_on_the_raster_with_a_pixel_between_them(shapes):
    places, (height, width) = shelve(shapes)
    used = np.zeros((height, width), int)
    for (row, column), (rows, columns) in zip(places, shapes, strict=True):
        box = slice(row, row + rows), slice(column, column + columns)
        assert used[box].shape == (rows, columns)
        around = used[max(row - 1, 0) : row + rows + 1, max(column - 1, 0) : column + columns + 1]
        assert not around.any()
        used[box] = 1


def patch_of(row, column, *, side=4):
    labels = np.zeros((side, side), np.int32)
    labels[:2, :2], labels[-1, -1] = 1, 2
    rng = np.random.default_rng(row)
    probabilities = rng.random((5, side, side), np.float32)
    missing = rng.integers(0, 9, (side, side)).astype(np.uint8)
    return Patch(Window(row, column, side, side), labels, 2, probabilities, missing)


def test_patches_are_together_and_every_pixel_knows_its_place():
    patches = [patch_of(10, 20), patch_of(50, 7, side=9), patch_of(90, 3)]
    (packed,) = pack(patches)
    assert packed.count == 6
    assert packed.patch.tolist() == [0, 0, 0, 1, 1, 2, 2]
    for number in range(1, 7):
        patch = patches[packed.patch[number]]
        own, there = np.argwhere(packed.labels == number), packed.corner[number]
        first = patch.window.row, patch.window.column
        before = np.argwhere(patch.labels == number - 2 * packed.patch[number])
        assert np.array_equal(own + there, before + first)
        for array, whole in (
            (packed.missing, patch.missing),
            (packed.probabilities[3], patch.probabilities[3]),
        ):
            assert np.array_equal(array[tuple(own.T)], whole[tuple(before.T)])


@pytest.mark.parametrize(("name", "rasters"), [("LARGE", 3), ("MOST", 3)])
def test_what_is_large_stays_apart_and_in_order(name, rasters, monkeypatch):
    monkeypatch.setattr(packing, name, 15)
    patches = [patch_of(1, 1), patch_of(2, 1), patch_of(3, 1)]
    found = list(pack(patches))
    assert len(found) == rasters
    assert [int(packed.corner[1, 0]) for packed in found] == [1, 2, 3]


def test_nothing_is_packed_of_nothing():
    assert list(pack([])) == []
