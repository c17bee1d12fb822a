# SPDX-License-Identifier: GPL-2.0-or-later
"""Widgets of the dialog: images, area of interest and model are picked with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsMapLayerProxyModel,
    QgsProject,
    QgsRasterLayer,
    QgsReferencedRectangle,
)
from qgis.gui import QgsMapCanvas, QgsMapLayerComboBox
from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from geodamage_qgis.translation import tr

IMAGES = "Images (*.tif *.tiff *.jp2 *.vrt);;All files (*)"
MODELS = "Models (*.onnx *.toml)"


class ImagePicker(QWidget):
    """One raster layer, several, or files.

    What is picked and goes from the project leaves the picker empty; QGIS's own box would show the
    next layer instead. A new project leaves it empty, too.

    Signals: `emptied`, when what was picked has gone; `picked`, when another thing is picked.

    Parameters
    ----------
    words
        Words of names by which a layer of this date is guessed.
    parent
        The dialog.
    """

    emptied = pyqtSignal()
    picked = pyqtSignal()

    def __init__(self, words: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._named = re.compile(rf"(?<![a-z])({'|'.join(words)})(?![a-z])")
        self._chosen: list[Any] = []
        self._lost = False
        project = QgsProject.instance()
        # Before the box is made: it hears of layers that go in the order of connections, and has
        # taken another by then.
        project.layersWillBeRemoved["QStringList"].connect(self._lose)
        project.layersRemoved.connect(self._tell_lost)
        project.cleared.connect(self.clear)
        self.layers = QgsMapLayerComboBox(self)
        self.layers.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.layers.setAllowEmptyLayer(True, tr("choose a raster layer or files"))
        self.layers.setCurrentIndex(0)  # QGIS has taken the first layer
        self.layers.setMinimumContentsLength(24)
        self.layers.currentIndexChanged.connect(lambda _index: self.picked.emit())
        stretch(self.layers)
        lay_out(self, self.layers, _menu_button(self, self._entries()))

    def _entries(self) -> list[tuple[str, Any]]:
        return [(tr("Files…"), self.choose_files), (tr("Several layers…"), self.choose_layers)]

    def value(self) -> list[Any]:
        """Return layers or paths, the top one first; empty where nothing is picked."""
        layer = self.layers.currentLayer()
        if layer is not None:
            return [layer]
        return self._chosen if self._chosen and self._shows_chosen() else []

    def set_files(self, paths: Sequence[str]) -> None:
        """Pick files."""
        self._pick(list(paths), [Path(path).name for path in paths])

    def set_layers(self, layers: Sequence[QgsMapLayer]) -> None:
        """Pick layers, the top one first."""
        if len(layers) == 1:
            self.layers.setLayer(layers[0])
        else:
            self._pick(list(layers), [layer.name() for layer in layers])

    def clear(self) -> None:
        """Pick nothing."""
        self._pick([], [])

    def guess(self, *, besides: Sequence[Any] = ()) -> None:
        """Pick the layer whose name is that of this date, if nothing is picked yet.

        Parameters
        ----------
        besides
            Layers that are of the other date.
        """
        if self.value():
            return
        self.layers.setCurrentIndex(0)
        for layer in _rasters():
            if layer not in besides and self._named.search(layer.name().lower()):
                self.layers.setLayer(layer)
                return

    def choose_files(self) -> None:
        """Ask for files."""
        paths, _ = QFileDialog.getOpenFileNames(self, tr("Images"), "", tr(IMAGES))
        if paths:
            self.set_files(paths)

    def choose_layers(self) -> None:
        """Ask for several layers."""
        dialog = LayerChoice(_rasters(), self)
        if dialog.exec() and dialog.chosen():
            self.set_layers(dialog.chosen())

    def _pick(self, items: list[Any], names: list[str]) -> None:
        self._chosen = items
        if not items:
            self.layers.setAdditionalItems([])
            self.layers.setCurrentIndex(0)
            return
        text = names[0] if len(names) == 1 else _several(names)
        self.layers.setAdditionalItems([text])
        self.layers.setCurrentIndex(self.layers.findText(text))
        self.layers.setToolTip("\n".join(names))

    def _lose(self, layer_ids: Sequence[str]) -> None:
        """Pick nothing if a layer that is picked is among those that go."""
        layers = [item for item in self.value() if isinstance(item, QgsMapLayer)]
        if any(layer.id() in layer_ids for layer in layers):
            self.clear()
            self._lost = True

    def _tell_lost(self) -> None:
        if self._lost:
            self._lost = False
            self.emptied.emit()

    def _shows_chosen(self) -> bool:
        return self.layers.currentText() in self.layers.additionalItems()


class _Loss(QObject):
    """Empties a box when the layer that it shows goes from the project.

    It is made before its box, which hears of layers that go in the order of connections, and has
    taken another by then.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.box: QgsMapLayerComboBox | None = None
        QgsProject.instance().layersWillBeRemoved["QStringList"].connect(self.lose)

    def lose(self, layer_ids: Sequence[str]) -> None:
        """Show nothing if the layer that is shown is among those that go."""
        layer = self.box.currentLayer() if self.box is not None else None
        if self.box is not None and layer is not None and layer.id() in layer_ids:
            self.box.setCurrentIndex(0)


