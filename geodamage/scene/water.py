"""Open water: wide smooth ground, which says nothing of how land is exposed; no files.

Water is as dark, or with the sun in it as bright, as nothing on land is. Where there is much of it
the ends of an image are those of the water.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from geodamage.scene.cells import Bools, Bytes, Cells, cells_of

#: Deviation within a cell, 8-bit values, under which it is smooth; and cells of a side of the
#: smallest square of them that is water. Of the training places of training/recipes/compact.csv,
#: leaving these out moves the land by at most 0.6 values in 9 of 10 pairs (2026-11-30).
SMOOTH, SQUARE = 4.0, 6
#: Deviation, and values that a mean colour may lie off, of other cells of the same water.
ROUGH, ALIKE = 8.0, 8.0


def water(images: Sequence[Bytes]) -> Bools:
    """Return where open water lies, by whole cells.

    Parameters
    ----------
    images
        uint8 (channels, rows, columns), of one date or of two of the same ground; whole cells.

    Returns
    -------
    bool (rows, columns)
    """
    dates = [cells_of(image) for image in images]
    smooth = np.logical_and.reduce([date.deviation < SMOOTH for date in dates])
    square = np.ones((SQUARE, SQUARE), np.uint8)
    core = cv2.morphologyEx(smooth.view(np.uint8), cv2.MORPH_OPEN, square) > 0
    if core.any():
        core |= np.logical_and.reduce([_same(date, core) for date in dates])
    shape = images[0].shape[2], images[0].shape[1]
    drawn = cv2.resize(core.view(np.uint8), shape, interpolation=cv2.INTER_NEAREST)
    return np.asarray(drawn > 0)


def _same(date: Cells, core: Bools) -> Bools:
    """Return the cells that look like those of the water of a date."""
    colour = np.median(date.means[:, core], axis=1)[:, None, None]
    near = np.abs(date.means - colour).max(0) <= ALIKE
    return np.asarray(near & (date.deviation < ROUGH))
