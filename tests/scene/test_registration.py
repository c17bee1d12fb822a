"""Registration finds known shifts, and says so when it cannot."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.scene.registration import (
    Sight,
    affine_field,
    halves,
    highest_columns,
    measure,
    product_of,
    slow_part,
)
from tests.fakes import SMALL
from tests.landscapes import landscape, later

SIDE = 512
CORNERS = [(row, column) for row in (0, 128, 256) for column in (0, 128, 256)]

PLACES = np.array(CORNERS, np.float64)


def reader(pre, post, valid=None):
    """Return what `measure` reads: nine blocks of two images."""
    grey = [image.mean(0).astype(np.float32) for image in (pre, post)]
    valid = np.ones((SIDE, SIDE), bool) if valid is None else valid

    def read(number, away):
        row, column = CORNERS[number]
        at = cv2.warpAffine(grey[1], np.float32([[1, 0, -away[1]], [0, 1, -away[0]]]), (SIDE, SIDE))
        seen = np.roll(valid, (-away[0], -away[1]), (0, 1)) & valid
        cut = slice(row, row + 256), slice(column, column + 256)
        return Sight(grey[0][cut], at[cut], seen[cut])

    return read


@pytest.mark.slow
@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -5), (-20, 11), (60, -70)])
def test_a_shift_is_measured(down, right):
    place = landscape(SIDE, SIDE)
    found = measure(PLACES, reader(place, later(place, down, right)))
    assert found.is_known
    assert (found.row, found.column) == pytest.approx((down, right), abs=0.3)
    assert found.agree > 0.5
    assert found.spread < 1


@pytest.mark.slow
def test_a_part_of_a_pixel_is_measured():
    place = landscape(SIDE, SIDE)
    moved = np.stack([
        cv2.warpAffine(plane, np.float32([[1, 0, 2.4], [0, 1, -1.3]]), (SIDE, SIDE))
        for plane in place
    ])  # fmt: skip
    found = measure(PLACES, reader(place, moved))
    assert (found.row, found.column) == pytest.approx((-1.3, 2.4), abs=0.15)


@pytest.mark.slow
def test_clouds_do_not_mislead_it():
    place = landscape(SIDE, SIDE)
    post = later(place, 7, 4)
    post[:, :300, :300] = 240 + landscape(300, 300, 8) // 32
    found = measure(PLACES, reader(place, post))
    assert (found.row, found.column) == pytest.approx((7, 4), abs=0.3)


@pytest.mark.slow
def test_a_wedge_without_data_in_both_does_not_hold_it_still():
    place = landscape(SIDE, SIDE)
    post = later(place, 9, -6)
    valid = np.add.outer(np.arange(SIDE), np.arange(SIDE)) > 420
    pre, post = (np.where(valid, image, 0) for image in (place, post))
    found = measure(PLACES, reader(pre, post, valid))
    assert (found.row, found.column) == pytest.approx((9, -6), abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_another_place_has_no_shift(seed):
    found = measure(PLACES, reader(landscape(SIDE, SIDE, seed), landscape(SIDE, SIDE, seed + 50)))
    assert not found.is_known
    assert "in post looks like pre" in found.reason or "in different ways" in found.reason


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 130.0, 255.0])
def test_nothing_to_see_is_no_shift(value):
    flat = np.full((3, SIDE, SIDE), value)
    found = measure(PLACES, reader(landscape(SIDE, SIDE), flat))
    assert not found.is_known
    assert not found.is_unlike
    assert found.blocks == 0


def test_inputs_are_left_alone():
    sight = reader(*[landscape(SIDE, SIDE)] * 2)(0, (0, 0))
    before = sight.pre.copy(), sight.post.copy()
    product_of(sight)
    assert np.array_equal(before[0], sight.pre)
    assert np.array_equal(before[1], sight.post)


def test_a_small_block_is_not_measured():
    grey = landscape(64, 64).mean(0).astype(np.float32)
    assert product_of(Sight(grey, grey, np.ones((64, 64), bool))) is None


@pytest.mark.slow
def test_parts_that_lie_off_in_different_ways_are_no_shift():
    place = landscape(SIDE, SIDE)
    ways = ((0, -40), (0, 35), (30, 0), (-30, 5))
    parts = [later(place, *way)[:, :, 128 * n : 128 * n + 128] for n, way in enumerate(ways)]
    post = np.concatenate(parts, axis=2)
    found = measure(PLACES, reader(place, post))
    assert not found.is_known
    assert found.reason == "parts of post are shifted in different ways"


@pytest.mark.slow
def test_what_most_of_the_ground_says_is_the_shift_and_its_error_is_said():
    place = landscape(SIDE, SIDE)
    post = later(place, 6, -9)
    post[:, 384:] = later(place, -15, 20)[:, 384:]
    found = measure(PLACES, reader(place, post))
    assert (found.row, found.column) == pytest.approx((6, -9), abs=0.5)
    assert 0 <= found.error < 2


def test_halves_of_blocks_that_agree_have_one_peak_and_others_have_theirs():
    surfaces = np.zeros((6, 31, 41), np.float32)
    surfaces[:, 10, 25] = 1
    assert (halves(surfaces) == (10 - 15, 25 - 20)).all()
    for number, surface in enumerate(surfaces):
        surface[:] = 0
        surface[5 * number, 5 * number] = 1 + number / 10
    assert len(np.unique(halves(surfaces), axis=0)) > 1


def test_the_highest_of_each_half_is_found_part_by_part():
    surfaces = np.random.default_rng(1).normal(size=(7, 101, 97)).astype(np.float32)
    weights = np.random.default_rng(2).random((5, 7)).astype(np.float32)
    flat = surfaces.reshape(7, -1)
    assert np.array_equal(highest_columns(weights, flat), (weights @ flat).argmax(1))


@pytest.mark.parametrize("shape", [(256, 256), (233, 250)])
def test_the_slow_part_of_an_image_is_what_a_gaussian_leaves(shape):
    image = landscape(*shape).mean(0, dtype=np.float32)
    expected = cv2.GaussianBlur(image, (0, 0), 8)
    inner = np.s_[24:-24, 24:-24]
    assert np.abs(slow_part(image) - expected)[inner].max() < 0.06 * image.std()


@pytest.mark.slow
def test_what_is_compared_is_named():
    flat = np.full((3, SIDE, SIDE), 90.0)
    found = measure(PLACES, reader(landscape(SIDE, SIDE), flat), "the footprints", "pre")
    assert found.reason == "pre and the footprints show nothing with enough detail"


def test_a_field_that_changes_from_place_to_place_is_found_and_an_outlier_is_not():
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(5.0), np.arange(5.0)))
    places = np.column_stack([x, y])
    shifts = np.column_stack([1 + 0.5 * x, -2 + 0.3 * y])
    shifts[7] = 40
    field = affine_field(places, shifts)
    assert field == pytest.approx(np.array([[1, -2], [0.5, 0], [0, 0.3]]), abs=0.05)


@pytest.mark.slow
@SMALL
@given(st.integers(0, 2**32 - 1))
def test_one_shift_with_noise_is_no_field(seed):
    generator = np.random.default_rng(seed)
    places = generator.uniform(0, 1000, (25, 2))
    assert affine_field(places, generator.normal([3, 4], 1, (25, 2))) is None


def test_few_blocks_are_no_field():
    assert affine_field(np.zeros((7, 2)), np.zeros((7, 2))) is None
