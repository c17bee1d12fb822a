"""What metadata tell of the values of an image: their range, and what they are a measure of.

Vendors provide little, in three places. The file may have bits per sample (GDAL's `NBITS`, if these
are not whole bytes), and the scale and offset of a band. A STAC item beside it may have both, by
the raster extension: as `raster:bands` of an asset, or since STAC 1.1 as its `bands` or own fields.
With scale and offset a date with an offset (reflectance of Sentinel-2 since 2022) and one without
can be compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from geodamage.scene.beside import stac_item
from geodamage.scene.opening import environment
from geodamage.scene.scaling import Range
from geodamage.scene.tiles import Tile


def range_of(tile: Tile) -> Range | None:
    """Return what metadata tell of the values of an image; None where they tell nothing.

    Parameters
    ----------
    tile
        The tile that speaks for all of it.
    """
    indexes = tile.channels.indexes
    item = _bands(stac_item(tile.name), tile.name, max(indexes))
    stated = [item[index - 1] for index in indexes] if item else []
    bits, where = _alike([_number(band.get("bits_per_sample")) for band in stated]), "STAC item"
    if bits is None:
        bits, where = _bits(tile), "NBITS"
    factors = _alike([(_scale(band), _number(band.get("offset")) or 0.0) for band in stated])
    source = "STAC item"
    if factors is None or factors[0] is None:
        factors, source = _factors(tile), "the file"
    most = None
    if bits is not None and 0 < bits < np.dtype(tile.dtype).itemsize * 8 and tile.dtype[0] == "u":
        most = 2.0**bits - 1
    sources = (*([] if most is None else [where]), *([] if factors is None else [source]))
    if not sources:
        return None
    scale, offset = (None, 0.0) if factors is None else factors
    return Range(most, scale, offset, tuple(dict.fromkeys(sources)))


def _scale(band: Mapping[str, Any]) -> float | None:
    scale = _number(band.get("scale"))
    return scale if scale is not None and scale > 0 and scale != 1 else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and np.isfinite(value) else None


def _alike(values: Sequence[Any]) -> Any:
    """Return the one value of all; None where they differ, or where there is none."""
    return values[0] if values and all(value == values[0] for value in values) else None


def _bits(tile: Tile) -> float | None:
    with environment(tile.name):
        tags = [tile.dataset.tags(index, ns="IMAGE_STRUCTURE") for index in tile.channels.indexes]
        whole = tile.dataset.tags(ns="IMAGE_STRUCTURE")
    found = _alike([tag.get("NBITS", whole.get("NBITS")) for tag in tags])
    return float(found) if found is not None and found.isdecimal() else None


def _factors(tile: Tile) -> tuple[float, float] | None:
    dataset, indexes = tile.dataset, tile.channels.indexes
    factors = _alike([(dataset.scales[n - 1], dataset.offsets[n - 1]) for n in indexes])
    if factors is None or not np.isfinite(factors).all() or factors[0] <= 0 or factors == (1, 0):
        return None
    return float(factors[0]), float(factors[1])


def _bands(item: Mapping[str, Any], name: str, count: int) -> list[dict[str, Any]]:
    """Return what a STAC item says of each band of an image; nothing where it does not."""
    assets = item.get("assets")
    for asset in assets.values() if isinstance(assets, dict) else ():
        href = asset.get("href") if isinstance(asset, dict) else None
        if not isinstance(href, str) or _last(href) != _last(name):
            continue
        own = _plain(asset)
        bands = asset.get("raster:bands", asset.get("bands"))
        listed = bands if isinstance(bands, list) else [{}] * count
        found = [own | _plain(band) for band in listed if isinstance(band, dict)]
        if len(found) >= count:
            return found
    return []


def _plain(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of the raster extension by their names of STAC 1.0."""
    names = ("bits_per_sample", "scale", "offset")
    return {
        name: stated.get(f"raster:{name}", stated.get(name))
        for name in names
        if f"raster:{name}" in stated or name in stated
    }


def _last(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/").partition("?")[0]).name
