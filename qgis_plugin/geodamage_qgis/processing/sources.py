# SPDX-License-Identifier: GPL-2.0-or-later
"""Map layers as files that the tool can read.

A layer with a GeoTIFF behind it is that file, a plain virtual mosaic is its tiles, and everything
else is exported first. Layers are looked at in the main thread (`raster_source`, `vector_source`),
files are made in the thread of the work (`image_files`, and `polygons`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeedback,
    QgsFields,
    QgsProviderRegistry,
    QgsRasterBlockFeedback,
    QgsRasterDataProvider,
    QgsRasterFileWriter,
    QgsRasterLayer,
    QgsRasterPipe,
    QgsVectorLayer,
)

from geodamage_qgis.errors import CancelledError, PluginError
from geodamage_qgis.program.commands import write_list
from geodamage_qgis.program.mosaics import Mosaic, is_tiff, is_virtual, read_mosaic
from geodamage_qgis.translation import tr

#: What is said while files are made.
Say = Callable[[str], None]

#: Layer of a result that is none of buildings.
ASSESSED_AREA = "assessed_area"
#: Files of polygons that the tool reads as they are.
VECTOR_SUFFIXES = frozenset((".geojson", ".json", ".geojsonl", ".gpkg", ".fgb", ".shp", ".parquet"))
#: Of exported images: small, and read in blocks.
_CREATION = ("COMPRESS=DEFLATE", "TILED=YES", "BIGTIFF=IF_SAFER")


@dataclass(frozen=True)
class RasterSource:
    """An image as a map layer or a user names it.

    Attributes
    ----------
    name
        For messages.
    path
        File, folder, pattern, `@list.txt` or URL.
    crs
        WKT that the user gave the layer and the file does not have; else None.
    provider
        What reads the layer, where that is not a file of GDAL's; a copy of its own.
    special
        Why the file has to be exported whatever it is, in a few words; or None.
    part
        Name of the table or subdataset in the file; empty for a file that is one image.
    """

    name: str
    path: str
    crs: str | None = None
    provider: QgsRasterDataProvider | None = None
    special: str | None = None
    part: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """What is read, the same for two layers of one image: file, and part of it."""
        path = self.path if self.is_remote else os.path.realpath(self.path)
        return path, self.part

    @property
    def is_remote(self) -> bool:
        """Whether it is read over the network."""
        return "://" in self.path


# ---------------------------------------------------------------- looked at in the main thread


def raster_source(layer: QgsRasterLayer) -> RasterSource:
    """Return what is behind a raster layer.

    Raises
    ------
    PluginError
        If it is broken, or has no pixels of its own.
    """
    provider = layer.dataProvider()
    if not layer.isValid() or provider is None:
        raise PluginError(
            tr("{layer}: the layer is broken; repair its data source", layer=layer.name())
        )
    if layer.providerType() != "gdal":
        return _foreign_source(layer, provider)
    decoded = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    path = remote_name(str(decoded.get("path") or layer.source()))
    special = None
    if decoded.get("layerName") or decoded.get("openOptions"):
        special = tr("it is a part of a file")
    crs = None
    if layer.crs().isValid() and layer.crs() != provider.crs():
        crs, special = layer.crs().toWkt(), tr("its CRS was set in the project, not in the file")
    part = str(decoded.get("layerName") or "")
    return RasterSource(layer.name(), path, crs, None, special, part)


def raster_path(layer: QgsRasterLayer) -> str:
    """Return the file behind a raster layer; empty where it is no file."""
    if layer.providerType() != "gdal":
        return ""
    decoded = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    return str(decoded.get("path") or "")


def _foreign_source(layer: QgsRasterLayer, provider: QgsRasterDataProvider) -> RasterSource:
    if provider.xSize() < 1 or layer.providerType() == "wms":
        raise PluginError(
            tr(
                "{layer}: a web map, without pixels of its own; save it as a GeoTIFF first "
                "(Layer > Save As), if its terms allow that",
                layer=layer.name(),
            )
        )
    crs = layer.crs().toWkt()
    return RasterSource(layer.name(), layer.source(), crs, provider.clone(), tr("it is no file"))


def remote_name(path: str) -> str:
    """Return a path of GDAL's for a file on the network as the URL that the tool takes."""
    if path.startswith("/vsicurl/"):
        return path[len("/vsicurl/") :]
    if path.startswith("/vsis3/"):
        return "s3://" + path[len("/vsis3/") :]
    return path


