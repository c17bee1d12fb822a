# SPDX-License-Identifier: GPL-2.0-or-later
"""What was given for images and polygons, looked at before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from osgeo import gdal
from qgis.core import QgsMapLayer, QgsProperty

from geodamage_qgis.errors import PluginError
from geodamage_qgis.translation import tr


def check_image(given: Any) -> None:
    """Refuse a broken layer, or a file that is no image, and say why.

    Parameters
    ----------
    given
        A layer, or what names one: a file is looked at, anything else is left to QGIS.

    Raises
    ------
    PluginError
        If it is not there or cannot be read.
    """
    if isinstance(given, QgsMapLayer):
        if not given.isValid():
            raise PluginError(
                tr("{given}: the layer is broken; repair its data source", given=given.name())
            )
    elif _is_file_name(given):
        if Path(given).is_dir():
            raise PluginError(
                tr("{given}: a folder; give its images, one by one or as a .vrt", given=given)
            )
        _check_readable(given, gdal.OF_RASTER, tr("an image"))


def check_vector(given: Any) -> None:
    """Refuse a file that holds no polygons; see `check_image`."""
    given = getattr(given, "source", given)
    given = given.staticValue() if isinstance(given, QgsProperty) else given
    if _is_file_name(given):
        _check_readable(given, gdal.OF_VECTOR, tr("a file of polygons"))


def check_file(given: str | None) -> None:
    """Refuse a file that is not there."""
    if given and not Path(given).is_file():
        raise PluginError(tr("{given}: no such file; check the path", given=given))


def _is_file_name(given: Any) -> bool:
    """Say whether a text names a file, and nothing that only QGIS or GDAL understand."""
    if not isinstance(given, str) or given.startswith(("/vsi", "@")):
        return False
    if "://" in given or "|" in given:
        return False
    return ("/" in given or "\\" in given) and ":" not in given[2:]


def _check_readable(path: str, kind: int, what: str) -> None:
    if not Path(path).exists():
        raise PluginError(tr("{path}: no such file; check the path", path=path))
    gdal.ErrorReset()
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        found = gdal.OpenEx(path, kind | gdal.OF_VERBOSE_ERROR)
        why = gdal.GetLastErrorMsg()
    except RuntimeError as error:
        found, why = None, str(error)
    finally:
        gdal.PopErrorHandler()
    if found is None:
        raise PluginError(
            tr(
                "{path}: cannot be read as {what}: {why}",
                path=path,
                what=what,
                why=why or tr("no reason given"),
            )
        )
