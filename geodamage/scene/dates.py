"""The dates of a scene: which images it has, and what stands for an image before that it lacks."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.scene.pixels import MISSING_POST, Pixels

#: The images of a pair, of an image in which buildings are looked for, and of the one after alone.
PAIR, ALONE, AFTER = ("pre", "post"), ("image",), ("post",)

#: What stands for an image before where nobody looked at the one after.
GREY = 128


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


def mean_colour(
    images: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]],
) -> tuple[int, ...]:
    """Return the mean of each channel, 0-255: an image before of this colour tells nothing.

    Parameters
    ----------
    images
        uint8 (channels, rows, columns) of some places, each with bool (rows, columns): where it
        has data.

    Returns
    -------
    tuple
        A number a channel; none where no place has data.

    Notes
    -----
    Source: `benchmarks.post_only`. Of four neutral images this one was best on validation places,
    by networks that had not seen them.
    """
    total, count = np.zeros(0), 0
    for image, valid in images:
        total = np.add(total if total.size else 0.0, image[:, valid].sum(1, dtype=np.float64))
        count += int(valid.sum())
    return tuple(np.round(total / count).astype(int).tolist()) if count else ()


def after_alone(
    values: npt.NDArray[np.uint8],
    valid: npt.NDArray[np.bool_],
    colour: Sequence[int],
    channels: int,
    maps: npt.NDArray[np.uint8] | None,
) -> Pixels:
    """Return the pixels of an image after without one before: one colour stands for that.

    Parameters
    ----------
    values
        uint8 (channels of post, rows, columns).
    valid
        bool (rows, columns): where it has data.
    colour
        From `mean_colour`.
    channels
        Channels of the image before; where they are not those of post, each has the mean.
    maps
        Saved probabilities, or None.
    """
    shown = colour if len(colour) == channels else [round(np.mean(colour or GREY))] * channels
    neutral = np.broadcast_to(np.array(shown, np.uint8)[:, None, None], (channels, *valid.shape))
    missing = np.where(valid, np.uint8(0), np.uint8(MISSING_POST))
    return Pixels(neutral.copy(), values, missing, maps)
