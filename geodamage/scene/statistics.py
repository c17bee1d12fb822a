"""Statistics of a scene: what some models want known of all of it before they see a window.

They come from blocks that are spread over the overlap of both images. So they depend on the images
alone, not on tiles, workers or an area of interest.
"""

from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from geodamage.scene.pixels import MISSING_POST, MISSING_PRE, OUTSIDE, Pixels
from geodamage.scene.scaling import Scaling, from_samples
from geodamage.scene.survey import spread
from geodamage.windows import Window

#: Flags of pixels that an image does not show, by date.
_MISSING = {"pre": MISSING_PRE | OUTSIDE, "post": MISSING_POST | OUTSIDE}


class Readable(Protocol):
    """What is asked of a scene."""

    @property
    def extent(self) -> Window:
        """The overlap of its images."""
        ...

    def read(self, window: Window) -> Pixels:
        """Read a window of it."""
        ...


class Demand(Protocol):
    """What is asked of the card of a model."""

    @property
    def scene_statistics(self) -> str:
        """`none`, `stretch` or `standardise`."""
        ...

    @property
    def standard_range(self) -> tuple[float, float]:
        """Deviations from the mean that become 0 and 255."""
        ...


#: Statistics of scenes that are open, by kind: they are read once.
_known: "WeakKeyDictionary[Readable, dict[str, tuple[Scaling, ...]]]" = WeakKeyDictionary()


def statistics_of(scene: Readable, card: Demand) -> tuple[Scaling, ...]:
    """Return how a model is shown each date of a scene; nothing where it takes it as it is.

    Raises
    ------
    SceneReadError
        If a file is damaged where it was looked at.
    """
    kind = card.scene_statistics
    if kind == "none":
        return ()
    known = _known.setdefault(scene, {})
    if kind not in known:
        known[kind] = _measured(scene, card)
    return known[kind]


def statistics_facts(scene: Readable, card: Demand) -> dict[str, Any]:
    """Return what a sidecar says of them; nothing where a model wants none."""
    scalings = statistics_of(scene, card)
    if not scalings:
        return {}
    dates = dict(zip(("pre", "post"), (scaling.facts() for scaling in scalings), strict=False))
    return {"statistics": {"kind": card.scene_statistics, **dates}}


def shown(pixels: Pixels, scalings: Sequence[Scaling]) -> Pixels:
    """Return pixels as a model is shown them."""
    if not scalings:
        return pixels
    pre = scalings[0].apply(pixels.pre)
    post = pre if pixels.post is pixels.pre else scalings[-1].apply(pixels.post)
    return Pixels(pre, post, pixels.missing, pixels.maps)


def _measured(scene: Readable, card: Demand) -> tuple[Scaling, ...]:
    windows = spread(scene.extent, getattr(scene, "origin", (0, 0)))
    blocks = [scene.read(window) for window in windows]
    dates = ("pre",) if blocks[0].post is blocks[0].pre else ("pre", "post")
    return tuple(_scaling([_clear(block, date) for block in blocks], card) for date in dates)


def _clear(block: Pixels, date: str) -> npt.NDArray[np.uint8]:
    """Return the pixels of a block that a date shows, uint8 (channels, pixels)."""
    image: npt.NDArray[np.uint8] = getattr(block, date)
    return image[:, (block.missing & _MISSING[date]) == 0]


def _scaling(samples: Sequence[npt.NDArray[np.uint8]], card: Demand) -> Scaling:
    channels = len(samples[0])
    if not sum(sample.shape[1] for sample in samples):
        return Scaling((0.0,) * channels, (255.0,) * channels, card.scene_statistics)
    if card.scene_statistics == "stretch":
        found = from_samples(samples)
        return Scaling(found.low, found.high, "stretch")
    pixels = np.concatenate(samples, 1).astype(np.float64)
    mean, deviation = pixels.mean(1), pixels.std(1)
    deviation = np.where(deviation > 0, deviation, 1.0)
    low, high = (mean + end * deviation for end in card.standard_range)
    return Scaling(tuple(low.tolist()), tuple(high.tolist()), "standardise")
