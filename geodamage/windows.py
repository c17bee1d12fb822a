"""Windows of a scene: pure arithmetic, no pixels.

A window is a rectangle of pixels. Prediction cuts a scene into *cores* that tile it without
overlap; a model sees each core with a *halo* around it, and what it says of the halo is thrown
away.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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


def spread_over(rows: int, columns: int, count: int) -> list[tuple[int, int]]:
    """Return at most `count` cells of rows x columns, evenly spread: all where there are few."""
    if rows * columns <= count:
        return [(row, column) for row in range(rows) for column in range(columns)]
    golden = (math.sqrt(5) - 1) / 2  # a Fibonacci lattice: even in both directions
    steps = np.arange(count) + 0.5
    down, across = steps / count * rows, steps * golden % 1 * columns
    cells = zip(down.astype(int).tolist(), across.astype(int).tolist(), strict=True)
    return sorted(set(cells))
