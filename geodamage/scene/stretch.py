"""The stretch of imagery of more than 8 bits: it puts a scene where the models learnt. No files.

A model learnt from imagery that its makers had stretched, and most of it is not stretched to the
ends. So the ends of a scene's values are put where those of such imagery lie, and not to 0 and 255.
All channels, and both dates, share one stretch as far as that imagery allows: colours and changes
stay as they are. What lies beyond its bounds is moved to them; so is the haze of raw blue.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geodamage.scene.scaling import Scaling

#: Percentiles that are the ends of an image.
PERCENTILES = (0.5, 99.5)


class Reference(NamedTuple):
    """Where the ends of imagery lie that the models learnt from.

    Attributes
    ----------
    ends
        8-bit values of the ends of all channels together.
    low, high
        Bounds of the ends of each channel, red first: shares of the way between `ends`.
    """

    ends: tuple[float, float]
    low: tuple[tuple[float, float], ...]
    high: tuple[tuple[float, float], ...]


# Source: `python -m training.appearance`, of the training places of training/recipes/compact.csv:
# medians in which each event weighs the same; bounds are the 2nd and 98th percentile.

#: An image alone.
ALONE = Reference(
    (24.0, 198.0),
    ((-0.026, 0.071), (0.0, 0.181), (-0.038, 0.025)),
    ((0.918, 1.083), (0.91, 1.062), (0.734, 1.028)),
)
#: Both dates together.
PAIR = Reference(
    (22.0, 208.0),
    ((-0.02, 0.132), (0.0, 0.205), (-0.036, 0.097)),
    ((0.614, 1.067), (0.627, 1.046), (0.558, 1.015)),
)
#: The highest low end and the lowest high end of a date, in shares of the way between the ends of
#: both dates; beyond them each date is stretched alone.
DATE = (0.117, 0.617)
#: The least way between the ends of an image.
LEAST_SPREAD = 112.0

#: Pixels that a first guess is made by, at most.
MOST = 500_000

#: What one step of 8 bits has become in imagery that was widened, by the kind of its type.
STEPS = {"u": (1.0, 257.0, 256.0), "f": (1.0, 1 / 255, 1 / 256)}


class Ends(NamedTuple):
    """Where the values of an image end.

    Attributes
    ----------
    low, high
        float64 (channels,).
    shared
        The ends of all channels together.
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    shared: tuple[float, float]


def ends_of(pixels: npt.NDArray[Any]) -> Ends:
    """Return the ends of an image.

    Parameters
    ----------
    pixels
        Valid pixels of any type, (channels, pixels); at least one pixel.
    """
    low, high = np.percentile(pixels, PERCENTILES, axis=1)
    lowest, highest = np.percentile(pixels, PERCENTILES)
    return Ends(low.astype(np.float64), high.astype(np.float64), (float(lowest), float(highest)))


def widened(pixels: npt.NDArray[Any]) -> Scaling | None:
    """Return the scaling of 8-bit imagery in a wider type; None where it is none.

    Parameters
    ----------
    pixels
        Valid pixels, (channels, pixels).
    """
    if not pixels.size or pixels.min() < 0:
        return None
    for step in STEPS.get(pixels.dtype.kind, ()):
        levels = pixels / np.float64(step)
        if levels.max() > 255.001 or np.abs(levels - np.rint(levels)).max() > 1e-3:
            continue
        low, high = ends_of(levels).shared
        if high - low >= LEAST_SPREAD:  # else it is a dark image of more bits
            channels = len(pixels)
            return Scaling((0.0,) * channels, (255.0 * step,) * channels, "8 bits")
    return None


def guess(pixels: npt.NDArray[Any]) -> Scaling:
    """Return a first scaling of an image, of pixels from all over it.

    Parameters
    ----------
    pixels
        Valid pixels, (channels, pixels); at least one pixel.
    """
    step = -(-pixels.shape[1] // MOST)
    return widened(pixels) or fit([ends_of(_within(pixels[:, ::step].astype(np.float64)))])[0]


def _within(pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the pixels that are not at an end in every channel: no fill, nothing saturated."""
    ends = [pixels == end(axis=1, keepdims=True) for end in (pixels.min, pixels.max)]
    kept = pixels[:, ~(ends[0].all(0) | ends[1].all(0))]
    return kept if kept.size and np.ptp(kept) > 0 else pixels


def fit(dates: Sequence[Ends]) -> list[Scaling]:
    """Return the scaling of each date of a scene.

    Parameters
    ----------
    dates
        Ends of one or two images in units of their own; both of the same kind.
    """
    frame = min(date.shared[0] for date in dates), max(date.shared[1] for date in dates)
    if len(dates) == 1:
        return [_placed(dates[0], frame, ALONE)]
    if not all(_fits(date, frame) for date in dates):
        return [fit([date])[0] for date in dates]
    return [_placed(date, frame, PAIR) for date in dates]


def _fits(date: Ends, frame: tuple[float, float]) -> bool:
    """Say whether a date may share the stretch of both."""
    way = frame[1] - frame[0]
    low, high = ((end - frame[0]) / way if way > 0 else 0.0 for end in date.shared)
    return low <= DATE[0] and high >= DATE[1]


def _placed(date: Ends, frame: tuple[float, float], reference: Reference) -> Scaling:
    """Return the scaling that puts the ends of an image where the reference has them."""
    start, way = frame[0], frame[1] - frame[0]
    if way <= 0:  # one value only: it becomes the lower end
        start, way = frame[0], 1.0
    bounds = list(zip(reference.low, reference.high, strict=True))
    if len(date.low) != len(bounds):  # nothing is known of how such channels lie to each other
        bounds = [((0.0, 0.0), (1.0, 1.0))] * len(date.low)
    lows, highs = [], []
    for low, high, bound in zip(date.low, date.high, bounds, strict=True):
        ends = np.array([low - start, high - start]) / way
        least, most = np.array(bound).T
        placed = np.clip(ends, least, most)
        if high <= low or np.array_equal(placed, ends):
            ends, placed = np.array([0.0, 1.0]), np.array([0.0, 1.0])
        black, white = _extended(ends, placed, reference.ends)
        lows.append(start + way * black)
        highs.append(start + way * white)
    return Scaling(tuple(lows), tuple(highs), "guess")


def _extended(
    ends: npt.NDArray[np.float64], placed: npt.NDArray[np.float64], at: tuple[float, float]
) -> tuple[float, float]:
    """Return the values that become 0 and 255, where `ends` come to be `placed`; all are shares."""
    bytes_of = at[0] + placed * (at[1] - at[0])
    unit = (ends[1] - ends[0]) / (bytes_of[1] - bytes_of[0])
    return float(ends[0] - bytes_of[0] * unit), float(ends[0] + (255 - bytes_of[0]) * unit)
