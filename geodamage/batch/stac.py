"""STAC: the images of a catalogue, a collection, an item collection or a search; no pixels.

A catalogue says where other files are, so each such place is checked before it is read. A local
catalogue names files in its own folder only. Nothing remote is read without permission.
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

from geodamage.batch.pairing import Placed
from geodamage.batch.stac_items import (
    LeftOutError,
    chosen_asset,
    facts_of,
    look_of,
    outline_of,
    phase_of,
    read_item,
    times_of,
    utc,
)
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
    from pystac import Item

#: Bytes of one document, and how many documents and items are read.
LARGEST_DOCUMENT = 256 * 2**20
MOST_DOCUMENTS = 20_000
MOST_ITEMS = 100_000

#: Seconds that a server has for an answer, and how often it is asked again.
_TIMEOUT, _RETRIES = 60, 2

_LINKS = ("child", "item", "items", "next")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


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
            return cls(*[utc(datetime.fromisoformat(text))] * 2)
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
        What was left out or is odd, and why.
    """

    before: list[Placed]
    after: list[Placed]
    notes: list[str]


def read_stac(
    source: str,
    *,
    event: EventTime | None,
    asset: str | None = None,
    max_cloud: float | None = None,
    allow_remote: bool = False,
) -> Dated:
    """Read the images of a catalogue, and sort them by whether they show the event.

    Parameters
    ----------
    source
        A local JSON file, or the URL of a catalogue or of a search.
    event
        When the event was; where None, each item has to say whether it is from before or after, by
        its `phase`.
    asset
        Key of the image among the assets of an item; None takes `visual`, else `data`, else the
        first GeoTIFF.
    max_cloud
        Images with more cloud, %, are left out; one that does not tell stays.
    allow_remote
        Whether URLs are read, those in a local catalogue too.

    Raises
    ------
    ManifestError
        If it cannot be read, or has no image from before or after the event.
    OptionError
        If there is no date of the event, and no item has a phase.
    MissingExtraError
        If pystac is not installed.
    """
    _require_pystac()
    library = _Library(source, allow_remote)
    found = Dated([], [], [])
    phased = False
    for item, base in _unique(library.items()):
        phased = phased or phase_of(item.properties) is not None
        try:
            taken = _image(library, item, base, asset)
            _check_cloud(taken[0], max_cloud)
            _sort_in(found, taken, event)
        except LeftOutError as error:
            found.notes.append(f"{item.id}: left out, {error}")
    first = next(iter([*found.notes, *library.notes]), None)
    found.notes[:0] = library.notes
    if event is None and not phased and (library.met or not found.notes):
        raise OptionError(
            f"{source}: its images do not say whether they are from before or after (phase), so "
            "they are sorted by date; give --event-date"
        )
    for images, when in ((found.before, "before"), (found.after, "after")):
        if not images:
            why = "; check --event-date" if first is None else f" ({first})"
            what = "the event" if event is None else f"{event.start:%Y-%m-%d}"
            raise ManifestError(f"{source}: no image {when} {what} in it{why}")
        images.sort(key=lambda image: (image.taken or _LONG_AGO, image.name, image.path))
    return found


def _check_cloud(image: Placed, most: float | None) -> None:
    cloud = image.facts.get("cloud_cover")
    if most is not None and cloud is not None and cloud > most:
        raise LeftOutError(f"{cloud:g} % of it are cloud, over --max-cloud {most:g}")


