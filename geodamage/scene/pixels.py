"""Pixels of a scene, and the flags of those that cannot be graded."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Flags of `Pixels.missing`.
MISSING_PRE = 1
MISSING_POST = 2
OUTSIDE_AOI = 4
OUTSIDE = 8
OBSCURED_PRE = 32
OBSCURED_POST = 64


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a scene holds in a window.

    Attributes
    ----------
    pre, post
        uint8 (channels, rows, columns); 0 where that image is missing. Of an image alone both are
        the same array.
    missing
        uint8 (rows, columns), a sum of `MISSING_PRE`, `MISSING_POST`, `OUTSIDE_AOI`,
        `OUTSIDE` (beyond the overlap of the images, so mirrored), `OBSCURED_PRE` and
        `OBSCURED_POST` (something hides the ground).
    maps
        uint8 (maps, rows, columns): saved probabilities in steps of 1/250, 255 where there is
        none; None where the scene has no such map.
    """

    pre: npt.NDArray[np.uint8]
    post: npt.NDArray[np.uint8]
    missing: npt.NDArray[np.uint8]
    maps: npt.NDArray[np.uint8] | None = None
