"""What hides the ground: cloud, smoke, haze and constant fill; pure arithmetic, no files.

Images are looked at in cells of 8 x 8 pixels of the absolute lattice. Constant fill is found by
rule. A small classifier finds the rest. It compares a cell and its surroundings on this date and on
the other: a roof is bright on both, and a cloud on one. Sums are of whole numbers, so they are
exact, and a cell does not depend on the window that it is seen in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

#: Side of a cell, pixels.
CELL = 8
#: Cells around a cell that its features look at, near and far.
NEAR, FAR = 2, 8
#: Cells of the smallest square that the classifier's word is taken for; roofs are smaller.
SQUARE = 5
#: Share of the cells around one, as far as `FAR`, from which what was found is the body of a cloud:
#: a pale field or a roof is smaller. A body grows into likely cells beside it, by `GROWTH` cells at
#: most, and has a rim that is not graded: there a cloud is thin, or cuts a building in two.
#: Chosen on the validation places, by the kappa of what is graded beside clouds (2026-11-30).
BODY, LIKELY, GROWTH, RIM = 1 / 3, 0.3, 4, 1
#: Cells that constant fill is long and wide at least: 48 m of pixels of half a metre.
FILL_LONG, FILL_WIDE = 12, 2
#: Pixels around a window that must be read for its cells to be right.
MARGIN = CELL * (2 * FAR + SQUARE + GROWTH + RIM + 1)

#: Rows of cells, and cells, that are worked on at once.
#: Of 512 cells OpenBLAS multiplies without waking threads, which took 30 times as long.
_CHUNK, _CELLS = 16, 512

#: Features of a date of its own, and of both together.
OWN, SHARED = 10, 2

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Classifier:
    """A small perceptron: what the features of a cell say of it.

    Attributes
    ----------
    mean, scale
        float32 (features,): how features become alike.
    weights, biases
        Parameters of each layer: float32 (inputs, outputs) and (outputs,).
    threshold
        Probability from which a cell is obscured.
    """

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    weights: tuple[npt.NDArray[np.float32], ...]
    biases: tuple[npt.NDArray[np.float32], ...]
    threshold: float

    def probability(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the probability that cells are obscured, float32 (cells,).

        Parameters
        ----------
        features
            float32 (cells, features).
        """
        found = np.empty(len(features), np.float32)
        for first in range(0, len(features), _CELLS):  # few at a time: they stay in the cache
            found[first : first + _CELLS] = self._asked(features[first : first + _CELLS])
        return found

    def _asked(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        values = features - self.mean
        values /= self.scale
        np.clip(values, -6, 6, out=values)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weight
            values += bias
            if number + 1 < len(self.weights):
                np.maximum(values, 0, out=values)
        return np.asarray(1 / (1 + np.exp(-np.clip(values[:, 0], -30, 30))), np.float32)


@cache
def bundled() -> Classifier:
    """Return the classifier that comes with the package."""
    return read_classifier(files("geodamage.scene").joinpath("obscured.npz"))


def read_classifier(source: Traversable) -> Classifier:
    """Read what `python -m training.obscured` writes."""
    with source.open("rb") as file, np.load(file, allow_pickle=False) as saved:
        count = sum(name.startswith("weight") for name in saved.files)
        return Classifier(
            saved["mean"],
            saved["scale"],
            tuple(saved[f"weight{n}"] for n in range(count)),
            tuple(saved[f"bias{n}"] for n in range(count)),
            float(saved["threshold"]),
        )


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


def features_of(
    dates: Sequence[Cells], seen: Bools
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what a classifier knows of each cell, on each of two dates.

    Parameters
    ----------
    dates
        Both dates.
    seen
        bool (rows, columns): cells that are whole in both, and `shown` in both.

    Returns
    -------
    two of float32 (cells, 2 * `OWN` + `SHARED`)
        Features of both dates, of the cells that are seen.
    """
    one, two = (_picked(_own(date, seen), seen) for date in dates)
    shared = [_likeness(dates[0], dates[1], seen, reach) for reach in (NEAR, FAR)]
    both = _picked(shared, seen)
    return np.hstack([one, two, both]), np.hstack([two, one, both])


def _picked(planes: Sequence[Floats], seen: Bools) -> npt.NDArray[np.float32]:
    return np.stack([plane[seen] for plane in planes], -1).astype(np.float32)


def _own(cells: Cells, seen: Bools) -> list[Floats]:
    red, blue = cells.means[0], cells.means[-1]
    grey = cells.means.mean(0)
    found = [grey, red - blue, np.ptp(cells.means, axis=0), cells.deviation]
    for reach in (NEAR, FAR):
        mean = _around(grey, seen, reach)
        spread = _around(grey**2, seen, reach) - mean**2
        found += [mean, np.sqrt(np.maximum(spread, 0)), _around(cells.deviation, seen, reach)]
    return found


def _likeness(own: Cells, other: Cells, seen: Bools, reach: int) -> Floats:
    """Return the correlation of both dates in the surroundings of each cell."""
    one, two = own.means.mean(0), other.means.mean(0)
    means = [_around(plane, seen, reach) for plane in (one, two)]
    spreads = [
        np.maximum(_around(plane**2, seen, reach) - mean**2, 0.25)
        for plane, mean in zip((one, two), means, strict=True)
    ]
    both = _around(one * two, seen, reach) - means[0] * means[1]
    return np.asarray(both / np.sqrt(spreads[0] * spreads[1]))


def _around(plane: Floats, seen: Bools, reach: int) -> Floats:
    """Return the mean over the cells around each that are seen; in steps of 2**-20, so exact."""
    steps = np.rint(plane * 2.0**20) * seen
    size = (2 * reach + 1,) * 2
    sums, count = (
        cv2.boxFilter(part, cv2.CV_64F, size, normalize=False, borderType=cv2.BORDER_REFLECT_101)
        for part in (steps, seen.astype(np.float64))
    )
    return np.asarray(sums / np.maximum(count, 1) / 2.0**20)


def hidden(
    images: Sequence[Bytes], missing: Sequence[Bools], classifier: Classifier | None = None
) -> list[Bools]:
    """Say where two dates, or one, do not show the ground.

    Parameters
    ----------
    images
        uint8 (channels, rows, columns) each: a window that begins and ends with whole cells. What
        is said of its outer `MARGIN` pixels may be wrong.
    missing
        bool (rows, columns) each: where there is no data at all; it is not called hidden.
    classifier
        None takes the bundled one. Of one date alone only constant fill is found.

    Returns
    -------
    list of bool (rows, columns)
    """
    dates = [cells_of(image) for image in images]
    whole = [~_any(absent) for absent in missing]
    found = [_fill(*date) for date in zip(images, dates, whole, strict=True)]
    if len(images) > 1:
        seen = whole[0] & whole[1] & shown(dates[0]) & shown(dates[1])
        for result, features in zip(found, features_of(dates, seen), strict=True):
            obscured = _classified(features, seen, classifier or bundled(), _any(result))
            if obscured.any():
                result |= _spread(obscured.view(np.uint8), result.shape)
    return [result & ~absent for result, absent in zip(found, missing, strict=True)]


def _spread(cells: Bytes, shape: tuple[int, ...]) -> Bools:
    """Return the pixels of cells that are not 0."""
    drawn = cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(drawn > 0)


def _any(mask: Bools) -> Bools:
    rows, columns = mask.shape
    if not mask.any():
        return np.zeros((rows // CELL, columns // CELL), bool)
    return np.asarray(mask.reshape(rows // CELL, CELL, columns // CELL, CELL).any((1, 3)))


def _classified(
    features: npt.NDArray[np.float32], seen: Bools, classifier: Classifier, fill: Bools
) -> Bools:
    """Return the cells that something hides, with the rims of clouds; fill has a sharp edge."""
    probability = np.zeros(seen.shape, np.float32)
    probability[seen] = classifier.probability(features)
    found = certain(probability, classifier.threshold)
    return _with_rims(found, probability, fill.view(np.uint8)) > 0


def certain(probability: npt.NDArray[np.float32], threshold: float) -> Bytes:
    """Return what a classifier is sure of: whole squares of cells, uint8 (rows, columns).

    Parameters
    ----------
    probability
        How likely each cell is obscured, float32 (rows, columns).
    threshold
        Probability from which a cell is obscured.
    """
    square = np.ones((SQUARE, SQUARE), np.uint8)
    found = (probability >= threshold).view(np.uint8)
    return np.asarray(cv2.morphologyEx(found, cv2.MORPH_OPEN, square))


def _with_rims(found: Bytes, probability: npt.NDArray[np.float32], fill: Bytes) -> Bytes:
    """Return what was found, and what lies beside the bodies of clouds."""
    if not found.any():
        return found
    side = 2 * FAR + 1
    around = cv2.boxFilter(found.astype(np.float32), -1, (side, side), normalize=False)
    body = found & (around >= BODY * side**2) & (_wider(fill, 1) == 0)
    likely = (probability >= LIKELY).view(np.uint8)
    for _ in range(GROWTH):
        body |= _wider(body, 1) & likely
    return found | _wider(body, RIM)


def _wider(cells: Bytes, steps: int) -> Bytes:
    return np.asarray(cv2.dilate(cells, np.ones((2 * steps + 1,) * 2, np.uint8)))


def _opened(mask: Bytes, shape: tuple[int, int]) -> Bytes:
    """Return the rectangles of a mask; OpenCV's own opening moves it where a side is even."""
    kernel, last = np.ones(shape, np.uint8), (shape[1] - 1, shape[0] - 1)
    return np.asarray(cv2.dilate(cv2.erode(mask, kernel, anchor=(0, 0)), kernel, anchor=last))


def _fill(image: Bytes, cells: Cells, whole: Bools) -> Bools:
    """Return the pixels of constant fill: cells in long rows, and what goes on beside them."""
    constant = (cells.constant & whole).view(np.uint8)
    result = np.zeros(image.shape[1:], bool)
    if not constant.any():
        return result
    core = np.zeros_like(constant)
    for shape in ((FILL_WIDE, FILL_LONG), (FILL_LONG, FILL_WIDE)):
        core |= _opened(constant, shape)
    if not core.any():
        return result
    result |= _spread(core, result.shape)
    beside = (cv2.dilate(core, np.ones((3, 3), np.uint8)) > 0) & (core == 0)
    for row, column in zip(*np.nonzero(beside), strict=True):
        box = slice(row * CELL, (row + 1) * CELL), slice(column * CELL, (column + 1) * CELL)
        around = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
        values = cells.means[:, *around][:, core[around] > 0]
        same = image[:, *box, None] == values[:, None, None, :]
        result[box] = same.all(0).any(-1)
    return result
