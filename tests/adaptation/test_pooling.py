import numpy as np
import pytest

from geodamage.adaptation.pooling import covered, mean_and_spread

MAPS = np.random.default_rng(0).normal(size=(3, 6, 8)).astype(np.float32)


def test_a_part_of_whole_places_has_their_mean_and_deviation():
    part = MAPS[:, 1:3, 2:5]
    found = mean_and_spread(part, np.ones(2), np.ones(3))
    np.testing.assert_allclose(found[:3], part.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(found[3:], part.std((1, 2)), atol=1e-6)


def test_a_place_counts_by_the_part_that_is_covered():
    across = covered(1.5, 3.0)
    np.testing.assert_array_equal(across, [0.5, 1.0])
    found = mean_and_spread(MAPS[:, 1:2, 1:3], np.ones(1), across)
    expected = (MAPS[:, 1, 1] * 0.5 + MAPS[:, 1, 2]) / 1.5
    np.testing.assert_allclose(found[:3], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "last", "parts"),
    [
        (2.0, 2.0, []),
        (2.25, 2.75, [0.5]),
        (1.75, 4.25, [0.25, 1, 1, 0.25]),
        (2.5, 2.5, [0]),
        (-3.5, -2.0, [0.5, 1]),
    ],
)
def test_a_stretch_covers_its_places_in_part(first, last, parts):
    np.testing.assert_allclose(covered(first, last), parts)


@pytest.mark.parametrize("down", [np.zeros(0), np.zeros(1)])
def test_a_part_without_a_place_has_no_features(down):
    assert (mean_and_spread(MAPS[:, : len(down), :2], down, np.ones(2)) == 0).all()
