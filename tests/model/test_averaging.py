import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geodamage.codes import MAP_UNKNOWN
from geodamage.model.averaging import WeightedMean, as_probability, find_outlier
from tests.fakes import SMALL


def shares(*shape):
    return arrays(np.float32, shape, elements=st.floats(0, 1, width=32))


@pytest.mark.slow
@SMALL
@given(shares(4, 3, 5), arrays(np.float64, 4, elements=st.floats(0.1, 9)))
def test_a_weighted_mean_is_that_of_numpy(values, weights):
    mean = WeightedMean()
    for value, weight in zip(values, weights, strict=True):
        mean.add(value, weight)
    np.testing.assert_allclose(mean.value, np.average(values, 0, weights), atol=1e-6)


def test_a_mean_of_nothing_is_none():
    assert WeightedMean().value is None


@pytest.mark.slow
@SMALL
@given(shares(3, 4, 4), arrays(np.bool_, (3, 4, 4)))
def test_who_knows_a_pixel_decides(values, known):
    mean = WeightedMean()
    mean.add(values[0], 2.0)
    for value, there in zip(values[1:], known[1:], strict=True):
        mean.add(value, 3.0, known=there)
    weights = np.stack([np.full((4, 4), 2.0), *(3.0 * known[1:])])
    np.testing.assert_allclose(mean.value, np.average(values, 0, weights), atol=1e-6)


def test_where_nobody_knows_there_is_nothing():
    mean = WeightedMean()
    mean.add(np.ones((2, 2), np.float32), 1.0, known=np.array([[True, False], [False, True]]))
    assert mean.value.tolist() == [[1, 0], [0, 1]]


def test_codes_become_probabilities():
    codes = np.array([0, 125, 250, MAP_UNKNOWN], np.uint8)
    assert as_probability(codes).tolist() == [0, 0.5, 1, 0]


def flat(value):
    """Return a map that says one value in its middle and nothing around it."""
    found = np.zeros((8, 8))
    found[2:6, 2:6] = value
    return found


def uneven(low, high):
    found = flat(low)
    found[3, 3] = high
    return found


def test_a_map_that_is_sure_of_what_no_other_sees_is_an_outlier():
    # Source of the rule: Open Cities, third place, combine_images.py:65-71.
    maps = [uneven(0.1, 0.4), flat(0.6), uneven(0.05, 0.3)]
    assert find_outlier(maps, np.mean(maps, 0)) == 1


@pytest.mark.parametrize(
    "maps",
    [
        [flat(0.6)],  # one map has no others
        [uneven(0.1, 0.4), flat(0.45)],  # the least spread map is not sure
        [flat(0.95), flat(0.95), uneven(0.8, 0.9)],  # the mean is as sure
        [np.zeros((8, 8)), np.zeros((8, 8))],  # nobody says anything
    ],
)
def test_other_maps_stay(maps):
    assert find_outlier(maps, np.mean(maps, 0)) is None
