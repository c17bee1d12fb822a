"""Damage by wind over chips: drawn where the grade changes, more of it for worse grades."""

import cv2
import numpy as np
import pytest

from training.data.crops import ChipOptions, assemble, cut
from training.data.winds import struck

SEEDS = range(15)


@pytest.fixture
def town():
    """Houses on a lawn: the post image, and their grades."""
    image = np.full((192, 192, 3), (110, 125, 95), np.uint8)
    damage = np.zeros((192, 192), np.uint8)
    for row in range(24, 170, 60):
        for column in range(24, 170, 60):
            damage[row : row + 24, column : column + 28] = 1
            image[row : row + 24, column : column + 28] = (70, 74, 80)
    damage[24:48, 24:52] = 3
    return image, damage


def test_worse_grades_show_more_damage(town):
    image, damage = town
    shares: dict[int, list[float]] = {1: [], 2: [], 3: [], 4: []}
    labels = cv2.connectedComponents((damage == 1).astype(np.uint8))[1]
    for seed in SEEDS:
        strike = struck(image, damage, (0, 0), np.random.default_rng(seed))
        assert (strike.damage[damage != 1] == damage[damage != 1]).all()
        assert np.array_equal(strike.changed, strike.damage != damage)
        differs = np.abs(strike.post.astype(int) - image).max(2) > 10
        for building in range(1, labels.max() + 1):
            inside = labels == building
            (grade,) = np.unique(strike.damage[inside])
            shares[int(grade)].append(float(differs[inside].mean()))
    medians = [float(np.median(shares[grade])) for grade in (1, 2, 3, 4)]
    assert medians[0] < 0.05  # rubble of a neighbour may lie there
    assert medians[0] < medians[1] < medians[2] < medians[3]
    assert medians[3] > 0.9


def test_damage_moves_with_post(town):
    image, damage = town
    moved = np.roll(image, (7, -11), (0, 1))
    still, shifted = (
        struck(post, damage, by, np.random.default_rng(3))
        for post, by in ((image, (0.0, 0.0)), (moved, (-11.0, 7.0)))
    )
    assert np.array_equal(still.damage, shifted.damage)
    a = np.abs(np.roll(still.post, (7, -11), (0, 1)).astype(int) - moved).max(2) > 10
    b = np.abs(shifted.post.astype(int) - moved).max(2) > 10
    assert (a & b)[20:-20, 20:-20].sum() > 0.6 * a[20:-20, 20:-20].sum()


def test_pixels_without_data_stay(town):
    image, damage = town
    image[:60] = 0
    for seed in SEEDS:
        assert not struck(image, damage, (0, 0), np.random.default_rng(seed)).post[:60].any()
    nothing = np.zeros_like(image)
    assert not struck(nothing, damage, (0, 0), np.random.default_rng(0)).post.any()


def test_chips_ask_for_wind(town):
    image, damage = town
    index = cv2.connectedComponents((damage > 0).astype(np.uint8))[1]
    pair = assemble("x", image, image, (index, index, damage, [(80, 80, 1)]))
    grades = set()
    for seed in range(12):
        calm, stormy = (
            cut(pair, (96, 96), ChipOptions(crop=128, wind=w), np.random.default_rng(seed))
            for w in (0.0, 1.0)
        )
        for name in ("buildings", "weights", "vote"):
            assert np.array_equal(getattr(calm, name), getattr(stormy, name))
        fallen = (stormy.damage == 4) & (calm.damage == 1)
        if fallen.any():  # shifts move post by some pixels against the labels
            assert (stormy.buildings_post[fallen] != 1).mean() > 0.6
        grades |= set(np.unique(stormy.damage).tolist())
    assert {2, 3, 4} <= grades
