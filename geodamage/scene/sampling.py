"""A sample of an image: evenly spread parts of its tiles, and whether they show anything."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geodamage.errors import SceneError
from geodamage.scene.tiles import Tile
from geodamage.sources import is_remote
from geodamage.words import counted

#: Parts that stand for an image without overviews, and pixels of it that are kept.
SAMPLE_BLOCKS = 64
SAMPLE_PIXELS = 4_000_000

#: How many times more parts are looked at where those show nothing.
CLOSE = 4


class Sample(NamedTuple):
    """What an image holds, as far as it was looked at.

    Attributes
    ----------
    pixels
        Valid pixels, evenly thinned: (channels, pixels).
    low, high
        Smallest and largest value of each channel before thinning; None without a valid pixel.
    is_whole
        Whether nothing of the image was left out.
    has_missing
        Whether a pixel without data was seen.
    """

    pixels: npt.NDArray[Any]
    low: npt.NDArray[Any] | None
    high: npt.NDArray[Any] | None
    is_whole: bool
    has_missing: bool

    @property
    def flat(self) -> npt.NDArray[np.bool_]:
        """Whether each channel has one value at most."""
        if self.low is None or self.high is None:
            return np.ones(len(self.pixels), bool)
        return np.asarray(self.low == self.high)


def sample_of(tiles: list[Tile], *, told: bool = False) -> Sample:
    """Look at an image; tiles whose nodata fits no pixel are marked, in place.

    Parameters
    ----------
    told
        Whether the user says which value is no data: then it is looked for.
    """
    sample = _looked_at(tiles, told)
    if not sample.has_missing and any(tiles[0].nodata or ()):  # black is fill, where 0 is not
        tiles[:] = [replace(tile, is_idle=True) for tile in tiles]
        sample = _looked_at(tiles, told)
        return sample._replace(has_missing=False)
    return sample


def _looked_at(tiles: Sequence[Tile], told: bool) -> Sample:
    is_far = is_remote(tiles[0].name)
    is_ready = _is_known
    if tiles[0].dtype != "uint8":  # it is stretched by what the whole image holds
        is_ready = _never
    elif told or (any(tiles[0].nodata or ()) and not tiles[0].is_idle):
        is_ready = _is_known_with_missing
    sample = sample_tiles(tiles, SAMPLE_BLOCKS, overviews=is_far, is_ready=is_ready)
    if sample.flat.any() and not (sample.is_whole or is_far):  # an odd image is looked at closely
        close = sample_tiles(tiles, CLOSE * SAMPLE_BLOCKS, overviews=False)
        if close.is_whole or close.flat.sum() < sample.flat.sum():
            sample = close
    return sample


def _never(sample: Sample) -> bool:
    return False


def _is_known(sample: Sample) -> bool:
    """Say whether nothing more can be found of an image of 8 bits."""
    return not sample.flat.any()


def _is_known_with_missing(sample: Sample) -> bool:
    return sample.has_missing and not sample.flat.any()


def sample_tiles(
    tiles: Sequence[Tile],
    count: int,
    *,
    overviews: bool,
    is_ready: Callable[[Sample], bool] = _never,
) -> Sample:
    """Look at evenly spread parts of the tiles, or at their overviews.

    Parameters
    ----------
    is_ready
        Says of what was seen so far whether that is enough.
    """
    spread = np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), count)).round())
    chosen = [tiles[int(index)] for index in spread]
    each, most = -(-count // len(chosen)), SAMPLE_PIXELS // len(chosen)
    is_whole = len(chosen) == len(tiles)
    empty = np.zeros((len(tiles[0].channels.indexes), 0), tiles[0].dtype)
    sample, found = Sample(empty, None, None, False, False), [empty]
    for tile in chosen:
        overview = tile.overview(most) if overviews else None
        windows, is_all = ([], False) if overview else tile.parts(each)
        is_whole &= is_all
        # Of 8 bits that no value hides, no grey level counts: only whether there are several.
        as_gdal = tile.dtype == "uint8" and tile.nodata is None
        parts = [overview] if overview else (tile.read(w, as_gdal=as_gdal) for w in windows)
        for pixels, valid in parts:
            # Where all is valid nothing needs to be picked: a view is enough.
            kept = pixels.reshape(len(pixels), -1) if valid.all() else pixels[:, valid]
            step = -(-kept.shape[1] // max(most // max(len(windows), 1), 1))
            found.append(kept[:, :: max(step, 1)].copy())
            sample = _with(sample, kept, has_missing=kept.shape[1] < valid.size)
            if is_ready(sample):
                return sample._replace(pixels=np.concatenate(found, axis=1))
    return sample._replace(pixels=np.concatenate(found, axis=1), is_whole=is_whole)


def _with(sample: Sample, kept: npt.NDArray[Any], *, has_missing: bool) -> Sample:
    """Return what is known once more pixels were seen."""
    sample = sample._replace(has_missing=sample.has_missing or has_missing)
    if not kept.size:
        return sample
    low, high = kept.min(axis=1), kept.max(axis=1)
    if sample.low is not None and sample.high is not None:
        low, high = np.minimum(low, sample.low), np.maximum(high, sample.high)
    return sample._replace(low=low, high=high)


def named(tiles: Sequence[Tile]) -> str:
    """Return the name of the first tile, and how many there are."""
    name = tiles[0].name
    return name if len(tiles) == 1 else f"{name} and {counted(len(tiles) - 1, 'more tile')}"


def check_contrast(tiles: Sequence[Tile], sample: Sample) -> list[str]:
    """Return what is odd, and refuse an image only if all of it is known to be useless."""
    whose, flat = named(tiles), sample.flat
    if sample.low is None:
        if sample.is_whole:
            raise SceneError(f"{whose}: no valid pixel; give an image that has data")
        return [f"{whose}: no valid pixel in a sample of it; is it empty?"]
    if flat.all():
        if sample.is_whole:
            value = sample.low[0]
            raise SceneError(f"{whose}: every pixel has the value {value}; is the file damaged?")
        return [f"{whose}: every pixel of a sample has the value {sample.low[0]}; is it damaged?"]
    indexes = tiles[0].channels.indexes
    empty = sorted({index for index, same in zip(indexes, flat, strict=True) if same})
    where = "" if sample.is_whole else " in a sample"
    return [f"{whose}: channel {index} has one value only{where}" for index in empty]
