# SPDX-License-Identifier: GPL-2.0-or-later
"""A view of the images of one date, with the building under review outlined."""

from __future__ import annotations

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsWkbTypes,
)
from qgis.gui import QgsMapCanvas, QgsMapToolPan, QgsRubberBand
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from geodamage_qgis.translation import tr

#: The outline of the building under review; no grade has this colour.
OUTLINE = "#00e5ff"


#: Metres around a building in the two views, at least: the neighbours tell what is usual.
MARGIN = 18.0


class DateView(QWidget):
    """A view of the images of one date, with the building outlined.

    Parameters
    ----------
    title
        What the view shows: `Before`.
    images
        Images of that date by the sidecar; none where they are gone.
    """

    def __init__(self, title: str, images: list[QgsRasterLayer]) -> None:
        super().__init__()
        self._keep(images)
        self.canvas = QgsMapCanvas(self)
        self.canvas.setCanvasColor(QColor("#d9d9d9"))
        self.canvas.setMinimumSize(180, 160)
        self.canvas.setWheelFactor(1.5)
        self._pan = QgsMapToolPan(self.canvas)
        self.canvas.setMapTool(self._pan)
        self._casing = self._band(QColor("#000000"), 5)
        self._outline = self._band(QColor(OUTLINE), 2)
        self.choice = QComboBox()
        self.choice.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.choice.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.choice.currentIndexChanged.connect(self._show_choice)
        self._arrange(title)
        self.fill()

    def set_images(self, images: list[QgsRasterLayer]) -> None:
        """Show the images of another run."""
        self._keep(images)
        self.fill()

    def _keep(self, images: list[QgsRasterLayer]) -> None:
        # A layer of the project may be removed at any time: only its id is kept. Another lives as
        # long as it is kept here.
        project = QgsProject.instance()
        self._kept = [(i.id(), None if project.mapLayer(i.id()) else i) for i in images]

    def fill(self) -> None:
        """List the images to choose from: those of the result, then rasters of the project."""
        chosen = self.choice.currentData()
        self.choice.blockSignals(True)
        self.choice.clear()
        images = self._images()
        names = ", ".join(image.name() for image in images[:2])
        if len(images) > 2:
            names = tr("{names} and {count} more", names=names, count=len(images) - 2)
        self.choice.addItem(names or tr("image is gone: choose another"), None)
        for layer in QgsProject.instance().mapLayers().values():
            if isinstance(layer, QgsRasterLayer):
                self.choice.addItem(layer.name(), layer.id())
        self.choice.setCurrentIndex(max(0, self.choice.findData(chosen) if chosen else 0))
        self.choice.blockSignals(False)
        self._show_choice()

    def outline(self, geometry: QgsGeometry | None) -> None:
        """Draw a footprint, in the CRS of the view; none takes it away."""
        for band in (self._casing, self._outline):
            band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
            if geometry is not None:
                band.setToGeometry(geometry, None)

    def close_canvas(self) -> None:
        """Let go of all layers, before they or QGIS end."""
        self.canvas.stopRendering()
        self.canvas.setLayers([])
        self._kept = []

    def shown(self) -> list[QgsMapLayer]:
        """Return the layers that the view draws."""
        return list(self.canvas.layers())

    def _images(self) -> list[QgsMapLayer]:
        """Return the images of the result that are still there."""
        found = (own or QgsProject.instance().mapLayer(name) for name, own in self._kept)
        return [image for image in found if image is not None]

    def _arrange(self, title: str) -> None:
        head = QHBoxLayout()
        head.addWidget(QLabel(f"<b>{title}</b>"))
        head.addWidget(self.choice, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(head)
        layout.addWidget(self.canvas, 1)

    def _band(self, colour: QColor, width: int) -> QgsRubberBand:
        band = QgsRubberBand(self.canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        band.setStrokeColor(colour)
        band.setFillColor(QColor(0, 0, 0, 0))
        band.setWidth(width)
        return band

    def _show_choice(self) -> None:
        layer_id = self.choice.currentData()
        if layer_id is None:
            self.canvas.setLayers(self._images())
        else:
            layer = QgsProject.instance().mapLayer(layer_id)
            self.canvas.setLayers([layer] if layer else [])


def transformed(
    geometry: QgsGeometry,
    source: QgsCoordinateReferenceSystem,
    target: QgsCoordinateReferenceSystem,
) -> QgsGeometry | None:
    """Return a geometry in another CRS; None where it is empty or has no place there."""
    if geometry.isNull() or geometry.isEmpty() or not target.isValid():
        return None
    moved = QgsGeometry(geometry)
    try:
        moved.transform(QgsCoordinateTransform(source, target, QgsProject.instance()))
    except QgsCsException:
        return None
    return moved


def around(box: QgsRectangle) -> QgsRectangle:
    """Return a box with room for the neighbours."""
    return box.buffered(max(MARGIN, 0.8 * max(box.width(), box.height())))
