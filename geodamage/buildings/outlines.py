"""Outlines: labels of pixels in, one polygon around each out, all of a raster at once.

Where a label ends, the sides of its pixels join to straight edges, and each edge is followed by
the one that begins where it ends. So the edges of a raster are one permutation. Its cycles are the
rings of all polygons, and arrays find them without a step for each building.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.transform import Affine

Numbers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Where an edge to the east, south, west and north begins: columns and rows from the upper left
#: corner of its first pixel.
_ACROSS, _DOWN = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])


class _Edges(NamedTuple):
    """Straight edges of one direction; the label is on their right.

    Attributes
    ----------
    first, last
        (n,): the pixels that an edge begins and ends with, as indices of the padded raster.
    lefts
        bool (n,): whether the outline turns left at the end; else it turns right.
    """

    first: Numbers
    last: Numbers
    lefts: Bools


def polygonise(
    labels: np.ndarray, transform: Affine, corner: npt.ArrayLike = (0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one polygon around each label, exactly along pixel edges, holes kept.

    Parameters
    ----------
    labels
        int32 (rows, columns): 0 nothing; each label connected by its sides.
    transform
        Transform of the grid.
    corner
        Row and column on the grid of the raster's first pixel: (2,), or (labels + 1, 2) where each
        label has its own. Vertices are whole pixels of the grid until the end, so that they do not
        depend on the raster that a building was drawn on.

    Returns
    -------
    numbers
        int64 (n,): the label of each polygon, ascending.
    polygons
        object (n,): in a canonical order of vertices, so that equal shapes are equal.
    """
    padded = np.pad(labels, 1)
    width = padded.shape[1]
    flat = padded.ravel()
    steps = [(1, -width), (width, 1), (-1, width), (-width, -1)]  # ahead and to the left
    edges = [_edges(flat, *step, sides) for step, sides in zip(steps, _sides(padded), strict=True)]
    order, starts = _cycles(_successors(edges, steps, flat.size))
    if not len(starts):
        return np.zeros(0, np.int64), np.zeros(0, object)
    first = np.concatenate([side.first for side in edges])[order]
    direction = np.repeat(np.arange(4), [len(side.first) for side in edges])[order]
    rows = first // width - 1 + _DOWN[direction]
    columns = first % width - 1 + _ACROSS[direction]
    numbers, polygon, ring_order = _owners(flat[first], rows, columns, starts)
    corners = np.asarray(corner)
    row, column = (corners if corners.ndim == 1 else corners[flat[first]]).T
    rows, columns = rows + row, columns + column
    a, b, c, d, e, f = transform[:6]
    places = np.stack([a * columns + b * rows + c, d * columns + e * rows + f], 1)
    ring = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
    rings: Any = shapely.linearrings(places, indices=ring)
    polygons: Any = shapely.polygons(rings[ring_order], indices=polygon)
    return numbers, shapely.normalize(polygons)


def _sides(padded: np.ndarray) -> Iterator[Numbers]:
    """Yield the pixels whose label ends above them, right of them, below and left of them.

    Those of a vertical edge follow each other, as those of a horizontal one do.
    """
    width, flat = padded.shape[1], padded.ravel()
    above, beside = padded[1:] != padded[:-1], padded[:, 1:] != padded[:, :-1]
    rim = np.zeros(padded.shape, bool)
    rim[1:] |= above
    rim[:-1] |= above
    rim[:, :-1] |= beside
    rim[:, 1:] |= beside
    rim &= padded != 0
    pixels = np.flatnonzero(rim)  # a few: the rest is looked up for these alone
    own = flat[pixels]
    for beyond, vertical in ((-width, False), (1, True), (width, False), (-1, True)):
        sides = pixels[flat[pixels + beyond] != own]
        yield sides[np.argsort(sides % width, kind="stable")] if vertical else sides


def _edges(flat: npt.NDArray[np.int32], ahead: int, left: int, sides: Numbers) -> _Edges:
    """Return the edges of one direction, in which `ahead` and `left` are steps between pixels."""
    own = flat[sides]
    begins = (flat[sides - ahead] != own) | (flat[sides - ahead + left] == own)
    # Pixels that meet at a corner alone: turning left there makes two rings that touch, where
    # turning right would make one ring that touches itself, and no valid polygon.
    turns_left = flat[sides + ahead + left] == own
    ends = turns_left | (flat[sides + ahead] != own)
    return _Edges(sides[begins], sides[ends], turns_left[ends])


def _successors(edges: list[_Edges], steps: list[tuple[int, int]], size: int) -> Numbers:
    """Return the edge that follows each one; edges are counted direction after direction."""
    offsets = np.cumsum([0, *(len(side.first) for side in edges)])
    after = np.zeros(offsets[-1], np.int64)
    begun = np.empty(size, np.int32)  # the edge that begins with a pixel
    for to, side in enumerate(edges):
        begun[side.first] = offsets[to] + np.arange(len(side.first))
        for come, is_left in (((to + 1) % 4, True), ((to - 1) % 4, False)):
            last, lefts = edges[come].last, edges[come].lefts
            turning = np.flatnonzero(lefts == is_left)
            pixel = last[turning] + (sum(steps[come]) if is_left else 0)
            after[offsets[come] + turning] = begun[pixel]
    return after


def _cycles(after: Numbers) -> tuple[Numbers, Numbers]:
    """Return the elements of a permutation cycle by cycle, and where each cycle starts.

    By doubling: after k rounds each element knows the least one of its next 2^k, and how far it is
    to the least one of its cycle.
    """
    every = np.arange(len(after))
    least, jump = every, after
    while True:
        lower = np.minimum(least, least[jump])
        if np.array_equal(lower, least):
            break
        least, jump = lower, jump[jump]
    is_first = least == every
    left, jump = (~is_first).astype(np.int64), np.where(is_first, every, after)
    while not np.array_equal(jump, least):
        left, jump = left + left[jump], jump[jump]
    cycle = (np.cumsum(is_first) - 1)[least]
    lengths = np.bincount(cycle)
    starts = np.cumsum(lengths) - lengths
    order = np.empty_like(every)
    order[starts[cycle] + np.where(is_first, 0, lengths[cycle] - left)] = every
    return order, starts


def _owners(
    labels: np.ndarray, rows: Numbers, columns: Numbers, starts: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Return the labels that have a ring, and the rings in order: of which label each is.

    The outer ring of a label comes before its holes: it runs the other way round them.

    Parameters
    ----------
    labels, rows, columns
        (n,): of each vertex.
    starts
        Number of the first vertex of each ring.
    """
    after = np.arange(1, len(rows) + 1)
    after[np.append(starts[1:], len(rows)) - 1] = starts
    doubled_area = np.add.reduceat(columns * rows[after] - columns[after] * rows, starts)
    owner = labels[starts].astype(np.int64)
    order = np.lexsort((doubled_area < 0, owner))
    numbers, polygon = np.unique(owner[order], return_inverse=True)
    return numbers, polygon, order
