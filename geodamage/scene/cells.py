"""Images in cells of 8 x 8 pixels of the absolute lattice, and what surrounds each; no files.

Sums are of whole numbers, so they are exact, and a cell does not depend on the window that it is
seen in.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

#: Side of a cell, pixels.
CELL = 8
#: Cells around a cell that its features look at, near and far.
NEAR, FAR = 2, 8
#: Features of a date of its own, and of both together.
OWN, SHARED = 10, 2

#: Rows of cells that are worked on at once.
_CHUNK = 16

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Cells(NamedTuple):
    """One date in cells.

    Attributes
    ----------
    means
        float64 (channels, rows, columns).
    deviation
        float64 (rows, columns): within a cell, of the middle channel.
    constant
        bool (rows, columns): whether all pixels of a cell are one colour.
    """

    means: Floats
    deviation: Floats
    constant: Bools


def cells_of(image: Bytes) -> Cells:
    """Return an image in cells.

    Parameters
    ----------
    image
        uint8 (channels, rows, columns), whole cells.
    """
    rows = image.shape[1]
    step = _CHUNK * CELL  # some rows at a time: floats of all of them would be many
    parts = [_cells_of(image[:, top : top + step]) for top in range(0, rows, step)]
    means, deviation, constant = zip(*parts, strict=True)
    return Cells(np.concatenate(means, 1), np.concatenate(deviation), np.concatenate(constant))


def _cells_of(image: Bytes) -> Cells:
    size = image.shape[2] // CELL, image.shape[1] // CELL
    # Exact in float32: a sum over a cell is below 2**24, and a mean divides by a power of two.
    shrunk = [_shrunk(plane.astype(np.float32), size) for plane in image]
    middle = len(image) // 2
    squares = _shrunk(np.square(image[middle], dtype=np.float32), size)
    variance = np.maximum(squares - shrunk[middle] ** 2, 0)
    return Cells(np.stack(shrunk), np.sqrt(variance), _constant(image, variance == 0))


def _shrunk(plane: npt.NDArray[np.float32], size: tuple[int, int]) -> Floats:
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float64)


def _constant(image: Bytes, candidates: Bools) -> Bools:
    if not candidates.any():
        return candidates
    rows, columns = np.nonzero(candidates)
    channels, height, width = image.shape
    blocks = image.reshape(channels, height // CELL, CELL, width // CELL, CELL)
    found = blocks[:, rows, :, columns, :]  # (candidates, channels, 8, 8)
    same = (found == found[:, :, :1, :1]).all((1, 2, 3))
    result = candidates.copy()
    result[rows, columns] = same
    return result


def shown(cells: Cells) -> Bools:
    """Return the cells that the classifier is asked about, bool (rows, columns).

    One colour is fill, which has no say; but the middle of a cloud is white to the end.
    """
    return np.asarray(~cells.constant | (cells.means.min(0) >= 255))


class Features(NamedTuple):
    """What a classifier knows of the cells of two dates, as planes (rows, columns) of float64.

    Attributes
    ----------
    own
        `OWN` planes of each date.
    shared
        `SHARED` planes of both together.
    """

    own: list[list[Floats]]
    shared: list[Floats]

    def at(self, date: int, cells: Bools) -> npt.NDArray[np.float32]:
        """Return the features of some cells on a date, float32 (cells, 2 * `OWN` + `SHARED`).

        Parameters
        ----------
        date
            0 or 1.
        cells
            bool (rows, columns): which.
        """
        planes = [*self.own[date], *self.own[1 - date], *self.shared]
        index = np.flatnonzero(cells)
        found = np.empty((len(index), len(planes)), np.float32)
        for number, plane in enumerate(planes):
            found[:, number] = plane.ravel()[index]
        return found


def features_of(dates: Sequence[Cells], seen: Bools) -> Features:
    """Return what a classifier knows of the cells of two dates.

    Parameters
    ----------
    dates
        Both dates.
    seen
        bool (rows, columns): cells that are whole in both, and `shown` in both; others say nothing.
    """
    around = [_Surroundings(seen, reach) for reach in (NEAR, FAR)]
    greys = [date.means.mean(0) for date in dates]
    means = [[one.mean(grey) for one in around] for grey in greys]
    spreads = [
        [one.mean(grey**2) - mean**2 for one, mean in zip(around, known, strict=True)]
        for grey, known in zip(greys, means, strict=True)
    ]
    own = [_own(*known, around) for known in zip(dates, greys, means, spreads, strict=True)]
    shared = []
    for number, one in enumerate(around):  # the correlation of both dates
        first, second = (np.maximum(spread[number], 0.25) for spread in spreads)
        both = one.mean(greys[0] * greys[1]) - means[0][number] * means[1][number]
        shared.append(np.asarray(both / np.sqrt(first * second)))
    return Features(own, shared)


def _own(
    cells: Cells,
    grey: Floats,
    means: Sequence[Floats],
    spreads: Sequence[Floats],
    around: "Sequence[_Surroundings]",
) -> list[Floats]:
    red, blue = cells.means[0], cells.means[-1]
    found = [grey, red - blue, np.ptp(cells.means, axis=0), cells.deviation]
    for one, mean, spread in zip(around, means, spreads, strict=True):
        found += [mean, np.sqrt(np.maximum(spread, 0)), one.mean(cells.deviation)]
    return found


class _Surroundings:
    """Means over the cells around each that are seen.

    Parameters
    ----------
    seen
        bool (rows, columns).
    reach
        Cells from the middle of the surroundings to their edge.
    """

    def __init__(self, seen: Bools, reach: int) -> None:
        self._seen, self._size = seen, (2 * reach + 1,) * 2
        self._count = np.maximum(self._sums(seen.astype(np.float64)), 1)

    def mean(self, plane: Floats) -> Floats:
        """Return the mean around each cell; in steps of 2**-20, so exact."""
        steps = np.rint(plane * 2.0**20) * self._seen
        return np.asarray(self._sums(steps) / self._count / 2.0**20)

    def _sums(self, plane: Floats) -> Floats:
        border = cv2.BORDER_REFLECT_101
        return np.asarray(
            cv2.boxFilter(plane, cv2.CV_64F, self._size, normalize=False, borderType=border)
        )


class SeenCells(NamedTuple):
    """A window in cells.

    Attributes
    ----------
    dates
        Each date.
    whole
        bool (rows, columns) of each date: cells with data in all their pixels.
    """

    dates: list[Cells]
    whole: list[Bools]

    def last(self, rows: int) -> "SeenCells":
        """Return the last rows of cells."""
        cut = np.s_[..., -rows:, :]
        return SeenCells(
            [
                Cells(date.means[cut], date.deviation[cut], date.constant[cut])
                for date in self.dates
            ],
            [plane[cut] for plane in self.whole],
        )


def seen_cells(
    images: Sequence[Bytes], missing: Sequence[Bools], above: SeenCells | None = None
) -> SeenCells:
    """Return a window in cells; see `hidden`.

    Parameters
    ----------
    above
        Its first rows of cells, where they are known already.
    """
    known = 0 if above is None else len(above.whole[0]) * CELL
    dates = [cells_of(image[:, known:]) for image in images]
    whole = [~any_of(absent[known:]) for absent in missing]
    if above is None:
        return SeenCells(dates, whole)
    return SeenCells(
        [
            Cells(*(np.concatenate(planes, axis=-2) for planes in zip(*both, strict=True)))
            for both in zip(above.dates, dates, strict=True)
        ],
        [np.concatenate(planes) for planes in zip(above.whole, whole, strict=True)],
    )


def any_of(mask: Bools) -> Bools:
    """Return the cells of which any pixel is in a mask, bool (rows, columns)."""
    rows, columns = mask.shape
    if not mask.any():
        return np.zeros((rows // CELL, columns // CELL), bool)
    lines = mask.reshape(rows // CELL, CELL, columns).any(1)  # in two steps, ten times as fast
    return np.asarray(lines.reshape(rows // CELL, columns // CELL, CELL).any(2))
