"""Channels: which of a file are used, and which says where its pixels are valid."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from geodamage.errors import OptionError, SceneError
from geodamage.words import counted

#: Share of the highest value from which a pixel of an alpha channel is opaque: an alpha of 11 bits
#: ends at 2047, and a lossy compression leaves 250 of 255.
_OPAQUE = 0.95
#: Share of half transparent pixels, among those that are not transparent, from which a channel
#: tagged as alpha is none: soft edges are thin.
MOST_BETWEEN = 0.1
#: Channels of a radar image, at most: one of each polarisation.
MOST_OF_RADAR = 2
_RADAR = "; if a radar took it, give --post-sensor sar, and a --model made for that"
#: Parts of it that are looked at, down and across, and pixels of each.
_LOOKS, _SIDE = 5, 128


class Channels(NamedTuple):
    """Which channels of a file are used.

    Attributes
    ----------
    indexes
        1-based numbers of the channels, in the model's order.
    alpha
        1-based number of the channel that says where pixels are valid, or None.
    """

    indexes: tuple[int, ...]
    alpha: int | None


def choose_channels(
    name: str,
    tags: Sequence[ColorInterp],
    asked: tuple[int, ...] | None,
    wanted: int,
    *,
    option: str = "--bands",
    names: Sequence[str | None] = (),
    may_be_radar: bool = False,
) -> Channels:
    """Choose the channels of a file.

    Parameters
    ----------
    name
        The file, for messages.
    tags
        What the file says of each of its channels.
    asked
        1-based numbers that the user gave, or None.
    wanted
        How many the model takes.
    option
        Option by which the user gives them, for messages.
    names
        What the file calls its channels; a file that names red, green and blue says more than its
        tags, which GDAL makes up where a writer gives none.
    may_be_radar
        Whether a file of one channel may be of a radar, and nobody said so.

    Raises
    ------
    OptionError
        If the user's numbers do not fit the file or the model.
    SceneError
        If it takes the user to say which channels to use.
    """
    count = len(tags)
    alpha = tags.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in tags else None
    if asked is not None:
        return Channels(
            _asked_channels(name, count, asked, wanted, option), None if alpha in asked else alpha
        )
    every = range(1, count + 1)
    rest = [index for index in every if index != alpha] or [*every]
    colours = _named_colours(names) or tags
    best = _by_colour(colours, rest, wanted)
    order, found = ",".join(map(str, best)), [colours[index - 1] for index in best]
    if wanted == len(_RGB) and not _may_be_rgb(found):
        said = ", ".join(colours[index - 1].name for index in rest)
        raise SceneError(
            f"{name}: channels are {said}, and the model takes red, green, blue; use an image in "
            f"natural colours, or choose with {option}"
        )
    if len(rest) != wanted:
        raise SceneError(
            f"{name}: {counted(count, 'channel')}{' with alpha' if alpha else ''}, and the model "
            f"takes {wanted}; choose with {option}, for example {option} {order}"
            f"{_RADAR if may_be_radar and len(rest) <= MOST_OF_RADAR else ''}"
        )
    if best != rest:
        said = ", ".join(colours[index - 1].name for index in rest)
        raise SceneError(f"{name}: channels are {said}; give {option} {order}")
    return Channels(tuple(rest), alpha)


def _asked_channels(
    name: str, count: int, asked: tuple[int, ...], wanted: int, option: str
) -> tuple[int, ...]:
    text = ",".join(map(str, asked))
    if len(asked) != wanted:
        raise OptionError(
            f"{option} {text}: {counted(len(asked), 'channel')}, and the model takes {wanted}"
        )
    if not all(1 <= index <= count for index in asked):
        raise OptionError(f"{option} {text}: {name} has channels 1 to {count}")
    return asked


_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
#: Tags that say nothing of a colour.
_SILENT = (ColorInterp.undefined, ColorInterp.gray)


def _may_be_rgb(found: Sequence[ColorInterp]) -> bool:
    """Say whether no tag says that a channel is another than red, green or blue in their order."""
    return all(tag in (colour, *_SILENT) for tag, colour in zip(found, _RGB, strict=True))


def _named_colours(names: Sequence[str | None]) -> tuple[ColorInterp, ...]:
    """Return the colours by which channels are called; nothing unless each of three is there."""
    colours = {colour.name: colour for colour in _RGB}
    words = [(called or "").strip().lower() for called in names]
    if sorted(word for word in words if word in colours) != sorted(colours):
        return ()
    return tuple(colours.get(word, ColorInterp.undefined) for word in words)


def _by_colour(tags: Sequence[ColorInterp], rest: Sequence[int], wanted: int) -> list[int]:
    """Return channels that a user may mean: by colour where that is told, else the first."""
    if wanted == len(_RGB) and all(tags.count(colour) == 1 for colour in _RGB):
        return [tags.index(colour) + 1 for colour in _RGB]
    return [rest[min(number, len(rest) - 1)] for number in range(wanted)]


def without_false_alpha(
    name: str, dataset: Any, channels: Channels, asked: tuple[int, ...] | None
) -> tuple[Channels, list[str]]:
    """Look whether the alpha channel is one; return the channels to use, and what is odd.

    Near infrared is often tagged as alpha, since a fourth channel of a TIFF is by default. It holds
    all values, and dark ground would be a hole. Where the user has named the channels, it is left
    alone then.
    """
    if channels.alpha is None:
        return channels, []
    share = _between(dataset, channels.alpha)
    if share <= MOST_BETWEEN:
        return channels, []
    if asked is not None:
        return Channels(channels.indexes, None), []
    told = f"{name}: channel {channels.alpha} is tagged as alpha, and {share:.0%} of its values lie"
    told += " between transparent and opaque, as near infrared would"
    named = ",".join(map(str, channels.indexes))
    return channels, [f"{told}; if it is not alpha, give --bands {named}"]


def _between(dataset: Any, index: int) -> float:
    """Return the share of half transparent pixels among those that are not transparent."""
    rows, columns = dataset.shape
    height, width = min(_SIDE, rows), min(_SIDE, columns)
    places = (np.arange(_LOOKS) + 0.5) / _LOOKS
    parts = [
        Window(int(across * (columns - width)), int(down * (rows - height)), width, height)
        for down in places
        for across in places
    ]
    try:
        looked = [np.nan_to_num(dataset.read(index, window=part)) for part in parts]
    except RasterioIOError:
        return 0.0  # where its pixels are needed, they are refused with their rows
    seen = np.concatenate([part[part > 0] for part in looked])
    return float((seen < _OPAQUE * seen.max()).mean()) if seen.size else 0.0


def require_brightness(name: str, dataset: Any) -> None:
    """Refuse an image whose values are no brightness: a palette, or one in which 0 is white.

    Raises
    ------
    SceneError
        If it is one; the message has the command that makes an image of it.
    """
    if ColorInterp.palette in dataset.colorinterp:
        raise SceneError(f"{name}: colours by palette; convert it with gdal_translate -expand rgb")
    if dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") != "YES":
        return
    file, dtype, nodata = PurePath(name).name, np.dtype(dataset.dtypes[0]), dataset.nodata
    keep = f"gdal_translate {file} new.tif"
    if dtype.kind != "u":
        raise SceneError(f"{name}: its tag says that 0 is white; leave the tag out with {keep}")
    most = np.iinfo(dtype).max
    fill = "" if nodata is None else f"-a_nodata {most - nodata:g} "
    raise SceneError(
        f"{name}: its tag says that 0 is white; invert it with gdal_translate -scale 0 {most} "
        f"{most} 0 {fill}{file} new.tif, or, if the tag is wrong, leave it out with {keep}"
    )
