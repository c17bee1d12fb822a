"""Items of STAC: what one says of its image; those of disaster catalogues say more than others.

Vantor (formerly Maxar) and Planet publish `phase`, cloud, the angle of the look and the licence of
the images of an event. Catalogues have mistakes: an item that has one is left out, or repaired.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geodamage.errors import one_line

if TYPE_CHECKING:
    from pystac import Asset, Item

_NO_IMAGE = {"thumbnail", "overview", "metadata"}
#: Stands for a date that cannot be read, for pystac takes no item without one.
_NO_DATE = "0001-01-01T00:00:00Z"
_DATES = ("datetime", "start_datetime", "end_datetime")
#: How phases are written; what stands after "pre" or "post" does not count.
_PHASES = {"pre": "pre", "before": "pre", "post": "post", "after": "post"}
#: Per cent of cloud, and degrees off nadir, that make no difference to the rank of a look.
_CLOUD_STEP, _NADIR_STEP = 10.0, 15.0
#: Degrees: longitudes may go on beyond 180, and half a pixel may lie beyond a pole.
_WIDEST, _BEYOND_POLE = 540.0, 0.01
#: Facts of an item that are recorded, by what we call them.
_FACTS = {
    "cloud_cover": ("eo:cloud_cover", "cloud_cover"),
    "off_nadir": ("view:off_nadir", "off_nadir"),
    "sun_elevation": ("view:sun_elevation",),
    "gsd": ("pan_gsd", "gsd"),
}
_WORDS = {
    "platform": ("vehicle_name", "platform"),
    "licence": ("license",),
    "published": ("published",),
}


class LeftOutError(Exception):
    """An item, or what a link leads to, cannot be used."""


def read_item(entry: Any, place: str, notes: list[str]) -> "Item":
    """Return an item; only parses, nothing else is read.

    Parameters
    ----------
    entry
        What a catalogue has of it.
    place
        Where it stands, for messages.
    notes
        Takes what is odd: a date that is no date is taken by its day, or not at all.

    Raises
    ------
    LeftOutError
        If it is no item.
    """
    import pystac

    name = entry.get("id") if isinstance(entry, dict) else None
    wrong = (pystac.STACError, pystac.STACTypeError, ValueError, KeyError, TypeError)
    try:
        item = pystac.Item.from_dict(_mended(entry, notes), href=place)
        hash((item.id, item.collection_id))  # both are texts, if it is one
        return item
    except (*wrong, AttributeError, RecursionError) as error:
        why = one_line(error)[:200]
        raise LeftOutError(
            f"{place}: item {name!r} is not a STAC item ({why}); fix the catalogue"
        ) from error


def _mended(entry: Any, notes: list[str]) -> Any:
    """Return an item whose dates can be read: by their day, where what follows it cannot."""
    properties = entry["properties"]
    told = {key: properties[key] for key in _DATES if isinstance(properties.get(key), str)}
    bad = {key: text for key, text in told.items() if not _is_date(text)}
    if not bad:
        return entry
    mended: dict[str, Any] = {}
    for key, text in bad.items():
        day = re.match(r"\d{4}-\d{2}-\d{2}", text)
        is_day = day is not None and _is_date(day[0])
        mended[key] = f"{day[0]}T00:00:00Z" if day is not None and is_day else _NO_DATE
        taken = f"{day[0]} is taken" if day is not None and is_day else "it has no date then"
        notes.append(f"{entry.get('id')}: its {key} {text[:40]!r} is not a date; {taken}")
    return entry | {"properties": properties | mended}


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def times_of(item: "Item") -> tuple[datetime | None, datetime | None]:
    """Return when the exposure of an image began and ended, UTC; None where it does not say."""
    span = item.properties.get("start_datetime"), item.properties.get("end_datetime")
    if all(isinstance(text, str) for text in span):
        start, end = (utc(datetime.fromisoformat(str(text))) for text in span)
    elif item.datetime is not None:
        start = end = utc(item.datetime)
    else:
        return None, None
    return (None, None) if utc(datetime.fromisoformat(_NO_DATE)) in (start, end) else (start, end)


def utc(moment: datetime) -> datetime:
    """Return a time in UTC; without a zone it is that already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def phase_of(properties: Mapping[str, Any]) -> str | None:
    """Return `pre` or `post`, as an item says of itself; None where it does not."""
    text = properties.get("phase")
    if not isinstance(text, str):
        return None
    return _PHASES.get(re.split(r"[^a-z]", text.strip().lower(), maxsplit=1)[0])


