"""Layers of buildings, read back from the files that `vectors` and `event` write."""

import csv
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from geodamage.errors import InputError, OutputError, SceneReadError
from geodamage.fields import DTYPES, FIELDS, FOOTPRINT_FIELDS
from geodamage.output.companions import COMPANIONS
from geodamage.output.disk import hash_of
from geodamage.output.publication import final_path, read_sidecar
from geodamage.output.shapefile import NAMES_ENDING
from geodamage.sources import check_file, read_text
from geodamage.vector.formats import SEQUENCES
from geodamage.vector.geojson import LONLAT
from geodamage.vector.layer import plain_column
from geodamage.vector.reading import read_vector, say_broken
from geodamage.vector.tables import read_csv

#: What a sidecar counts, and the field whose values it counts.
_COUNTED = {"buildings_per_grade": "damage", "buildings_per_status": "status"}


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


def pair_doubt(buildings: Path, facts: Mapping[str, Any], frame: gpd.GeoDataFrame) -> str | None:
    """Return a doubt where a layer is not the one that its sidecar was written with.

    Whoever only looks at a GeoPackage changes its bytes. So of one, and of results of earlier
    versions, the buildings per grade and per status are counted instead.

    Parameters
    ----------
    buildings
        File of the layer.
    facts
        What its sidecar says.
    frame
        All its rows.
    """
    told = facts.get("result_sha256")
    if isinstance(told, str) and final_path(buildings).suffix.lower() != ".gpkg":
        is_its_own = hash_of(buildings) == told
    else:
        is_its_own = facts.get("buildings", len(frame)) == len(frame) and all(
            _counts(frame, column) == {name: n for name, n in facts[said].items() if n}
            for said, column in _COUNTED.items()
            if isinstance(facts.get(said), dict) and column in frame
        )
    if is_its_own:
        return None
    return (
        f"{buildings}: is not the file that its sidecar was written with; was it edited, or is it "
        "of another run?"
    )


def _counts(frame: gpd.GeoDataFrame, column: str) -> dict[str, int]:
    names = frame[column].dropna().astype(str).value_counts()
    return {str(name): int(count) for name, count in names.items()}


def read_layer(path: Path, layer: str | None = None) -> gpd.GeoDataFrame:
    """Read a layer of buildings, also while it is still a partial file.

    Raises
    ------
    InputError
        If it cannot be read, or has no geometry.
    """
    if is_empty_sequence(path):
        return gpd.GeoDataFrame(geometry=[], crs=LONLAT)
    if final_path(path).suffix.lower() in (".csv", ".shp"):
        return read_handed_on(path)
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


def read_handed_on(path: Path) -> gpd.GeoDataFrame:
    """Read a CSV or a Shapefile with the names and types that its writer was given.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    is_final = final_path(path) == path
    if final_path(path).suffix.lower() == ".csv":
        content = read_csv(path)
        if content.broken or content.lost:
            said = say_broken(content, content.broken)
            raise InputError(f"{path}: {said}; give a result of assess")
        table = content.table
        frame = gpd.GeoDataFrame(table.mask(table == ""), geometry=content.shapes, crs=content.crs)
        return _typed(frame)
    names = path.with_suffix(NAMES_ENDING) if is_final else Path(f"{path}{NAMES_ENDING}")
    if is_final:
        frame = read_vector(path, remedy="give a result of assess", refusal=InputError).frame
    else:
        with tempfile.TemporaryDirectory(prefix="geodamage-") as folder:
            file = Path(folder) / "buildings.shp"
            file.symlink_to(path.absolute())
            for ending in COMPANIONS[".shp"]:
                file.with_suffix(ending).symlink_to(Path(f"{path}{ending}").absolute())
            frame = read_vector(file, refusal=InputError).frame
    return _typed(frame.rename(columns=_long_names(names)))


def _long_names(path: Path) -> dict[str, str]:
    """Return the names that those of a Shapefile stand for; none where the table is not there."""
    if not path.exists():
        return {}
    try:
        rows = list(csv.DictReader(read_text(path).splitlines(keepends=True)))
        found = {row["field"]: row["name"] for row in rows}
    except (SceneReadError, csv.Error, KeyError) as error:
        raise InputError(f"{path}: not the table of names of a Shapefile; move it away") from error
    if None in found.values():
        raise InputError(f"{path}: a line of it is cut short; copy it again, or move it away")
    return found


def _typed(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return a layer whose known fields have their types; of others numbers are numbers."""
    kinds = {field.name: field.kind for field in (*FIELDS, *FOOTPRINT_FIELDS)}
    for name in frame.columns.drop(frame.geometry.name):
        kind, values = kinds.get(name), frame[name]
        if values.map(lambda value: isinstance(value, list | dict)).any():  # GeoJSON called .shp
            frame[name] = values = plain_column(values)
        if kind == "flag":
            said = values.astype(object).map({"true": True, "false": False, 1: True, 0: False})
            if said.notna().equals(values.notna()):  # other schemas have words under that name
                frame[name] = said.astype(DTYPES["flag"])
        elif kind != "text" and pd.api.types.is_string_dtype(values.dtype):
            frame[name] = _numbers(values)
    return frame


def _numbers(values: pd.Series) -> pd.Series:
    """Return numbers where all values are; else the values."""
    try:
        numbers: pd.Series = pd.to_numeric(values)
    except (ValueError, TypeError):
        return values
    return numbers
