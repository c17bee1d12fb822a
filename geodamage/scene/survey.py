"""A survey of a scene: blocks of pixels, well spread, that are looked at before any is graded.

Blocks lie on an absolute lattice, so they depend on the images alone: not on tiles, threads or an
area of interest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.grid import Grid
from geodamage.scene.image import Image
from geodamage.scene.lattice import Lattice
from geodamage.windows import Window, round_down, round_up

#: Rows and columns of a block, working pixels.
BLOCK = 256
#: Blocks along a side of a scene, at most.
MOST_ALONG = 6
#: Corners of blocks are multiples of so many pixels, or of some of them doubled until `MOST_ALONG`
#: are enough, on the absolute lattice: a crop, or a shift of post, leaves them where they are.
STEPS = (128, 192, 256, 320, 384, 448)
#: Deviation of a block's grey values under which it tells nothing.
LEAST_DETAIL = 1.5
#: Corners of the one block of a scene that holds none of these are multiples of this.
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


@dataclass(frozen=True, eq=False)
class Block:
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

    @cached_property
    def both(self) -> Bools:
        """Where both images have data, bool (rows, columns)."""
        return self.pre_valid & self.post_valid

    @cached_property
    def saturated(self) -> dict[str, int]:
        """Pixels with data of which all channels are at 0, or all at 255; `pre` and `post`."""
        pairs = {"pre": (self.pre, self.pre_valid), "post": (self.post, self.post_valid)}
        return {role: _saturated(*pair) for role, pair in pairs.items()}

    @cached_property
    def equal(self) -> float | None:
        """Share of the pixels that are the same in both images; None where pre shows nothing."""
        both = self.both
        if self.pre.shape != self.post.shape or not both.any():
            return None
        if grey(self.pre)[both].std() < LEAST_DETAIL:
            return None
        return float((self.pre == self.post).all(0)[both].mean())


def grey(image: Bytes) -> npt.NDArray[np.float32]:
    """Return the mean of the channels of an image, float32 (rows, columns)."""
    return np.asarray(image.mean(0, dtype=np.float32))


def _saturated(image: Bytes, valid: Bools) -> int:
    ends = (image.min(0) == 255) | (image.max(0) == 0)
    return int(np.count_nonzero(ends & valid))


def spread(extent: Window, origin: tuple[int, int] = (0, 0)) -> list[Window]:
    """Return the windows of the blocks of a scene.

    Parameters
    ----------
    extent
        The overlap of its images, on a grid that begins at a multiple of `STEP` pixels.
    origin
        Row and column of the absolute lattice at which that grid begins.
    """
    rows = _starts(extent.row, extent.height, origin[0])
    columns = _starts(extent.column, extent.width, origin[1])
    height, width = min(extent.height, BLOCK), min(extent.width, BLOCK)
    return [Window(row, column, height, width) for row in rows for column in columns]


def _starts(first: int, length: int, origin: int) -> list[int]:
    """Return where blocks begin along one axis, ascending."""
    spare = length - min(length, BLOCK)
    apart = spare / (MOST_ALONG - 1)
    times = 1
    while STEPS[-1] * times < apart:
        times *= 2
    step = min(size * times for size in STEPS if size * times >= apart)
    start = round_up(first + origin, step) - origin
    along = list(range(start, first + spare + 1, step))
    return along or [max(round_down(first + spare // 2, STEP), first)]


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
        seen: Any = getattr(block, f"{role}_valid")
        pixels += seen.size
        valid += int(np.count_nonzero(seen))
        saturated += block.saturated[role]
    return {
        "nodata": 1 - valid / max(pixels, 1),
        "saturated": saturated / max(valid, 1),
    }
