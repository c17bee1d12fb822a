import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geodamage.damage import LABELS
from geodamage.scores.buildings import (
    BuildingScore,
    SizeRecall,
    building_score,
    grading_score,
    match,
    quadratic_kappa,
    size_recall,
)
from geodamage.scores.calibration import Calibration, calibration
from geodamage.scores.metrics import report
from geodamage.scores.pixels import Counts, OfficialScore, official_score
from tests.fakes import SMALL
from tests.official_vectors import COUNTS, VECTORS

OFFICIAL_KEYS = [
    "score", "localization_f1", "damage_f1", "damage_f1_no_damage", "damage_f1_minor_damage",
    "damage_f1_major_damage", "damage_f1_destroyed",
]  # fmt: skip
SEEDS = st.integers(0, 10**6)


def total(images):
    result = OfficialScore.empty()
    for image in images:
        result = result.plus(official_score(*image))
    return result


def plain_score(counts):
    """Work the formula out from counts by its text, without the module."""
    f1 = [2 * tp / (2 * tp + fn + fp) if tp else 0.0 for tp, fn, fp in counts]
    damage = 4 / sum(1 / (f + 1e-6) for f in f1[1:])
    return 0.3 * f1[0] + 0.7 * damage, f1[0], damage, *f1[1:]


def masks(seed, side=12, share=0.5):
    """Draw two random pairs of masks: predictions, then targets."""
    rng = np.random.default_rng(seed)
    located = (rng.random((2, side, side)) < share).astype(np.uint8)
    grades = rng.integers(0, 5, (2, side, side)).astype(np.uint8)
    return located[0], grades[0], located[1], grades[1] * located[1]


