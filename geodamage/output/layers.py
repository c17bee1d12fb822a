"""Layers of buildings, read back from the files that `vectors` and `event` write."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from geodamage.errors import InputError, OutputError
from geodamage.output.publication import final_path, read_sidecar
from geodamage.sources import check_file
from geodamage.vector.formats import SEQUENCES
from geodamage.vector.geojson import LONLAT
from geodamage.vector.layer import plain_column
from geodamage.vector.reading import read_vector


def is_empty_sequence(path: Path) -> bool:
    """Say whether a file is a sequence of no feature, as of a scene without buildings."""
    try:
        return final_path(path).suffix.lower() in SEQUENCES and path.stat().st_size == 0
    except OSError:  # whoever opens it says what is wrong
        return False


def read_facts(buildings: Path) -> dict[str, Any]:
    """Return what the sidecar of a layer says.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    check_file(str(buildings), may_be_empty=is_empty_sequence(buildings))
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
    if is_empty_sequence(path):
        return gpd.GeoDataFrame(geometry=[], crs=LONLAT)
    found = read_vector(path, layer=layer, remedy="give a result of assess", refusal=InputError)
    columns = {name: _as_gdal_has_it(found.frame[name]) for name in found.attributes}
    return found.frame.assign(**columns)


def _as_gdal_has_it(values: pd.Series) -> pd.Series:
    """Return a column as GDAL would have read it from JSON: of floats where numbers lack some."""
    if values.dtype != object:
        return values
    plain = plain_column(values)
    lacks = bool(plain.isna().any())
    if str(plain.dtype) == "Int64":
        return plain.astype("float64" if lacks else "int64")
    if str(plain.dtype) == "boolean" and not lacks:
        return plain.astype(bool)
    return (
        plain if str(plain.dtype) == "float64" else plain.astype(object).where(~plain.isna(), None)
    )
