"""Windows of a scene: pure arithmetic, no pixels.

A window is a rectangle of pixels. Prediction cuts a scene into *cores* that tile it without
overlap. A model sees each core with a *halo* around it, and its output in the halo is discarded.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Share of the work above which several rectangles are not worth having in place of one.
_WORTH_CUTTING = 0.9


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of pixels; it may reach beyond the grid it is measured on.

    Attributes
    ----------
    row, column
        First row and column, pixels.
    height, width
        Rows and columns, pixels; not negative.
    """

    row: int
    column: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row after the last."""
        return self.row + self.height

    @property
    def right(self) -> int:
        """The column after the last."""
        return self.column + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def size(self) -> int:
        """The number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this window in an array of the grid; wrong where it reaches beyond it."""
        return slice(self.row, self.bottom), slice(self.column, self.right)

    def __and__(self, other: "Window") -> "Window":
        """Return what both windows cover; empty (0 x 0) where they do not meet."""
        row, column = max(self.row, other.row), max(self.column, other.column)
        height = min(self.bottom, other.bottom) - row
        width = min(self.right, other.right) - column
        if height <= 0 or width <= 0:
            return Window(row, column, 0, 0)
        return Window(row, column, height, width)

    def buffer(self, pixels: int) -> "Window":
        """Return the window grown by `pixels` on each side."""
        return Window(
            self.row - pixels,
            self.column - pixels,
            self.height + 2 * pixels,
            self.width + 2 * pixels,
        )

    def shift(self, rows: int, columns: int) -> "Window":
        """Return the window moved down and to the right."""
        return Window(self.row + rows, self.column + columns, self.height, self.width)

    def times(self, step: int) -> "Window":
        """Return a window of cells, `step` pixels each, in pixels."""
        return Window(self.row * step, self.column * step, self.height * step, self.width * step)

    def contains(self, other: "Window") -> bool:
        """Say whether every pixel of `other` lies in this window."""
        return (self & other).size == other.size


def round_down(value: int, step: int) -> int:
    """Return the largest multiple of `step` that is not above `value`."""
    return value // step * step


def round_up(value: int, step: int) -> int:
    """Return the smallest multiple of `step` that is not below `value`."""
    return -(-value // step) * step


def split(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut `[start, stop)` at the multiples of `step`; first and last piece may be shorter."""
    while start < stop:
        end = min(round_down(start, step) + step, stop)
        yield start, end
        start = end


def mirror(start: int, stop: int, size: int) -> npt.NDArray[np.intp]:
    """Map indices of `[start, stop)` into `[0, size)`, mirrored at both ends.

    The outermost pixel is not repeated (`2 1 | 0 1 2 3 | 2 1`), as in OpenCV's reflect-101;
    ranges longer than the image are mirrored again.

    Returns
    -------
    intp (stop - start,)
    """
    if size < 1:
        raise ValueError(f"cannot mirror an axis of {size} pixels")
    period = max(2 * (size - 1), 1)
    index = np.abs(np.arange(start, stop)) % period
    return np.where(index < size, index, period - index).astype(np.intp)


def pieces(needed: npt.NDArray[np.bool_], margin: float) -> list[Window]:
    """Cut out of a grid the rectangles that hold all that is needed, for the least work.

    Every rectangle is worked on with a margin around it. A cut is made where both sides, each
    without what is not needed around it, are less work than the whole.

    Parameters
    ----------
    needed
        bool (rows, columns)
    margin
        Cells around a rectangle on each side.

    Returns
    -------
    Rectangles that do not overlap, in cells; none where nothing is needed.
    """
    rows, columns = (np.flatnonzero(needed.any(axis)) for axis in (1, 0))
    if not len(rows):
        return []
    whole = Window(int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
    inner = needed[whole.slices]
    cuts = [(*_best_cut(inner if axis == 0 else inner.T, margin), axis) for axis in (0, 1)]
    work, place, axis = min(cuts)
    if work >= _work([whole], margin):
        return [whole]
    starts = [(0, 0), (place, 0) if axis == 0 else (0, place)]
    found = [
        piece.shift(whole.row + row, whole.column + column)
        for part, (row, column) in zip(np.split(inner, [place], axis), starts, strict=True)
        for piece in pieces(part, margin)
    ]
    # A slope is worth its many cuts, none of which is alone.
    return found if _work(found, margin) < _WORTH_CUTTING * _work([whole], margin) else [whole]


def _work(windows: list[Window], margin: float) -> float:
    return sum((w.height + 2 * margin) * (w.width + 2 * margin) for w in windows)


def _best_cut(needed: npt.NDArray[np.bool_], margin: float) -> tuple[float, int]:
    """Return the work after the best cut between two rows, and the row after it."""
    if len(needed) < 2:
        return math.inf, 0
    above = _work_down_to(needed, margin)
    below = _work_down_to(needed[::-1], margin)[::-1]
    both = above[:-1] + below[1:]
    place = int(both.argmin())
    return float(both[place]), place + 1


def _work_down_to(needed: npt.NDArray[np.bool_], margin: float) -> npt.NDArray[np.float64]:
    """Return the work on the rectangle around what is needed down to each row, float64 (rows,)."""
    rows, columns = needed.shape
    filled = needed.any(1)
    first = np.where(filled, needed.argmax(1), columns)
    last = np.where(filled, columns - needed[:, ::-1].argmax(1), 0)
    width = np.maximum.accumulate(last) - np.minimum.accumulate(first)
    bottom = np.maximum.accumulate(np.where(filled, np.arange(rows) + 1, 0))
    top = int(filled.argmax())
    work: npt.NDArray[np.float64] = (bottom - top + 2 * margin) * (width + 2 * margin)
    return np.where(bottom > 0, work, 0.0)


def cells(pixels: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.bool_]:
    """Return of which cells of a grid, `side` pixels square, any pixel is set."""
    starts = [np.arange(0, length, side) for length in pixels.shape]
    found: npt.NDArray[np.bool_] = np.logical_or.reduceat(
        np.logical_or.reduceat(pixels, starts[0], 0), starts[1], 1
    )
    return found


def spread_over(rows: int, columns: int, count: int) -> list[tuple[int, int]]:
    """Return at most `count` cells of rows x columns, evenly spread: all where there are few."""
    if rows * columns <= count:
        return [(row, column) for row in range(rows) for column in range(columns)]
    golden = (math.sqrt(5) - 1) / 2  # a Fibonacci lattice: even in both directions
    steps = np.arange(count) + 0.5
    down, across = steps / count * rows, steps * golden % 1 * columns
    cells = zip(down.astype(int).tolist(), across.astype(int).tolist(), strict=True)
    return sorted(set(cells))
