"""Layers of buildings, read back from the files that `vectors` and `event` write."""

import warnings
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pyogrio.errors

from geodamage.errors import InputError, OutputError, without_advice
from geodamage.output.publication import final_path, read_sidecar
from geodamage.sources import VECTOR_ERRORS, check_vector_file


def read_facts(buildings: Path) -> dict[str, Any]:
    """Return what the sidecar of a layer says.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    check_vector_file(buildings)
    try:
        return read_sidecar(buildings)
    except OutputError as error:  # of the run that made it; here it is an input
        raise InputError(str(error)) from error


def read_layer(path: Path, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read a layer of buildings, also while it is still a partial file.

    Raises
    ------
    InputError
        If it cannot be read, or has no geometry.
    """
    name = check_vector_file(path)
    try:
        if final_path(path).suffix.lower() == ".parquet":
            return gpd.read_parquet(name)
        with warnings.catch_warnings():
            # GDAL wishes that a GeoPackage be called `*.gpkg` while it is a partial file.
            warnings.filterwarnings("ignore", message=".*extension", category=RuntimeWarning)
            frame = pyogrio.read_dataframe(name, **({} if layer is None else {"layer": layer}))
    except VECTOR_ERRORS as error:
        why = without_advice(error)
        raise InputError(f"{path}: cannot be read ({why}); give a result of assess") from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise InputError(f"{path}: a table without geometry; give a result of `geodamage assess`")
    return frame
