"""Label files: footprints with a grade, drawn by a person."""

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely import Polygon

from geodamage.damage import UNCLASSIFIED, DamageGrade
from geodamage.errors import LabelError


@dataclass(frozen=True, slots=True)
class Label:
    """One footprint of an xBD label file.

    Attributes
    ----------
    uid
        The label's own identifier; the same in the pre and the post file.
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


def read_xbd(path: str | PathLike[str]) -> list[Label]:
    """Read the labels of an xBD JSON file, in file order.

    Raises
    ------
    LabelError
        If the file is not an xBD label file; the message names the feature.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        features = document["features"]
        pixels = [(_uid(feature), feature) for feature in features["xy"]]
        lonlat = {_uid(feature): feature for feature in features.get("lng_lat", [])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LabelError(
            f"{path}: not an xBD label file ({type(error).__name__}: {error}); "
            "it needs features.xy with one WKT polygon each"
        ) from error
    return [_label(path, uid, feature, lonlat.get(uid)) for uid, feature in pixels]


def _uid(feature: dict[str, Any]) -> str:
    return str(feature.get("properties", {}).get("uid", ""))


def _label(path: Path, uid: str, feature: dict[str, Any], twin: dict[str, Any] | None) -> Label:
    try:
        subtype = feature["properties"].get("subtype", UNCLASSIFIED)
        grade = None if subtype == UNCLASSIFIED else DamageGrade.from_label(subtype)
        polygon = _polygon(feature["wkt"])
        lonlat = None if twin is None else _polygon(twin["wkt"])
    except (KeyError, TypeError, AttributeError, ValueError, shapely.errors.ShapelyError) as error:
        raise LabelError(f"{path}: label {uid or '?'}: {error}; mend or remove it") from error
    return Label(uid, polygon, grade, lonlat)


def _polygon(wkt: str) -> Polygon:
    geometry = shapely.from_wkt(wkt)
    if not isinstance(geometry, Polygon):
        raise ValueError(f"a polygon is needed, not {geometry.geom_type}")
    if geometry.is_empty:
        raise ValueError("its polygon is empty")
    return geometry


def fit_lonlat(labels: list[Label]) -> np.ndarray | None:
    """Fit the affine from pixels to degrees that the labels of one image share.

    Returns
    -------
    float64 (2, 3) or None
        Rows give longitude and latitude from (x, y, 1); None with fewer than three vertices.
    """
    both = [label for label in labels if label.lonlat is not None]
    both = [
        label
        for label in both
        if label.lonlat is not None
        and len(label.lonlat.exterior.coords) == len(label.polygon.exterior.coords)
    ]
    if not both:
        return None
    xy = np.concatenate([np.asarray(label.polygon.exterior.coords)[:, :2] for label in both])
    degrees = np.concatenate(
        [np.asarray(label.lonlat.exterior.coords)[:, :2] for label in both if label.lonlat]
    )
    design = np.column_stack([xy, np.ones(len(xy))])
    solution, _, rank, _ = np.linalg.lstsq(design, degrees, rcond=None)
    return np.ascontiguousarray(solution.T) if rank == 3 else None
