"""The dates of a scene: which images it has, and what stands for a pre image that it lacks."""

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geodamage.scene.pixels import MISSING_POST, Pixels

#: Value of all channels of a pre image that is not there. Source: `benchmarks.post_only`, on
#: validation places that two networks had not seen: grey is of use to both (kappa .53 and .53). The
#: mean colour of the post image is better for one and useless to the other (.68 and .03).
NEUTRAL = 128

#: The images of a pair, of an image in which buildings are looked for, and of the one after alone.
PAIR, ALONE, AFTER = ("pre", "post"), ("image",), ("post",)


#: Where an image lies that is not there, metres: it ends before no footprint.
EVERYWHERE = shapely.box(-1e9, -1e9, 1e9, 1e9)


def dates_of(pre: Any | None, post: Any | None) -> tuple[str, ...]:
    """Return what the images of a scene are called.

    Raises
    ------
    TypeError
        If there is none.
    """
    if pre is None and post is None:
        raise TypeError("a scene needs an image: give pre, post or both")
    if post is None:
        return ALONE
    return AFTER if pre is None else PAIR


def after_alone(
    values: npt.NDArray[np.uint8],
    valid: npt.NDArray[np.bool_],
    channels: int,
    maps: npt.NDArray[np.uint8] | None,
) -> Pixels:
    """Return the pixels of a post image without one before: a neutral image stands for that.

    Parameters
    ----------
    values
        uint8 (channels of post, rows, columns).
    valid
        bool (rows, columns): where it has data.
    channels
        Channels of the pre image.
    maps
        Saved probabilities, or None.
    """
    neutral = np.full((channels, *valid.shape), NEUTRAL, np.uint8)
    return Pixels(neutral, values, np.where(valid, np.uint8(0), np.uint8(MISSING_POST)), maps)
