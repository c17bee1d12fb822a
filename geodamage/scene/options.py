"""How a scene is read: the options, and the bands that they choose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from geodamage.errors import ModelError, OptionError, SceneError
from geodamage.grid import SENSORS, GsdRange


class Needs(Protocol):
    """What a model needs of the images: a part of its card."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def version(self) -> str:
        """Version of the model."""
        ...

    @property
    def gsd(self) -> GsdRange:
        """The ground sample distances that it was made for."""
        ...

    @property
    def stride(self) -> int:
        """Windows start at multiples of this, pixels."""
        ...

    @property
    def pre_channels(self) -> tuple[str, ...]:
        """Spectral channels of the pre image, in order."""
        ...

    @property
    def post_channels(self) -> tuple[str, ...]:
        """Spectral channels of the post image, in order."""
        ...

    @property
    def pre_sensor(self) -> str:
        """What takes the pre image: `optical` or `sar`."""
        ...

    @property
    def post_sensor(self) -> str:
        """What takes the post image: `optical` or `sar`."""
        ...


class HasCard(Protocol):
    """A model: anything with a card."""

    @property
    def card(self) -> Needs:
        """What it needs of the images."""
        ...


class HasPath(Protocol):
    """A file that a model reads beside the images."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...


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


def scene_options(
    options: SceneOptions, card: Needs, *, maps: Sequence[HasPath] = ()
) -> SceneOptions:
    """Return the options as the model needs them: its channels, a grid that its stride fits.

    Parameters
    ----------
    options
        As the user gave them.
    card
        Of the model.
    maps
        Saved maps that it reads.
    """
    return replace(
        options,
        maps=tuple(saved.path for saved in maps),
        pre_channels=len(card.pre_channels),
        post_channels=len(card.post_channels),
        snap=math.lcm(options.snap, card.stride),
    )


def check_sensors(options: SceneOptions, card: Needs) -> None:
    """Check that a pair was taken by what the model was made for.

    No image says of itself what took it: the user does, and the card says what it has to be.

    Raises
    ------
    ModelError
        If the model takes an image of a radar, and the user has not said that it is one.
    SceneError
        If it is one, and the model takes none.
    """
    model = f"model {card.name} {card.version}"
    if card.pre_sensor != "optical":
        raise ModelError(f"{model} takes a {card.pre_sensor} image before, which assess does not")
    if card.post_sensor == options.post_sensor:
        return
    if options.post_sensor == "optical":
        raise ModelError(
            f"{model} takes a {card.post_sensor} image after; give --post-sensor "
            f"{card.post_sensor} if post is one, else another --model"
        )
    raise SceneError(
        f"--post-sensor {options.post_sensor}: {model} takes an {card.post_sensor} image after; "
        f"give a --model whose card says {options.post_sensor}"
    )
