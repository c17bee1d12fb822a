import numpy as np
import pytest

from geodamage.adaptation.pooling import pool

MAPS = np.random.default_rng(0).normal(size=(3, 6, 8)).astype(np.float32)


def test_a_box_of_whole_places_has_their_mean():
    found = pool(MAPS, 4, np.array([[4.0, 12, 8, 20], [0, 24, 0, 32]]))
    np.testing.assert_allclose(found[0], MAPS[:, 1:3, 2:5].mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(found[1], MAPS.mean((1, 2)), atol=1e-6)


def test_a_place_counts_by_the_part_that_is_covered():
    found = pool(MAPS, 4, np.array([[4.0, 8, 6, 12]]))
    expected = (MAPS[:, 1, 1] * 2 + MAPS[:, 1, 2] * 4) / 6
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_what_lies_outside_does_not_count():
    found = pool(MAPS, 4, np.array([[-40.0, 4, -40, 4], [20, 99, 28, 99]]))
    np.testing.assert_allclose(found, MAPS[:, [0, 5], [0, 7]].T, atol=1e-6)


@pytest.mark.parametrize("box", [[40.0, 48, 0, 8], [4, 4, 4, 4], [-9, -5, 0, 4]])
def test_a_box_without_a_place_has_no_features(box):
    assert (pool(MAPS, 4, np.array([box])) == 0).all()
