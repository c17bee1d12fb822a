"""What hides the ground: cloud, smoke, haze and constant fill; pure arithmetic, no files.

Images are looked at in cells of `geodamage.scene.cells`. Constant fill is found by
rule. A small classifier finds the rest. It compares a cell and its surroundings on this date and on
the other: a roof is bright on both, and a cloud on one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import cv2
import numpy as np
import numpy.typing as npt

from geodamage.scene.cells import (
    CELL,
    FAR,
    Bools,
    Bytes,
    Cells,
    Features,
    SeenCells,
    any_of,
    features_of,
    seen_cells,
    shown,
)

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

#: Cells that are worked on at once.
#: Of 512 cells OpenBLAS multiplies without waking threads, which took 30 times as long.
_CELLS = 512


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
    return hidden_by(seen_cells(images, missing), images, missing, classifier)


def hidden_by(
    cells: SeenCells,
    images: Sequence[Bytes],
    missing: Sequence[Bools],
    classifier: Classifier | None = None,
) -> list[Bools]:
    """Say where a window that is known in cells does not show the ground; see `hidden`."""
    dates, whole = cells
    found = [_fill(*date) for date in zip(images, dates, whole, strict=True)]
    if len(images) > 1:
        seen = whole[0] & whole[1] & shown(dates[0]) & shown(dates[1])
        features = features_of(dates, seen)
        for number, result in enumerate(found):
            asked = Asked(features, number, seen, classifier or bundled())
            obscured = classified(asked, any_of(result))
            if obscured.any():
                result |= _spread(obscured.view(np.uint8), result.shape)
    for result, absent in zip(found, missing, strict=True):
        if result.any():
            result &= ~absent
    return found


def _spread(cells: Bytes, shape: tuple[int, ...]) -> Bools:
    """Return the pixels of cells that are not 0."""
    drawn = cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(drawn > 0)


class Asked:
    """What a classifier says of the cells of a date; it is asked of a cell once.

    Parameters
    ----------
    features, date
        What it knows, and the number of the date.
    seen
        bool (rows, columns): cells that it may be asked about.

    Attributes
    ----------
    probability
        float32 (rows, columns): how likely each cell is obscured; 0 where nobody asked.
    """

    def __init__(self, features: Features, date: int, seen: Bools, classifier: Classifier) -> None:
        self.classifier = classifier
        self.probability = np.zeros(seen.shape, np.float32)
        self._features, self._date, self._left = features, date, seen.copy()

    def ask(self, cells: Bools) -> None:
        """Ask about some cells."""
        fresh = cells & self._left
        if fresh.any():
            self.probability[fresh] = self.classifier.probability(
                self._features.at(self._date, fresh)
            )
            self._left &= ~fresh


def classified(asked: Asked, fill: Bools) -> Bools:
    """Return the cells that something hides, with the rims of clouds; fill has a sharp edge.

    Parameters
    ----------
    asked
        What the classifier says; it is asked here.
    fill
        bool (rows, columns): cells of constant fill.

    Returns
    -------
    bool (rows, columns)
    """
    # Every square holds one of these cells, so most cells of clear ground need not be asked about.
    sieve = np.zeros(fill.shape, bool)
    rows, columns = (sorted({*range(0, side, SQUARE), side - 1}) for side in fill.shape)
    sieve[np.ix_(rows, columns)] = True
    asked.ask(sieve)
    threshold = asked.classifier.threshold
    asked.ask(_wider((asked.probability >= threshold).view(np.uint8), SQUARE - 1) > 0)
    found = certain(asked.probability, threshold)
    if found.any():
        asked.ask(_wider(found, GROWTH) > 0)
    return _with_rims(found, asked.probability, fill.view(np.uint8)) > 0


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
