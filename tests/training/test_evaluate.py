import numpy as np
import pytest

from geodamage.damage import NOT_ASSESSED
from training.chips import LabelledPair
from training.evaluate import tally, truth_of

SIZE = 48


def labelled(name="storm_1"):
    """Return a pair with a destroyed house, one of mixed grades, and one without a grade."""
    buildings, damage = np.zeros((2, SIZE, SIZE), np.uint8)
    for row, grade in ((2, 4), (18, 1), (34, NOT_ASSESSED)):
        buildings[row : row + 10, 4:20] = 1
        damage[row : row + 10, 4:20] = grade
    damage[18:20, 4:20] = 3  # the least part of the second
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    flat = np.ones((SIZE, SIZE), np.float32)
    return LabelledPair(name, image, image, buildings, flat, damage, flat, np.zeros((0, 3), int))


def saying(grades):
    """Return a predictor that finds every building and says these grades."""

    def predict(pre, post):
        damage = np.stack([np.where(grades == grade, 0.7, 0.1) for grade in range(1, 5)])
        return np.where(labelled().buildings, 0.9, 0.1), damage

    return predict


def test_a_building_has_the_grade_of_most_of_its_pixels():
    truth = truth_of(labelled())
    assert sorted(truth.grades.values()) == [1, 4]
    assert truth.damage.max() == 4
    assert truth.index.max() == 3


def test_every_figure_of_a_right_predictor():
    right = np.where(labelled().damage == NOT_ASSESSED, 2, labelled().damage)
    row = tally([labelled("a_1"), labelled("a_2")], saying(right)).row()
    assert row["f1_building"] == row["recall"] == row["precision"] == row["kappa"] == 1
    assert [row[f"f1_{name}"] for name in ("none", "major", "destroyed")] == [1, 1, 1]
    assert row["f1_minor"] == 0
    assert list(row)[:2] == ["f1_building", "f1_damage"]


def test_a_wrong_grade_costs_agreement():
    row = tally([labelled()], saying(np.full((SIZE, SIZE), 4))).row()
    assert row["kappa"] == pytest.approx(0)
    assert row["f1_none"] == 0 < row["f1_destroyed"] < 1


def test_specks_are_no_buildings_and_no_kappa_is_not_zero():
    def speck(pre, post):
        localisation = np.zeros((SIZE, SIZE))
        localisation[40:43, 40:45] = 1
        return localisation, np.ones((4, SIZE, SIZE))

    row = tally([labelled()], speck).row()
    assert row["precision"] == row["recall"] == 0
    assert np.isnan(row["kappa"])