def _sort_in(found: Dated, taken: tuple[Placed, datetime | None], event: EventTime | None) -> None:
    image, end = taken
    phase = image.facts.get("phase")
    if event is None:
        if phase is None:
            raise LeftOutError(
                "it does not say whether it is from before or after (phase); give --event-date"
            )
        (found.before if phase == "pre" else found.after).append(image)
    elif end is None:
        raise LeftOutError("it has no date that can be read")
    elif end < event.start:
        found.before.append(image)
    elif image.taken is not None and image.taken >= event.end:
        found.after.append(image)
    else:
        raise LeftOutError(
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
        raise ManifestError(f"{where}: not JSON ({error}); fix the file") from error
    if not isinstance(document, dict):
        raise ManifestError(f"{where}: not a JSON object; give a GeoJSON or STAC file")
    return document


class _Library:
    """All documents that hang on one, read one after another; each place is checked first."""

    def __init__(self, source: str, allow_remote: bool) -> None:
        self.source, self.allow_remote = source, allow_remote
        self.notes: list[str] = []
        self.met = 0
        self.folder = None if is_remote(source) else Path(source).resolve().parent
        self._server: Any = None

    def items(self) -> Iterator[tuple["Item", str]]:
        """Yield all items, each with the place of the document that it is in."""
        start = self.source if self.folder is None else str(Path(self.source).resolve())
        waiting, seen = deque([self._request({"href": start}, start)]), set[str]()
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
            try:
                document = self._read(request)
                links = [*self._links(document, place)]
            except ManifestError as error:
                if len(seen) == 1:
                    raise  # without its first document there is no catalogue
                self.notes.append(f"{error}; it is left out")
                continue
            for entry in _items_in(document):
                self.met += 1
                if self.met > MOST_ITEMS:
                    raise ManifestError(f"{self.source}: over {MOST_ITEMS:,} items; narrow it down")
                try:
                    yield read_item(entry, place, self.notes), place
                except LeftOutError as error:
                    self.notes.append(f"{error}; it is left out")
            waiting += self._requests(links, place)

    def _requests(self, links: list[Mapping[str, Any]], place: str) -> Iterator[dict[str, Any]]:
        """Yield what links lead to; one that leads nowhere is noted."""
        for link in links:
            try:
                yield self._request(link, place)
            except LeftOutError as error:
                self.notes.append(f"{error}; it is left out")

    def resolve(self, href: str, base: str) -> str:
        """Return the path or URL that a document at `base` names.

        Raises
        ------
        LeftOutError
            If that place is no address, or outside of the folder of the catalogue.
        ManifestError
            If it is remote, and that was not asked for.
        """
        try:
            split = urlsplit(href)
            if is_remote(base) and not (split.scheme or href.startswith("/vsi")):
                href = urljoin(base, href)
        except ValueError as error:
            raise LeftOutError(f"{base}: names {href!r}, no address ({error})") from error
        if split.scheme.lower() == "file":
            href = url2pathname(split.path)
        elif is_remote(href):
            return self._checked_url(href)
        if self.folder is None:
            raise LeftOutError(f"{base}: names a file on this machine, {href}; that is not read")
        return self._within(href, base, self.folder)

    def _within(self, href: str, base: str, folder: Path) -> str:
        try:
            path = (Path(base).parent / href).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a link in a circle; a null
            raise LeftOutError(f"{base}: names {href!r}, no path ({error})") from error
        if not path.is_relative_to(folder):
            raise LeftOutError(
                f"{base}: names {path}, outside of its folder; give the catalogue above it, or one "
                "in a folder that holds its images"
            )
        return str(path)

    def _checked_url(self, url: str) -> str:
        if urlsplit(url).scheme.lower() not in ("http", "https", "s3", "gs", "az"):
            raise ManifestError(f"{self.source}: names {url}; http, https, s3, gs and az are read")
        if not self.allow_remote:
            raise ManifestError(
                f"{self.source}: {url} is remote; that is read with --allow-remote only"
            )
        return url

    def _request(self, link: Mapping[str, Any], base: str) -> dict[str, Any]:
        """Return what is asked of a server, or of the disk."""
        href = link.get("href")
        if not isinstance(href, str) or not href:
            raise LeftOutError(f"{base}: a link has no address; fix the catalogue")
        asked = {key: link[key] for key in ("method", "headers", "body") if key in link}
        return asked | {"href": self.resolve(href, base)}

    def _links(self, document: Mapping[str, Any], place: str) -> Iterator[Mapping[str, Any]]:
        links = document.get("links", [])
        if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
            raise ManifestError(f"{place}: its links are not a list; fix the catalogue")
        if document.get("type") == "Feature":  # an item's links lead up and aside
            return
        if is_remote(place) and "conformsTo" in document:
            raise ManifestError(
                f"{place}: a catalogue of a whole archive; give the address of a search in it, "
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
        if not place.lower().startswith("http"):
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
) -> tuple[Placed, datetime | None]:
    """Return the image of an item, and when its exposure was over."""
    start, end = times_of(item)
    found = chosen_asset(item, asset)
    path = library.resolve(found.href, base)
    facts = facts_of(item)
    return Placed(str(item.id), path, outline_of(item), start, look_of(facts), facts), end
