import numpy as np
import pytest

from geodamage.errors import ModelError
from geodamage.model.heads import Heads, probabilities


def test_probabilities_join_the_heads():
    localisation = np.array([0.8, 0.25], np.float32).reshape(1, 1, 1, 2)
    damage = np.array([[2, 1], [2, 0], [4, 0], [0, 3]], np.float32).reshape(1, 4, 1, 2)
    joined = probabilities(Heads(localisation, damage))
    assert joined.dtype == np.float32
    assert joined[0, :, 0, 0] == pytest.approx([0.2, 0.2, 0.2, 0.4, 0])
    assert joined[0, :, 0, 1] == pytest.approx([0.75, 0.0625, 0, 0, 0.1875])


def test_no_localisation_leaves_the_grades_to_be_told():
    damage = np.array([1, 2, 3, 4], np.float32).reshape(1, 4, 1, 1)
    joined = probabilities(Heads(np.zeros((1, 1, 1, 1), np.float32), damage))
    assert joined[0, 0] == 1
    assert joined[0, 1:].sum() < 1e-6
    assert (joined[0, 1:] / joined[0, 1:].sum()).ravel() == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("lacking", ["localisation", "damage"])
def test_a_missing_head_is_named(lacking):
    heads = Heads(np.zeros((1, 1, 2, 2)), np.zeros((1, 4, 2, 2)))._replace(**{lacking: None})
    with pytest.raises(ModelError, match=f"no {lacking} head"):
        probabilities(heads)
