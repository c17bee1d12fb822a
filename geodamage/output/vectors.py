"""Vector files of buildings, written batch by batch, in the format the extension names."""

import os
from collections.abc import Iterable
from pathlib import Path

import geopandas as gpd
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from geodamage._version import __version__
from geodamage.errors import OptionError
from geodamage.fields import FIELDS, Field
from geodamage.output.geojson import GeoJsonLinesWriter, GeoJsonWriter
from geodamage.output.geopackage import FlatGeobufWriter, GeoPackageWriter, write_layer
from geodamage.output.geoparquet import GeoParquetWriter
from geodamage.output.publication import (
    RESULT_EXTENSIONS,
    Publication,
    check_output,
    final_path,
    output_errors,
)
from geodamage.output.seen_ground import AREA_FIELDS, AREA_LAYER, area_frame, area_path
from geodamage.output.shapefile import ShapefileWriter
from geodamage.output.styles import store_styles
from geodamage.output.tables import CsvWriter
from geodamage.output.writer import GeometryType, VectorWriter


def write_buildings(
    buildings: Iterable[gpd.GeoDataFrame],
    path: str | os.PathLike[str],
    crs: CRS,
    *,
    overwrite: bool = False,
) -> Path:
    """Write buildings and a short sidecar; all of them arrive, or there is no file.

    Parameters
    ----------
    buildings
        Frames that have every field.
    path
        Where to; the extension picks the format.
    crs
        CRS of the file; GeoJSON is always in WGS 84.
    overwrite
        Replace a file that is there already.

    Returns
    -------
    The path.

    Raises
    ------
    OptionError
        If no format has the extension.
    OutputError
        If the file cannot be written; `OutputExistsError` if it exists.
    """
    path = check_output(path, overwrite=overwrite, extensions=RESULT_EXTENSIONS)
    count = 0
    with Publication(overwrite=overwrite) as publication:
        with vector_writer(publication.partial(path), crs) as writer:
            for frame in buildings:
                writer.append(frame)
                count += len(frame)
        facts = {"software": "geodamage", "version": __version__, "buildings": count}
        publication.sidecar(path, facts)
    return path


def vector_writer(
    path: str | os.PathLike[str],
    crs: CRS,
    layer: str = "buildings",
    *,
    geometry_type: GeometryType = "Unknown",
    fields: tuple[Field, ...] = FIELDS,
) -> "VectorWriter":
    """Open a vector file for writing; its extension picks the format.

    Parameters
    ----------
    path
        A path, or a partial path of a `Publication`; what is there is overwritten.
    crs
        CRS of the file; GeoJSON is always in WGS 84.
    layer
        Name of the layer, where the format has one.
    geometry_type
        What the GeoPackage layer declares; `Unknown` takes any geometry.
    fields
        What is written of each building.

    Raises
    ------
    OptionError
        If no format has the extension.
    OutputError
        If the file cannot be created.
    """
    extension = final_path(path).suffix.lower()
    if extension not in WRITERS:
        raise OptionError(
            f"output {path}: no format has the extension '{extension}';"
            f" use {', '.join(RESULT_EXTENSIONS)}"
        )
    with output_errors(path):
        return WRITERS[extension](Path(path), crs, layer, geometry_type, fields)


def write_area(
    publication: Publication, result: tuple[Path, Path], shape: BaseGeometry | None, crs: CRS
) -> None:
    """Write the assessed area as a layer of its own: inside a GeoPackage, beside another format.

    Parameters
    ----------
    publication
        Publication of the result, whose file is closed.
    result
        Path and partial path of the result.
    shape
        The assessed area in longitude and latitude; None where nothing was seen.
    crs
        CRS of the result.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    path, partial = result
    frame, beside = area_frame(shape), area_path(path)
    if beside is None:
        with output_errors(path):
            write_layer(frame.to_crs(crs), partial, AREA_LAYER, append=True)
            store_styles(partial, AREA_LAYER, list(frame.columns))
        return
    partial = publication.partial(beside)
    with vector_writer(partial, frame.crs, AREA_LAYER, fields=AREA_FIELDS) as writer:
        if len(frame):
            writer.append(frame)


WRITERS: dict[str, type[VectorWriter]] = {
    ".geojson": GeoJsonWriter,
    ".geojsonl": GeoJsonLinesWriter,
    ".ndjson": GeoJsonLinesWriter,
    ".gpkg": GeoPackageWriter,
    ".fgb": FlatGeobufWriter,
    ".parquet": GeoParquetWriter,
    ".csv": CsvWriter,
    ".shp": ShapefileWriter,
}
