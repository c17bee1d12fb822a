"""Pooling: what the maps of a network say of boxes. Arithmetic alone."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def pool(maps: npt.NDArray[np.float32], stride: int, boxes: Floats) -> npt.NDArray[np.float32]:
    """Return the mean of maps over boxes; a place that a box covers in part counts by that part.

    Parameters
    ----------
    maps
        float32 (channels, rows, columns).
    stride
        Pixels of a place of the maps.
    boxes
        float64 (n, 4): first and last row, first and last column, pixels of the window that the
        maps are of. What lies outside of the window does not count.

    Returns
    -------
    float32 (n, channels)
    """
    rows, columns = maps.shape[1:]
    limits = np.array([rows, rows, columns, columns], float)
    top, bottom, left, right = np.clip(boxes / stride, 0, limits).T
    sums = np.zeros((len(maps), rows + 1, columns + 1))
    sums[:, 1:, 1:] = maps.cumsum(1, dtype=np.float64).cumsum(2)
    total = _at(sums, bottom, right) - _at(sums, top, right)
    total += _at(sums, top, left) - _at(sums, bottom, left)
    area = (bottom - top) * (right - left)
    means = total / np.maximum(area, 1e-9)
    result: npt.NDArray[np.float32] = means.T.astype(np.float32)
    return result


def _at(sums: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return sums up to places between whole ones, (channels, n)."""
    r = np.minimum(rows.astype(int), sums.shape[1] - 2)
    c = np.minimum(columns.astype(int), sums.shape[2] - 2)
    down, across = rows - r, columns - c
    above = sums[:, r, c] * (1 - across) + sums[:, r, c + 1] * across
    below = sums[:, r + 1, c] * (1 - across) + sums[:, r + 1, c + 1] * across
    result: Floats = above * (1 - down) + below * down
    return result
