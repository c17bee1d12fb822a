"""What is odd about the answer to a synthetic pair."""

import numpy as np
import pytest

from geodamage.model.heads import Heads
from geodamage.model.measuring import oddity
from tests.fakes import make_card


@pytest.mark.parametrize(
    ("share", "found"),
    [(0.0, "finds nothing"), (0.0004, "finds nothing"), (0.5, ""), (0.99, "a building everywhere")],
)
def test_a_localisation_that_finds_nothing_or_everything_is_odd(share, found):
    values = np.zeros(10_000, np.float32)
    values[: round(share * values.size)] = 1
    said = oddity(make_card(threshold=0.4), Heads(values.reshape(1, 1, 100, 100), None))
    assert found in said
    assert bool(said) == bool(found)


def test_a_model_that_only_grades_is_never_odd():
    assert oddity(make_card(), Heads(None, np.ones((1, 4, 8, 8), np.float32))) == ""
