"""Channels: which of a file are used, and which says where its pixels are valid."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geodamage.errors import OptionError, SceneError
from geodamage.words import counted

#: What stands for invisible and visible in an alpha channel, whatever its type.
_ENDS = (0, 1, 255, 65535)
#: Share of other values from which a channel tagged as alpha is none: soft edges are thin.
MOST_BETWEEN = 0.1
#: Blocks of it that are looked at, and pixels of each.
_LOOKS, _SIDE = 5, 256


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

    Raises
    ------
    OptionError
        If the user's numbers do not fit the file or the model.
    SceneError
        If it takes the user to say which channels to use.
    """
    count = len(tags)
    alpha = tags.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in tags else None
    if ColorInterp.palette in tags:  # its numbers are no brightness, whoever asks for them
        raise SceneError(f"{name}: colours by palette; convert it with gdal_translate -expand rgb")
    if asked is not None:
        return Channels(
            _asked_channels(name, count, asked, wanted, option), None if alpha in asked else alpha
        )
    rest = [index for index in range(1, count + 1) if index != alpha]
    if len(rest) != wanted:
        example = ",".join(map(str, _by_colour(tags, wanted)))
        raise SceneError(
            f"{name}: {counted(count, 'channel')}{' with alpha' if alpha else ''}, and the model "
            f"takes "
            f"{wanted}; choose with {option}, for example {option} {example}"
        )
    rgb = _RGB
    found = [tags[index - 1] for index in rest]
    if set(found) == set(rgb) and tuple(found) != rgb:
        order = ",".join(str(rest[found.index(colour)]) for colour in rgb)
        raise SceneError(
            f"{name}: channels are {', '.join(c.name for c in found)}; give {option} {order}"
        )
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


def _by_colour(tags: Sequence[ColorInterp], wanted: int) -> list[int]:
    """Return channels that a user may mean: by colour where that is told, else the first."""
    if wanted == len(_RGB) and all(tags.count(colour) == 1 for colour in _RGB):
        return [tags.index(colour) + 1 for colour in _RGB]
    return [min(index, len(tags)) for index in range(1, wanted + 1)]


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
    """Return the share of values of a channel that are neither invisible nor visible."""
    rows, columns = dataset.shape
    total = between = 0
    for part in (np.arange(_LOOKS) + 0.5) / _LOOKS:
        height, width = min(_SIDE, rows), min(_SIDE, columns)
        top, left = int(part * (rows - height)), int(part * (columns - width))
        values = dataset.read(index, window=Window(left, top, width, height))
        total += values.size
        between += int((~np.isin(values, _ENDS)).sum())
    return between / max(total, 1)
