"""GeoJSON, read from the JSON itself: every id as it stands there, and no line lost.

GDAL renumbers ids that repeat or mix, follows links to a CRS, and drops lines of a sequence that
it cannot read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import shapely
from msgspec import UNSET, Raw, Struct, UnsetType
from pyproj import CRS
from pyproj.exceptions import CRSError

from geodamage.errors import SceneError, one_line
from geodamage.vector.formats import SEQUENCES
from geodamage.vector.layer import Content
from geodamage.vector.surfaces import why_broken

#: Longitude and latitude, unless the file says otherwise. Source: RFC 7946, section 4.
LONLAT = "OGC:CRS84"

_Position = list[float]
_NULL = Raw(b"null")
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
        return _sequence(content)
    try:
        head = _head.decode(content)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        if "trailing characters" in str(error):
            return _sequence(content)
        raise SceneError(f"{path}: not readable as GeoJSON ({one_line(error)})") from error
    if head.type == "FeatureCollection" and head.features is not UNSET:
        features = [("feature", raw) for raw in head.features]
    elif head.type == "Feature":
        features = [("feature", Raw(content))]
    elif head.type in (*_KINDS, "GeometryCollection"):
        features = [("feature", Raw(b'{"type":"Feature","geometry":' + content + b"}"))]
    else:
        raise SceneError(
            f"{path}: not a GeoJSON object (its type is {str(head.type)[:40]!r}); give a "
            "FeatureCollection"
        )
    return _content(features, _crs(path, head.crs))


def _sequence(content: bytes) -> Content:
    """Read a feature a line, or one behind each record separator (RFC 8142)."""
    lines = content.split(b"\x1e" if content.startswith(b"\x1e") else b"\n")
    found = [("line", Raw(line.strip())) if line.strip() else None for line in lines]
    return _content(found, CRS.from_user_input(LONLAT))


def _content(features: Sequence[tuple[str, Raw] | None], crs: CRS | None) -> Content:
    identities: list[Any] = []
    rows: list[dict[str, Any]] = []
    geometry: list[bytes | None] = []
    lost: dict[str, str] = {}
    broken: dict[int, str] = {}
    for number, entry in enumerate(features, 1):
        if entry is None:  # an empty line
            continue
        kind, raw = entry
        try:
            feature = _feature.decode(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            lost[f"{kind} {number}"] = one_line(error)
            continue
        shape = None if (written := bytes(feature.geometry)) == b"null" else written
        if shape is not None and (why := _why_not(shape)):
            broken[len(rows)], shape = why, None
        identities.append(feature.id)
        rows.append(feature.properties or {})
        geometry.append(shape)
    shapes = _shapes(geometry, broken)
    has_ids = any(identity is not None for identity in identities)
    return Content(rows, shapes, crs, identities if has_ids else None, None, broken, lost)


def _why_not(shape: bytes) -> str | None:
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


def _shapes(geometry: list[bytes | None], broken: dict[int, str]) -> np.ndarray:
    texts = np.array([None, *(g if g is None else g.decode() for g in geometry)], object)[1:]
    shapes = shapely.from_geojson(texts, on_invalid="ignore")
    for n in np.flatnonzero(shapely.is_missing(shapes)):
        if texts[n] is not None:
            broken[int(n)] = why_broken(shapely.from_geojson, texts[n])
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
