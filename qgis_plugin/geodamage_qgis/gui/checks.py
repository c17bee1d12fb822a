# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of the form that says what is looked at before anything is graded."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsMapLayerProxyModel, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QSpinBox,
    QToolButton,
    QWidget,
)

from geodamage_qgis.errors import PluginError
from geodamage_qgis.gui.pickers import lay_out, layer_box, stretch
from geodamage_qgis.processing import parameters, sources
from geodamage_qgis.program.commands import REGISTRATION_CHOICES
from geodamage_qgis.results.results import output_path
from geodamage_qgis.translation import tr

REGISTRATION_TITLES = {
    "measure": "measure it, and say how large it is",
    "apply": "measure it, and move the post images by it",
    "off": "do not look",
}
UNUSABLE = "Rasters and polygons (*.tif *.tiff *.gpkg *.geojson *.shp *.fgb);;All files (*)"


class UnusablePicker(QWidget):
    """A raster or polygons of ground that an image does not show: a layer, or a file.

    Parameters
    ----------
    parent
        The form.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._file = ""
        rasters = QgsMapLayerProxyModel.Filter.RasterLayer
        polygons = QgsMapLayerProxyModel.Filter.PolygonLayer
        self.layers = layer_box(rasters | polygons, tr("none"), self)
        stretch(self.layers)
        button = QToolButton(self)
        button.setText("…")
        button.setToolTip(tr("Files…"))
        button.clicked.connect(lambda _checked=False: self.choose_file())
        lay_out(self, self.layers, button)

    def value(self) -> str | None:
        """Return the file that is picked, or None.

        Raises
        ------
        PluginError
            If a layer is picked that is no file.
        """
        layer = self.layers.currentLayer()
        if layer is None:
            shown = self.layers.currentText() in self.layers.additionalItems()
            return self._file or None if shown else None
        if isinstance(layer, QgsRasterLayer):
            path = sources.raster_path(layer)
        else:
            path = str(output_path(layer) or "") if isinstance(layer, QgsVectorLayer) else ""
        if not path:
            raise PluginError(tr("{layer}: is no file; save it to one first", layer=layer.name()))
        return path

    def set_file(self, path: str) -> None:
        """Pick a file."""
        self._file = path
        self.layers.setAdditionalItems([path])
        self.layers.setCurrentIndex(self.layers.findText(path))

    def choose_file(self) -> None:
        """Ask for a file."""
        path, _ = QFileDialog.getOpenFileName(self, tr("Unusable ground"), "", tr(UNUSABLE))
        if path:
            self.set_file(path)


class Checks(QgsCollapsibleGroupBox):
    """What of the images is looked at before anything is graded.

    Parameters
    ----------
    parent
        The form.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Checks of the images"), parent)
        self.registration = QComboBox(self)
        for choice in REGISTRATION_CHOICES:
            self.registration.addItem(tr(REGISTRATION_TITLES[choice]), choice)
        self.obscured = QCheckBox(tr("Grade nothing under cloud, smoke and fill"), self)
        self.obscured.setChecked(True)
        self.before, self.after = UnusablePicker(self), UnusablePicker(self)
        self.band = QSpinBox(self)
        self.band.setRange(1, 999)
        self.share = QSpinBox(self)
        self.share.setRange(0, 100)
        self.share.setValue(50)
        self.share.setSuffix(" %")
        form = QFormLayout(self)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(tr("Shift between the images"), self.registration)
        form.addRow("", self.obscured)
        form.addRow(tr("Unusable ground before"), self.before)
        form.addRow(tr("Unusable ground after"), self.after)
        form.addRow(tr("Band of such rasters"), self.band)
        form.addRow(tr("Share of a building that must be seen"), self.share)
        self.setCollapsed(True)

    def values(self) -> dict[str, Any]:
        """Return the parameters of `geodamage:assess`; None leaves one to the program.

        Raises
        ------
        PluginError
            If a layer is picked that is no file.
        """
        unusable = {
            parameters.PRE_UNUSABLE: self.before.value(),
            parameters.POST_UNUSABLE: self.after.value(),
        }
        share = self.share.value()
        return {
            **unusable,
            parameters.REGISTRATION: self.registration.currentData(),
            parameters.OBSCURED: "on" if self.obscured.isChecked() else "off",
            parameters.UNUSABLE_BAND: self.band.value() if any(unusable.values()) else None,
            parameters.SEEN_SHARE: None if share == 50 else share / 100,
        }
