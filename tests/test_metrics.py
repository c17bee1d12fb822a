import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geodamage.metrics import Counts, match, official_score, quadratic_kappa
from tests.fakes import SMALL

Y, X = np.mgrid[:1024, :1024]


def located(k):
    return (((X + 64 * k) // 64 + Y // 64) % 3 == 0).astype(np.uint8)


def damaged(k):
    grades = 1 + ((X + 128 * k) // 128 + 2 * (Y // 128) + k) % 4
    return (located(k) * grades).astype(np.uint8)


def same(k):
    return located(k), damaged(k), located(k), damaged(k)


def shifted(k):
    return np.roll(located(k), 8, 1), np.roll(damaged(k), 8, 1), located(k), damaged(k)


def confused():
    turned = damaged(0).copy()
    other = (turned > 0) & ((X + Y) % 5 == 0)
    turned[other] = turned[other] % 4 + 1
    return located(0), turned, located(0), damaged(0)


def gated():
    found = located(0)
    found[:, :512] = 0
    return found, damaged(0), located(0), damaged(0)


def all_of_one():
    ones = np.ones((1024, 1024), np.uint8)
    return ones, ones, located(0), damaged(0)


def class_absent():
    found, grades = located(0), damaged(0)
    found[grades == 4] = 0
    grades[grades == 4] = 0
    return found, grades, found, grades


def empty_image():
    found, nothing = np.zeros((2, 1024, 1024), np.uint8)
    found[:256, :256] = 1
    return found, found * 3, nothing, nothing


def empty_prediction():
    nothing = np.zeros((1024, 1024), np.uint8)
    return nothing, nothing, located(0), damaged(0)


def targets_differ():
    target = damaged(0)
    target[:, :512] = 0
    return located(0), damaged(0), located(0), target


# Source: run of the official script, reference/systems.md section 1.3: images, score, damage F1,
# localisation F1, F1 of each grade.
VECTORS = {
    "A": (lambda: [same(0), same(1)], 1.0000007, 1.000001, 1, [1, 1, 1, 1]),
    "B": (
        lambda: [shifted(0), shifted(1)],
        0.91547261,
        0.929371899,
        0.883040936,
        [0.933333333, 0.926153846, 0.933333333, 0.924731183],
    ),
    "C": (
        lambda: [confused()],
        0.859970682,
        0.799958117,
        1,
        [0.8036632, 0.800002219, 0.796200196, 0.799997675],
    ),
    "D": (
        lambda: [gated()],
        0.665023349,
        0.66431907,
        0.666666667,
        [0.705882353, 0.625, 0.64516129, 0.6875],
    ),
    "E": (lambda: [all_of_one()], 0.150878126, 1.333e-06, 0.502923977, [0.407407407, 0, 0, 0]),
    "F": (lambda: [class_absent()], 0.3000028, 4.0e-06, 1, [1, 1, 1, 0]),
    "G": (lambda: [same(0), empty_image()], 0.974468785, 1.000001, 0.914893617, [1, 1, 1, 1]),
    "H": (lambda: [(damaged(1),) * 4], 1.0000007, 1.000001, 1, [1, 1, 1, 1]),
    "I": (lambda: [empty_prediction()], 7e-07, 1e-06, 0, [0, 0, 0, 0]),
    "J": (lambda: [targets_differ()], 1.0000007, 1.000001, 1, [1, 1, 1, 1]),
}
COUNTS = {
    "A": [
        (700416, 0, 0),
        *[(180224, 0, 0), (176128, 0, 0), (167936, 0, 0), (176128, 0, 0)],
    ],
    "B": [
        (618496, 81920, 81920),
        *[(157696, 22528, 0), (154112, 22016, 2560), (146944, 20992, 0), (154112, 22016, 3072)],
    ],
    "C": [
        (352256, 0, 0),
        (72091, 18021, 17203),
        (72089, 18023, 18021),
        (68812, 17204, 18023),
        (68813, 17203, 17204),
    ],
    "D": [
        (176128, 176128, 0),
        *[(49152, 40960, 0), (40960, 49152, 0), (40960, 45056, 0), (45056, 40960, 0)],
    ],
    "E": [
        (352256, 0, 696320),
        *[(90112, 0, 262144), (0, 90112, 0), (0, 86016, 0), (0, 86016, 0)],
    ],
}


def total(images):
    scores = [official_score(*image) for image in images]
    result = scores[0]
    for score in scores[1:]:
        result = result.plus(score)
    return result


@pytest.mark.parametrize("case", VECTORS)
def test_the_score_is_the_official_one(case):
    images, score, damage_f1, localisation_f1, grades = VECTORS[case]
    found = total(images())
    assert found.score == pytest.approx(score, rel=1e-8, abs=1e-9)
    assert found.damage_f1 == pytest.approx(damage_f1, rel=1e-3 if damage_f1 < 1e-4 else 1e-8)
    assert found.localisation.f1 == pytest.approx(localisation_f1, abs=1e-9)
    assert [counts.f1 for counts in found.damage] == pytest.approx(grades, abs=1e-9)
    if case in COUNTS:
        assert [found.localisation, *found.damage] == COUNTS[case]


def test_counts_add_up():
    assert Counts(1, 2, 3).plus(Counts(10, 20, 30)) == Counts(11, 22, 33)
    assert Counts(0, 5, 5).f1 == 0
    assert Counts(2, 1, 1).f1 == pytest.approx(2 / 3)


def test_kappa_of_a_table_worked_by_hand():
    # Two of grade 1 as 1, one of 1 as 2, one of 4 as 4: squared distances sum to 1. By chance,
    # rows (3, 0, 0, 1) and columns (2, 1, 0, 1) over 4: 3/4 * (1 * 1 + 1 * 9) + 1/4 * (2 * 9 + 4).
    assert quadratic_kappa([1, 1, 1, 4], [1, 1, 2, 4]) == pytest.approx(1 - 1 / 13)


def test_kappa_is_one_for_agreement_and_minus_one_for_its_opposite():
    assert quadratic_kappa([1, 2, 3, 4], [1, 2, 3, 4]) == 1
    assert quadratic_kappa([1, 4], [4, 1]) == -1


def test_kappa_of_one_grade_only_is_not_a_number():
    assert math.isnan(quadratic_kappa([2, 2], [2, 2]))
    assert math.isnan(quadratic_kappa([], []))


def test_buildings_match_at_half_their_union():
    truth, found = np.zeros((2, 10, 20), np.int32)
    truth[0:4, 0:4] = 1
    truth[6:10, 0:4] = 2
    found[0:4, 0:8] = 7  # half: still one
    found[6:10, 0:9] = 3  # less
    assert match(truth, found) == [(1, 7)]
    assert match(truth, found, 0.51) == []
    assert match(truth, np.zeros_like(found)) == []


def test_a_match_below_a_half_is_refused():
    with pytest.raises(ValueError, match="unique"):
        match(np.zeros((2, 2), int), np.zeros((2, 2), int), 0.4)


@SMALL
@given(st.integers(0, 10**6), st.floats(0.5, 1))
def test_matches_are_those_of_a_plain_count(seed, threshold):
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, 6, 6)) < 0.4
    truth, found = (ndimage.label(np.kron(m, np.ones((4, 4))))[0] for m in coarse)
    found = np.roll(found, 1, 1)
    expected = []
    for i in range(1, truth.max() + 1):
        for j in range(1, found.max() + 1):
            union = ((truth == i) | (found == j)).sum()
            if ((truth == i) & (found == j)).sum() / union >= threshold:
                expected.append((i, j))
    assert match(truth, found, threshold) == expected
    assert len(dict(expected)) == len(expected)