def layer_box(filters: Any, empty: str, parent: QWidget) -> QgsMapLayerComboBox:
    """Make a box of layers that shows nothing at first, and when its layer goes.

    Parameters
    ----------
    filters
        Kinds of layers, of `QgsMapLayerProxyModel`.
    empty
        What it says when it shows nothing.
    parent
        What it lives with.
    """
    loss = _Loss(parent)
    box = QgsMapLayerComboBox(parent)
    loss.box = box
    box.setFilters(filters)
    box.setAllowEmptyLayer(True, empty)
    box.setCurrentIndex(0)  # QGIS has taken the first layer
    box.setMinimumContentsLength(20)
    return box


class LayerChoice(QDialog):
    """Several of some layers, in the order of the layers panel.

    Parameters
    ----------
    layers
        To choose from.
    parent
        A widget of the dialog.
    """

    def __init__(self, layers: Sequence[QgsMapLayer], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Tiles of one image"))
        self._layers = list(layers)
        self.list = QListWidget(self)
        for layer in self._layers:
            item = QListWidgetItem(layer.name(), self.list)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Unchecked)
        box = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel, self
        )
        box.accepted.connect(self.accept)
        box.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(tr("Where tiles overlap, the upper one is used."), self))
        layout.addWidget(self.list)
        layout.addWidget(box)

    def chosen(self) -> list[QgsMapLayer]:
        """Return what is ticked, the top one first."""
        ticked = Qt.CheckState.Checked
        rows = range(self.list.count())
        return [self._layers[row] for row in rows if self.list.item(row).checkState() == ticked]


class AreaPicker(QWidget):
    """Everything, what the map shows, or the polygons of a layer.

    Parameters
    ----------
    canvas
        The map.
    parent
        The dialog.
    """

    EVERYTHING, MAP, POLYGONS = range(3)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self.kind = QComboBox(self)
        self.kind.addItems(
            [tr("Overlap of both images"), tr("Current map view"), tr("Polygons of layer")]
        )
        polygons = QgsMapLayerProxyModel.Filter.PolygonLayer
        self.layers = layer_box(polygons, tr("choose a layer"), self)
        stretch(self.layers)
        stretch(self.kind)
        lay_out(self, self.kind, self.layers)
        self.kind.currentIndexChanged.connect(self._show)
        self._show()

    def _show(self) -> None:
        self.layers.setVisible(self.kind.currentIndex() == self.POLYGONS)

    def extent(self) -> QgsReferencedRectangle | None:
        """Return what the map shows now, if that is the area; else None."""
        if self.kind.currentIndex() != self.MAP:
            return None
        settings = self._canvas.mapSettings()
        return QgsReferencedRectangle(self._canvas.extent(), settings.destinationCrs())

    def layer(self) -> QgsMapLayer | None:
        """Return the layer of polygons, if that is the area; else None."""
        return self.layers.currentLayer() if self.kind.currentIndex() == self.POLYGONS else None


