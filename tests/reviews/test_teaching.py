import numpy as np
import pytest

from geodamage.reviews.teaching import choose_to_teach

NOTHING = np.zeros(0, np.int64)


def town(count=60, seed=0):
    """Return what is said of buildings in a row, the last of which the model does not know."""
    rng = np.random.default_rng(seed)
    said = rng.dirichlet([60, 1, 1, 1], count)
    said[-10:] = 0.25
    return said, np.linspace(0, 0.01, count), np.zeros(count)


def test_what_is_uncertain_comes_first_and_what_is_like_it_does_not():
    said, lon, lat = town()
    found = choose_to_teach(said, lon, lat, without=NOTHING, number=20)
    assert found[0] >= 50
    assert len(set(found.tolist())) == 20
    # The ten are alike, so that one answer says what the others would.
    assert (found[:10] >= 50).sum() <= 2


def test_what_is_asked_anyway_is_left_out():
    said, lon, lat = town()
    without = np.arange(0, 60, 2)
    found = choose_to_teach(said, lon, lat, without=without, number=60)
    assert sorted(found.tolist()) == list(range(1, 60, 2))


@pytest.mark.parametrize("number", [0, 1])
def test_few_may_be_asked(number):
    said, lon, lat = town()
    assert len(choose_to_teach(said, lon, lat, without=NOTHING, number=number)) == number
