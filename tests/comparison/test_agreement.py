import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.comparison.agreement import cell_facts, damage_table, damaged_facts, grade_table


def test_kappa_of_a_table_that_is_known():
    # Source: Cohen's kappa of the table 20 5 / 10 15 is (0.7 - 0.5) / (1 - 0.5).
    ours = np.repeat([True, True, False, False], [20, 5, 10, 15])
    theirs = np.repeat([True, False, True, False], [20, 5, 10, 15])
    facts = damage_table(ours, theirs).facts()
    assert facts["counts"] == [[15, 10], [5, 20]]
    assert facts["kappa"]["value"] == pytest.approx(0.4)
    assert facts["kappa"]["low"] < 0.2 < 0.6 < facts["kappa"]["high"]
    assert facts["same"]["value"] == pytest.approx(0.7)
    shares = damaged_facts(damage_table(ours, theirs))
    assert shares["precision"]["value"] == pytest.approx(20 / 25)
    assert shares["recall"]["value"] == pytest.approx(20 / 30)


def test_what_is_not_defined_is_none():
    facts = damage_table(np.zeros(0, bool), np.zeros(0, bool)).facts()
    assert (facts["kappa"], facts["same"]["value"]) == (None, None)
    assert damage_table(np.ones(5, bool), np.ones(5, bool)).facts()["kappa"] is None


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=40))
def test_intervals_hold_their_value(pairs):
    ours, theirs = np.array(pairs).T
    facts = grade_table(ours, theirs).facts()
    assert np.sum(facts["counts"]) == len(pairs)
    kappa = facts["kappa"]
    if kappa is not None and kappa["low"] is not None:
        assert -1 <= kappa["low"] <= kappa["high"] <= 1
    assert facts["same"]["low"] <= facts["same"]["value"] <= facts["same"]["high"]


def test_the_interval_of_kappa_is_the_one_of_theory():
    # Source: Fleiss, Cohen and Everitt 1969, standard error of kappa, at large n.
    generator = np.random.default_rng(1)
    theirs = generator.random(20_000) < 0.3
    ours = np.where(generator.random(20_000) < 0.9, theirs, ~theirs)
    table = damage_table(ours, theirs)
    kappa = table.facts()["kappa"]
    p = table.counts / table.counts.sum()
    row, column = p.sum(1), p.sum(0)
    agree, chance = np.trace(p), (row * column).sum()
    k = (agree - chance) / (1 - chance)
    a = sum(p[i, i] * (1 - (row[i] + column[i]) * (1 - k)) ** 2 for i in range(2))
    b = (1 - k) ** 2 * sum(
        p[i, j] * (column[i] + row[j]) ** 2 for i in range(2) for j in range(2) if i != j
    )
    error = np.sqrt(a + b - (k - chance * (1 - k)) ** 2) / ((1 - chance) * np.sqrt(len(ours)))
    assert (kappa["high"] - kappa["low"]) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_cells():
    facts = cell_facts(np.array([3, 0, 2, 0]), np.array([2, 0, 0, 1]))
    assert [facts[k] for k in ("both", "only_result", "only_official", "neither")] == [1, 1, 1, 1]
    assert facts["correlation"] == pytest.approx(np.corrcoef([3, 0, 2, 0], [2, 0, 0, 1])[0, 1])
    assert cell_facts(np.zeros(0, int), np.zeros(0, int))["correlation"] is None
