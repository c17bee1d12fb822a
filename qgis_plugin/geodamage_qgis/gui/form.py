# SPDX-License-Identifier: GPL-2.0-or-later
"""The form of the dialog: what `geodamage:assess` is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsFieldProxyModel,
    QgsMapLayerProxyModel,
    QgsProcessing,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
)
from qgis.gui import (
    QgsCollapsibleGroupBox,
    QgsFieldComboBox,
    QgsFileWidget,
    QgsMapCanvas,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from geodamage_qgis.errors import PluginError
from geodamage_qgis.gui.checks import Checks
from geodamage_qgis.gui.pickers import AreaPicker, ImagePicker, ModelPicker, layer_box
from geodamage_qgis.processing import parameters, sources
from geodamage_qgis.program.commands import SHAPEFILE, TTA_CHOICES, VECTOR_EXTENSIONS, VOTE_CHOICES
from geodamage_qgis.translation import tr

RESULTS = "GeoPackage (*.gpkg);;GeoJSON (*.geojson);;FlatGeobuf (*.fgb);;Shapefile (*.shp)"

VOTE_TITLES = {"probabilities": "summed probabilities", "pixels": "majority of pixels"}
LOOK_TITLES = {
    "none": "once",
    "flips": "four times, flipped (4 times as long)",
    "enlarged": "twice, once enlarged: more small buildings (3 times as long)",
}

#: Words in the names of layers of each date.
BEFORE = ("pre", "predisaster", "preevent", "before", "vor", "vorher")
AFTER = ("post", "postdisaster", "postevent", "after", "nach", "nachher")

#: What may be written beside the result: parameter, title, and how its file is called.
BESIDE = (
    (parameters.REPORT, "report (.html)", "{stem}.html"),
    (parameters.RASTER, "damage raster (.tif)", "{stem}_grades.tif"),
    (parameters.PROBABILITIES, "probability raster (.tif)", "{stem}_probabilities.tif"),
    (parameters.FEATURES, "features, to learn this event from answers (.npz)", "{stem}.npz"),
)


class AssessForm(QScrollArea):
    """Everything that an assessment can be asked for, the rare things folded.

    Parameters
    ----------
    canvas
        The map, for its extent.
    parent
        The dialog.
    """

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._proposed: str = ""
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside = QWidget(self)
        layout = QVBoxLayout(inside)
        for group in (
            self._images(),
            self._buildings(canvas),
            self._result(),
            self._checks(),
            self._advanced(),
        ):
            layout.addWidget(group)
        layout.addStretch()
        self.setWidget(inside)
        # Nothing is cut at the right, whatever the language and the font.
        bar = self.verticalScrollBar().sizeHint().width()
        self.setMinimumWidth(inside.minimumSizeHint().width() + bar)
        # What was named for one project is not for another.
        QgsProject.instance().cleared.connect(self._forget)

    def values(self) -> dict[str, Any]:
        """Return the parameters of `geodamage:assess`.

        Raises
        ------
        PluginError
            If something that it takes is missing, or cannot be read.
        """
        values: dict[str, Any] = {
            parameters.PRE: _some(
                self.pre.value(),
                tr("no image from before the disaster; choose a raster layer or files"),
            ),
            parameters.POST: _some(
                self.post.value(),
                tr("no image from after the disaster; choose a raster layer or files"),
            ),
            parameters.MODEL: self.model.value(),
            parameters.OUTPUT: self.output_path(),
            parameters.OVERWRITE: self.overwrite.isChecked(),
        }
        for name, path in self.paths_beside().items():
            values[name] = path
        values.update(self._area_values())
        values.update(self.checks.values())
        values.update(self._advanced_values())
        return {name: value for name, value in values.items() if value is not None}

    def output_path(self) -> str:
        """Return the file of the result; a temporary one where none is named.

        It is a GeoPackage where a Shapefile is asked for, which is made of it; see `shapefile`.

        Raises
        ------
        PluginError
            If it is of another format, or its folder is not there.
        """
        path = self.output.filePath().strip()
        if not path:
            return str(QgsProcessing.TEMPORARY_OUTPUT)
        suffix = Path(path).suffix
        if not suffix:
            path += VECTOR_EXTENSIONS[0]
        elif suffix.lower() not in VECTOR_EXTENSIONS:
            raise PluginError(
                tr(
                    "{path}: a result is one of {formats}; name it {name}",
                    path=path,
                    formats=", ".join(VECTOR_EXTENSIONS),
                    name=Path(path).stem + VECTOR_EXTENSIONS[0],
                )
            )
        if not Path(path).is_absolute():
            raise PluginError(tr("{path}: name the result with its folder", path=path))
        if not Path(path).parent.is_dir():
            folder = Path(path).parent
            raise PluginError(
                tr("{folder}: no such folder; make it, or choose another", folder=folder)
            )
        if suffix.lower() == SHAPEFILE:
            return str(Path(path).with_suffix(VECTOR_EXTENSIONS[0]))
        return path

    def shapefile(self) -> str | None:
        """Return the Shapefile that is asked for, or None.

        Its fields have names of ten letters, by which nothing can be styled or reviewed. So the
        result is a GeoPackage beside it.

        Raises
        ------
        PluginError
            If it is there already and may not be replaced.
        """
        path = self.output.filePath().strip()
        if Path(path).suffix.lower() != SHAPEFILE:
            return None
        if Path(path).exists() and not self.overwrite.isChecked():
            raise PluginError(
                tr(
                    "{path}: is there already; choose another name, or switch on 'Overwrite "
                    "existing files'",
                    path=path,
                )
            )
        return path

    def paths_beside(self) -> dict[str, str]:
        """Return the further files that are ticked, by the names of their parameters.

        Raises
        ------
        PluginError
            If features are to be kept of a result that is not.
        """
        ticked = [entry for entry in BESIDE if self.beside[entry[0]].isChecked()]
        if not ticked:
            return {}
        path = self.output_path()
        if path == QgsProcessing.TEMPORARY_OUTPUT:
            if self.beside[parameters.FEATURES].isChecked():
                raise PluginError(
                    tr(
                        "features are of use beside a result that is kept; name one in 'Save to', "
                        "or untick them"
                    )
                )
            return {name: path for name, _, _ in ticked}
        result = Path(path)
        return {
            name: str(result.parent / form.format(stem=result.stem)) for name, _, form in ticked
        }

    def guess(self) -> None:
        """Pick what the names of layers suggest, where nothing is picked."""
        self.pre.guess(besides=self.post.value())
        self.post.guess(besides=self.pre.value())
        self.propose_output()

    def propose_output(self) -> None:
        """Name the result after the image after, unless somebody has named it or emptied it."""
        shown = self.output.filePath()
        images = self.post.value()
        if shown != self._proposed or not images:
            return
        given = images[0]
        path = Path(given if isinstance(given, str) else sources.raster_path(given))
        folder = next((f for f in (path.parent, Path.home()) if os.access(f, os.W_OK)), None)
        if not path.is_file() or folder is None:
            return
        names = (f"{path.stem}_damage{n}.gpkg" for n in ("", *(f"_{k}" for k in range(2, 1000))))
        free = (folder / name for name in names)
        self._proposed = str(next(file for file in free if not file.exists()))
        self.output.setFilePath(self._proposed)

    def _forget(self) -> None:
        self._proposed = ""
        self.output.setFilePath("")
        self.overwrite.setChecked(False)

    def _images(self) -> QGroupBox:
        self.pre = ImagePicker(BEFORE, self)
        self.post = ImagePicker(AFTER, self)
        for picker in (self.pre, self.post):
            picker.emptied.connect(self.guess)
        self.post.picked.connect(self.propose_output)
        self.model = ModelPicker(self)
        group, form = _group(tr("Images"))
        form.addRow(tr("Before"), self.pre)
        form.addRow(tr("After"), self.post)
        form.addRow(tr("Model"), self.model)
        return group

    def _buildings(self, canvas: QgsMapCanvas) -> QGroupBox:
        polygons = QgsMapLayerProxyModel.Filter.PolygonLayer
        self.footprints = layer_box(polygons, tr("detect them in the image before"), self)
        self.selected_only = QCheckBox(tr("Selected features only"), self)
        self.id_field = QgsFieldComboBox(self)
        self.id_field.setAllowEmptyFieldName(True)
        self.id_field.setFilters(QgsFieldProxyModel.Filter.AllTypes)
        self.id_field.setMinimumWidth(150)
        self.area = AreaPicker(canvas, self)
        group, form = _group(tr("Buildings"))
        form.addRow(tr("Footprints"), self.footprints)
        form.addRow(tr("Building ID field"), _row(self.id_field, self.selected_only))
        form.addRow(tr("Area"), self.area)
        self._footprint_rows = [self.id_field, self.selected_only]
        self.footprints.layerChanged.connect(self._take_footprints)
        self._take_footprints()
        return group

    def _take_footprints(self) -> None:
        layer = self.footprints.currentLayer()
        self.id_field.setLayer(layer)
        for widget in self._footprint_rows:
            widget.setEnabled(layer is not None)

    def _result(self) -> QGroupBox:
        self.output: Any = QgsFileWidget(self)
        self.output.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.output.setFilter(RESULTS)
        # The dialog says whether a file is replaced: the box below does.
        self.output.setConfirmOverwrite(False)
        self.output.lineEdit().setPlaceholderText(tr("[Save to temporary file]"))
        self.overwrite = QCheckBox(tr("Overwrite existing files"), self)
        self.beside = {name: QCheckBox(tr(title), self) for name, title, _ in BESIDE}
        group, form = _group(tr("Result"))
        form.addRow(tr("Save to"), self.output)
        form.addRow("", self.overwrite)
        for number, box in enumerate(self.beside.values()):
            form.addRow("" if number else tr("Also write"), box)
        return group

    def _checks(self) -> Checks:
        self.checks = Checks(self)
        return self.checks

    def _advanced(self) -> QgsCollapsibleGroupBox:
        self.device = QComboBox(self)
        self.device.addItems(["auto", "cpu", "cuda"])
        self.device.setEditable(True)
        self.looks = QComboBox(self)
        for choice in TTA_CHOICES:
            self.looks.addItem(tr(LOOK_TITLES[choice]), choice)
        self.vote = QComboBox(self)
        for choice in VOTE_CHOICES:
            self.vote.addItem(tr(VOTE_TITLES[choice]), choice)
        self.bands = _line(tr("the first three; or e.g. 3,2,1"), self)
        self.scale = _line(tr("automatic, 2 to 98 %; or e.g. 0,3000"), self)
        self.min_area = _decimal(" m²", "20 m²", self)
        self.simplify = _decimal(" m", tr("no simplification"), self)
        self.regularise = QCheckBox(tr("Right-angled outlines, where these fit"), self)
        self.tile = _whole(tr(" pixels"), tr("the model's own"), self)
        self.batch_size = _whole("", "1", self)
        self.threads = _whole("", tr("all processors"), self)
        self.memory = _line("1.5GB", self)
        self.allow_remote = QCheckBox(tr("Allow remote images (http, s3)"), self)
        group = QgsCollapsibleGroupBox(tr("Advanced"), self)
        form = QFormLayout(group)
        _grow(form)
        for title, widget in (
            (tr("Device"), self.device), (tr("Grade from"), self.vote),
            (tr("Look at the images"), self.looks),
            (tr("Bands"), self.bands), (tr("Value range"), self.scale),
            (tr("Smallest building"), self.min_area), (tr("Simplify outlines by"), self.simplify),
            ("", self.regularise), (tr("Window size"), self.tile),
            (tr("Windows per batch"), self.batch_size), (tr("Threads"), self.threads),
            (tr("Memory"), self.memory), ("", self.allow_remote),
        ):  # fmt: skip
            form.addRow(title, widget)
        group.setCollapsed(True)
        return group

    def _area_values(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            parameters.AOI: self.area.layer(),
            parameters.AOI_EXTENT: self.area.extent(),
        }
        if self.area.kind.currentIndex() == AreaPicker.POLYGONS and self.area.layer() is None:
            raise PluginError(tr("no layer with the polygons of the area; choose one"))
        layer = self.footprints.currentLayer()
        if layer is not None:
            source = QgsProcessingFeatureSourceDefinition(layer.id(), True)
            values[parameters.FOOTPRINTS] = source if self.selected_only.isChecked() else layer
            values[parameters.ID_FIELD] = self.id_field.currentField() or None
        return values

    def _advanced_values(self) -> dict[str, Any]:
        return {
            parameters.DEVICE: self.device.currentText().strip() or None,
            parameters.TTA: self.looks.currentData(),
            parameters.VOTE: self.vote.currentData(),
            parameters.BANDS: self.bands.text().strip() or None,
            parameters.SCALE: self.scale.text().strip() or None,
            parameters.MEMORY: self.memory.text().strip() or None,
            parameters.MIN_AREA: _set_value(self.min_area),
            parameters.SIMPLIFY: _set_value(self.simplify),
            parameters.REGULARISE: self.regularise.isChecked(),
            parameters.TILE: _set_value(self.tile),
            parameters.BATCH_SIZE: _set_value(self.batch_size),
            parameters.THREADS: _set_value(self.threads),
            parameters.ALLOW_REMOTE: self.allow_remote.isChecked(),
        }


def _some(images: list[Any], otherwise: str) -> list[Any]:
    if not images:
        raise PluginError(otherwise)
    return images


def _group(title: str) -> tuple[QGroupBox, QFormLayout]:
    group = QGroupBox(title)
    form = QFormLayout(group)
    _grow(form)
    return group, form


def _grow(form: QFormLayout) -> None:
    # macOS would leave the fields as narrow as they can be.
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)


def _row(*widgets: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    layout.addStretch()
    return row


def _line(placeholder: str, parent: QWidget) -> QLineEdit:
    line = QLineEdit(parent)
    line.setPlaceholderText(placeholder)
    return line


#: Below what can be asked for; the box shows what the program does then.
_UNSET = -1


def _decimal(unit: str, unset: str, parent: QWidget) -> QDoubleSpinBox:
    box = QDoubleSpinBox(parent)
    box.setRange(_UNSET, 1e6)
    box.setDecimals(1)
    return _unset_box(box, unit, unset)


def _whole(unit: str, unset: str, parent: QWidget) -> QSpinBox:
    box = QSpinBox(parent)
    box.setRange(_UNSET, 65_536)
    return _unset_box(box, unit, unset)


def _unset_box(box: Any, unit: str, unset: str) -> Any:
    box.setSuffix(unit)
    box.setSpecialValueText(unset)
    box.setValue(_UNSET)
    return box


def _set_value(box: QSpinBox | QDoubleSpinBox) -> float | int | None:
    return None if box.value() == _UNSET else box.value()
