import numpy as np
import pytest

from geodamage.buildings import Grading
from training.calibrate import (
    Found,
    bootstrap_kappa,
    building_f1,
    calibration_error,
    choose_damaged,
    choose_grading,
    grade_f1,
)


def found(votes, grades, truth=None, predicted=None):
    count = len(grades)
    return Found(
        "a", truth or count, predicted or count, count, np.array(votes, float), np.array(grades)
    )


RIGHT = np.eye(4)[[0, 0, 1, 2, 3, 3]] * 8 + 1
GRADES = [1, 1, 2, 3, 4, 4]


def test_f1_of_buildings_counts_missed_and_false_ones():
    assert building_f1([found(RIGHT, GRADES, truth=10, predicted=8)]) == pytest.approx(12 / 18)


def test_weights_stay_at_one_where_every_grade_is_right():
    assert choose_grading([found(RIGHT, GRADES)]).weights == (1.0, 1.0, 1.0, 1.0)


def test_a_grade_that_is_voted_too_low_gets_more_weight():
    votes = np.array([[6, 1, 1, 1]] * 6 + [[4, 3, 1, 1]] * 6, float)
    grading = choose_grading([found(votes, [1] * 6 + [2] * 6)])
    assert grading.weights[1] > 1
    assert list(grading.columns(votes)["damage_class"]) == [1] * 6 + [2] * 6


def test_votes_that_are_too_sure_are_cooled():
    votes = np.array([[97, 1, 1, 1]] * 10, float)
    unsure = choose_grading([found(votes, [1] * 6 + [2] * 4)])
    assert unsure.temperature > 1


def test_f1_of_each_grade():
    scores = grade_f1(np.array([1, 1, 2, 4]), np.array([1, 2, 2, 4]))
    assert scores["no-damage"] == pytest.approx(2 / 3)
    assert scores["minor-damage"] == pytest.approx(2 / 3)
    assert scores["destroyed"] == 1
    assert np.isnan(scores["major-damage"])


def test_calibration_error_of_a_coin():
    p = np.array([[0.75, 0.25, 0, 0]] * 4)
    assert calibration_error(p, np.array([1, 1, 1, 2])) == pytest.approx(0)
    assert calibration_error(p, np.array([2, 2, 2, 2])) == pytest.approx(0.75)


def test_the_interval_of_kappa_holds_kappa():
    rng = np.random.default_rng(0)
    sets = []
    for _ in range(8):
        grades = rng.integers(1, 5, 20)
        said = np.where(rng.random(20) < 0.7, grades, rng.integers(1, 5, 20))
        sets.append(found(np.eye(4)[said - 1] + 0.1, grades))
    low, high = bootstrap_kappa(sets, Grading())
    assert 0.3 < low < high < 1


def test_the_damaged_threshold_parts_damaged_from_not():
    votes = np.array([[8, 2, 0, 0], [7, 3, 0, 0], [3, 3, 3, 1], [1, 1, 1, 7]], float)
    threshold = choose_damaged([found(votes, [1, 1, 2, 4])], Grading())
    assert 0.3 < threshold <= 0.7
