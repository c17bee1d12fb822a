import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from geodamage.reviews.intervals import (
    confusions,
    count_of_weighted,
    share,
    share_of_weighted,
)


@st.composite
def reviews(draw):
    strata = draw(st.integers(1, 8))
    sizes = np.array(draw(st.lists(st.integers(1, 500), min_size=strata, max_size=strata)))
    answered = np.array([draw(st.integers(1, min(int(size), 60))) for size in sizes])
    found = np.array([draw(st.integers(0, int(n))) for n in answered])
    expected = np.array(draw(st.lists(st.floats(0, 1), min_size=strata, max_size=strata)))
    return found, answered, sizes, expected


@pytest.mark.slow
@given(reviews())
def test_an_interval_is_within_what_was_seen(review):
    found, answered, sizes, _ = review
    interval = share(*review)
    assert interval.low <= interval.value <= interval.high
    # What was seen is known: no fewer have it, and no more than all others.
    assert interval.low >= found.sum() / sizes.sum() - 1e-12
    assert interval.high <= 1 - (answered - found).sum() / sizes.sum() + 1e-12
    if (answered == sizes).all():
        assert interval.low == interval.high == pytest.approx(found.sum() / sizes.sum())


@pytest.mark.slow
@given(reviews())
def test_what_has_it_and_what_has_not_are_mirrored(review):
    found, answered, sizes, expected = review
    one, other = share(*review), share(answered - found, answered, sizes, 1 - expected)
    assert one.value == pytest.approx(1 - other.value)
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)


@pytest.mark.parametrize(("found", "answered"), [(0, 20), (20, 20), (7, 50)])
def test_of_one_stratum_it_is_wilsons(found, answered):
    big = 10**9
    interval = share([found], [answered], [big], [0.5])
    wilson = binomtest(found, answered).proportion_ci(method="wilson")
    assert interval.low == pytest.approx(wilson.low, abs=1e-6)
    assert interval.high == pytest.approx(wilson.high, abs=1e-6)


def test_nothing_found_is_not_nothing_there():
    of_one = share([0], [20], [1000], [0.01])
    assert (of_one.low, of_one.value) == (0, 0)
    assert 0.14 < of_one.high < 0.17
    of_many = share([0, 0, 0], [10, 10, 10], [5000, 300, 100], [0.01, 0.2, 0.8])
    assert of_many.value == 0
    assert of_many.high > 0.1


def test_a_stratum_of_one_building_is_no_trouble():
    interval = share([1, 3], [1, 10], [1, 200], [0.9, 0.3])
    assert interval.value == pytest.approx((1 + 60) / 201)
    assert share([0], [1], [1], [0.0]).high == 0


def test_intervals_hold_the_truth():
    generator = np.random.default_rng(0)
    sizes = np.array([1800, 150, 50])
    truth = [
        np.arange(size) < share * size for size, share in zip(sizes, (0.01, 0.2, 0.8), strict=True)
    ]
    answered = np.array([60, 25, 15])
    true = sum(part.sum() for part in truth) / 2000
    held = []
    for _ in range(400):
        found = [
            generator.choice(part, n, replace=False).sum()
            for part, n in zip(truth, answered, strict=True)
        ]
        interval = share(found, answered, sizes, np.array([0.02, 0.2, 0.7]))
        held.append(interval.low <= true <= interval.high)
    assert 0.92 < np.mean(held) < 0.985


def test_an_area_that_nobody_looked_at_may_be_anything():
    nothing = share_of_weighted(np.zeros(0, bool), np.zeros(0), 12)
    assert (nothing.low, nothing.high) == (0, 1)
    assert np.isnan(nothing.value)
    all_of_it = share_of_weighted(np.array([True, False]), np.array([1.0, 3.0]), 2)
    assert (all_of_it.low, all_of_it.value, all_of_it.high) == (0.5, 0.5, 0.5)


@pytest.mark.slow
@given(st.lists(st.tuples(st.booleans(), st.floats(1, 50)), min_size=1, max_size=30))
def test_a_share_of_weighted_buildings_is_within_what_was_seen(looked):
    found = np.array([has for has, _ in looked])
    interval = share_of_weighted(found, np.array([w for _, w in looked]), 200)
    assert found.sum() / 200 <= interval.low <= interval.value + 1e-12
    assert interval.value - 1e-12 <= interval.high <= 1 - (~found).sum() / 200


@pytest.mark.slow
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.floats(1, 30))
def test_a_count_has_no_negative_end(counts, weight):
    values = np.array(counts, float)
    interval = count_of_weighted(values, np.full(len(values), weight), 0.0)
    assert values.sum() <= interval.low <= max(interval.value, values.sum())
    assert interval.high > interval.value


def test_of_nothing_missed_the_end_is_that_of_poisson():
    # Source: the exact upper end of no event is 3.689 at 97.5 %.
    interval = count_of_weighted(np.zeros(10), np.full(10, 1.0), 0.0)
    assert interval.high == pytest.approx(3.689, abs=1e-3)


def test_random_populations_keep_what_was_seen():
    table = np.array([[5.0, 1, 0], [0, 2, 0]])
    draws = confusions(table, np.array([40, 2]), np.full((2, 3), 1 / 3), np.random.default_rng(0))
    assert (draws.sum(2) == [40, 2]).all()
    assert (draws[:, 0] >= table[0]).all()
    assert (draws[:, 1] == table[1]).all()
