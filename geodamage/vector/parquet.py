"""GeoParquet, read by pyarrow; whole numbers beside a null stay whole."""

from importlib.util import find_spec
from pathlib import Path

import geopandas as gpd
import pandas as pd

from geodamage.errors import MissingExtraError, SceneError, SceneReadError, install, one_line
from geodamage.sources import VECTOR_ERRORS
from geodamage.vector.layer import Content, require_few


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

    kept = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    try:
        require_few(path, len(pq.read_schema(path).names) - 1)
        frame = gpd.read_parquet(path, to_pandas_kwargs={"types_mapper": kept.get})
    except SceneError:
        raise
    except (*VECTOR_ERRORS, KeyError, TypeError, pa.ArrowException) as error:
        why = one_line(error)
        raise SceneReadError(f"{path}: not a readable GeoParquet file ({why})") from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise SceneError(f"{path}: a table without geometry; give polygons")
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name)).reset_index(drop=True)
    return Content(table, frame.geometry.to_numpy(), frame.crs)
