"""Pooling: what the maps of a network say of boxes. Arithmetic alone."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def covered(first: float, last: float) -> Floats:
    """Return which part of each place, from that of `first` on, lies before `last`.

    Parameters
    ----------
    first, last
        Ends of a stretch, places.

    Returns
    -------
    float64 (n,)
        1 for a place that lies in it as a whole; empty where the stretch is.
    """
    edges = np.arange(np.floor(first), np.ceil(last) + 1)
    result: Floats = np.diff(np.clip(edges, first, last))
    return result


def mean_and_spread(
    part: npt.NDArray[np.floating], down: Floats, across: Floats
) -> npt.NDArray[np.float32]:
    """Return mean and standard deviation of a part of a map, each place by its weight.

    Parameters
    ----------
    part
        (channels, rows, columns).
    down, across
        float64 (rows,) and (columns,): the weight of a place is their product.

    Returns
    -------
    float32 (2 * channels,)
        Means, then standard deviations; 0 where nothing has a weight.
    """
    channels = len(part)
    whole = down.sum() * across.sum()
    if whole <= 0:
        return np.zeros(2 * channels, np.float32)
    weights = (np.outer(down, across) / whole).astype(np.float32).ravel()
    values = part.reshape(channels, -1).astype(np.float32)
    mean = values @ weights
    values -= mean[:, None]
    spread = np.sqrt(values**2 @ weights)
    result: npt.NDArray[np.float32] = np.concatenate([mean, spread])
    return result
