"""GeoJSON, read from the JSON itself: every id as it stands there, and no line lost.

GDAL renumbers ids that repeat or mix, follows links to a CRS, and drops lines of a sequence that
it cannot read.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
import shapely
from msgspec import UNSET, Raw, Struct, UnsetType
from pyproj import CRS
from pyproj.exceptions import CRSError

from geodamage.errors import SceneError, one_line
from geodamage.vector.formats import SEQUENCES
from geodamage.vector.layer import Content, require_few
from geodamage.vector.surfaces import why_broken

#: Longitude and latitude, unless the file says otherwise. Source: RFC 7946, section 4.
LONLAT = "OGC:CRS84"

#: Features that are decoded at once.
FEATURES_AT_ONCE = 5_000

_Position = list[float]
_NULL = Raw(b"null")
#: A feature, and what it is called in messages.
_Entry = tuple[str, Raw]
_KINDS = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")


class _Head(Struct):
    """What any GeoJSON object may have."""

    type: Any = None
    features: list[Raw] | UnsetType = UNSET
    crs: Any = UNSET


class _Feature(Struct):
    type: Literal["Feature"]
    geometry: Raw = _NULL
    properties: dict[str, Any] | None = None
    id: str | int | float | None = None


class _Area(Struct, tag_field="type"):
    """A geometry whose coordinates are looked at before GEOS sees them."""


class _Polygon(_Area, tag="Polygon"):
    coordinates: list[list[_Position]]


class _MultiPolygon(_Area, tag="MultiPolygon"):
    coordinates: list[list[list[_Position]]]


class _Line(_Area, tag="LineString"):
    coordinates: list[_Position]


class _MultiLine(_Area, tag="MultiLineString"):
    coordinates: list[list[_Position]]


class _Point(_Area, tag="Point"):
    coordinates: _Position


class _MultiPoint(_Area, tag="MultiPoint"):
    coordinates: list[_Position]


_Simple = _Polygon | _MultiPolygon | _Line | _MultiLine | _Point | _MultiPoint


class _Collection(_Area, tag="GeometryCollection"):
    geometries: list[_Simple]


_head = msgspec.json.Decoder(_Head)
_feature = msgspec.json.Decoder(_Feature)
_geometry = msgspec.json.Decoder(_Simple | _Collection)


def read_geojson(path: Path) -> Content:
    """Read a GeoJSON object, or a sequence of features.

    Raises
    ------
    SceneError
        If it is neither, or its CRS is not known.
    """
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if path.suffix.lower() in SEQUENCES or content.startswith(b"\x1e"):
        return _sequence(path, content)
    try:
        head = _head.decode(content)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        if "trailing characters" in str(error):
            return _sequence(path, content)
        raise SceneError(f"{path}: not readable as GeoJSON ({one_line(error)})") from error
    features: Iterable[_Entry]
    if head.type == "FeatureCollection" and head.features is not UNSET:
        features = (("feature", raw) for raw in head.features)
    elif head.type == "Feature":
        features = [("feature", Raw(content))]
    elif head.type in (*_KINDS, "GeometryCollection"):
        features = [("feature", Raw(b'{"type":"Feature","geometry":' + content + b"}"))]
    else:
        raise SceneError(
            f"{path}: not a GeoJSON object (its type is {str(head.type)[:40]!r}); give a "
            "FeatureCollection"
        )
    return _content(path, features, _crs(path, head.crs))


def _sequence(path: Path, content: bytes) -> Content:
    """Read a feature a line, or one behind each record separator (RFC 8142)."""
    lines = content.split(b"\x1e" if content.startswith(b"\x1e") else b"\n")
    found = (("line", Raw(line.strip())) if line.strip() else None for line in lines)
    return _content(path, found, CRS.from_user_input(LONLAT))


def _content(path: Path, features: Iterable[_Entry | None], crs: CRS | None) -> Content:
    """Return what features hold; they are read some at a time.

    Their texts and dictionaries take several times what their columns and shapes do.
    """
    found = _Found()
    numbered = enumerate(features, 1)
    while batch := list(itertools.islice(numbered, FEATURES_AT_ONCE)):
        found.add(batch)
        require_few(path, found.attributes)
    return found.content(crs)


class _Found:
    """What was found so far."""

    def __init__(self) -> None:
        self._identities: list[Any] = []
        self._columns: dict[str, list[Any]] = {}
        self._shapes: list[np.ndarray] = []
        self._lost: dict[str, str] = {}
        self._broken: dict[int, str] = {}

    @property
    def attributes(self) -> int:
        """Different names of attributes."""
        return len(self._columns)

    def add(self, batch: Sequence[tuple[int, _Entry | None]]) -> None:
        """Take some features, each with its number."""
        first, texts = len(self._identities), list[str | None]()
        for number, entry in batch:
            if entry is None:  # an empty line
                continue
            kind, raw = entry
            try:
                feature = _feature.decode(raw)
                written = bytes(feature.geometry).decode()
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                self._lost[f"{kind} {number}"] = one_line(error)
                continue
            text = None if written == "null" else written
            if text is not None and (why := _why_not(text)):
                self._broken[first + len(texts)], text = why, None
            self._add_values(feature.properties or {})
            self._identities.append(feature.id)
            texts.append(text)
        self._shapes.append(_shapes(texts, first, self._broken))

    def _add_values(self, values: Mapping[str, Any]) -> None:
        row = len(self._identities)
        for name, value in values.items():
            column = self._columns.setdefault(name, [])
            column.extend([None] * (row - len(column)))
            column.append(value)

    def content(self, crs: CRS | None) -> Content:
        """Return all of it."""
        count = len(self._identities)
        table: dict[str, np.ndarray] = {}
        for name in list(self._columns):
            table[name] = np.full(count, None, object)
            column = self._columns.pop(name)
            table[name][: len(column)] = column
        identities = self._identities if any(i is not None for i in self._identities) else None
        return Content(
            pd.DataFrame(table, index=range(count)),
            np.concatenate([np.empty(0, object), *self._shapes]),
            crs,
            identities,
            None,
            self._broken,
            self._lost,
        )


def _why_not(shape: bytes | str) -> str | None:
    """Return what is wrong with a geometry, before GEOS sees it; None if nothing is."""
    try:
        _geometry.decode(shape)
    except (msgspec.MsgspecError, RecursionError) as error:
        return one_line(error)
    return None


def geometry_of(told: Any) -> shapely.Geometry:
    """Return a geometry of GeoJSON that was parsed already.

    Raises
    ------
    ValueError
        If it is none.
    """
    written = msgspec.json.encode(told)
    if why := _why_not(written):
        raise ValueError(why)
    try:
        shape: shapely.Geometry = shapely.from_geojson(written.decode())
    except shapely.errors.GEOSException as error:
        raise ValueError(one_line(error)) from error
    return shape


def _shapes(texts: list[str | None], first: int, broken: dict[int, str]) -> np.ndarray:
    """Return the geometries of texts, and say what is wrong with one by its place in the file."""
    written = np.array([None, *texts], object)[1:]
    shapes = shapely.from_geojson(written, on_invalid="ignore")
    for n in np.flatnonzero(shapely.is_missing(shapes)).tolist():
        if written[n] is not None:
            broken[first + n] = why_broken(shapely.from_geojson, written[n])
    return np.asarray(shapes, object)


def _crs(path: Path, told: Any) -> CRS | None:
    """Return the CRS of an old `crs` member; a link is not followed."""
    if told is UNSET:
        return CRS.from_user_input(LONLAT)
    if told is None:
        return None
    name = None
    if isinstance(told, dict) and told.get("type") == "name":
        properties = told.get("properties")
        name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str):
        raise SceneError(
            f"{path}: its CRS is not a name, and links are not followed; save it in longitude and "
            "latitude"
        )
    try:
        return CRS.from_user_input(name)
    except CRSError as error:
        raise SceneError(f"{path}: its CRS {name[:80]!r} is not known; save it again") from error
