"""The warp: where the pixels of a working grid lie in an image; pure arithmetic, no files.

Positions are worked out on nodes every 64 pixels of an absolute lattice and are bilinear
between them. Every step is exact in float64, so a pixel's position does not depend on the
window it is asked for in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from geodamage.windows import Window

#: Working pixels between two nodes.
NODE_STEP = 64

#: OpenCV addresses at most this many pixels along an axis (its limit is 32,767).
LONGEST_SIDE = 32_000

# Adding this to a float64 leaves multiples of 1/32 only: its own last bit is worth that much.
_ROUND_TO_32ND = 1.5 * 2.0**47

# Nodes are multiples of this, so that sums and halves of them are exact.
_NODE_UNIT = 2.0**-20

# Pixels of the image that a cell of nodes spans; blocks make that 128 or so.
_LONGEST_CELL = 16 * NODE_STEP

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

#: From arrays of two coordinates to arrays of two coordinates.
PointMap = Callable[[Floats, Floats], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the pixel centres of a window lie in an image.

    Attributes
    ----------
    window
        The window, on the lattice.
    first
        Row and column of the first node, in units of `NODE_STEP`.
    columns, rows
        float64 (node rows, node columns); pixels of the image, 0 is the centre of its first.
    """

    window: Window
    first: tuple[int, int]
    columns: Floats
    rows: Floats

    def crop(self, window: Window) -> "Positions":
        """Return the positions of a part of the window."""
        top, left, bottom, right = _node_range(window)
        cut = (
            slice(top - self.first[0], bottom - self.first[0]),
            slice(left - self.first[1], right - self.first[1]),
        )
        return Positions(window, (top, left), self.columns[cut], self.rows[cut])

    @property
    def hull(self) -> Window:
        """Every pixel of the image that the window may draw on."""
        top, left = int(np.floor(self.rows.min())), int(np.floor(self.columns.min()))
        bottom, right = int(np.floor(self.rows.max())), int(np.floor(self.columns.max()))
        return Window(top, left, bottom - top + 2, right - left + 2)

    @property
    def translation(self) -> tuple[int, int] | None:
        """Rows and columns from the window to the image, where that is all the warp does."""
        down = self.rows - (NODE_STEP * np.arange(len(self.rows))[:, None])
        across = self.columns - (NODE_STEP * np.arange(self.columns.shape[1]))
        row, column = np.rint(down[0, 0]), np.rint(across[0, 0])
        limit = 1 / 64  # what rounds to a whole pixel
        if np.abs(down - row).max() >= limit or np.abs(across - column).max() >= limit:
            return None
        return int(row) - NODE_STEP * self.first[0], int(column) - NODE_STEP * self.first[1]

    def maps(self, origin: Window) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return columns and rows of every pixel, to 1/32 pixel.

        Parameters
        ----------
        origin
            Positions are counted from its first row and column.

        Returns
        -------
        float32 (rows, columns), float32 (rows, columns)
        """
        return (
            self._interpolate(self.columns - origin.column),
            self._interpolate(self.rows - origin.row),
        )

    def _interpolate(self, nodes: Floats) -> npt.NDArray[np.float32]:
        height, width = self.window.shape
        result = np.empty((height, width), np.float32)
        lead = self.window.column - self.first[1] * NODE_STEP
        along = np.arange(NODE_STEP) / NODE_STEP
        start = self.window.row
        while start < self.window.bottom:  # one row of cells at a time stays in the cache
            cell = start // NODE_STEP
            stop = min((cell + 1) * NODE_STEP, self.window.bottom)
            part = (np.arange(start, stop) - cell * NODE_STEP)[:, None] / NODE_STEP
            upper, lower = nodes[cell - self.first[0]], nodes[cell + 1 - self.first[0]]
            edges = upper + (lower - upper) * part
            fine = np.diff(edges, axis=1)[:, :, None] * along
            fine += edges[:, :-1, None]
            fine += _ROUND_TO_32ND
            flat = fine.reshape(stop - start, -1)[:, lead : lead + width]
            np.subtract(
                flat,
                _ROUND_TO_32ND,
                out=result[start - self.window.row : stop - self.window.row],
                casting="same_kind",
            )
            start = stop
        return result


def locate(window: Window, to_image: PointMap, limits: Window) -> Positions:
    """Return where the pixels of a window lie in an image.

    Parameters
    ----------
    window
        Window of the lattice.
    to_image
        From columns and rows of the lattice to columns and rows of the image, both counted
        from the corner of pixel (0, 0).
    limits
        Pixels of the image; positions far beyond (or at infinity) are drawn near.
    """
    top, left, bottom, right = _node_range(window)
    centres = np.meshgrid(
        np.arange(left, right) * NODE_STEP + 0.5, np.arange(top, bottom) * NODE_STEP + 0.5
    )
    columns, rows = to_image(centres[0], centres[1])
    columns = _tame(columns - 0.5, limits.column, limits.right)
    rows = _tame(rows - 0.5, limits.row, limits.bottom)
    return Positions(window, (top, left), columns, rows)


def _tame(values: Floats, low: int, high: int) -> Floats:
    reach = 4096  # pixels: more than a cell of nodes spans
    finite = np.where(np.isfinite(values), values, low - reach)
    return np.rint(np.clip(finite, low - reach, high + reach) / _NODE_UNIT) * _NODE_UNIT


def _node_range(window: Window) -> tuple[int, int, int, int]:
    return (
        window.row // NODE_STEP,
        window.column // NODE_STEP,
        (window.bottom - 1) // NODE_STEP + 2,
        (window.right - 1) // NODE_STEP + 2,
    )


def pieces(positions: Positions, limits: Window, most: int) -> Iterator[Positions]:
    """Cut a window until no piece draws on more than `most` pixels of the image, or is a cell.

    A cell of nodes that reaches across an image spans an edge of the projection: it is left out.
    """
    need = positions.hull & limits
    sides = max(*need.shape, *positions.window.shape)
    if positions.rows.shape == (2, 2):
        if sides <= _LONGEST_CELL:
            yield positions
        return
    if need.size <= most and sides <= LONGEST_SIDE:
        yield positions
        return
    for half in _halves(positions):
        yield from pieces(positions.crop(half), limits, most)


def _halves(positions: Positions) -> tuple[Window, Window]:
    window = positions.window
    row, column, height, width = window.row, window.column, window.height, window.width
    if len(positions.rows) > 2:  # rows first: files hold whole rows together
        middle = height // 2
        return (
            Window(row, column, middle, width),
            Window(row + middle, column, height - middle, width),
        )
    middle = width // 2
    return Window(row, column, height, middle), Window(row, column + middle, height, width - middle)


def resample(
    values: Bytes, valid: Bools, columns: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]
) -> tuple[Bytes, Bools]:
    """Read an image at positions between its pixels, bilinear.

    Parameters
    ----------
    values, valid
        uint8 (channels, rows, columns) and bool (rows, columns).
    columns, rows
        float32 (rows, columns); beyond the outermost centres, the outermost pixels go on for
        half a pixel, and there is nothing further out.

    Returns
    -------
    uint8 (channels, rows, columns), bool (rows, columns)
        A pixel is valid where all pixels it draws on are.
    """
    result = np.empty((len(values), *columns.shape), np.uint8)
    for channel, source in zip(result, values, strict=True):
        cv2.remap(source, columns, rows, cv2.INTER_LINEAR, channel, cv2.BORDER_REPLICATE)
    height, width = valid.shape
    inside = (columns >= -0.5) & (columns <= width - 0.5) & (rows >= -0.5) & (rows <= height - 0.5)
    if not valid.all():
        share = valid.astype(np.float32)
        inside &= cv2.remap(share, columns, rows, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE) == 1
    return result, inside


def average(values: Bytes, valid: Bools, factors: tuple[int, int]) -> tuple[Bytes, Bools]:
    """Average blocks of pixels.

    Parameters
    ----------
    values, valid
        uint8 (channels, rows, columns) and bool (rows, columns); whole blocks.
    factors
        Rows and columns of a block.

    Returns
    -------
    uint8 (channels, rows, columns), bool (rows, columns)
        The mean of the valid pixels of each block; valid where at least half of them are.
    """
    size = factors[0] * factors[1]
    if valid.all():
        sums = np.stack([_block_sum(channel, factors) for channel in values])
        means = (2 * sums + size) // (2 * size)
        return means.astype(np.uint8), np.ones(means.shape[1:], bool)
    sums = np.stack([_block_sum(channel * valid, factors) for channel in values])
    count = _block_sum(valid.view(np.uint8), factors)
    means = (2 * sums + count) // (2 * np.maximum(count, 1))
    return means.astype(np.uint8), 2 * count >= size


def _block_sum(plane: Bytes, factors: tuple[int, int]) -> npt.NDArray[np.uint32]:
    rows = np.zeros((plane.shape[0] // factors[0], plane.shape[1]), np.uint32)
    for offset in range(factors[0]):
        rows += plane[offset :: factors[0]]
    total = np.zeros((rows.shape[0], rows.shape[1] // factors[1]), np.uint32)
    for offset in range(factors[1]):
        total += rows[:, offset :: factors[1]]
    return total


def reduction(factor: float) -> int:
    """Return how many source pixels to average, given how many a working pixel spans."""
    nearest = round(factor)
    if nearest >= 1 and abs(factor / nearest - 1) < 0.01:
        return nearest
    return max(int(factor), 1)
