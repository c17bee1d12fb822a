"""How a scene is read: the options, and the bands that they choose."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geodamage.errors import OptionError
from geodamage.grid import SENSORS


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """How the images of a scene are read.

    Attributes
    ----------
    pre_bands, post_bands
        1-based channel numbers in the model's order; None for the file's own.
    pre_channels, post_channels
        How many channels the model takes.
    scale
        What becomes 0 and 255 in images of more than 8 bits; None for percentiles of each. Of two
        sensors it is that of the pre image.
    post_scale
        The same of the post image, where it is another.
    post_sensor
        What the post image was taken by: `optical` or `sar`.
    aoi
        Vector file of the area to report on.
    allow_remote
        Whether URLs are read.
    snap
        The grid begins at a multiple of this many pixels.
    maps
        Saved probability maps to read beside the images.
    """

    pre_bands: tuple[int, ...] | None = None
    post_bands: tuple[int, ...] | None = None
    pre_channels: int = 3
    post_channels: int = 3
    scale: tuple[float, float] | None = None
    aoi: Path | None = None
    allow_remote: bool = False
    snap: int = 64
    maps: tuple[Path, ...] = ()
    post_scale: tuple[float, float] | None = None
    post_sensor: str = "optical"

    def __post_init__(self) -> None:
        for name, scale in (("--scale", self.scale), ("--post-scale", self.post_scale)):
            if scale is None:
                continue
            low, high = scale
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise OptionError(f"{name} {low:g},{high:g}: give MIN,MAX with MIN below MAX")
        if self.post_sensor not in SENSORS:
            raise OptionError(
                f"--post-sensor {self.post_sensor}: unknown; give {' or '.join(SENSORS)}"
            )
        if self.snap < 1:
            raise OptionError(f"snap is {self.snap}; give 1 pixel or more")

    @property
    def bands_option(self) -> str:
        """By which the channels of the post image are chosen: of two sensors it has its own."""
        return "--bands" if self.post_sensor == "optical" else "--post-bands"

    @property
    def scales(self) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """What becomes 0 and 255 in the pre and in the post image."""
        shared = self.scale if self.post_sensor == "optical" else None
        return self.scale, shared if self.post_scale is None else self.post_scale


def choose_bands(
    both: tuple[int, ...] | None, post: tuple[int, ...] | None, post_sensor: str
) -> dict[str, Any]:
    """Return the channels of each image as `SceneOptions` takes them.

    Parameters
    ----------
    both
        Of both images, where one sensor took them; of two sensors those of the pre image.
    post
        Of the post image, where they are others.
    post_sensor
        `optical` or `sar`.
    """
    shared = both if post_sensor == "optical" else None
    return {"pre_bands": both, "post_bands": shared if post is None else post}


#: What a list of scenes may choose for one of them, of how its images are read.
CHOICES = ("bands", "scale", "post_sensor", "post_bands", "post_scale")


def with_choices(options: SceneOptions, chosen: Mapping[str, Any]) -> SceneOptions:
    """Return how a scene is read: the options of all, and what a list chooses for this one.

    Parameters
    ----------
    options
        Of all scenes.
    chosen
        Any of `CHOICES`; other keys are left alone.
    """
    own: dict[str, Any] = {
        key: tuple(chosen[key]) for key in ("scale", "post_scale") if chosen.get(key) is not None
    }
    sensor = chosen.get("post_sensor") or options.post_sensor
    both, post = chosen.get("bands"), chosen.get("post_bands")
    if sensor != options.post_sensor or both is not None or post is not None:
        both = options.pre_bands if both is None else tuple(both)
        post = None if post is None else tuple(post)
        own |= choose_bands(both, post, sensor)
    return replace(options, post_sensor=sensor, **own)
