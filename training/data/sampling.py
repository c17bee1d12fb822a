"""Sampling: how often a pair is seen in an epoch.

Everything here follows from int `(n, 5)`: for each of n pairs its pixels of background and of the
four grades.
"""

import numpy as np

from geodamage.errors import OptionError


def inverse_frequency(pixels: np.ndarray) -> np.ndarray:
    """Return class weights: the inverse of each class's share, scaled to sum to their number.

    Source: xView2SiameseUNet, training_preparations.py:60-66. A class that does not occur gets 0,
    where the published code would get infinity: nothing can be learnt of it.

    Parameters
    ----------
    pixels
        int (classes,): pixels of each class.

    Raises
    ------
    OptionError
        If no class has a pixel.
    """
    if not pixels.any():
        raise OptionError("no class has a pixel, so there are no frequencies to weigh by")
    weights = np.divide(1.0, pixels, out=np.zeros(len(pixels)), where=pixels > 0)
    return np.asarray(weights * len(weights) / weights.sum())


def sample_weights(pixels: np.ndarray) -> np.ndarray:
    """Return how much more often each pair should be drawn than another, float (n,), mean 1.

    A pair counts as much as the rarest grade in it: the inverse of the share of pairs that have the
    grade. A pair without graded buildings gets the weight of the commonest.
    """
    has = pixels[:, 1:] > 0
    share = has.mean(0)
    value = np.divide(1.0, share, out=np.ones(4), where=share > 0)
    commonest = value[share > 0].min() if has.any() else 1.0
    weights = np.where(has.any(1), np.where(has, value, 0).max(1), commonest)
    return np.asarray(weights / weights.mean())


def epoch_places(pixels: np.ndarray, rule: str) -> np.ndarray:
    """Return the places of the pairs that make one epoch, before they are shuffled, int (m,).

    Parameters
    ----------
    rule
        `once`: every pair once. `oversample`: once more with any damage, and once more with minor
        or major damage. `oversample_any`: once more with any damage. `weighted` draws by
        `sample_weights` from every pair once.

    Source: vdurnov/xview2_1st_place_solution, train34_cls and tune34_cls.
    """
    has = pixels[:, 2:] > 0
    everything = np.arange(len(pixels))
    damaged, middling = np.flatnonzero(has.any(1)), np.flatnonzero(has[:, :2].any(1))
    rules = {
        "once": [everything],
        "weighted": [everything],
        "oversample": [everything, damaged, middling],
        "oversample_any": [everything, damaged],
    }
    if rule not in rules:
        raise OptionError(f"sampling {rule!r}: none of {', '.join(rules)}")
    return np.concatenate(rules[rule])