def vector_path(layer: QgsVectorLayer, *, id_field: str | None = None) -> str | None:
    """Return the file behind a vector layer, or None where it has to be exported.

    It has to be exported if the layer differs from the file: filtered, edited, joined, one of
    several in the file, in another format, or with a CRS that was set in the project only.

    Parameters
    ----------
    layer
        The layer; a selection is not looked at.
    id_field
        A field that the tool must find in the file.
    """
    if layer.providerType() != "ogr" or not layer.isValid():
        return None
    path = str(QgsProviderRegistry.instance().decodeUri("ogr", layer.source()).get("path", ""))
    if Path(path).suffix.lower() not in VECTOR_SUFFIXES or not Path(path).is_file():
        return None
    changed = (
        layer.subsetString() or layer.isModified() or layer.crs() != layer.dataProvider().crs()
    )
    if changed or _is_made_here(layer, id_field) or _is_one_of_several(layer, path):
        return None
    return path


def _is_made_here(layer: QgsVectorLayer, id_field: str | None) -> bool:
    """Say whether a field is QGIS's alone: joined, computed, or the key of a GeoPackage."""
    if not id_field:
        return False
    index = layer.fields().indexOf(id_field)
    if index < 0:
        return False
    if layer.fields().fieldOrigin(index) != QgsFields.FieldOrigin.OriginProvider:
        return True
    return index in layer.primaryKeyAttributes()


def _is_one_of_several(layer: QgsVectorLayer, path: str) -> bool:
    """Say whether the program would not find a layer in its file: it takes the only one.

    The assessed area of a result does not count, unless it is what is asked for.
    """
    registry = QgsProviderRegistry.instance()
    if registry.decodeUri("ogr", layer.source()).get("layerName") == ASSESSED_AREA:
        return True
    metadata = registry.providerMetadata("ogr")
    names = [found.name() for found in metadata.querySublayers(path)] if metadata else []
    return len([name for name in names if name != ASSESSED_AREA]) > 1


# ------------------------------------------------------------------- made where the work is done


def image_argument(
    sources: Sequence[RasterSource],
    folder: Path,
    name: str,
    *,
    allow_remote: bool = False,
    feedback: QgsFeedback | None = None,
    say: Say = lambda text: None,
) -> str:
    """Return an image as the tool takes it, and make the files that it takes to read it.

    Parameters
    ----------
    sources
        Its parts, the top one first.
    folder
        For what has to be made; it has to stay while the tool runs.
    name
        `pre` or `post`, for the files.
    allow_remote
        Whether images on the network may be read.
    feedback
        Cancels exports.
    say
        Takes a line about everything that is not used as it is.

    Raises
    ------
    CancelledError
        If the feedback was cancelled.
    PluginError
        If a part can neither be read nor exported.
    """
    files: list[str] = []
    for number, source in enumerate(sources, 1):
        if source.is_remote and not allow_remote:
            raise PluginError(
                tr(
                    "{source}: an image on the network; allow remote images, or download it first",
                    source=source.name,
                )
            )
        export = folder / f"{name}_{number}.tif"
        files += image_files(source, export, feedback=feedback, say=say)
    if not files:
        raise PluginError(tr("no {name} image; choose one", name=name))
    return files[0] if len(files) == 1 else write_list(files, folder / f"{name}.txt")


def image_files(
    source: RasterSource,
    export: Path,
    *,
    feedback: QgsFeedback | None = None,
    say: Say = lambda text: None,
) -> list[str]:
    """Return the files of a part of an image, the top one first; see `image_argument`.

    Parameters
    ----------
    source
        The part.
    export
        Where it is written to if the tool cannot read it as it is.
    feedback, say
        As for `image_argument`.
    """
    if source.provider is not None:
        say(
            tr(
                "{source}: exported first, because {special}",
                source=source.name,
                special=source.special,
            )
        )
        return [_export_provider(source, source.provider, export, feedback)]
    why = source.special
    if why is None and is_virtual(source.path):
        tiles, why = _tiles(source.path)
        if tiles:
            say(
                tr(
                    "{source}: a virtual mosaic, read as its {count:,} tiles",
                    source=source.name,
                    count=len(tiles),
                )
            )
            return tiles
    if why is None and (source.is_remote or _is_readable(source.path)):
        return [source.path]
    say(
        tr(
            "{source}: exported first, because {why}",
            source=source.name,
            why=why or tr("it is no GeoTIFF"),
        )
    )
    return [_export_file(source, export, feedback)]


