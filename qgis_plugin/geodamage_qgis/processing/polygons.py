# SPDX-License-Identifier: GPL-2.0-or-later
"""Polygons of layers and drawn extents, written as files that the tool can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeatureSource,
    QgsFeedback,
    QgsFields,
    QgsGeometry,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsWkbTypes,
)

from geodamage_qgis.errors import CancelledError, PluginError
from geodamage_qgis.translation import tr


def export_features(
    features: QgsFeatureSource,
    path: Path,
    *,
    transforms: QgsCoordinateTransformContext,
    feedback: QgsFeedback | None = None,
) -> str:
    """Write features to a GeoPackage with all their fields, and return its path.

    Parameters
    ----------
    features
        A layer, or what Processing makes of one and its selection.
    path
        The file, which is not there yet.
    transforms
        Of the project.
    feedback
        Cancels.

    Raises
    ------
    CancelledError
        If the feedback was cancelled.
    PluginError
        If it cannot be written.
    """
    writer = _writer(path, features.fields(), features.wkbType(), features.sourceCrs(), transforms)
    for feature in features.getFeatures():
        if feedback is not None and feedback.isCanceled():
            raise CancelledError
        # The number that the feature has in its layer may be taken twice, as in a virtual one.
        copy = QgsFeature(features.fields())
        copy.setGeometry(feature.geometry())
        copy.setAttributes(feature.attributes())
        _write(writer, copy)
    return str(path)


def export_extent(
    extent: QgsRectangle,
    crs: QgsCoordinateReferenceSystem,
    path: Path,
    *,
    transforms: QgsCoordinateTransformContext,
) -> str:
    """Write a rectangle as the one polygon of a GeoPackage, and return its path.

    Raises
    ------
    PluginError
        If it has no CRS or no area, or cannot be written.
    """
    if extent.isEmpty() or not crs.isValid():
        raise PluginError(
            tr("the extent of the area of interest has no area or no CRS; draw another")
        )
    writer = _writer(path, QgsFields(), QgsWkbTypes.Type.Polygon, crs, transforms)
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(extent))
    _write(writer, feature)
    return str(path)


def _writer(
    path: Path,
    fields: QgsFields,
    kind: Any,
    crs: QgsCoordinateReferenceSystem,
    transforms: QgsCoordinateTransformContext,
) -> QgsVectorFileWriter:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = path.stem
    # A field `fid` of the layer stays a field: it may be the identity of the buildings.
    options.layerOptions = ["FID=geodamage_key"]
    writer = QgsVectorFileWriter.create(os.fspath(path), fields, kind, crs, transforms, options)
    if writer.hasError() != QgsVectorFileWriter.WriterError.NoError:
        raise PluginError(
            tr(
                "{path}: cannot be written ({why}); free some space",
                path=path,
                why=writer.errorMessage(),
            )
        )
    return writer


def _write(writer: QgsVectorFileWriter, feature: QgsFeature) -> None:
    if not writer.addFeature(feature):
        raise PluginError(tr("the polygons cannot be exported: {why}", why=writer.errorMessage()))
