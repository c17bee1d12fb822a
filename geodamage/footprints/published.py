"""Published footprints: where they lie, who made them, and how those of a box are found.

Layouts as of November 2026. Sources: docs.overturemaps.org (STAC index, GeoParquet with `bbox`);
the README of GlobalMLBuildingFootprints (`dataset-links.csv`, tiles by quadkey of level 9); the
page of Open Buildings v3 (`tiles.geojson`, tables by S2 cell of level 4).
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import shapely

from geodamage.errors import FootprintError, GeodamageError, MissingExtraError, install, one_line
from geodamage.footprints.boxes import LONLAT, Bounds, read_parquet_box
from geodamage.footprints.web import RemoteFile, fetch, lines_of
from geodamage.vector.geojson import geometry_of
from geodamage.vector.wkt import from_wkt

#: Features of a table that are made to shapes at a time.
_AT_ONCE = 20_000
_QUADKEY_LEVEL = 9
_RELEASE = re.compile(r"\d{4}-\d{2}-\d{2}\.\d+")


@dataclass(frozen=True)
class Published:
    """A set of footprints that somebody publishes.

    Attributes
    ----------
    name
        What `--source` calls it.
    index
        Where its index lies; a mirror has the same files under an address of its own.
    licence, attribution
        What has to be said of it.
    read
        Yields the footprints of a box, given the index, the release or None, and the box.
    releases
        Whether it has releases that can be chosen.
    """

    name: str
    index: str
    licence: str
    attribution: str
    read: Callable[["Address", str | None, Bounds], "Found"]
    releases: bool = False


@dataclass(frozen=True)
class Address:
    """Where published files lie.

    Attributes
    ----------
    root
        Address of the folder of the index.
    is_mirror
        Whether all files lie under it, as in a copy.
    """

    root: str
    is_mirror: bool

    def of(self, path: str) -> str:
        """Return the address of a file."""
        return f"{self.root.rstrip('/')}/{path}"


@dataclass(frozen=True)
class Found:
    """What is read of a published set.

    Attributes
    ----------
    release
        Its release or date; None where it does not say.
    frames
        Footprints as they are published, in longitude and latitude, frame by frame.
    files
        How many files hold some of the box.
    """

    release: str | None
    frames: Iterator[gpd.GeoDataFrame]
    files: int


# Overture --------------------------------------------------------------------------------------


def _overture(address: Address, release: str | None, bounds: Bounds) -> Found:
    if release is None:
        release = str(_json(address.of("catalog.json")).get("latest") or "")
    if not _RELEASE.fullmatch(release):
        raise FootprintError(f"{address.root}: no release {release!r}; write 2026-11-18.0")
    urls = _overture_files(address, release, bounds)

    def frames() -> Iterator[gpd.GeoDataFrame]:
        for url in urls:
            with RemoteFile(url) as file:
                yield read_parquet_box(io.BufferedReader(file), bounds, url)

    return Found(release, frames(), len(urls))


def _overture_files(address: Address, release: str, bounds: Bounds) -> list[str]:
    """Return the files of buildings that touch a box, by the index of a release."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(
            f"Overture is published as GeoParquet, which needs pyarrow; run {install('parquet')}"
        ) from error
    url = address.of(f"{release}/collections.parquet")
    try:
        columns = ["collection", "type", "bbox", "assets"]
        rows = pq.read_table(io.BytesIO(fetch(url)), columns=columns).to_pylist()
        left, bottom, right, top = bounds
        return [
            _asset(row["assets"], address, url)
            for row in rows
            if (row["collection"], row["type"]) == ("building", "Feature")
            and row["bbox"]["xmin"] <= right and row["bbox"]["xmax"] >= left
            and row["bbox"]["ymin"] <= top and row["bbox"]["ymax"] >= bottom
        ]  # fmt: skip
    except GeodamageError:
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise FootprintError(f"{url}: not a known index ({one_line(error)})") from error


def _asset(assets: dict[str, Any], address: Address, url: str) -> str:
    """Return the address of a file by https; the index has that of the bucket."""
    hrefs = [str(asset.get("href")) for asset in assets.values() if isinstance(asset, dict)]
    found = next((href for href in hrefs if href.startswith("s3://")), None)
    found = found or next((href for href in hrefs if ".parquet" in href), None)
    if found is None:
        raise FootprintError(f"{url}: names no file of buildings; its layout has changed")
    if not found.startswith("s3://"):
        return found
    bucket, _, key = found.removeprefix("s3://").partition("/")
    if address.is_mirror:
        return address.of(key)
    return f"https://{bucket}.s3.us-west-2.amazonaws.com/{key}"


# Microsoft -------------------------------------------------------------------------------------


def quadkeys(bounds: Bounds, level: int = _QUADKEY_LEVEL) -> set[str]:
    """Return the tiles of the web map that a box touches, by their quadkeys.

    Source: "Bing Maps Tile System", Microsoft Learn.
    """
    left, bottom, right, top = bounds
    first, last = _tile(left, top, level), _tile(right, bottom, level)
    return {
        "".join(str((x >> bit & 1) + 2 * (y >> bit & 1)) for bit in range(level - 1, -1, -1))
        for x in range(first[0], last[0] + 1)
        for y in range(first[1], last[1] + 1)
    }


def _tile(lon: float, lat: float, level: int) -> tuple[int, int]:
    sine = math.sin(math.radians(max(-85.05112878, min(85.05112878, lat))))
    x = (lon + 180) / 360
    y = 0.5 - math.log((1 + sine) / (1 - sine)) / (4 * math.pi)
    most = 2**level - 1
    return min(max(int(x * 2**level), 0), most), min(max(int(y * 2**level), 0), most)


