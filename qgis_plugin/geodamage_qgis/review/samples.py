# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples as layers: the results that one was drawn of, their images, and a plain look."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from qgis.core import (
    QgsFillSymbol,
    QgsProject,
    QgsRasterLayer,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
)

from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.facts import Facts, read_facts
from geodamage_qgis.results.layers import find_layer, open_images, open_result, refresh
from geodamage_qgis.results.results import output_path
from geodamage_qgis.review.buildings import is_sample

#: How the buildings of a sample are drawn: their grade would lead.
OUTLINE = {"style": "no", "outline_color": "#00e5ff", "outline_width": "0.5"}


def facts_of(layer: QgsVectorLayer) -> Facts | None:
    """Return the facts of a result, or of the first one that a sample was drawn of.

    None for a copy without a sidecar.
    """
    return next(iter(all_facts(layer)), None)


def all_facts(layer: QgsVectorLayer) -> list[Facts]:
    """Return the facts of the results behind a layer; those without a sidecar are left out."""
    found = []
    for path in results_of(layer):
        try:
            found.append(read_facts(path))
        except PluginError:  # it was moved; its images can be chosen by hand
            continue
    return found


def results_of(layer: QgsVectorLayer) -> list[Path]:
    """Return the files of the results behind a layer: its own, or those of its sample."""
    path = output_path(layer)
    if path is None:
        return []
    if not is_sample(layer):
        return [path]
    try:
        named = read_facts(path).content.get("results")
    except PluginError:
        return []
    return [_found(str(name), path.parent) for name in named] if isinstance(named, list) else []


def _found(name: str, folder: Path) -> Path:
    """Return a result by the name that the sample has it by, or beside the sample."""
    beside = folder / Path(name).name
    return Path(name) if Path(name).is_file() or not beside.is_file() else beside


def images_of(layer: QgsVectorLayer, date: str) -> list[QgsRasterLayer]:
    """Return the images of a date that are behind a layer, each once."""
    images = [image for facts in all_facts(layer) for image in open_images(facts, date)]
    return list({image.source(): image for image in images}.values())


def hide_results(paths: Iterable[Path]) -> list[str]:
    """Take results off the map, while their sample is looked at.

    Returns
    -------
    The ids of the layers that were shown.
    """
    root = QgsProject.instance().layerTreeRoot()
    hidden = []
    for layer in filter(None, map(find_layer, paths)):
        node = root.findLayer(layer.id())
        if node is not None and node.itemVisibilityChecked():
            node.setItemVisibilityChecked(False)
            hidden.append(layer.id())
    return hidden


def show_layers(names: Iterable[str]) -> None:
    """Show layers on the map again; those that have gone are left out."""
    root = QgsProject.instance().layerTreeRoot()
    for node in filter(None, map(root.findLayer, names)):
        node.setItemVisibilityChecked(True)


def load_sample(path: str | os.PathLike[str]) -> QgsVectorLayer:
    """Load a sample into the project, on top and as outlines.

    Raises
    ------
    PluginError
        If QGIS cannot open it.
    """
    layer = find_layer(path)
    if layer is not None:
        refresh(layer)
        return layer
    layer = open_result(path, name=Path(path).stem)
    layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple(OUTLINE)))
    QgsProject.instance().addMapLayer(layer)
    return layer
