"""STAC: the images of a catalogue, a collection, an item collection or a search; no pixels.

A catalogue says where other files are, so each such place is checked before it is read: a local
one names files in its own folder only, and nothing remote is read unless that was asked for.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geodamage.batch.pairing import Placed
from geodamage.errors import (
    ManifestError,
    MissingExtraError,
    OptionError,
    SceneReadError,
    install,
    one_line,
)
from geodamage.sources import check_file, is_remote

if TYPE_CHECKING:
    from pystac import Asset, Item

#: Bytes of one document, and how many documents and items are read.
LARGEST_DOCUMENT = 256 * 2**20
MOST_DOCUMENTS = 20_000
MOST_ITEMS = 100_000

#: Seconds that a server has for an answer, and how often it is asked again.
_TIMEOUT, _RETRIES = 60, 2

_LINKS = ("child", "item", "items", "next")
_NO_IMAGE = {"thumbnail", "overview", "metadata"}


@dataclass(frozen=True)
class EventTime:
    """When an event was: an instant, or a day of which the hour is not known.

    Attributes
    ----------
    start, end
        Images of before end before the first, images of after begin at the second or later.
    """

    start: datetime
    end: datetime

    @classmethod
    def parse(cls, text: str) -> "EventTime":
        """Read a date or a date with time, ISO 8601; without a zone it is UTC.

        Raises
        ------
        OptionError
            If it is neither.
        """
        try:
            if len(text) == len("2026-02-06"):
                start = datetime.combine(date.fromisoformat(text), time(), UTC)
                return cls(start, start + timedelta(days=1))
            return cls(*[_utc(datetime.fromisoformat(text))] * 2)
        except (ValueError, OverflowError) as error:
            raise OptionError(
                f"--event-date {text}: not a date; write 2026-02-06 or 2026-02-06T01:17Z"
            ) from error


@dataclass(frozen=True)
class Dated:
    """The images of a catalogue around an event.

    Attributes
    ----------
    before, after
        Images with dates, in the order of those.
    notes
        What was left out, and why.
    """

    before: list[Placed]
    after: list[Placed]
    notes: list[str]


def read_stac(
    source: str,
    *,
    event: EventTime,
    asset: str | None = None,
    allow_remote: bool = False,
) -> Dated:
    """Read the images of a catalogue, and sort them by whether they show the event.

    Parameters
    ----------
    source
        A local JSON file, or the URL of a catalogue or of a search.
    event
        When the event was.
    asset
        Key of the image among the assets of an item; None takes `visual`, else `data`, else the
        first GeoTIFF.
    allow_remote
        Whether URLs are read, those in a local catalogue too.

    Raises
    ------
    ManifestError
        If it cannot be read, or has no images before or after the event.
    MissingExtraError
        If pystac is not installed.
    """
    _require_pystac()
    library = _Library(source, allow_remote)
    found = Dated([], [], [])
    for item, base in _unique(library.items()):
        try:
            _sort_in(found, _image(library, item, base, asset), event)
        except _LeftOutError as error:
            found.notes.append(f"{item.id}: left out, {error}")
    for images, when in ((found.before, "before"), (found.after, "after")):
        if not images:
            why = f" ({found.notes[0]})" if found.notes else "; check --event-date"
            raise ManifestError(f"{source}: no image {when} {event.start:%Y-%m-%d} in it{why}")
        images.sort(key=lambda image: (image.taken or event.start, image.name, image.path))
    return found


def _sort_in(found: Dated, taken: tuple[Placed, datetime], event: EventTime) -> None:
    image, end = taken
    if end < event.start:
        found.before.append(image)
    elif image.taken is not None and image.taken >= event.end:
        found.after.append(image)
    else:
        raise _LeftOutError(
            f"taken at the time of the event, {image.taken:%Y-%m-%d}; "
            "give --event-date with the hour"
        )


def read_document(path: str) -> dict[str, Any]:
    """Read a JSON object from a local file.

    Raises
    ------
    ManifestError
        If there is none in it.
    """
    try:
        name = check_file(path)
        if Path(name).stat().st_size > LARGEST_DOCUMENT:
            raise ManifestError(f"{path}: too long for a list of scenes; is it one?")
        text = Path(name).read_text(encoding="utf-8-sig")
    except SceneReadError as error:
        raise ManifestError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not a text in UTF-8 ({error}); save it as one") from error
    return _parsed(path, text)


def is_stac(document: Mapping[str, Any]) -> bool:
    """Say whether a JSON object is a catalogue, a collection, an item, or a list of items."""
    features = document.get("features")
    first = features[0] if isinstance(features, list) and features else None
    return "stac_version" in document or (
        isinstance(first, dict) and ("stac_version" in first or "assets" in first)
    )


def _parsed(where: str, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: not JSON ({error}); mend the file") from error
    if not isinstance(document, dict):
        raise ManifestError(f"{where}: no JSON object; give a GeoJSON or STAC file")
    return document


class _LeftOutError(Exception):
    """An item has no image that can be used."""


class _Library:
    """All documents that hang on one, read one after another; each place is checked first."""

    def __init__(self, source: str, allow_remote: bool) -> None:
        self.source, self.allow_remote = source, allow_remote
        self.folder = None if is_remote(source) else Path(source).resolve().parent
        self._server: Any = None

    def items(self) -> Iterator[tuple["Item", str]]:
        """Yield all items, each with the place of the document that it is in."""
        start = self.source if self.folder is None else str(Path(self.source).resolve())
        waiting, seen, count = deque([self._request({"href": start}, start)]), set[str](), 0
        while waiting:
            request = waiting.popleft()
            key = json.dumps(request, sort_keys=True)
            if key in seen:
                continue
            seen.add(key)
            if len(seen) > MOST_DOCUMENTS:
                raise ManifestError(
                    f"{self.source}: over {MOST_DOCUMENTS:,} documents; "
                    "give a part of the catalogue, or a search by place and date"
                )
            place = request["href"]
            document = self._read(request)
            for entry in _items_in(document):
                count += 1
                if count > MOST_ITEMS:
                    raise ManifestError(f"{self.source}: over {MOST_ITEMS:,} items; narrow it down")
                yield _item(entry, place), place
            waiting += [self._request(link, place) for link in self._links(document, place)]

    def resolve(self, href: str, base: str) -> str:
        """Return the path or URL that a document at `base` names.

        Raises
        ------
        ManifestError
            If that place is not to be read.
        """
        try:
            split = urlsplit(href)
            if is_remote(base) and not (split.scheme or href.startswith("/vsi")):
                href = urljoin(base, href)
        except ValueError as error:
            raise ManifestError(f"{base}: names {href!r}, no address ({error})") from error
        if split.scheme.lower() == "file":
            href = url2pathname(split.path)
        elif is_remote(href):
            return self._checked_url(href)
        if self.folder is None:
            raise ManifestError(f"{base}: names a file on this machine, {href}; that is not read")
        return self._within(href, base, self.folder)

    def _within(self, href: str, base: str, folder: Path) -> str:
        try:
            path = (Path(base).parent / href).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a link in a circle; a null
            raise ManifestError(f"{base}: names {href!r}, no path ({error})") from error
        if not path.is_relative_to(folder):
            raise ManifestError(
                f"{base}: names {path}, outside of its folder; copy the catalogue to a folder "
                "that holds its images, or list the images in a CSV"
            )
        return str(path)

    def _checked_url(self, url: str) -> str:
        if urlsplit(url).scheme.lower() not in ("http", "https", "s3"):
            raise ManifestError(f"{self.source}: names {url}; http, https and s3 are read")
        if not self.allow_remote:
            raise ManifestError(
                f"{self.source}: {url} is remote; that is read with --allow-remote only"
            )
        return url

    def _request(self, link: Mapping[str, Any], base: str) -> dict[str, Any]:
        """Return what is asked of a server, or of the disk."""
        href = link.get("href")
        if not isinstance(href, str) or not href:
            raise ManifestError(f"{base}: a link has no address; mend the catalogue")
        asked = {key: link[key] for key in ("method", "headers", "body") if key in link}
        return asked | {"href": self.resolve(href, base)}

    def _links(self, document: Mapping[str, Any], place: str) -> Iterator[Mapping[str, Any]]:
        links = document.get("links", [])
        if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
            raise ManifestError(f"{place}: its links are no list of links; mend the catalogue")
        if document.get("type") == "Feature":  # an item's links lead up and aside
            return
        if is_remote(place) and "conformsTo" in document:
            raise ManifestError(
                f"{place}: a whole archive; give the address of a search in it, "
                ".../search?collections=...&bbox=...&datetime=..."
            )
        # What is at hand is not looked up on a server: a saved search names its next page.
        yield from (
            link
            for link in links
            if link.get("rel") in _LINKS
            and (link["rel"] != "next" or self.folder is None)
            and (link["rel"] != "items" or is_remote(place))
        )

    def _read(self, request: Mapping[str, Any]) -> dict[str, Any]:
        place = request["href"]
        if not is_remote(place):
            return read_document(place)
        if place.startswith("s3:"):
            raise ManifestError(f"{place}: catalogues are read by http and https only")
        from pystac_client.exceptions import APIError

        if self._server is None:
            self._server = _server()
        method = str(request.get("method", "GET"))
        try:
            text = self._server.request(
                place,
                method=method,
                headers=request.get("headers"),
                parameters=request.get("body") if method == "POST" else None,
            )
        except (APIError, ValueError, TypeError) as error:
            why = one_line(error)[:200]
            raise ManifestError(f"{place}: out of reach ({why}); check the address") from error
        return _parsed(place, text)


def _server() -> Any:
    from pystac_client.stac_api_io import StacApiIO

    return StacApiIO(timeout=_TIMEOUT, max_retries=_RETRIES)


def _items_in(document: Mapping[str, Any]) -> list[Any]:
    if document.get("type") == "Feature":
        return [document]
    features = document.get("features", [])
    return features if isinstance(features, list) else []


def _require_pystac() -> None:
    try:
        import pystac  # noqa: F401
        import pystac_client  # noqa: F401  (both come with the extra)
    except ImportError as error:
        raise MissingExtraError(f"pystac is not installed; run {install('stac')}") from error


def _item(entry: Any, place: str) -> "Item":
    """Return an item; only parses, nothing else is read."""
    import pystac

    try:
        return pystac.Item.from_dict(entry, href=place)
    except (pystac.STACError, ValueError, KeyError, TypeError, AttributeError) as error:
        name = entry.get("id") if isinstance(entry, dict) else None
        why = one_line(error)[:200]
        raise ManifestError(
            f"{place}: item {name!r} is no STAC item ({why}); mend the catalogue"
        ) from error


def _unique(items: Iterator[tuple["Item", str]]) -> Iterator[tuple["Item", str]]:
    """Leave out what two catalogues list both."""
    seen = set()
    for item, base in items:
        key = item.collection_id, item.id
        if key not in seen:
            seen.add(key)
            yield item, base


def _image(
    library: _Library, item: "Item", base: str, asset: str | None
) -> tuple[Placed, datetime]:
    """Return the image of an item, and when its exposure was over."""
    start, end = _times(item)
    found = _chosen_asset(item, asset)
    path = library.resolve(found.href, base)
    return Placed(str(item.id), path, _outline(item), start), end


def _times(item: "Item") -> tuple[datetime, datetime]:
    span = item.properties.get("start_datetime"), item.properties.get("end_datetime")
    try:
        if all(isinstance(text, str) for text in span):
            start, end = (_utc(datetime.fromisoformat(str(text))) for text in span)
            return start, end
    except ValueError as error:
        raise _LeftOutError(f"its dates cannot be read ({error})") from error
    if item.datetime is None:
        raise _LeftOutError("it has no date")
    return _utc(item.datetime), _utc(item.datetime)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _outline(item: "Item") -> BaseGeometry:
    try:
        if item.geometry is not None:
            outline = shapely.geometry.shape(item.geometry)
        else:
            corners = list(item.bbox or [])
            half = len(corners) // 2
            outline = shapely.box(corners[0], corners[1], corners[half], corners[half + 1])
    except (shapely.errors.ShapelyError, LookupError, TypeError, ValueError, AttributeError):
        raise _LeftOutError("it does not say where it lies") from None
    if outline.is_empty or outline.area == 0 or not np.isfinite(outline.bounds).all():
        raise _LeftOutError("it does not say where it lies")
    return outline


def _chosen_asset(item: "Item", key: str | None) -> "Asset":
    assets = {name: found for name, found in item.assets.items() if isinstance(found.href, str)}
    names = ", ".join(assets) or "none"
    if key is not None:
        if key not in assets:
            raise _LeftOutError(f"it has no asset {key!r} (it has {names})")
        return assets[key]
    tiffs = {name: found for name, found in assets.items() if _is_geotiff(found)}
    for wanted in ("visual", "data"):
        if wanted in tiffs:
            return tiffs[wanted]
        for found in tiffs.values():
            if wanted in (found.roles or []):
                return found
    for found in tiffs.values():
        return found
    raise _LeftOutError(f"it has no GeoTIFF among its assets ({names})")


def _is_geotiff(asset: "Asset") -> bool:
    if _NO_IMAGE & set(asset.roles or []):
        return False
    kind = (asset.media_type or "").lower()
    if kind:
        return kind.startswith(("image/tiff", "image/vnd.stac.geotiff"))
    return urlsplit(asset.href).path.lower().endswith((".tif", ".tiff"))
