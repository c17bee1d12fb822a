"""Cover: how much of each pixel polygons cover, exactly, of many polygons at once.

An edge of an outline covers what lies right of it in its rows, and is counted with the sign of its
direction. So the edges of a polygon add up to its cover, as font rasterisers do it. What an edge
adds differs from pixel to pixel only where it passes; so it is noted there, and running sums along
the rows give the cover.

Source: the accumulation buffer of R. Levien's font-rs (2016).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.transform import Affine

from geodamage.grid import rings_of

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Steps of a pixel that edges are added up in, so that the sum does not depend on the order, and
#: steps that a cover is told in: rounding must not leave a trace of cover where there is none.
_SUMMED, _TOLD = 2.0**32, 2.0**20
#: Pixels of boxes whose cover is measured at once.
AT_ONCE = 250_000


class Cover(NamedTuple):
    """Pixels that polygons cover, in the order of the polygons.

    Attributes
    ----------
    owner
        int64 (k,): number of the polygon.
    row, column
        int64 (k,): the pixel.
    share
        float64 (k,): how much of it is covered, above 0, at most 1.
    """

    owner: Numbers
    row: Numbers
    column: Numbers
    share: Floats


class _Edges(NamedTuple):
    """Edges of outlines, in pixels right of and below a grid's corner; none is level."""

    owner: Numbers
    x0: Floats
    y0: Floats
    x1: Floats
    y1: Floats
    sign: Floats  # 1 where what lies right of an edge that goes down is covered by it, or -1


class _Pieces(NamedTuple):
    """Parts of edges, each within one pixel, or left or right of its box."""

    place: Numbers  # where its pixel is among those of all boxes
    height: Floats  # with its sign
    right: Floats  # share of the pixel that lies right of it, of its own height