def _microsoft(address: Address, release: str | None, bounds: Bounds) -> Found:
    url = address.of("dataset-links.csv")
    wanted = {key.lstrip("0") for key in quadkeys(bounds)}  # some tools have lost leading zeros
    try:
        rows = list(csv.DictReader(io.StringIO(fetch(url).decode("utf-8-sig"))))
    except (csv.Error, UnicodeDecodeError) as error:
        raise FootprintError(f"{url}: no list of tiles ({one_line(error)})") from error
    if not rows or not {"QuadKey", "Url"} <= rows[0].keys():
        raise FootprintError(f"{url}: no list of tiles (QuadKey, Url); its layout has changed")
    found = [row for row in rows if str(row["QuadKey"]).lstrip("0") in wanted]
    dates = sorted({str(row.get("UploadDate") or "") for row in found} - {""})

    def frames() -> Iterator[gpd.GeoDataFrame]:
        for row in found:
            place = str(row["Url"])
            with lines_of(place) as lines:
                yield from _in_frames((_feature(line, place) for line in lines), bounds)

    return Found(dates[-1] if dates else None, frames(), len(found))


_Row = tuple[dict[str, Any], shapely.Geometry]


def _feature(line: str, url: str) -> _Row:
    try:
        feature = json.loads(line)
        return dict(feature["properties"]), geometry_of(feature["geometry"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FootprintError(f"{url}: a line is not a feature ({one_line(error)})") from error


def _in_frames(rows: Iterator[_Row], bounds: Bounds) -> Iterator[gpd.GeoDataFrame]:
    """Yield the rows whose shape touches a box, some thousand at a time."""
    box = shapely.box(*bounds)
    shapely.prepare(box)
    kept: list[_Row] = []
    for row in rows:
        if box.intersects(row[1]):
            kept.append(row)
        if len(kept) == _AT_ONCE:
            yield _frame(kept)
            kept = []
    if kept:
        yield _frame(kept)


def _frame(rows: list[_Row]) -> gpd.GeoDataFrame:
    attributes, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame(list(attributes), geometry=gpd.GeoSeries(list(shapes), crs=LONLAT))


# Google ----------------------------------------------------------------------------------------


def _google(address: Address, release: str | None, bounds: Bounds) -> Found:
    url = address.of("tiles.geojson")
    features = _json(url).get("features")
    if not isinstance(features, list):
        raise FootprintError(f"{url}: no list of tiles; its layout has changed")
    urls = [_tile_url(feature, url) for feature in features if _touches(feature, bounds, url)]

    def frames() -> Iterator[gpd.GeoDataFrame]:
        for place in urls:
            with lines_of(place) as lines:
                yield from _in_frames(_table(lines, place, bounds), bounds)

    return Found("v3", frames(), len(urls))


def _touches(feature: Any, bounds: Bounds, url: str) -> bool:
    try:
        return bool(shapely.intersects(geometry_of(feature["geometry"]), shapely.box(*bounds)))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FootprintError(f"{url}: a tile has no place ({one_line(error)})") from error


def _tile_url(feature: Any, url: str) -> str:
    properties = feature.get("properties")
    found = properties.get("tile_url") if isinstance(properties, dict) else None
    if not isinstance(found, str):
        raise FootprintError(f"{url}: a tile has no tile_url; its layout has changed")
    return found


def _table(lines: Iterator[str], url: str, bounds: Bounds) -> Iterator[_Row]:
    """Yield the rows of a table whose middle lies near a box; its shapes are text."""
    left, bottom, right, top = bounds
    margin = 0.01  # degrees: no building is larger
    rows = csv.DictReader(lines)
    try:
        for row in rows:
            lat, lon = float(row["latitude"]), float(row["longitude"])
            if not (left - margin <= lon <= right + margin):
                continue
            if bottom - margin <= lat <= top + margin:
                shape = from_wkt(row["geometry"])
                known = {"id": row.get("full_plus_code"), "confidence": float(row["confidence"])}
                yield known, shape
    except (csv.Error, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise FootprintError(f"{url}: a row cannot be read ({one_line(error)})") from error


def _json(url: str) -> dict[str, Any]:
    try:
        found = json.loads(fetch(url))
    except (ValueError, RecursionError) as error:
        raise FootprintError(f"{url}: is not JSON ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise FootprintError(f"{url}: is no JSON object; its layout has changed")
    return found


_OVERTURE_INDEX = "https://stac.overturemaps.org"

PUBLISHED: dict[str, Published] = {
    source.name: source
    for source in (
        Published(
            "overture", _OVERTURE_INDEX, "ODbL-1.0",
            "© OpenStreetMap contributors, Overture Maps Foundation, and the sources it names",
            _overture, releases=True,
        ),
        Published(
            "osm", _OVERTURE_INDEX, "ODbL-1.0",
            "© OpenStreetMap contributors, by way of Overture Maps Foundation",
            _overture, releases=True,
        ),
        Published(
            "microsoft", "https://minedbuildings.z5.web.core.windows.net/global-buildings",
            "ODbL-1.0", "Microsoft, Global ML Building Footprints", _microsoft,
        ),
        Published(
            "google",
            "https://openbuildings-public-dot-gweb-research.uw.r.appspot.com/public",
            "CC-BY-4.0 or ODbL-1.0", "Google, Open Buildings v3", _google,
        ),
    )
}  # fmt: skip
