"""Intervals beside those of Wald, and beside the least that could be."""

import numpy as np
import pytest

from benchmarks.estimates import design, known_width, least_width, main, make_case, review, wald
from geodamage.reviews.design import one_stratum
from geodamage.reviews.estimation import totals


def case_of(probabilities):
    truth = np.repeat([1, 4], [900, 100])
    return make_case("drawn", truth, probabilities(truth))


def test_a_model_that_knows_all_leaves_no_width():
    case = case_of(lambda truth: np.eye(4)[truth - 1])
    assert least_width(case, "damaged", 100) == 0
    assert least_width(case, "destroyed", 100) == 0


def test_a_model_that_knows_nothing_leaves_that_of_wald():
    noise = np.random.default_rng(0)
    case = case_of(lambda truth: noise.dirichlet(np.ones(4), len(truth)))
    low, high = wald(0.1, 100, 1000)
    assert least_width(case, "damaged", 100) == pytest.approx(high - low, rel=0.1)


def test_known_variances_of_a_simple_sample_leave_the_width_of_wald():
    case = case_of(lambda truth: np.full((len(truth), 4), 0.25))
    low, high = wald(0.1, 100, 1000)
    known = known_width(case, "damaged", one_stratum(1000), np.array([100]))
    assert known == pytest.approx(high - low, rel=0.001)


@pytest.mark.slow
def test_known_variances_are_those_of_many_reviews():
    noise = np.random.default_rng(0)
    case = case_of(
        lambda truth: (noise.dirichlet(np.ones(4), len(truth)) + np.eye(4)[truth - 1]) / 2
    )
    strata, drawn = design(case, 100)
    evidence = (review(case, strata, drawn, noise) for _ in range(400))
    shares = [totals(case.population, found)["damaged"]["share"] for found in evidence]
    known = known_width(case, "damaged", strata, drawn)
    assert known == pytest.approx(2 * 1.96 * np.std(shares), rel=0.1)


@pytest.mark.slow
def test_no_interval_is_narrower_than_could_be(capsys):
    main(["--reviews", "3", "--buildings", "400"])
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
    ]
    whole = [row for row in rows if len(row) == 9 and row[1] == "all"]
    assert [row[0] for row in whole] == ["50", "100", "200"]
    assert all(0 < float(row[7]) < float(row[6]) < float(row[5]) for row in whole)
