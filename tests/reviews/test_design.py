import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.reviews.design import (
    FLOOR,
    Strata,
    allocate,
    along_curve,
    draw,
    expected_spread,
    make_strata,
    systematic,
)


def said(grades, generator):
    parts = generator.gamma(0.5, size=(len(grades), 4)) + 1e-3
    parts[np.arange(len(grades)), grades - 1] += parts.max(1)
    return parts / parts.sum(1, keepdims=True)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(1, 400), st.floats(0.1, 1)), min_size=1, max_size=12),
    st.integers(1, 300),
)
def test_an_allocation_sums_up_and_stays_within_the_strata(strata, n):
    sizes = np.array([size for size, _ in strata])
    n = max(n, len(sizes))
    drawn = allocate(sizes, np.array([spread for _, spread in strata]), n)
    assert drawn.sum() == min(n, sizes.sum())
    assert (drawn <= sizes).all()
    assert (drawn >= np.minimum(sizes, 1)).all()
    if n >= FLOOR * len(sizes):
        assert (drawn >= np.minimum(sizes, FLOOR)).all()


def test_more_are_drawn_where_more_is_unknown():
    drawn = allocate(np.array([100, 100]), np.array([0.3, 0.6]), 60)
    assert drawn.tolist() == [20, 40]


@pytest.mark.slow
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 99))
def test_a_systematic_sample_has_its_size_and_nobody_twice(size, count, seed):
    count = min(count, size)
    places = systematic(size, count, np.random.default_rng(seed))
    assert len(set(places.tolist())) == len(places) == count
    assert ((places >= 0) & (places < size)).all()


def test_each_has_the_same_chance():
    generator = np.random.default_rng(0)
    counts = np.zeros(7)
    for _ in range(4000):
        counts[systematic(7, 3, generator)] += 1
    assert np.allclose(counts / 4000, 3 / 7, atol=0.04)


def test_strata_are_grades_cut_by_certainty():
    generator = np.random.default_rng(0)
    grades = np.repeat([1, 2, 4], [300, 20, 60])
    strata = make_strata(grades, said(grades, generator))
    assert [name.split()[0] for name in strata.names] == [
        "no-damage", "no-damage", "minor-damage", "destroyed", "destroyed",
    ]  # fmt: skip
    assert strata.names[:3] == ("no-damage unsure", "no-damage sure", "minor-damage")
    assert strata.sizes.sum() == 380
    assert (strata.sizes > 0).all()
    assert strata.sizes[2] == 20


def test_strata_of_areas_are_made_coarser_until_they_fit():
    generator = np.random.default_rng(0)
    grades = np.tile([1, 4], 100)
    areas = ["a"] * 100 + ["b"] * 100
    p = said(grades, generator)
    assert "a: no-damage sure" in make_strata(grades, p, areas).names
    fewer = ("a: no-damage", "a: destroyed", "b: no-damage", "b: destroyed")
    assert make_strata(grades, p, areas, most=4).names == fewer
    assert make_strata(grades, p, areas, most=2).names == ("a", "b")
    assert make_strata(grades, p, most=1).names == ("all",)


def test_a_drawing_is_spread_over_the_ground_and_repeats_itself():
    east, north = np.meshgrid(np.arange(20) / 1000, np.arange(20) / 1000)
    lon, lat = east.ravel(), north.ravel()
    strata = Strata(("all",), np.zeros(400, np.int64))
    rows = draw(strata, np.array([16]), lon, lat, np.random.default_rng(3))
    quarters = (lon[rows] > 0.0095).astype(int) + 2 * (lat[rows] > 0.0095)
    assert np.bincount(quarters, minlength=4).tolist() == [4, 4, 4, 4]
    again = draw(strata, np.array([16]), lon, lat, np.random.default_rng(3))
    assert rows.tolist() == again.tolist()
    assert rows.tolist() != sorted(rows.tolist())


@pytest.mark.parametrize("count", [1, 5])
def test_places_that_are_one_place_have_a_curve(count):
    assert along_curve(np.full(count, 3.0), np.full(count, 4.0)).tolist() == [0] * count


def test_doubt_stays_where_a_model_is_sure():
    sure = np.tile([1.0, 0, 0, 0], (5, 1))
    assert expected_spread(sure) == pytest.approx(np.sqrt(0.1))
