"""Averages of what several models say; arrays only."""

from collections.abc import Sequence

import numpy as np

from geodamage.codes import MAP_STEPS

# Source: Open Cities AI challenge, third place, combine_images.py:65-71. Its maps have 8 bits, so
# a positive pixel has 1/255 at least.
LEAST_POSITIVE = 1 / 255
#: An outlier is this sure somewhere, while the mean of all is nowhere as sure as that.
OUTLIER_SURE, MEAN_SURE = 0.5, 0.9


class WeightedMean:
    """A weighted mean of arrays of one shape that come one after the other.

    Where an array does not know something, the others decide.
    """

    def __init__(self) -> None:
        self._sum: np.ndarray | None = None
        self._weight: float | np.ndarray = 0.0

    def add(self, values: np.ndarray, weight: float, *, known: np.ndarray | None = None) -> None:
        """Add an array.

        Parameters
        ----------
        values
            float32.
        weight
            Weight of all of it in the mean.
        known
            bool, of the same shape: where it counts; None counts it everywhere.
        """
        weighted = values * np.float32(weight)
        if known is not None:
            weighted = np.where(known, weighted, np.float32(0))
            self._weight = self._weight + known * np.float32(weight)
        else:
            self._weight = self._weight + weight
        self._sum = weighted if self._sum is None else self._sum + weighted

    @property
    def value(self) -> np.ndarray | None:
        """The mean, float32, 0 where nothing was known; None where nothing was added."""
        if self._sum is None:
            return None
        if isinstance(self._weight, np.ndarray):
            least = np.float32(np.finfo(np.float32).tiny)
            return np.asarray(self._sum / np.maximum(self._weight.astype(np.float32), least))
        return np.asarray(self._sum / np.float32(self._weight))


def as_probability(codes: np.ndarray) -> np.ndarray:
    """Return float32 probabilities of the codes of saved maps; 0 where a map has none."""
    table = np.arange(256, dtype=np.float32) / MAP_STEPS
    table[MAP_STEPS + 1 :] = 0
    return np.asarray(table[codes])


def find_outlier(maps: Sequence[np.ndarray], mean: np.ndarray) -> int | None:
    """Return the number of the map that the others speak against, or None.

    It is the map with the least spread of its positive pixels, where it is sure of a building and
    the mean is not.

    Parameters
    ----------
    maps
        float (rows, columns) each, 0-1.
    mean
        float (rows, columns): of all maps.
    """
    if len(maps) < 2 or mean.max() >= MEAN_SURE:
        return None
    positive = [found[found >= LEAST_POSITIVE] for found in maps]
    spread = [float(values.std()) if values.size else np.inf for values in positive]
    number = int(np.argmin(spread))
    return number if maps[number].max() > OUTLIER_SURE else None
