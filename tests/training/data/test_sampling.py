import numpy as np
import pytest

from geodamage.errors import OptionError
from training.data.sampling import epoch_places, inverse_frequency, sample_weights

PAIRS = np.array(
    [
        [90, 10, 0, 0, 0],
        [90, 5, 5, 0, 0],
        [90, 5, 0, 0, 5],
        [100, 0, 0, 0, 0],
    ]
)


def test_class_weights_are_inverse_shares_that_sum_to_their_number():
    weights = inverse_frequency(np.array([80, 10, 10]))
    assert weights.sum() == pytest.approx(3)
    assert weights[1] / weights[0] == pytest.approx(8)
    assert inverse_frequency(np.array([300, 100])) == pytest.approx([0.5, 1.5])
    assert inverse_frequency(np.array([100, 0, 100])) == pytest.approx([1.5, 0, 1.5])
    with pytest.raises(OptionError, match="no class has a pixel"):
        inverse_frequency(np.array([0, 0]))


def test_a_pair_weighs_as_much_as_its_rarest_grade():
    weights = sample_weights(PAIRS)
    assert weights.mean() == pytest.approx(1)
    # No-damage is in three of four pairs, minor and destroyed in one of four.
    assert weights / weights[0] == pytest.approx([1, 3, 3, 1])


@pytest.mark.parametrize(
    ("rule", "places"),
    [
        ("once", [0, 1, 2, 3]),
        ("oversample", [0, 1, 2, 3, 1, 2, 1]),
        ("oversample_any", [0, 1, 2, 3, 1, 2]),
    ],
)
def test_damaged_pairs_come_more_than_once(rule, places):
    assert epoch_places(PAIRS, rule).tolist() == places


def test_an_unknown_rule_is_refused():
    with pytest.raises(OptionError, match="sampling 'twice': none of once"):
        epoch_places(PAIRS, "twice")
