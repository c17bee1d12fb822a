"""Floods over chips: water where it is drawn, roofs as they were, grades by what surrounds them."""

import cv2
import numpy as np
import pytest

from training.data.crops import ChipOptions, assemble, cut
from training.data.floods import RING, flooded

SEEDS = range(20)


@pytest.fixture
def town():
    """Houses on a lawn: the post image, and their grades."""
    rng = np.random.default_rng(5)
    image = np.full((192, 192, 3), (150, 160, 130), np.uint8)
    image = (image + rng.integers(-3, 4, image.shape)).astype(np.uint8)
    damage = np.zeros((192, 192), np.uint8)
    for row in range(20, 170, 48):
        for column in range(20, 170, 48):
            damage[row : row + 20, column : column + 24] = 1
            image[row : row + 20, column : column + 24] = 200
    damage[20:40, 20:44] = 4
    return image, damage


def _buildings(damage):
    number, labels = cv2.connectedComponents((damage > 0).astype(np.uint8))
    for building in range(1, number):
        inside = labels == building
        around = cv2.dilate(inside.astype(np.uint8), np.ones((2 * RING + 1,) * 2, np.uint8)) > 0
        yield inside, around & (damage == 0)


def test_grades_follow_the_water_around(town):
    image, damage = town
    told = dict.fromkeys((1, 2, 3, 4, 255), 0)
    for seed in SEEDS:
        flood = flooded(image, damage, (0, 0), np.random.default_rng(seed))
        changed = np.abs(flood.post.astype(int) - image).max(2) > 12
        for inside, around in _buildings(damage):
            (grade,) = np.unique(flood.damage[inside])
            if damage[inside][0] == 4:
                assert grade == 4
                continue
            told[int(grade)] += 1
            share = changed[around].mean()
            if grade in (3, 4):
                assert share > 0.6
            elif grade == 1:
                assert share < 0.15
            if grade != 4:  # the roof stands above the water
                core = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
                assert np.array_equal(flood.post[core], image[core])
                assert not flood.covered[inside].any()
            else:
                assert flood.covered[inside].all()
    assert min(told.values()) > 2


def test_what_differs_is_told(town):
    image, damage = town
    for seed in SEEDS:
        flood = flooded(image, damage, (0, 0), np.random.default_rng(seed))
        assert flood.wet[flood.damage != damage].all()
        dry = cv2.erode((~flood.wet).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert np.abs(flood.post.astype(int) - image)[dry].max(initial=0) <= 12


def test_water_moves_with_post(town):
    image, damage = town
    moved = np.roll(image, (6, -9), (0, 1))
    for seed in SEEDS:
        flood = flooded(moved, damage, (-9, 6), np.random.default_rng(seed))
        roofs = np.roll((damage == 1) & (flood.damage < 4), (6, -9), (0, 1))
        core = cv2.erode(roofs.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        core[:, -12:] = core[:12] = False
        assert np.array_equal(flood.post[core], moved[core])


def test_pixels_without_data_stay(town):
    image, damage = town
    image[:, :30] = 0
    for seed in SEEDS:
        assert not flooded(image, damage, (0, 0), np.random.default_rng(seed)).post[:, :30].any()


def test_chips_ask_for_floods(town):
    image, damage = town
    index = cv2.connectedComponents((damage > 0).astype(np.uint8))[1]
    pair = assemble("x", image, image, (index, index, damage, [(80, 80, 1)]))
    grades = set()
    for seed in range(12):
        dry, wet = (
            cut(pair, (96, 96), ChipOptions(crop=128, flood=f), np.random.default_rng(seed))
            for f in (0.0, 1.0)
        )
        assert set(np.unique(dry.damage)) <= {0, 1, 4}
        for name in ("buildings", "weights"):  # of pre, which was dry
            assert np.array_equal(getattr(dry, name), getattr(wet, name))
        assert (wet.vote[wet.damage == 255] == 0).all()
        grades |= set(np.unique(wet.damage).tolist())
    assert {2, 3} <= grades
