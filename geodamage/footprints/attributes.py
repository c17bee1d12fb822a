"""Attributes of footprints: what sources call in many ways, called in one."""

import hashlib
import json
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geodamage.fields import Field

#: What a footprint that was gathered has.
GATHERED_FIELDS: tuple[Field, ...] = (
    Field(
        "building_id", "text", "id in the source, such as a GERS id, or one made from the location"
    ),
    Field("source", "text", "which source it comes from"),
    Field("dataset", "text", "who made it, by the source", nullable=True),
    Field("record_id", "text", "what it is called there", nullable=True),
    Field("licence", "text", "its licence, by the source", nullable=True),
    Field("confidence", "number", "how sure the source is, 0-1", nullable=True, decimals=4),
    Field("height", "number", "metres", nullable=True, decimals=2),
)

_IDENTITIES = ("building_id", "id", "gers_id", "uid", "osm_id", "fid")
_DATASETS = ("dataset", "bf_source")


def with_fields(frame: gpd.GeoDataFrame, source: str) -> gpd.GeoDataFrame:
    """Return footprints with `GATHERED_FIELDS`, whatever their source calls them.

    Parameters
    ----------
    frame
        Footprints as they are published. `sources` of Overture is a list of tables, or the same
        as JSON; the entry of the geometry counts.
    source
        Name of the source.
    """
    origins = [_origin(value) for value in frame.get("sources", [None] * len(frame))]
    columns = {
        "building_id": _identities(frame),
        "source": [source] * len(frame),
        "dataset": _either(frame, _DATASETS, [o.get("dataset") for o in origins]),
        "record_id": _either(frame, ("record_id",), [o.get("record_id") for o in origins]),
        "licence": _either(frame, ("licence", "license"), [o.get("license") for o in origins]),
        "confidence": _numbers(frame, "confidence", [o.get("confidence") for o in origins]),
        "height": _numbers(frame, "height", [None] * len(frame)),
    }
    return gpd.GeoDataFrame(columns, geometry=frame.geometry.to_numpy(), crs=frame.crs)


def _origin(value: Any) -> dict[str, Any]:
    """Return who made the geometry, of what Overture says of all properties."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # text of another kind: then nobody says
            return {}
    entries = list(value) if isinstance(value, list | tuple | np.ndarray) else []
    entries = [entry for entry in entries if isinstance(entry, dict)]
    whole = [entry for entry in entries if not entry.get("property")]
    found: dict[str, Any] = (whole or entries or [{}])[0]
    return found


def _identities(frame: gpd.GeoDataFrame) -> list[str]:
    key = next((key for key in _IDENTITIES if key in frame), None)
    given = [None] * len(frame) if key is None else frame[key].to_list()
    names = [_text(value) for value in given]
    shapes = frame.geometry.to_numpy()
    return [_of_place(s) if n is None else n for n, s in zip(names, shapes, strict=True)]


def _of_place(shape: shapely.Geometry) -> str:
    """Return an identity made of a shape: to a centimetre, wherever its ring begins."""
    rounded = shapely.normalize(shapely.transform(shape, lambda points: np.round(points, 7)))
    return hashlib.blake2b(shapely.to_wkb(rounded), digest_size=8).hexdigest()


def _either(frame: gpd.GeoDataFrame, names: tuple[str, ...], else_: list[Any]) -> pd.Series:
    key = next((name for name in names if name in frame), None)
    values = else_ if key is None else frame[key].to_list()
    return pd.Series([_text(value) for value in values], dtype="string")


def _text(value: Any) -> str | None:
    """Return a value as text; a number that is whole, as one; None where there is nothing."""
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _numbers(frame: gpd.GeoDataFrame, name: str, else_: list[Any]) -> np.ndarray:
    given = frame[name].to_list() if name in frame else else_
    values = pd.Series([v if pd.api.types.is_scalar(v) else None for v in given], dtype="object")
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    # Microsoft writes -1 where it does not know.
    return np.where(numbers < 0, np.nan, numbers)