def _is_readable(path: str) -> bool:
    """Say whether the tool is to have a path as it is: also one it refuses better than GDAL."""
    return is_tiff(path) or path.startswith("@") or not Path(path).is_file()


def _tiles(path: str) -> tuple[list[str], str | None]:
    """Return the tiles of a plain mosaic, or none and why it is not plain."""
    try:
        mosaic = read_mosaic(path)
        for tile in mosaic.tiles:
            _check_tile(tile, mosaic, path)
    except PluginError as error:
        return [], tr("it is not a plain mosaic: {why}", why=error)
    return list(mosaic.tiles), None


def _check_tile(tile: str, mosaic: Mosaic, path: str) -> None:
    if not is_tiff(tile):
        raise PluginError(tr("{file} is no GeoTIFF on this machine", file=Path(tile).name))
    found = _open(tile)
    bands = found.RasterCount
    if bands != mosaic.bands:
        raise PluginError(
            tr(
                "{file} has {bands} channels, and it shows {shown}",
                file=Path(tile).name,
                bands=bands,
                shown=mosaic.bands,
            )
        )
    if not _same_value(found.GetRasterBand(1).GetNoDataValue(), mosaic.nodata):
        raise PluginError(tr("its no-data value is not that of {file}", file=Path(tile).name))
    if not _open(path).GetSpatialRef().IsSame(found.GetSpatialRef()):
        raise PluginError(tr("its CRS is not that of {file}", file=Path(tile).name))


def _same_value(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def _open(path: str) -> Any:
    """Open a raster, whether GDAL raises its errors or returns None."""
    try:
        dataset = gdal.OpenEx(path, gdal.OF_RASTER)
    except RuntimeError as error:
        raise PluginError(tr("{path}: cannot be opened ({why})", path=path, why=error)) from error
    if dataset is None or dataset.GetSpatialRef() is None:
        raise PluginError(tr("{file}: cannot be opened, or has no CRS", file=Path(path).name))
    return dataset


def _export_file(source: RasterSource, export: Path, feedback: QgsFeedback | None) -> str:
    """Write what GDAL reads as a GeoTIFF, with its no-data value, mask and colours."""

    def go_on(share: float, message: str, caller: object) -> int:
        if feedback is None:
            return 1
        feedback.setProgress(100 * share)
        return 0 if feedback.isCanceled() else 1

    options = {"format": "GTiff", "creationOptions": list(_CREATION), "callback": go_on}
    if source.crs is not None:
        options["outputSRS"] = source.crs
    try:
        written = gdal.Translate(str(export), source.path, **options)
        why = gdal.GetLastErrorMsg()
    except RuntimeError as error:
        written, why = None, str(error)
    _check_export(source, written is not None, why, feedback)
    written = None  # closes the file
    return str(export)


def _export_provider(
    source: RasterSource,
    provider: QgsRasterDataProvider,
    export: Path,
    feedback: QgsFeedback | None,
) -> str:
    """Write what only QGIS reads as a GeoTIFF."""
    progress = QgsRasterBlockFeedback()
    if feedback is not None:
        progress.progressChanged.connect(feedback.setProgress)
        feedback.canceled.connect(progress.cancel)
    pipe = QgsRasterPipe()
    pipe.set(provider.clone())
    writer = QgsRasterFileWriter(str(export))
    writer.setCreateOptions(list(_CREATION))
    result = writer.writeRaster(
        pipe,
        provider.xSize(),
        provider.ySize(),
        provider.extent(),
        QgsCoordinateReferenceSystem.fromWkt(source.crs or ""),
        QgsCoordinateTransformContext(),
        progress,
    )
    why = f"QGIS's code {int(result)}"
    _check_export(source, result == QgsRasterFileWriter.WriterError.NoError, why, feedback)
    return str(export)


def _check_export(
    source: RasterSource, written: bool, why: str, feedback: QgsFeedback | None
) -> None:
    if feedback is not None and feedback.isCanceled():
        raise CancelledError
    if not written:
        raise PluginError(
            tr(
                "{source}: cannot be exported as a GeoTIFF ({why}); save it as one by hand",
                source=source.name,
                why=why or tr("no reason given"),
            )
        )
