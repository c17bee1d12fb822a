"""How a scene is read: the options, and the bands that they choose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geodamage.errors import ModelError, OptionError, SceneError
from geodamage.options.lookup import check_fields, taken

if TYPE_CHECKING:
    from geodamage.model.card import Card
    from geodamage.model.ensemble import SavedMap


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
        Values that become 0 and 255. None leaves 8 bits unchanged, and stretches other types by the
        common ground of both images. Of two sensors it is that of the pre image.
    post_scale
        The same of the post image, where it is another.
    post_sensor
        Sensor of the post image: `optical` or `sar`.
    aoi
        Vector file of the area to report on.
    allow_remote
        Whether URLs are read.
    nodata
        Value of pixels without data, in place of the tag of the file; None for the tag. Of two
        sensors it is that of the pre image.
    post_nodata
        The same of the post image, where it is another.
    snap
        The grid begins at a multiple of this many pixels.
    maps
        Saved probability maps to read beside the images.
    registration
        Whether the shift between both dates is measured, or applied, too: `measure`, `apply` or
        `off`.
    stands_shift
        Largest shift that the model tolerates, metres; None if it was not measured.
    obscured
        Whether cloud, smoke and constant fill are looked for: `on` or `off`.
    pre_unusable, post_unusable
        Rasters or polygons of unusable ground in each image.
    unusable_band
        1-based band of such rasters.
    seen_share
        Share of a building that must be seen in both images to be graded.
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
    registration: str = "measure"
    stands_shift: float | None = None
    obscured: str = "on"
    pre_unusable: Path | None = None
    post_unusable: Path | None = None
    unusable_band: int = 1
    seen_share: float = 0.5
    nodata: float | None = None
    post_nodata: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.snap < 1:
            raise OptionError(f"snap is {self.snap}; give 1 pixel or more")

    @property
    def scales(self) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """What becomes 0 and 255 in the pre and in the post image."""
        shared = self.scale if self.post_sensor == "optical" else None
        return self.scale, shared if self.post_scale is None else self.post_scale

    @property
    def fills(self) -> tuple[float | None, float | None]:
        """Value of pixels without data in the pre and in the post image."""
        shared = self.nodata if self.post_sensor == "optical" else None
        return self.nodata, shared if self.post_nodata is None else self.post_nodata

    def tiles_of(self, role: str) -> dict[str, Any]:
        """Return how the files of `pre` or `post` are opened, as `open_tiles` takes it."""
        is_post, is_radar = role == "post", self.post_sensor == "sar"
        # Where nobody chose channels, those of pre need no choice: else it was refused before.
        has_own = is_post and (is_radar or self.post_bands is None)
        return {
            "bands": self.post_bands if is_post else self.pre_bands,
            "channels": self.post_channels if is_post else self.pre_channels,
            "allow_remote": self.allow_remote,
            "option": "--post-bands" if has_own else "--bands",
            "speckled": is_post and is_radar,
            "nodata": self.fills[is_post],
        }


def choose_bands(
    both: tuple[int, ...] | None, post: tuple[int, ...] | None, post_sensor: str
) -> dict[str, Any]:
    """Return the channels of each image as `SceneOptions` takes them.

    Parameters
    ----------
    both
        Channels of both images, where one sensor took them; of two sensors those of the pre image.
    post
        Channels of the post image, where they are others.
    post_sensor
        `optical` or `sar`.
    """
    shared = both if post_sensor == "optical" else None
    return {"pre_bands": both, "post_bands": shared if post is None else post}


def options_given(command: str, given: Mapping[str, Any]) -> SceneOptions:
    """Return how a scene is read, of the options that a command was given.

    Parameters
    ----------
    command
        Such as `assess`.
    given
        Values by the names of the options.
    """
    own = taken("SceneOptions", command, given)
    if "post_sensor" in given:
        own |= choose_bands(given["bands"], given["post_bands"], given["post_sensor"])
    return SceneOptions(**own)


def with_choices(options: SceneOptions, chosen: Mapping[str, Any]) -> SceneOptions:
    """Return how a scene is read: the options of all, and what a list chooses for this one.

    Parameters
    ----------
    options
        Options of all scenes.
    chosen
        Columns of a list; those that are not of the images are left alone, and so is None.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    own = taken("SceneOptions", "batch", given)
    sensor = given.get("post_sensor", options.post_sensor)
    both, post = given.get("bands"), given.get("post_bands")
    if sensor != options.post_sensor or both is not None or post is not None:
        own |= choose_bands(options.pre_bands if both is None else both, post, sensor)
    return replace(options, **own)


def scene_options(
    options: SceneOptions, card: "Card", *, maps: "Sequence[SavedMap]" = ()
) -> SceneOptions:
    """Return the options as the model needs them: its channels, a grid that its stride fits.

    Parameters
    ----------
    options
        Options as the user gave them.
    card
        Card of the model.
    maps
        Saved maps that it reads.
    """
    return replace(
        options,
        maps=tuple(saved.path for saved in maps),
        pre_channels=len(card.pre_channels),
        post_channels=len(card.post_channels),
        snap=math.lcm(options.snap, card.stride),
        stands_shift=card.stands_shift,
    )


def check_sensors(options: SceneOptions, card: "Card") -> None:
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
        raise ModelError(f"{model} takes a {card.pre_sensor} pre image, which assess does not")
    if card.post_sensor == options.post_sensor:
        return
    if options.post_sensor == "optical":
        raise ModelError(
            f"{model} takes a {card.post_sensor} post image; give --post-sensor "
            f"{card.post_sensor} if post is one, else another --model"
        )
    raise SceneError(
        f"--post-sensor {options.post_sensor}: {model} takes an {card.post_sensor} post image; "
        f"give a --model whose card says {options.post_sensor}"
    )