def portions(boxes: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Cut boxes by rows, so that none is large, and put some together.

    Parameters
    ----------
    boxes
        int64 (n, 4): row, column, bottom and right.

    Yields
    ------
    numbers
        int64 (k,): of the boxes; a large one comes more than once.
    parts
        int64 (k, 4): the box, or a part of it.
    """
    height, width = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    rows = np.maximum(AT_ONCE // np.maximum(width, 1), 1)
    numbers, step = _spread(-(-height // rows))
    parts = boxes[numbers].copy()
    parts[:, 0] += step * rows[numbers]
    parts[:, 2] = np.minimum(parts[:, 0] + rows[numbers], parts[:, 2])
    filled = np.cumsum((parts[:, 2] - parts[:, 0]) * width[numbers]) // AT_ONCE
    ends = np.flatnonzero(np.diff(filled)) + 1
    if len(numbers):
        yield from zip(np.split(numbers, ends), np.split(parts, ends), strict=True)


def cover_of(shapes: np.ndarray, boxes: Numbers, transform: Affine) -> Cover:
    """Measure how much of each pixel polygons cover.

    Parameters
    ----------
    shapes
        object (n,): valid geometries; what is no polygon covers nothing.
    boxes
        int64 (n, 4): row, column, bottom and right of the pixels that are wanted of each.
    transform
        Transform of the grid, whose rows run along the x axis.

    Returns
    -------
    Cover
        In steps of 1 / 2^20.
    """
    top, left, bottom, right = boxes.T
    across = right - left + 1  # what lies right of a box is noted beside it
    sizes = (bottom - top) * across
    starts = np.cumsum(sizes) - sizes
    pieces = _by_column(_by_row(_edges(shapes, transform), top, bottom), boxes, starts)
    most = int(sizes.sum()) + 1
    added = np.bincount(pieces.place, pieces.height * pieces.right, most)
    added += np.bincount(pieces.place + 1, pieces.height * (1 - pieces.right), most)
    running = np.cumsum(np.rint(added * _SUMMED).astype(np.int64))
    owner_of_row, row = _spread(bottom - top)
    begins = starts[owner_of_row] + row * across[owner_of_row]
    before = np.append(0, running)[begins]
    running = running[:-1] - np.repeat(before, across[owner_of_row])
    told = np.rint(running * (_TOLD / _SUMMED))
    found = np.flatnonzero(told > 0)
    owner = np.repeat(np.arange(len(boxes)), sizes)[found]
    row, column = np.divmod(found - starts[owner], across[owner])
    inside = column < across[owner] - 1
    found, owner, row, column = found[inside], owner[inside], row[inside], column[inside]
    share = np.minimum(told[found] / _TOLD, 1)
    return Cover(owner, row + top[owner], column + left[owner], share)


def _spread(counts: Numbers) -> tuple[Numbers, Numbers]:
    """Return each number as often as it counts, and 0, 1, 2 and so on for each."""
    numbers = np.repeat(np.arange(len(counts)), counts)
    return numbers, np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)


def _edges(shapes: np.ndarray, transform: Affine) -> _Edges:
    """Return the edges of all rings that are not level."""
    rings, owner, is_shell = rings_of(shapes)
    places, ring = shapely.get_coordinates(rings, return_index=True)
    a, _, c, _, e, f = transform[:6]
    x, y = (places[:, 0] - c) / a, (places[:, 1] - f) / e
    edge = np.flatnonzero(ring[1:] == ring[:-1])
    x0, x1, y0, y1, ring = x[edge], x[edge + 1], y[edge], y[edge + 1], ring[edge]
    # Near the ring itself, so that the area of a small one far from the corner has digits left.
    near = x[np.searchsorted(ring, np.arange(len(rings)))] if len(edge) else np.zeros(0)
    area = np.bincount(ring, ((x0 + x1) / 2 - near[ring]) * (y1 - y0), len(rings))
    sign = np.where(is_shell, -1, 1) * np.sign(area)
    steep = y0 != y1
    ring = ring[steep]
    return _Edges(owner[ring], x0[steep], y0[steep], x1[steep], y1[steep], sign[ring])


def _by_row(edges: _Edges, top: Numbers, bottom: Numbers) -> tuple[_Edges, Numbers]:
    """Cut edges at the rows of their boxes; return the parts, and the row of each."""
    owner, x0, y0, x1, y1, sign = edges
    first = np.maximum(np.floor(np.minimum(y0, y1)).astype(np.int64), top[owner])
    last = np.minimum(np.ceil(np.maximum(y0, y1)).astype(np.int64), bottom[owner])
    edge, step = _spread(np.maximum(last - first, 0))
    row = first[edge] + step
    begin, x_begin, slope = y0[edge], x0[edge], ((x1 - x0) / (y1 - y0))[edge]
    low, high = np.minimum(x0, x1)[edge], np.maximum(x0, x1)[edge]
    y0, y1 = (np.clip(y[edge], row, row + 1) for y in (y0, y1))
    x0, x1 = (np.clip(x_begin + (y - begin) * slope, low, high) for y in (y0, y1))
    return _Edges(owner[edge], x0, y0, x1, y1, sign[edge]), row


def _by_column(cut: tuple[_Edges, Numbers], boxes: Numbers, starts: Numbers) -> _Pieces:
    """Cut parts of edges at the columns of their boxes.

    Parameters
    ----------
    cut
        From `_by_row`.
    boxes, starts
        Row, column, bottom and right of each box, and where its pixels start among those of all.
    """
    edges, row = cut
    owner, low, high = edges.owner, np.minimum(edges.x0, edges.x1), np.maximum(edges.x0, edges.x1)
    top, left, _, right = (side[owner] for side in boxes.T)
    # All that lies left of a box is one piece, and all that lies right of it another.
    first, last = (np.clip(np.floor(x), left - 1, right).astype(np.int64) for x in (low, high))
    part, step = _spread(last - first + 1)
    column = first[part] + step
    begin = np.where(step == 0, low[part], column)
    end = np.where(column == last[part], high[part], column + 1)
    width = (high - low)[part]
    share = np.divide(end - begin, width, out=np.ones(len(part)), where=width > 0)
    height = ((edges.y1 - edges.y0) * edges.sign)[part] * share
    left, right = left[part], right[part]
    beyond = (column < left) | (column >= right)
    over = np.where(beyond, 1.0, column + 1 - (begin + end) / 2)
    line = starts[owner] + (row - top) * (boxes[owner, 3] - boxes[owner, 1] + 1)
    return _Pieces(line[part] + np.maximum(column, left) - left, height, over)
