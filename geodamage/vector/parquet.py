"""GeoParquet, read by pyarrow; whole numbers beside a null stay whole."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from pyproj import CRS

from geodamage.errors import MissingExtraError, SceneError, SceneReadError, install, one_line
from geodamage.sources import VECTOR_ERRORS
from geodamage.vector.geojson import LONLAT
from geodamage.vector.layer import Content, require_few
from geodamage.vector.surfaces import read_geometries


def read_parquet(path: Path) -> Content:
    """Read a GeoParquet file.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    SceneReadError
        If it is no GeoParquet, or damaged.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError(f"{path}: GeoParquet needs pyarrow; run {install('parquet')}")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.read_metadata(path)
        require_few(path, len(file.schema.to_arrow_schema().names) - 1)
        geo = json.loads((file.metadata or {})[b"geo"])
        column, about = geo["primary_column"], geo["columns"][geo["primary_column"]]
        # Of other encodings each is an array of coordinates.
        is_binary = about["encoding"] == "WKB"
        content = _by_feature(path, column, about) if is_binary else _by_geopandas(path)
    except SceneError:
        raise
    except (*VECTOR_ERRORS, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        why = one_line(error)
        raise SceneReadError(f"{path}: not a readable GeoParquet file ({why})") from error
    return content


def _by_geopandas(path: Path) -> Content:
    frame = gpd.read_parquet(path, to_pandas_kwargs={"types_mapper": _types().get})
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name)).reset_index(drop=True)
    return Content(table, frame.geometry.to_numpy(), frame.crs)


def _by_feature(path: Path, column: str, about: Mapping[str, Any]) -> Content:
    """Read geometries one by one, so that one which is broken costs no other."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    wkb = np.array([None, *table.column(column).to_pylist()], object)[1:]
    shapes, broken = read_geometries(wkb)
    boxes = about.get("covering", {}).get("bbox", {}).get("xmin", [None])[0]
    ours = [name for name in (column, boxes) if name in table.column_names]
    others = table.drop_columns(ours).to_pandas(types_mapper=_types().get)
    told = about.get("crs", LONLAT)
    crs = None if told is None else CRS.from_user_input(told)
    return Content(others.reset_index(drop=True), shapes, crs, broken=broken)


def _types() -> dict[Any, Any]:
    """Return types of pandas that keep whole numbers and flags beside a null."""
    import pyarrow as pa

    return {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
