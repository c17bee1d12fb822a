"""Label files: footprints with a grade, drawn by a person."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

from geodamage.damage import UNCLASSIFIED, DamageGrade
from geodamage.errors import LabelError
from geodamage.vector.wkt import from_wkt
from geodamage.words import counted

#: Folders of an xBD download that hold `images/` and `labels/`; the same data carry two names.
TIERS = ("train", "tier1", "tier3", "test", "hold")
#: Pixels from the origin beyond which a vertex is a mistake; OpenCV counts in 32 bits.
FARTHEST = 1e6
#: Rows or columns of an image beyond which a label file's own figure is a mistake.
LARGEST_IMAGE = 20_000
#: Bytes of a label file; those of xBD have less than 2 MB.
LARGEST_FILE = 100_000_000


@dataclass(frozen=True, slots=True)
class Label:
    """One footprint of an xBD label file.

    Attributes
    ----------
    uid
        The label's own identifier; the same in the pre and the post file. The parts of a
        multipolygon are labels of their own that share it.
    polygon
        Vertices in pixels of the image, (x, y).
    grade
        None where the file says un-classified, or gives no subtype (pre-disaster files).
    lonlat
        The same polygon in degrees (WGS 84), where the file has it.
    """

    uid: str
    polygon: Polygon
    grade: DamageGrade | None
    lonlat: Polygon | None = None


@dataclass(frozen=True, slots=True)
class LabelFile:
    """What an xBD label file says of one image.

    Attributes
    ----------
    labels
        Labels in file order.
    shape
        Rows and columns of the image; None where the file does not say.
    """

    labels: list[Label]
    shape: tuple[int, int] | None


#: From degrees to pixels: float64 (n, 2), longitude and latitude, to float64 (n, 2), x and y.
ToPixels = Callable[[np.ndarray], np.ndarray]


def read_xbd(path: str | PathLike[str]) -> list[Label]:
    """Read the labels of an xBD JSON file, in file order.

    Raises
    ------
    LabelError
        If the file is not an xBD label file; the message names the feature.
    """
    return read_label_file(path).labels


def read_label_file(path: str | PathLike[str], *, to_pixels: ToPixels | None = None) -> LabelFile:
    """Read an xBD JSON file.

    Parameters
    ----------
    path
        Label file of one image.
    to_pixels
        Where the buildings lie in the image, for a file that has them in degrees only; asked only
        then.

    Raises
    ------
    LabelError
        If the file is not an xBD label file, or has buildings and none in pixels; the message
        names the feature.
    """
    path = Path(path)
    try:
        document = _read_document(path)
        features = document["features"]
        degrees = features.get("lng_lat", [])
        degrees = [feature for feature in degrees if _is_building(feature)]
        lonlat = {_uid(feature): feature for feature in degrees}
        found = _pixels(features, lonlat)
        pixels = [(_uid(feature), feature) for feature in found if _is_building(feature)]
        shape = _shape(document.get("metadata"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LabelError(
            f"{path}: not an xBD label file ({type(error).__name__}: {error}); "
            "it needs features.xy with one WKT polygon each"
        ) from error
    if pixels or not lonlat:
        labels = [_labels(path, uid, feature, lonlat.get(uid)) for uid, feature in pixels]
    elif to_pixels is not None:
        labels = [_placed(path, _uid(feature), feature, to_pixels) for feature in degrees]
    else:
        raise LabelError(
            f"{path}: {counted(len(degrees), 'building')} in degrees and none in pixels "
            f"(features.xy); get "
            "the file again, or put the image with its georeference into ../images as "
            f"{path.stem}.tif"
        )
    return LabelFile([label for parts in labels for label in parts], shape)


def _read_document(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        raise ValueError("a folder, a device or a pipe")
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"over {LARGEST_FILE / 1e6:.0f} MB")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _pixels(features: dict[str, Any], lonlat: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the features in pixels; a file without any part for them must have degrees."""
    found: list[dict[str, Any]] = features.get("xy", []) if lonlat else features["xy"]
    return found


def _shape(metadata: dict[str, Any] | None) -> tuple[int, int] | None:
    sides = [(metadata or {}).get(name) for name in ("height", "width")]
    if sides == [None, None]:
        return None
    rows, columns = (_side(side) for side in sides)
    if rows is None or columns is None:
        raise ValueError(f"metadata.height and metadata.width are {sides[0]} and {sides[1]}")
    return rows, columns