class ModelPicker(QWidget):
    """A bundled model, or the file of another.

    Parameters
    ----------
    parent
        The dialog.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.models = QComboBox(self)
        self.models.addItem(tr("default"), None)
        self._bundled: set[str] = set()
        self.models.setMinimumContentsLength(24)
        stretch(self.models)
        lay_out(self, self.models, _menu_button(self, [(tr("A model file…"), self.choose_file)]))

    def value(self) -> str | None:
        """Return the name or path of the model; None leaves it to the program."""
        found = self.models.currentData()
        return None if found is None else str(found)

    def set_bundled(self, entries: Sequence[dict[str, Any]]) -> None:
        """Offer the models that came with the program, as `geodamage models list --json` says.

        Parameters
        ----------
        entries
            An object for each.
        """
        kept = self.value()
        names = {str(entry["name"]): entry for entry in entries if entry.get("name")}
        for gone in self._bundled - set(names) - {kept}:
            self.models.removeItem(self.models.findData(gone))
        for name, entry in names.items():
            row = self.models.findData(name)
            if row < 0:
                self.models.addItem(describe_model(entry), name)
            else:
                self.models.setItemText(row, describe_model(entry))
        self._bundled = set(names)
        self.set_value(kept)

    def set_value(self, model: str | None) -> None:
        """Choose a model by its name or path."""
        row = self.models.findData(model)
        if row < 0:
            self.models.addItem(Path(str(model)).name, model)
            row = self.models.count() - 1
        self.models.setCurrentIndex(row)

    def choose_file(self) -> None:
        """Ask for the file of a model."""
        path, _ = QFileDialog.getOpenFileName(self, tr("Model"), "", tr(MODELS))
        if path:
            self.set_value(path)


def describe_model(entry: dict[str, Any]) -> str:
    """Return a model in one line: its name, the imagery it is for, and its licence."""
    card = entry.get("card") or {}
    parts = [str(entry["name"])]
    finest, coarsest = card.get("gsd_min"), card.get("gsd_max")
    if finest is not None and coarsest is not None:
        pixels = tr("pixels of {finest} to {coarsest} m")
        parts.append(pixels.format(finest=f"{finest:g}", coarsest=f"{coarsest:g}"))
    if card.get("licence"):
        parts.append(str(card["licence"]))
    return " · ".join(parts)


def _several(names: Sequence[str]) -> str:
    """Return what several images are called."""
    return tr("{count} images: {names}", count=len(names), names=", ".join(names))


def _rasters() -> list[QgsRasterLayer]:
    """Return the raster layers of the project, in the order of the layers panel."""
    order = QgsProject.instance().layerTreeRoot().layerOrder()
    return [layer for layer in order if isinstance(layer, QgsRasterLayer)]


def stretch(widget: QWidget) -> None:
    """Let a widget take the width that there is."""
    widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def _menu_button(parent: QWidget, entries: list[tuple[str, Any]]) -> QToolButton:
    """Return a button with a dot menu, or without one where there is one entry."""
    button = QToolButton(parent)
    button.setText("…")
    if len(entries) == 1:
        button.setToolTip(entries[0][0])
        button.clicked.connect(lambda checked=False: entries[0][1]())
        return button
    menu = QMenu(button)
    for title, slot in entries:
        menu.addAction(title).triggered.connect(lambda checked=False, slot=slot: slot())
    button.setMenu(menu)
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    button.setStyleSheet("QToolButton::menu-indicator { image: none; }")
    return button


def lay_out(widget: QWidget, *parts: QWidget) -> None:
    """Put parts beside each other into a widget."""
    layout = QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)
