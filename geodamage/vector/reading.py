"""Reading a vector file: the right reader, and nothing is lost without a message."""

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from pyproj import CRS

from geodamage.errors import InputError, SceneError
from geodamage.vector.drivers import read_driver
from geodamage.vector.formats import Format, format_of
from geodamage.vector.geojson import read_geojson
from geodamage.vector.layer import Content, VectorLayer, split_layer
from geodamage.vector.parquet import read_parquet
from geodamage.vector.surfaces import without_numbers
from geodamage.vector.tables import read_csv
from geodamage.words import counted

#: How many of the features that are broken a message names.
NAMED = 3

#: Degrees: the pole and half a coarse pixel, and two turns.
MOST_LATITUDE, MOST_LONGITUDE = 90.5, 720.0


def read_vector(
    name: Path | str,
    *,
    layer: str | None = None,
    skip_broken: bool = False,
    remedy: str = "fix them",
    refusal: type[InputError] = SceneError,
) -> VectorLayer:
    """Read a layer of a vector file.

    Parameters
    ----------
    name
        A file, or `file:layer`.
    layer
        The layer, where the name does not say it.
    skip_broken
        Whether to continue if features are broken. Those that have attributes come without
        geometry. Those that cannot be read at all are left out. A note counts both.
    remedy
        What a user can do about broken features, for the message.
    refusal
        What is raised for a file that cannot be used.

    Raises
    ------
    SceneReadError
        If it is no file that can be read.
    InputError
        The error that `refusal` names: if the format is not read, if a layer has to be chosen, if
        there is no CRS, or if features are broken.
    """
    path, named = split_layer(name)
    layer = layer or named
    try:
        content = _content(path, format_of(path), layer)
    except SceneError as error:
        raise refusal(str(error)) from error
    if content.crs is None:
        raise refusal(f"{path}: has no CRS, so its place is unknown; assign one (ogr2ogr -a_srs)")
    shapes, broken = content.shapes, dict(content.broken)
    for n in without_numbers(shapes).nonzero()[0].tolist():
        broken.setdefault(n, "a coordinate is not a number, or of no place")
        shapes[n] = None
    for n in _beyond_the_poles(shapes, content.crs, path, refusal):
        broken.setdefault(n, "its latitude is beyond 90 degrees")
        shapes[n] = None
    notes = list(content.notes)
    if broken or content.lost:
        told = say_broken(content, broken)
        if not skip_broken:
            raise refusal(f"{path}: {told}; {remedy}")
        notes.append(f"{path}: {told}; they are left out")
    table = content.table
    taken = "geometry" if "geometry" not in table.columns else "_geometry"
    frame = gpd.GeoDataFrame(
        table.assign(**{taken: gpd.GeoSeries(shapes, index=table.index)}),
        geometry=taken,
        crs=content.crs,
    )
    return VectorLayer(
        frame,
        path.name if layer is None else f"{path.name}:{layer}",
        None if content.identities is None else list(content.identities),
        None if content.numbers is None else list(content.numbers),
        len(broken) + len(content.lost),
        tuple(notes),
    )


#: Formats that are read without GDAL.
READERS = {"GeoJSON": read_geojson, "CSV": read_csv, "Parquet": read_parquet}


def _content(path: Path, form: Format, layer: str | None) -> Content:
    if form.name not in READERS:
        return read_driver(path, form, layer)
    if layer is not None:
        raise SceneError(f"{path}: has a single layer, none called {layer!r}; leave it out")
    return READERS[form.name](path)


def _beyond_the_poles(
    shapes: np.ndarray, crs: CRS, path: Path, refusal: type[InputError]
) -> list[int]:
    """Return the features whose degrees are none; refuse a file that has no other.

    PROJ gives such places infinite coordinates, or reflects them.
    """
    if not crs.is_geographic:
        return []
    factor = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 0.0
    degrees = shapely.bounds(shapes) * np.degrees(factor or np.radians(1))
    across, up = (np.abs(degrees[:, ends]).max(1) for ends in ([0, 2], [1, 3]))
    beyond = (up > MOST_LATITUDE) | (across > MOST_LONGITUDE)
    if beyond.any() and (beyond | np.isnan(up)).all():
        if np.nanmax(across) <= MOST_LATITUDE and np.nanmax(up) <= 2 * MOST_LATITUDE:
            raise refusal(f"{path}: latitude and longitude are exchanged; write longitude first")
        raise refusal(
            f"{path}: its places are no degrees, so its CRS ({crs.to_string()}) is probably wrong; "
            "assign the right one (ogr2ogr -a_srs)"
        )
    return [int(n) for n in beyond.nonzero()[0]]


def say_broken(content: Content, broken: Mapping[int, str]) -> str:
    """Return how many features of a file are broken or lost, and why some of them are."""
    reasons = dict(content.lost)
    for n, why in sorted(broken.items()):
        identity = None if content.identities is None else content.identities[n]
        reasons[f"feature {n + 1}" + ("" if identity is None else f" (id {identity})")] = why
    named = [f"{place}: {why}" for place, why in list(reasons.items())[:NAMED]]
    more = ", and so on" if len(reasons) > NAMED else ""
    total = len(content.shapes) + len(content.lost)
    return (
        f"{len(reasons):,} of {counted(total, 'feature')} cannot be read ({'; '.join(named)}{more})"
    )