def buildings(seed):
    """Draw two index rasters and grades of some of their buildings."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((2, 6, 6)) < 0.4
    truth, found = (ndimage.label(np.kron(m, np.ones((4, 4))))[0] for m in coarse)
    found = np.where(rng.random() < 0.5, found, np.maximum(found, truth))
    grades = [
        {n: int(rng.integers(1, 5)) for n in range(1, index.max() + 1) if rng.random() < 0.8}
        for index in (truth, found)
    ]
    return truth, found, *grades


def scored(truth, found, truth_grades, found_grades):
    return building_score(truth, found, truth_grades=truth_grades, found_grades=found_grades)


@pytest.mark.parametrize("case", VECTORS)
def test_the_score_is_the_official_one(case):
    images, score, damage_f1, localisation_f1, grades = VECTORS[case]
    found = total(images())
    assert found.score == pytest.approx(score, rel=1e-8, abs=1e-9)
    assert found.damage_f1 == pytest.approx(damage_f1, rel=1e-3 if damage_f1 < 1e-4 else 1e-8)
    assert found.localisation.f1 == pytest.approx(localisation_f1, abs=1e-9)
    assert [counts.f1 for counts in found.damage] == pytest.approx(grades, abs=1e-9)
    assert [found.localisation, *found.damage] == COUNTS[case]


@pytest.mark.parametrize("case", COUNTS)
def test_the_figures_are_the_formula_of_the_counts(case):
    localisation, *damage = (Counts(*counts) for counts in COUNTS[case])
    figures = OfficialScore(localisation, tuple(damage)).figures()
    assert list(figures) == OFFICIAL_KEYS
    assert list(figures.values()) == pytest.approx(plain_score(COUNTS[case]), rel=1e-12, abs=1e-15)


@pytest.mark.slow
@SMALL
@given(st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), min_size=5, max_size=5))
def test_the_formula_holds_for_any_counts(counts):
    localisation, *damage = (Counts(*three) for three in counts)
    score = OfficialScore(localisation, tuple(damage))
    assert list(score.figures().values()) == pytest.approx(plain_score(counts), rel=1e-12)
    assert 0 <= score.score <= 1.0000007 + 1e-12
    assert all(0 <= value <= 1.000001 + 1e-12 for value in score.figures().values())


@SMALL
@given(SEEDS, SEEDS)
def test_two_images_score_as_one_image_of_both(first, second):
    both = [np.hstack(pair) for pair in zip(masks(first), masks(second), strict=True)]
    parts = official_score(*masks(first)), official_score(*masks(second))
    assert official_score(*both) == parts[0].plus(parts[1]) == parts[1].plus(parts[0])
    assert parts[0].plus(OfficialScore.empty()) == parts[0]


@SMALL
@given(SEEDS)
def test_the_order_of_pixels_does_not_matter(seed):
    image = masks(seed)
    order = np.random.default_rng(seed).permutation(image[0].size)
    assert official_score(*(m.ravel()[order] for m in image)) == official_score(*image)


@SMALL
@given(SEEDS)
def test_a_prediction_that_is_the_target_is_perfect(seed):
    _, _, located, grades = masks(seed)
    score = official_score(located, grades, located, grades)
    assert all(c.fn == c.fp == 0 for c in (score.localisation, *score.damage))
    assert score.damage_f1_defined == pytest.approx(1.000001)


def test_an_absent_class_collapses_the_official_figure_and_not_the_other():
    score = total(VECTORS["F"][0]())
    assert score.damage_f1 == pytest.approx(4e-6, rel=1e-4)
    assert score.damage_f1_defined == pytest.approx(1.000001)
    classes = score.extras()["classes"]
    assert classes["destroyed"] == {"precision": None, "recall": None, "f1": 0, "defined": False}
    assert classes["major-damage"] == {"precision": 1, "recall": 1, "f1": 1, "defined": True}


def test_nothing_is_defined_where_no_class_occurs():
    extras = OfficialScore.empty().extras()
    assert extras["damage_f1_defined"] is None
    assert not any(figures["defined"] for figures in extras["classes"].values())


def test_rates_of_counts_worked_by_hand():
    counts = Counts(6, 2, 4)
    assert counts.rates() == {"precision": 0.6, "recall": 0.75, "f1": pytest.approx(2 / 3)}
    assert counts.f1_from(8) == counts.f1
    assert counts.f1_from(9) is None
    assert Counts(0, 0, 3).f1_from(0) is None
    assert Counts(0, 0, 3).rates() == {"precision": 0, "recall": None, "f1": 0}


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


@pytest.mark.slow
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


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_halves_of_a_building_only_the_first_matches(turned):
    whole, halves = np.zeros((2, 6, 8), np.int32)
    whole[1:5] = 3
    halves[1:3], halves[3:5] = 2, 1
    if turned:
        assert match(halves, whole) == [(1, 3)]
    else:
        assert match(whole, halves) == [(3, 1)]


def test_what_becomes_of_buildings_worked_by_hand():
    truth, found = np.zeros((2, 4, 32), np.int32)
    for number in range(1, 7):  # six in truth, five of them found
        truth[:3, 4 * number : 4 * number + 3] = number
    found[truth < 6] = truth[truth < 6]
    found[:3, :3] = 7  # there is none
    score = scored(truth, found, {1: 1, 2: 1, 3: 4, 5: 2, 6: 4}, {1: 1, 2: 2, 3: 4, 4: 3, 7: 4})
    assert score.detection == Counts(5, 1, 1)
    assert score.confusion.tolist() == [[1, 1, 0, 0], [0] * 4, [0] * 4, [0, 0, 0, 1]]
    assert score.matched(1) == Counts(1, 1, 0)
    assert score.matched(2) == Counts(0, 0, 1)  # 5 is found, but has no grade there
    assert score.end_to_end(2) == Counts(0, 1, 1)
    assert score.end_to_end(3) == Counts(0, 0, 0)  # 4 has no grade in truth
    assert score.end_to_end(4) == Counts(1, 1, 1)
    assert score.end_to_end(2, 3, 4) == Counts(1, 2, 2)
    figures = score.figures(1)
    assert figures["missed"] == dict(zip(LABELS.values(), (0, 0, 0, 1), strict=True))
    assert figures["spurious"] == dict(zip(LABELS.values(), (0, 0, 0, 1), strict=True))
    assert figures["without_grade"] == {
        "matched_truth": 1, "matched_prediction": 1, "missed": 0, "spurious": 0
    }  # fmt: skip
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["quadratic_kappa"] == pytest.approx(quadratic_kappa([1, 1, 4], [1, 2, 4]))
    assert figures["grades"]["no-damage"]["f1_matched"] == pytest.approx(2 / 3)
    assert figures["grades"]["major-damage"]["f1_matched"] is None
    assert figures["damaged"]["f1_end_to_end"] == pytest.approx(2 / 6)
    # no-damage 2/3 and destroyed 1: the others do not occur among matched buildings.
    assert figures["macro_f1_matched"] == pytest.approx((2 / 3 + 1) / 2)


def test_recall_by_size_worked_by_hand():
    truth = np.zeros((20, 40), int)
    truth[:4, :5], truth[5:15, :10], truth[5:15, 20:30] = 1, 2, 3  # 20, 100 and 100 pixels
    found = np.where(truth == 2, 1, 0)
    # A pixel of half a square metre: 10, 50 and 50 m², and what is 50 m² is not below it.
    sizes = size_recall(truth, found, 0.5)
    assert sizes.truth == (1, 2, 0, 0, 0, 0)
    assert sizes.found == (0, 1, 0, 0, 0, 0)
    assert sizes.plus(sizes).figures(minimum=3)[1] == {
        "low": 50, "high": 100, "truth": 4, "found": 2, "recall": 0.5,
    }  # fmt: skip
    assert sizes.figures(minimum=3)[1]["recall"] is None


def test_buildings_of_any_size_count_once():
    truth = np.ones((8, 8), int)
    assert size_recall(truth, truth, 1e6).found == (0, 0, 0, 0, 0, 1)
    assert size_recall(truth * 0, truth, 1.0) == SizeRecall.empty()


def test_too_few_buildings_give_no_rate():
    truth = [1] * 30 + [4] * 29
    figures = grading_score(truth, truth).figures()
    assert figures["minimum"] == 30
    assert figures["grades"]["no-damage"]["f1_matched"] == 1
    assert figures["grades"]["destroyed"]["f1_matched"] is None
    assert figures["accuracy"] == figures["quadratic_kappa"] == figures["macro_f1_matched"] == 1
    few = grading_score([1, 4], [1, 4]).figures()
    assert few["accuracy"] is few["quadratic_kappa"] is few["macro_f1_end_to_end"] is None


def test_no_buildings_give_no_rate():
    figures = BuildingScore.empty().figures(0)
    rates = [figures["detection"][name] for name in ("precision", "recall", "f1")]
    assert rates == [None] * 3
    assert figures["accuracy"] is figures["quadratic_kappa"] is None


def test_a_grade_that_is_none_is_refused():
    index = np.ones((2, 2), int)
    with pytest.raises(ValueError, match="grade 5"):
        scored(index, index, {1: 5}, {})


@pytest.mark.slow
@SMALL
@given(SEEDS, SEEDS)
def test_buildings_of_two_images_are_those_of_both(first, second):
    a, b = buildings(first), buildings(second)
    sides = []
    for one, other in ((a[0], b[0]), (a[1], b[1])):
        moved = np.where(other > 0, other + 100, 0)
        sides.append(np.vstack([one, np.zeros((1, 24), int), moved]))
    grades = [
        mine | {n + 100: g for n, g in theirs.items()}
        for mine, theirs in ((a[2], b[2]), (a[3], b[3]))
    ]
    assert scored(*sides, *grades) == scored(*a).plus(scored(*b)) == scored(*b).plus(scored(*a))
    assert scored(*a).plus(BuildingScore.empty()) == scored(*a)


@SMALL
@given(SEEDS)
def test_every_building_is_counted_once(seed):
    truth, found, truth_grades, found_grades = buildings(seed)
    score = scored(truth, found, truth_grades, found_grades)
    counts = score.detection
    assert counts.tp + counts.fn == len(np.unique(truth)) - 1
    assert counts.tp + counts.fp == len(np.unique(found)) - 1
    figures = score.figures(1)
    supports = [rates["truth"] for rates in figures["grades"].values()]
    assert sum(supports) == len(truth_grades)
    for rates in (*figures["grades"].values(), figures["damaged"]):
        assert all(r is None or 0 <= r <= 1 for r in (rates["f1_matched"], rates["f1_end_to_end"]))


@pytest.mark.slow
@SMALL
@given(SEEDS)
def test_buildings_that_are_the_truth_are_perfect(seed):
    truth, _, grades, _ = buildings(seed)
    score = scored(truth, truth, grades, grades)
    assert score.detection.fn == score.detection.fp == 0
    figures = score.figures(1)
    rates = [r for g in figures["grades"].values() for r in (g["f1_matched"], g["f1_end_to_end"])]
    assert set(rates) <= {1.0, None}
    assert figures["accuracy"] in (1.0, None)


@pytest.mark.slow
@SMALL
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=60))
def test_gradings_count_as_a_plain_loop_says(pairs):
    truth, said = zip(*pairs, strict=True)
    score = grading_score(truth, said)
    for grade in (1, 2, 3, 4):
        tp = sum(t == s == grade for t, s in pairs)
        size = sum((t == grade) + (s == grade) for t, s in pairs)
        assert score.matched(grade) == score.end_to_end(grade)
        assert score.matched(grade).f1 == pytest.approx(2 * tp / size if size else 0)
    kappa = quadratic_kappa(truth, said)
    assert score.kappa is None if math.isnan(kappa) else score.kappa == pytest.approx(kappa)


def test_calibration_worked_by_hand():
    p = np.array([[0.7, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 1.0], [0.72, 0.2, 0.08, 0.0]])
    score = calibration(p, [1, 4, 2])
    # Two of three in the bin from 0.7, one of them right; one in the last bin, right.
    assert score.ece == pytest.approx(2 / 3 * abs(0.5 - 0.71))
    assert score.brier == pytest.approx((0.3**2 + 0 + 0.72**2) / 3)
    assert score.brier_skill == pytest.approx(1 - score.brier / (2 / 3 * 1 / 3))
    bins = {cell["low"]: cell for cell in score.reliability()}
    assert bins[0.7] == {
        "low": 0.7, "high": 0.8, "buildings": 2, "confidence": pytest.approx(0.71), "accuracy": 0.5
    }  # fmt: skip
    assert bins[0.9]["buildings"] == 1
    assert bins[0.1]["confidence"] is bins[0.1]["accuracy"] is None


def test_certainty_that_is_right_is_calibrated():
    score = calibration(np.eye(4)[[0, 1, 2, 3]], [1, 2, 3, 4])
    assert (score.ece, score.brier, score.brier_skill) == (0, 0, 1)


def test_always_saying_the_share_of_damaged_buildings_has_no_skill():
    score = calibration(np.tile([0.25, 0.25, 0.25, 0.25], (4, 1)), [1, 2, 3, 4])
    assert score.brier_skill == pytest.approx(0)
    assert score.ece == pytest.approx(0)


def test_calibration_of_nothing_is_not_defined():
    for score in (Calibration.empty(), calibration(np.zeros((0, 4)), [])):
        figures = score.figures()
        assert figures["buildings"] == 0
        assert {figures[n] for n in ("ece", "brier", "brier_skill", "damaged_share")} == {None}


@pytest.mark.slow
@SMALL
@given(SEEDS, st.integers(1, 40), st.integers(1, 20))
def test_calibration_adds_up_and_is_that_of_a_plain_loop(seed, count, bins):
    rng = np.random.default_rng(seed)
    p, truth = rng.dirichlet(np.full(4, 0.5), count), rng.integers(1, 5, count)
    whole = calibration(p, truth, bins=bins)
    cut = rng.integers(0, count + 1)
    parts = (calibration(p[s], truth[s], bins=bins) for s in (slice(cut), slice(cut, None)))
    joined = Calibration.empty(bins)
    for part in parts:
        joined = joined.plus(part)
    order = rng.permutation(count)
    for other in (joined, calibration(p[order], truth[order], bins=bins)):
        assert other.buildings == whole.buildings
        assert other.ece == pytest.approx(whole.ece)
        assert other.brier == pytest.approx(whole.brier)
    error = 0.0
    for b in range(bins):
        inside = [i for i in range(count) if min(int(p[i].max() * bins), bins - 1) == b]
        if inside:
            sure = sum(p[i].max() for i in inside) / len(inside)
            right = sum(p[i].argmax() + 1 == truth[i] for i in inside) / len(inside)
            error += len(inside) / count * abs(sure - right)
    assert whole.ece == pytest.approx(error)
    assert 0 <= whole.ece <= 1
    assert 0 <= whole.brier <= 1


def test_calibrations_of_other_bins_do_not_add_up():
    with pytest.raises(ValueError, match=r"longer|shorter"):
        Calibration.empty(10).plus(Calibration.empty(5))


def test_probabilities_of_other_buildings_are_refused():
    with pytest.raises(ValueError, match="need 4 each"):
        calibration(np.zeros((3, 4)), [1, 2])


def test_a_report_is_json_with_the_official_keys_first():
    whole = report(OfficialScore.empty(), BuildingScore.empty(), Calibration.empty())
    assert list(whole)[:7] == OFFICIAL_KEYS
    assert list(whole)[7:] == [
        "damage_f1_defined", "counts", "classes", "buildings", "calibration"
    ]  # fmt: skip
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert "buildings" not in report(OfficialScore.empty(), None, None)
    assert (
        report(OfficialScore.empty(), BuildingScore.empty(), minimum=5)["buildings"]["minimum"] == 5
    )