def _side(value: Any) -> int | None:
    """Return a side of an image; other tools write 1024 as a text or with a decimal point."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if number.is_integer() and 1 <= number <= LARGEST_IMAGE else None


def _uid(feature: dict[str, Any]) -> str:
    return str(feature.get("properties", {}).get("uid", ""))


def _is_building(feature: dict[str, Any]) -> bool:
    """Say whether a feature is a building; xBD says so of each, and others label roads, too."""
    kind = feature.get("properties", {}).get("feature_type", "building")
    return bool(kind == "building" or kind is None)


def _grade(feature: dict[str, Any]) -> DamageGrade | None:
    subtype = feature["properties"].get("subtype", UNCLASSIFIED)
    return None if subtype == UNCLASSIFIED else DamageGrade.from_label(subtype)


#: What reading a feature raises where it is broken.
BROKEN = (KeyError, TypeError, AttributeError, ValueError, shapely.errors.ShapelyError)


def _labels(
    path: Path, uid: str, feature: dict[str, Any], twin: dict[str, Any] | None
) -> list[Label]:
    try:
        grade = _grade(feature)
        parts = _polygons(feature["wkt"])
        twins = [] if twin is None else _polygons(twin["wkt"])
        for part in parts:
            check_reach(part)
    except BROKEN as error:
        raise LabelError(f"{path}: label {uid or '?'}: {error}; fix or remove it") from error
    degrees = twins if len(twins) == len(parts) else [None] * len(parts)
    return [Label(uid, part, grade, lonlat) for part, lonlat in zip(parts, degrees, strict=True)]


def _placed(path: Path, uid: str, feature: dict[str, Any], to_pixels: ToPixels) -> list[Label]:
    """Return the labels of a feature in degrees."""
    try:
        grade = _grade(feature)
        twins = _polygons(feature["wkt"])
        parts = [shapely.transform(twin, to_pixels) for twin in twins]
        for part in parts:
            check_reach(part)
    except LabelError:
        raise
    except BROKEN as error:
        raise LabelError(f"{path}: label {uid or '?'}: {error}; fix or remove it") from error
    return [Label(uid, part, grade, twin) for part, twin in zip(parts, twins, strict=True)]


def _polygons(wkt: str) -> list[Polygon]:
    with np.errstate(invalid="ignore"):  # NaN is refused with a word, by `check_reach`
        geometry = from_wkt(wkt)
    if not isinstance(geometry, Polygon | MultiPolygon):
        raise ValueError(f"a polygon is needed, not {geometry.geom_type}")
    if geometry.is_empty:
        raise ValueError("its polygon is empty")
    parts: list[Polygon] = list(shapely.get_parts(geometry))
    if any(part.is_empty for part in parts):
        raise ValueError("a part of its polygon is empty")
    return parts


def check_reach(polygon: Polygon) -> None:
    """Check that a polygon in pixels is one that can be drawn.

    Raises
    ------
    ValueError
        If a vertex is not finite, or over `FARTHEST` pixels from the origin.
    """
    coordinates = shapely.get_coordinates(polygon)
    wrong = ~(np.abs(coordinates) <= FARTHEST)
    if wrong.any():
        raise ValueError(
            f"a vertex at {coordinates[wrong][0]:g} is not a pixel; the limit is {FARTHEST:,.0f}"
        )


def paired_vertices(labels: Sequence[Label]) -> tuple[np.ndarray, np.ndarray]:
    """Return the outer vertices that labels have both in pixels and in degrees.

    Returns
    -------
    float64 (n, 2), float64 (n, 2)
        x and y; longitude and latitude.
    """
    xy, degrees = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for label in labels:
        if label.lonlat is None:
            continue
        here, there = (
            np.asarray(polygon.exterior.coords)[:, :2] for polygon in (label.polygon, label.lonlat)
        )
        if len(here) == len(there):
            xy.append(here)
            degrees.append(there)
    return np.concatenate(xy), np.concatenate(degrees)


def fit_lonlat(labels: Sequence[Label]) -> np.ndarray | None:
    """Fit the affine from pixels to degrees that the labels of one image share.

    Returns
    -------
    float64 (2, 3) or None
        Rows give longitude and latitude from (x, y, 1); None with fewer than three vertices, or
        all on a line.
    """
    xy, degrees = paired_vertices(labels)
    if len(xy) < 3:
        return None
    design = np.column_stack([xy, np.ones(len(xy))])
    solution, _, rank, _ = np.linalg.lstsq(design, degrees, rcond=None)
    return np.ascontiguousarray(solution.T) if rank == 3 else None
