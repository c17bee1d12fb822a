import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.adaptation.head import Priors
from geodamage.adaptation.validation import (
    RESAMPLINGS,
    answers_to_show,
    areas_under_curve,
    blocks_of,
    compare,
    likeliest_threshold,
    out_of_block,
)
from geodamage.reviews.agreement import weighted_kappa
from tests.adaptation.made_results import make_said, make_truth
from tests.fakes import SMALL

TRUTH = make_truth(80)
SAID = make_said(TRUTH, 1.5)
HALF = 0.5, 0.5


@pytest.mark.parametrize(("count", "blocks"), [(80, 8), (40, 8), (20, 4), (10, 2), (5, 1), (0, 1)])
def test_blocks_hold_about_as_many_places(count, blocks):
    place = np.random.default_rng(0).normal(size=(count, 2))
    found = np.bincount(blocks_of(place))
    assert len(found) == (blocks if count else 0)
    assert count == 0 or np.ptp(found) <= 1


def test_blocks_do_not_interleave():
    place = np.random.default_rng(0).uniform(size=(64, 2))
    found = blocks_of(place)
    boxes = [(place[found == b].min(0), place[found == b].max(0)) for b in range(8)]
    for first, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[first + 1 :]:
            assert ((other_low > high) | (other_high < low)).any()


def test_blocks_of_equal_places_are_blocks():
    assert len(np.unique(blocks_of(np.zeros((40, 2))))) == 8


def test_no_answer_is_graded_by_a_head_that_has_seen_it():
    # Each building has a feature of its own: what was seen is known by heart, and nothing else.
    components = np.eye(16) * 5
    grades = np.tile([1, 4], 8)
    said = np.full((16, 4), 0.25)
    blocks = np.arange(16) // 2
    told = out_of_block(said, components, grades, blocks, Priors(features=10.0))
    rest = said[0]
    assert np.abs(told[:, 1:].sum(1) - rest[1:].sum()).max() < 0.2


@SMALL
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_the_area_is_how_often_the_damaged_one_has_the_higher_score(pairs):
    score, damaged = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    yes, no = score[damaged], score[~damaged]
    wins = [(a > b) + (a == b) / 2 for a in yes for b in no]
    found = areas_under_curve(score, damaged, np.ones((1, len(score))))[0]
    assert found == pytest.approx(np.mean(wins), nan_ok=True) if wins else np.isnan(found)


def test_figures_are_those_of_other_code():
    compared = compare(SAID, SAID, TRUTH, HALF)
    table = np.zeros((4, 4))
    np.add.at(table, (SAID.argmax(1), TRUTH - 1), 1)
    assert compared.before["kappa"][0] == pytest.approx(weighted_kappa(table, 2))
    lost = -np.log(SAID[np.arange(80), TRUTH - 1]).mean()
    assert compared.before["log_loss"][0] == pytest.approx(lost)
    called, damaged = SAID[:, 1:].sum(1) >= 0.5, TRUTH > 1
    hit = (called & damaged).sum()
    f1 = 2 * hit / (called.sum() + damaged.sum())
    assert compared.before["damaged_f1"][0] == pytest.approx(f1)


def test_equal_statements_gain_nothing():
    compared = compare(SAID, SAID, TRUTH, HALF)
    assert all(gain == (0, 0, 0) for gain in compared.gain.values())


def test_an_interval_holds_its_value_and_a_better_statement_gains():
    better = make_said(TRUTH, 4.0)
    compared = compare(SAID, better, TRUTH, HALF)
    for part in (compared.before, compared.after, compared.gain):
        assert all(low <= value <= high for value, low, high in part.values())
    assert all(low > 0 for _, low, _ in compared.gain.values())


def test_weights_count_buildings():
    rows = np.repeat(np.arange(80), np.where(TRUTH > 1, 3, 1))
    weighted = compare(SAID, SAID, TRUTH, HALF, np.where(TRUTH > 1, 3.0, 1.0))
    whole = compare(SAID[rows], SAID[rows], TRUTH[rows], HALF)
    for name, (value, *_) in weighted.before.items():
        assert value == pytest.approx(whole.before[name][0]), name


def test_what_is_not_defined_is_not_said():
    compared = compare(SAID, SAID, np.ones(80, int), HALF)
    assert np.isnan(compared.gain["auc"]).all()
    assert not np.isnan(compared.gain["log_loss"]).any()


@SMALL
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_no_other_threshold_expects_a_better_f1(chances):
    p = np.array(chances)

    def worth(threshold):
        called = p >= threshold
        return 2 * p[called].sum() / (called.sum() + p.sum())

    assert worth(likeliest_threshold(p)) >= max(map(worth, p)) - 1e-9


def test_nothing_has_the_even_threshold():
    assert likeliest_threshold(np.zeros(0)) == 0.5
    assert RESAMPLINGS >= 1000


@pytest.mark.parametrize(
    ("gain", "needed"),
    [
        ((0.1, -0.1, 0.3), 240),  # an interval of half the width takes four times as many
        ((0.1, -0.02, 0.22), 90),
        ((0.1, 0.02, 0.18), None),  # shown already
        ((0.01, -0.3, 0.3), None),  # too far away to ask for
        ((-0.1, -0.3, 0.1), None),
        ((np.nan, np.nan, np.nan), None),
    ],
)
def test_more_answers_are_asked_for_where_they_would_show_a_gain(gain, needed):
    assert answers_to_show(gain, 60) == needed