def facts_of(item: "Item") -> dict[str, Any]:
    """Return what an item says of its image: phase, cloud, angles, pixel, platform, licence."""
    found: dict[str, Any] = {"id": str(item.id), "phase": phase_of(item.properties)}
    for name, keys in _FACTS.items():
        values = [item.properties.get(key) for key in keys]
        found[name] = next((v for v in values if _is_number(v)), None)
    for name, keys in _WORDS.items():
        words = [item.properties.get(key) for key in keys]
        found[name] = next((str(w)[:200] for w in words if isinstance(w, str) and w), None)
    return {name: value for name, value in found.items() if value is not None}


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def look_of(facts: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the rank of a look: clearer first, then steeper, in steps; unknown counts as best."""
    cloud, angle = facts.get("cloud_cover", 0.0), facts.get("off_nadir", 0.0)
    return round(cloud / _CLOUD_STEP), round(abs(angle) / _NADIR_STEP)


def outline_of(item: "Item") -> BaseGeometry:
    """Return where an item lies, in longitude and latitude; by its box where it has no more."""
    try:
        if item.geometry is not None:
            outline = shapely.geometry.shape(item.geometry)
        else:
            corners = list(item.bbox or [])
            half = len(corners) // 2
            outline = shapely.box(corners[0], corners[1], corners[half], corners[half + 1])
    except (shapely.errors.ShapelyError, LookupError, TypeError, ValueError, AttributeError):
        raise LeftOutError("it does not say where it lies") from None
    # All points: bounds leave out those that are not numbers.
    lon, lat = np.abs(shapely.get_coordinates(outline)).T
    on_earth = bool((lon <= _WIDEST).all() and (lat <= 90 + _BEYOND_POLE).all())
    if outline.is_empty or outline.area == 0 or not on_earth:
        raise LeftOutError("it does not say where it lies")
    return shapely.transform(
        outline, lambda points: np.clip(points, [-_WIDEST, -90], [_WIDEST, 90])
    )


def chosen_asset(item: "Item", key: str | None) -> "Asset":
    """Return the image among the assets of an item."""
    assets = {name: found for name, found in item.assets.items() if isinstance(found.href, str)}
    names = ", ".join(assets) or "none"
    if key is not None:
        if key not in assets:
            raise LeftOutError(f"it has no asset {key!r} (it has {names})")
        return assets[key]
    for name, found in assets.items():
        if not isinstance(found.roles or [], list) or not isinstance(found.media_type or "", str):
            raise LeftOutError(f"its asset {name!r} has no roles in a list, or no text as its type")
    tiffs = {name: found for name, found in assets.items() if _is_geotiff(found)}
    for wanted in ("visual", "data"):
        if wanted in tiffs:
            return tiffs[wanted]
        for found in tiffs.values():
            if wanted in (found.roles or []):
                return found
    for found in tiffs.values():
        return found
    raise LeftOutError(f"it has no GeoTIFF among its assets ({names})")


def _is_geotiff(asset: "Asset") -> bool:
    if _NO_IMAGE & set(asset.roles or []):
        return False
    kind = (asset.media_type or "").lower()
    if kind:
        return kind.startswith(("image/tiff", "image/vnd.stac.geotiff"))
    return urlsplit(asset.href).path.lower().endswith((".tif", ".tiff"))
