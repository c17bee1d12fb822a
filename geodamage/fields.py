"""The fields of a building, in order: what `buildings` fills and every vector format writes."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from geodamage.errors import InputError

Kind = Literal["text", "integer", "long", "number", "flag"]

#: Column type of each kind; all but `number` hold null as `pandas.NA`, `number` holds it as NaN.
DTYPES: Mapping[Kind, Any] = {
    "text": "string",
    "integer": "Int32",
    "long": "Int64",
    "number": "float64",
    "flag": "boolean",
}


class Field(NamedTuple):
    """One attribute of a building.

    Attributes
    ----------
    name
        Column name.
    kind
        What it holds.
    description
        What it means, with the unit.
    nullable
        Whether a building may lack it.
    decimals
        Decimals that are written; None where the kind is not `number`.
    """

    name: str
    kind: Kind
    description: str
    nullable: bool = False
    decimals: int | None = None


FIELDS: tuple[Field, ...] = (
    Field(
        "building_id", "text", "id of the footprint, or one made from the location of the building"
    ),
    Field("damage", "text", "damage grade, xBD spelling", nullable=True),
    Field("damage_class", "integer", "damage grade, 1 (no damage) to 4 (destroyed)", nullable=True),
    Field("p_none", "number", "probability of no damage, 0-1", nullable=True, decimals=4),
    Field("p_minor", "number", "probability of minor damage, 0-1", nullable=True, decimals=4),
    Field("p_major", "number", "probability of major damage, 0-1", nullable=True, decimals=4),
    Field("p_destroyed", "number", "probability of destroyed, 0-1", nullable=True, decimals=4),
    Field("confidence", "number", "highest of the four probabilities", nullable=True, decimals=4),
    Field("damage_score", "number", "expected grade as 0-1", nullable=True, decimals=4),
    Field("damaged", "flag", "minor damage or worse, by the model's threshold", nullable=True),
    Field("status", "text", "assessed, partial or not_assessed"),
    Field("status_reason", "text", "why it is partial or not assessed", nullable=True),
    Field("valid_fraction", "number", "share of pixels valid in both images, 0-1", decimals=4),
    Field("area_m2", "number", "geodesic area, m²", decimals=2),
    Field("lon", "number", "longitude of a point inside, degrees", decimals=7),
    Field("lat", "number", "latitude of a point inside, degrees", decimals=7),
    Field("source", "text", "where the footprint comes from"),
)
NAMES: tuple[str, ...] = tuple(field.name for field in FIELDS)

#: What is written of footprints that a user gives.
GIVEN_FIELDS: tuple[Field, ...] = (
    *FIELDS,
    Field("shift_m", "number", "metres by which it was moved to be graded", decimals=2),
)

#: What `geodamage buildings` writes of a footprint; what both have in common is called alike.
FOOTPRINT_FIELDS: tuple[Field, ...] = (
    Field("building_id", "text", "id of a place in the building"),
    Field("probability", "number", "mean probability of a building, 0-1", decimals=4),
    Field("status", "text", "assessed or partial"),
    Field("status_reason", "text", "why it is partial", nullable=True),
    Field("valid_fraction", "number", "share of pixels that the image shows, 0-1", decimals=4),
    Field("area_m2", "number", "geodesic area, m²", decimals=2),
    Field("lon", "number", "longitude of a point inside, degrees", decimals=7),
    Field("lat", "number", "latitude of a point inside, degrees", decimals=7),
    Field("source", "text", "where the footprint comes from"),
)


def empty_frame(crs: CRS, fields: tuple[Field, ...] = FIELDS) -> gpd.GeoDataFrame:
    """Return a frame without buildings that has every field, typed."""
    columns = {field.name: pd.Series(dtype=DTYPES[field.kind]) for field in fields}
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries([], crs=crs), crs=crs)


def conform(
    frame: gpd.GeoDataFrame, crs: CRS, fields: tuple[Field, ...] = FIELDS
) -> gpd.GeoDataFrame:
    """Return the buildings of a frame as they are written, whatever the format.

    Fields are in order, typed and rounded; numbers that are not finite become null. Other columns
    are left out. Geometries lose heights and measures, and empty ones become null.

    Parameters
    ----------
    frame
        Every field, and a geometry, in any CRS.
    crs
        CRS to write in.
    fields
        What is written.

    Raises
    ------
    InputError
        If a field holds what is not of its kind: the file was made by something else.
    """
    columns = {field.name: _checked(frame[field.name], field) for field in fields}
    shapes = frame.geometry if frame.crs is None else frame.geometry.to_crs(crs)
    flat = shapely.force_2d(shapes.to_numpy())
    flat[shapely.is_empty(flat)] = None
    geometry = gpd.GeoSeries(flat, index=frame.index, crs=crs)
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=crs).reset_index(drop=True)


def _checked(column: pd.Series, field: Field) -> pd.Series:
    try:
        return _column(column, field)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"a field {field.name} that is no {field.kind}; give a file that geodamage assess wrote"
        ) from error


def _column(column: pd.Series, field: Field) -> pd.Series:
    """Return a column typed and rounded."""
    if field.decimals is None:
        typed: pd.Series = column.astype(DTYPES[field.kind])
        return typed
    numbers = pd.to_numeric(column).to_numpy(dtype="float64", na_value=np.nan)
    finite = np.where(np.isfinite(numbers), np.round(numbers, field.decimals), np.nan)
    return pd.Series(finite, index=column.index)


def attribute_fields(frame: pd.DataFrame) -> tuple[Field, ...]:
    """Return what is written of the columns beside our own: attributes that a footprint came with.

    Parameters
    ----------
    frame
        Columns of flags, numbers and texts; a geometry is left out.
    """
    others = [name for name in frame.columns if name not in NAMES]
    if isinstance(frame, gpd.GeoDataFrame):
        others = [name for name in others if name != frame.geometry.name]
    return tuple(_attribute(str(name), frame[name].dtype) for name in others)


def _attribute(name: str, dtype: Any) -> Field:
    kind: Kind = "text"
    if pd.api.types.is_bool_dtype(dtype):
        kind = "flag"
    elif pd.api.types.is_integer_dtype(dtype):
        kind = "long"
    elif pd.api.types.is_float_dtype(dtype):
        kind = "number"
    return Field(name, kind, "attribute of the footprint", nullable=True)


STATUSES = ("assessed", "partial", "not_assessed")

#: What follows on `source` where a person said what became of the building.
REVIEWED = ", reviewed"
