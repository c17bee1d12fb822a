"""A survey of a scene: blocks of pixels, well spread, that are looked at before any is graded.

Blocks lie on an absolute lattice, so they depend on the images alone: not on tiles, threads or an
area of interest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geodamage.grid import Grid
from geodamage.scene.image import Image
from geodamage.scene.lattice import Lattice
from geodamage.windows import Window, round_down

#: Rows and columns of a block, working pixels.
BLOCK = 256
#: Blocks along a side of a scene, at most, and pixels of a side that are worth one.
MOST_ALONG, PER_BLOCK = 5, 340
#: Corners of blocks are multiples of this, on the absolute lattice.
STEP = 64

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Ground:
    """Where the blocks of a scene lie: its lattice, the grid laid on it and their overlap.

    Attributes
    ----------
    lattice
        All pixels.
    origin
        Where the grid begins on it.
    grid, extent
        Working grid of the scene, and its window on it.
    """

    lattice: Lattice
    origin: Window
    grid: Grid
    extent: Window


class Block(NamedTuple):
    """What both images hold in a window of the grid.

    Attributes
    ----------
    window
        On the scene's grid.
    pre, post
        uint8 (channels, rows, columns); of an image alone both are the same array.
    pre_valid, post_valid
        bool (rows, columns): where each has data.
    """

    window: Window
    pre: Bytes
    post: Bytes
    pre_valid: Bools
    post_valid: Bools

    @property
    def both(self) -> Bools:
        """Where both images have data, bool (rows, columns)."""
        return self.pre_valid & self.post_valid


def spread(extent: Window) -> list[Window]:
    """Return the windows of the blocks of a scene.

    Parameters
    ----------
    extent
        The overlap of its images, on a grid that begins at a multiple of `STEP` pixels.
    """
    rows, columns = _starts(extent.row, extent.height), _starts(extent.column, extent.width)
    height, width = min(extent.height, BLOCK), min(extent.width, BLOCK)
    return [Window(row, column, height, width) for row in rows for column in columns]


def _starts(first: int, length: int) -> list[int]:
    """Return where blocks begin along one axis, ascending."""
    spare = length - min(length, BLOCK)
    count = int(np.clip(round(length / PER_BLOCK), 1, MOST_ALONG))
    middles = [first + spare // 2] if count == 1 else np.linspace(first, first + spare, count)
    snapped = {max(round_down(int(middle), STEP), first) for middle in middles}
    return sorted(snapped)


def take(
    windows: Sequence[Window], read: Callable[[Window], tuple[Bytes, Bytes, Bools, Bools]]
) -> list[Block]:
    """Read some windows.

    Parameters
    ----------
    read
        Returns the fields of a `Block` after its window.
    """
    return [Block(window, *read(window)) for window in windows]


def look(images: Sequence[Image], ground: Ground, windows: Sequence[Window]) -> list[Block]:
    """Read some windows of the images of a scene.

    Raises
    ------
    SceneReadError
        If a file is damaged there.
    """

    def read(window: Window) -> tuple[Bytes, Bytes, Bools, Bools]:
        place = window.shift(ground.origin.row, ground.origin.column)
        pre = images[0].read(ground.lattice, place)
        post = images[-1].read(ground.lattice, place) if len(images) > 1 else pre
        return pre.values, post.values, pre.valid, post.valid

    return take(windows, read)


def shares(blocks: Sequence[Block], role: str) -> dict[str, float]:
    """Return what is useless of an image, as shares of the pixels looked at, 0-1.

    Parameters
    ----------
    role
        `pre` or `post`.

    Returns
    -------
    dict
        `nodata`, of all pixels; `saturated`, of those with data: all channels at 0, or all at 255.
    """
    pixels = valid = saturated = 0
    for block in blocks:
        image: Any = getattr(block, role)
        seen: Any = getattr(block, f"{role}_valid")
        ends = (image == 255).all(0) | (image == 0).all(0)
        pixels += seen.size
        valid += int(seen.sum())
        saturated += int((ends & seen).sum())
    return {
        "nodata": 1 - valid / max(pixels, 1),
        "saturated": saturated / max(valid, 1),
    }
