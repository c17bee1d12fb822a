"""A layer of a vector file: geometries, attributes, identities, and what was wrong."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
from pyproj import CRS

from geodamage.errors import SceneError

#: Attributes of a layer. A column takes memory for every feature, though one alone may have it, and
#: a table of a GeoPackage has 2,000 columns at most.
MOST_ATTRIBUTES = 1_000

#: Whole numbers that a column of 64 bits holds.
_LEAST, _MOST = -(2**63), 2**63 - 1


def require_few(path: Path, attributes: int) -> None:
    """Refuse a layer of more attributes than can be kept in memory and written again.

    Raises
    ------
    SceneError
        If there are more.
    """
    if attributes > MOST_ATTRIBUTES:
        raise SceneError(
            f"{path}: has more than {MOST_ATTRIBUTES:,} attributes; keep those that are needed"
            " (ogr2ogr -select)"
        )


class Content(NamedTuple):
    """What a reader found in a file.

    Attributes
    ----------
    table
        Attributes of each feature; of objects where they are from JSON or text, so that no number
        is rounded, and None where one lacks them.
    shapes
        object (n,): geometries; None where there is none or it is broken.
    crs
        None where the file has none.
    identities
        What the file itself calls each feature; None where it does not.
    numbers
        Numbers that the format gives them; None for their places.
    broken
        What is wrong with the geometry of a feature, by its place.
    lost
        What could not be read at all, and why: a line, a feature.
    notes
        What else a user should know.
    """

    table: pd.DataFrame
    shapes: np.ndarray
    crs: CRS | None
    identities: Sequence[Any] | None = None
    numbers: Sequence[int] | None = None
    broken: Mapping[int, str] = {}
    lost: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VectorLayer:
    """A layer of a vector file.

    Attributes
    ----------
    frame
        Attributes, of type object where they are from JSON or text, and `geometry`, in the CRS of
        the file. Features whose geometry is broken have none.
    source
        Name of the file, and of the layer where it was chosen.
    identities
        What the file itself calls each feature; None where it does not.
    numbers
        Numbers that the format gives them; None for their places.
    broken
        Features whose geometry is broken, and what could not be read at all.
    notes
        What a user should know.
    """

    frame: gpd.GeoDataFrame
    source: str
    identities: list[Any] | None = None
    numbers: list[int] | None = None
    broken: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def attributes(self) -> list[str]:
        """Names of the columns beside the geometry."""
        return [str(c) for c in self.frame.columns if c != self.frame.geometry.name]


class Place(NamedTuple):
    """A vector file, and the layer chosen of it; None for its only one."""

    path: Path
    layer: str | None


def split_layer(name: Path | str) -> Place:
    """Take `file:layer`, or `file|layername=layer` as QGIS writes it, apart.

    A file that is called so goes first.
    """
    text = str(name)
    if Path(name).exists():
        return Place(Path(name), None)
    for mark in ("|layername=", ":"):
        file, found, layer = text.rpartition(mark)
        if found and layer and Path(file).exists():
            return Place(Path(file), layer.partition("|")[0])
    return Place(Path(name), None)


def plain_column(values: pd.Series) -> pd.Series:
    """Return a column of attributes with a type that every format can hold.

    Flags, whole numbers of 64 bits, numbers, else texts; what holds lists or objects is JSON.
    """
    if not pd.api.types.is_object_dtype(values.dtype):
        return _typed_column(values)
    given = values.where(values.notna(), None)
    kinds = {type(value) for value in given if value is not None}
    if kinds == {bool}:
        return given.astype("boolean")
    if kinds and kinds <= {int} and all(_LEAST <= v <= _MOST for v in given if v is not None):
        return pd.Series(pd.array(given.to_list(), "Int64"), values.index)
    if float in kinds and kinds <= {int, float}:
        numbers = [None if v is None else float(v) for v in given]
        return pd.Series(numbers, values.index, dtype="float64")
    return pd.Series(pd.array([_text(value) for value in given], "string"), values.index)


def _typed_column(values: pd.Series) -> pd.Series:
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("boolean")
    if pd.api.types.is_integer_dtype(values.dtype):
        if len(values) and values.max() > _MOST:
            return values.astype("string")
        return values.astype("Int64")
    if pd.api.types.is_float_dtype(values.dtype):
        return values.astype("float64")
    return values.astype("string")


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict | list | bool | int | float):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
