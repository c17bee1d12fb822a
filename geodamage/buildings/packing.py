"""Packing: many small patches on one raster, so that they are worked on at once.

Each keeps a pixel of nothing around itself: no patch touches another there, and what is done to
one does not depend on its neighbours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from geodamage.buildings.components import Patch

Numbers = npt.NDArray[np.int64]

#: Pixels above which a patch stays on its own raster, and about the most of one that is shared.
LARGE, MOST = 65_536, 4_000_000


@dataclass(frozen=True)
class Packed:
    """Components of one patch or more on one raster.

    Attributes
    ----------
    labels
        int32 (rows, columns): 0 nothing, 1-count the components, patch after patch.
    count
        Number of components.
    probabilities
        float32 (channels, rows, columns), as in `Strip`.
    missing
        uint8 (rows, columns): flags, as in `Strip`.
    patch
        (count + 1,): number of the patch that each component is of, in their order.
    corner
        (count + 1, 2): row and column on the scene's grid of the raster's first pixel, were the
        raster laid where that component is.
    """

    labels: np.ndarray
    count: int
    probabilities: np.ndarray
    missing: np.ndarray
    patch: Numbers
    corner: Numbers


def pack(patches: Sequence[Patch]) -> Iterator[Packed]:
    """Put patches on rasters, in their order; a large one stays on its own, without a copy."""
    filled = np.cumsum([patch.window.size for patch in patches]) // MOST
    alone = [patch.window.size > LARGE for patch in patches]
    for (is_alone, _), numbers in groupby(
        range(len(patches)), lambda n: (alone[n], n if alone[n] else int(filled[n]))
    ):
        together = [patches[n] for n in numbers]
        yield _alone(together[0]) if is_alone or len(together) == 1 else _together(together)


def _alone(patch: Patch) -> Packed:
    corner = np.array([[patch.window.row, patch.window.column]])
    return Packed(
        patch.labels,
        patch.count,
        patch.probabilities,
        patch.missing,
        np.zeros(patch.count + 1, np.int64),
        np.repeat(corner, patch.count + 1, 0),
    )


def _together(patches: Sequence[Patch]) -> Packed:
    places, shape = shelve([patch.window.shape for patch in patches])
    labels = np.zeros(shape, np.int32)
    missing = np.zeros(shape, np.uint8)
    probabilities = np.zeros((len(patches[0].probabilities), *shape), np.float32)
    count = 0
    for patch, (row, column) in zip(patches, places, strict=True):
        rows, columns = patch.window.shape
        box = slice(row, row + rows), slice(column, column + columns)
        labels[box] = np.where(patch.labels > 0, patch.labels + count, 0)
        probabilities[:, *box] = patch.probabilities
        missing[box] = patch.missing
        count += patch.count
    owner = np.repeat(np.arange(len(patches)), [patch.count for patch in patches])
    corners = np.array([[patch.window.row, patch.window.column] for patch in patches]) - places
    return Packed(
        labels,
        count,
        probabilities,
        missing,
        np.concatenate([[0], owner]),
        np.concatenate([[[0, 0]], corners[owner]]),
    )


def shelve(shapes: Sequence[tuple[int, int]]) -> tuple[Numbers, tuple[int, int]]:
    """Lay boxes on a raster, the highest first, one row of boxes under the other.

    Parameters
    ----------
    shapes
        Rows and columns of each box; at least one.

    Returns
    -------
    places
        int64 (n, 2): row and column of each; a pixel at least stays free between two of them.
    shape
        Rows and columns of the raster.
    """
    sizes = np.array(shapes, np.int64) + 1
    width = max(int(sizes[:, 1].max()), int(sizes.prod(1).sum() ** 0.5 * 1.1))
    places = np.zeros_like(sizes)
    row = column = height = 0
    for number in np.argsort(-sizes[:, 0], kind="stable"):
        rows, columns = sizes[number].tolist()
        if column + columns > width:
            row, column, height = row + height, 0, 0
        places[number] = row, column
        column, height = column + columns, max(height, rows)
    return places, (row + height, width)
