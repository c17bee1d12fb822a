# SPDX-License-Identifier: GPL-2.0-or-later
"""Which layers are results, and which file is behind one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProviderRegistry, QgsVectorLayer

from geodamage_qgis.errors import PluginError
from geodamage_qgis.translation import tr

#: Fields that a layer must have to be styled and reviewed.
NEEDED = ("building_id", "damage", "confidence", "status", "p_none", "p_destroyed")


def is_result(layer: Any) -> bool:
    """Return whether a layer has the fields of a result."""
    return isinstance(layer, QgsVectorLayer) and layer.isValid() and not _missing(layer)


def check_result(layer: QgsVectorLayer) -> None:
    """Check that a layer has the fields of a result.

    Raises
    ------
    PluginError
        If it lacks one.
    """
    missing = _missing(layer)
    if missing:
        raise PluginError(
            tr(
                "layer {layer} is not a result of geodamage: it lacks {listed}",
                layer=layer.name(),
                listed=", ".join(missing),
            )
        )


def output_path(layer: QgsVectorLayer) -> Path | None:
    """Return the file that a layer shows; None where it is not a file."""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    path = parts.get("path")
    return Path(path) if path else None


def file_stamp(layer: QgsVectorLayer) -> tuple[int, int] | None:
    """Return which file on the disk a layer shows; another one has the same path after a run."""
    path = output_path(layer)
    try:
        status = path.stat() if path is not None else None
    except OSError:  # it is gone
        return None
    return None if status is None else (status.st_dev, status.st_ino)


def _missing(layer: QgsVectorLayer) -> list[str]:
    names = set(layer.fields().names())
    return [name for name in NEEDED if name not in names]
