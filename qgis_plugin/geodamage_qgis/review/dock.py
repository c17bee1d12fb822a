# SPDX-License-Identifier: GPL-2.0-or-later
"""The review: buildings one by one, least certain first, with both dates side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.gui import QgsMapCanvas, QgsMapToolPan, QgsRubberBand
from qgis.PyQt.QtCore import QEvent, Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QComboBox,
    QDockWidget,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.facts import Facts, read_facts
from geodamage_qgis.results.journal import Review, append_reviews
from geodamage_qgis.results.layers import open_images, working_crs
from geodamage_qgis.results.results import is_result, output_path
from geodamage_qgis.results.reviews import (
    now,
    read_buildings,
    restore,
    why_read_only,
    write_reviews,
)
from geodamage_qgis.review.walk import Building, Walk
from geodamage_qgis.scale import CLASSES, COLOURS, PROBABILITIES, TITLES

TITLE = "Review building damage"

#: Metres around a building in the two views, at least: the neighbours tell what is usual.
MARGIN = 18.0

REVIEWER_SETTING = "geodamage/reviewer"

#: The outline of the building under review; no grade has this colour.
OUTLINE = "#00e5ff"

KEYS = {
    Qt.Key.Key_1: "no-damage",
    Qt.Key.Key_2: "minor-damage",
    Qt.Key.Key_3: "major-damage",
    Qt.Key.Key_4: "destroyed",
}
ACCEPT_KEYS = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
NEXT_KEYS = (Qt.Key.Key_Right, Qt.Key.Key_N)
PREVIOUS_KEYS = (Qt.Key.Key_Left, Qt.Key.Key_P)
UNDO_KEYS = (Qt.Key.Key_Z, Qt.Key.Key_Backspace)


def reviewable_layer(layer: Any) -> QgsVectorLayer:
    """Return a layer that can be reviewed: the one given, else the only result of the project.

    Raises
    ------
    PluginError
        If the layer is not a result and the project does not have exactly one.
    """
    if is_result(layer):
        return layer
    results = [layer for layer in QgsProject.instance().mapLayers().values() if is_result(layer)]
    if len(results) == 1:
        return results[0]
    raise PluginError(
        "choose the layer to review in the layer panel: a result of geodamage"
        if results
        else "there is no result to review in the project; assess a pair or load a result first"
    )


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
        # A layer of the project may be removed at any time: only its id is kept. Another lives as
        # long as it is kept here.
        project = QgsProject.instance()
        self._kept = [(i.id(), None if project.mapLayer(i.id()) else i) for i in images]
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

    def fill(self) -> None:
        """List the images to choose from: those of the result, then rasters of the project."""
        chosen = self.choice.currentData()
        self.choice.blockSignals(True)
        self.choice.clear()
        images = self._images()
        names = ", ".join(image.name() for image in images[:2])
        more = f" and {len(images) - 2} more" if len(images) > 2 else ""
        self.choice.addItem(names + more if names else "image is gone: choose another", None)
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


class ReviewDock(QDockWidget):
    """A dock that steps through the buildings of a result.

    The caller adds it to the main window. Corrections go to the journal beside the result and to
    fields of the layer as they are made; closing loses nothing.

    Parameters
    ----------
    iface
        The desktop: its canvas follows, its message bar says what fails.
    layer
        A result.

    Raises
    ------
    PluginError
        If the layer has no building that was assessed, or its journal cannot be read.
    """

    AREA = Qt.DockWidgetArea.BottomDockWidgetArea

    def __init__(self, iface: Any, layer: QgsVectorLayer) -> None:
        super().__init__(f"{TITLE}: {layer.name()}", iface.mainWindow())
        self.setObjectName("GeodamageReview")
        self.iface = iface
        self.layer = layer
        self.facts = _facts(layer)
        self.crs = working_crs(self.facts, layer)
        self.walk = Walk(read_buildings(layer), restore(layer))
        if not len(self.walk):
            raise PluginError(
                f"layer {layer.name()} shows no building that was assessed; nothing to review"
            )
        self.before = DateView("Before", self._images("pre"))
        self.after = DateView("After", self._images("post"))
        self._build()
        self._connect()
        self.show_building()
        self._say_if_read_only()

    # What a person does ----------------------------------------------------------------------

    def grade(self, damage: str) -> None:
        """Give the current building a grade, write it down, and go to the next."""
        building = self.walk.current
        if building is None:
            return
        review = Review(building.building_id, damage, self.reviewer.text().strip(), now())
        self.walk.say(review)
        self._write(building, review)
        self.next()

    def accept(self) -> None:
        """Accept the model's grade of the current building, and go to the next."""
        if self.walk.current is not None:
            self.grade(self.walk.current.damage)

    def next(self) -> None:
        """Go to the next building that is to be reviewed."""
        if not self.walk.next():
            self._say(_end(self.walk))
        self.show_building()

    def previous(self) -> None:
        """Go back to the building before."""
        self.walk.previous()
        self.show_building()

    def undo(self) -> None:
        """Take back the last correction, and go to its building."""
        step = self.walk.undo()
        if step is None:
            return
        name = step.building.building_id
        self._write(step.building, step.before or Review(name, None, self.reviewer.text(), now()))
        self.show_building()

    # What is shown ---------------------------------------------------------------------------

    def show_building(self) -> None:
        """Show the current building in the views and the panel."""
        building = self.walk.current
        if building is None:
            return
        self._show_facts(building)
        self._show_place(building)

    def _show_facts(self, building: Building) -> None:
        review = self.walk.review_of(building)
        seen = "" if building.status == "assessed" else _seen_in_part(building)
        self.where.setText(
            f"<b>Building {self.walk.position} of {len(self.walk)}</b>,"
            f" {self.walk.reviewed} reviewed"
        )
        self.said.setText(
            f"The model: <b>{TITLES.get(building.damage, building.damage)}</b>,"
            f" {100 * building.confidence:.0f} % sure{seen}<br>"
            + (_said(review) if review else "Not reviewed yet")
        )
        for damage, (button, bar) in self.rows.items():
            probability = building.probabilities.get(damage, 0.0)
            bar.setValue(round(1000 * probability))
            bar.setFormat(f"{100 * probability:.0f} %")
            button.setChecked(review is not None and review.reviewed_damage == damage)
        self.undo_button.setEnabled(self.walk.can_undo())

    def _show_place(self, building: Building) -> None:
        feature = self.layer.getFeature(building.feature_id)
        geometry = _transformed(feature.geometry(), self.layer.crs(), self.crs)
        for view in (self.before, self.after):
            view.outline(geometry)
        if geometry is None:
            self._say(f"building {building.building_id} is not in the layer any more")
            return
        extent = _around(geometry.boundingBox())
        self.before.canvas.setExtent(extent)
        self._link(self.before, self.after)
        self.before.canvas.refresh()
        self.after.canvas.refresh()
        if self.follow.isChecked():
            self._move_main_map(extent)

    def _move_main_map(self, extent: QgsRectangle) -> None:
        canvas = self.iface.mapCanvas()
        target = canvas.mapSettings().destinationCrs()
        box = _transformed(QgsGeometry.fromRect(extent), self.crs, target)
        if box is not None:
            canvas.setCenter(box.boundingBox().center())
            canvas.refresh()

    # What is written -------------------------------------------------------------------------

    def _write(self, building: Building, review: Review) -> None:
        """Write a review to the journal, then to the layer; say what fails."""
        path = output_path(self.layer)
        try:
            if path is not None:
                append_reviews(path, [review])
            if why_read_only(self.layer) is None:
                write_reviews(self.layer, {building.feature_id: review})
        except PluginError as error:
            self._say(str(error), Qgis.MessageLevel.Critical)

    def _say_if_read_only(self) -> None:
        why = why_read_only(self.layer)
        if why is not None:
            self._say(why, Qgis.MessageLevel.Warning)

    def _say(self, message: str, level: Any = Qgis.MessageLevel.Info) -> None:
        self.iface.messageBar().pushMessage("GeoDamage", message, level, 8)

    # Construction ----------------------------------------------------------------------------

    def _images(self, date: str) -> list[QgsRasterLayer]:
        return open_images(self.facts, date) if self.facts is not None else []

    def _build(self) -> None:
        for view in (self.before, self.after):
            view.canvas.setDestinationCrs(self.crs)
        inner = QWidget()
        inner.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._views = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._views.addWidget(self.before, 1)
        self._views.addWidget(self.after, 1)
        self._layout = QBoxLayout(QBoxLayout.Direction.LeftToRight, inner)
        self._layout.setContentsMargins(6, 4, 6, 6)
        self._layout.addLayout(self._views, 1)
        self._layout.addWidget(self._panel())
        self.setWidget(inner)
        self.setFocusProxy(inner)

    def _turn(self, area: Any) -> None:
        """Put views and panel side by side in a wide dock, one over the other in a high one."""
        sides = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea)
        high = area in sides
        directions = QBoxLayout.Direction
        for layout in (self._views, self._layout):
            layout.setDirection(directions.TopToBottom if high else directions.LeftToRight)

    def _panel(self) -> QWidget:
        panel = QWidget()
        panel.setMinimumWidth(300)
        panel.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        layout = QVBoxLayout(panel)
        layout.setContentsMargins(4, 0, 0, 0)
        self.where = QLabel()
        self.said = QLabel()
        self.said.setWordWrap(True)
        layout.addWidget(self.where)
        layout.addWidget(self.said)
        layout.addLayout(self._grades())
        layout.addLayout(self._steps())
        layout.addStretch(1)
        layout.addLayout(self._choices())
        return panel

    def _grades(self) -> QGridLayout:
        """Return a row for each grade: a button with its key, a bar with its probability."""
        grid = QGridLayout()
        grid.setVerticalSpacing(3)
        self.rows: dict[str, tuple[QPushButton, QProgressBar]] = {}
        for row, damage in enumerate(PROBABILITIES):
            button = _button(f"{CLASSES[damage]}  {TITLES[damage]}", f"Key {CLASSES[damage]}")
            button.setCheckable(True)
            button.setStyleSheet(_button_style(COLOURS[damage]))
            button.clicked.connect(lambda _checked=False, damage=damage: self.grade(damage))
            bar = QProgressBar()
            bar.setRange(0, 1000)
            bar.setStyleSheet(_bar_style(COLOURS[damage]))
            grid.addWidget(button, row, 0)
            grid.addWidget(bar, row, 1)
            self.rows[damage] = (button, bar)
        return grid

    def _steps(self) -> QHBoxLayout:
        self.previous_button = _button("◀", "Previous building (Left or P)")
        self.accept_button = _button("Accept  ⏎", "Accept the model's grade (Enter)")
        self.undo_button = _button("Undo", "Take back the last correction (Ctrl+Z or Backspace)")
        self.next_button = _button("▶", "Next building (Right or N)")
        self.previous_button.clicked.connect(lambda _checked=False: self.previous())
        self.accept_button.clicked.connect(lambda _checked=False: self.accept())
        self.undo_button.clicked.connect(lambda _checked=False: self.undo())
        self.next_button.clicked.connect(lambda _checked=False: self.next())
        row = QHBoxLayout()
        for button, stretch in (
            (self.previous_button, 0),
            (self.accept_button, 2),
            (self.undo_button, 1),
            (self.next_button, 0),
        ):
            row.addWidget(button, stretch)
        self.previous_button.setFixedWidth(36)
        self.next_button.setFixedWidth(36)
        return row

    def _choices(self) -> QFormLayout:
        self.skip = QCheckBox("Skip reviewed")
        self.skip.setChecked(True)
        self.follow = QCheckBox("Main map follows")
        self.follow.setChecked(True)
        for box in (self.skip, self.follow):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.reviewer = QLineEdit(_reviewer())
        self.reviewer.setPlaceholderText("your name, written with each correction")
        ticks = QHBoxLayout()
        ticks.addWidget(self.skip)
        ticks.addWidget(self.follow)
        form = QFormLayout()
        form.addRow(ticks)
        form.addRow("Reviewer", self.reviewer)
        return form

    def _connect(self) -> None:
        self._open = True
        self._linking = False
        self.before.canvas.extentsChanged.connect(self._link_after)
        self.after.canvas.extentsChanged.connect(self._link_before)
        self.skip.toggled.connect(self._set_skip)
        self.dockLocationChanged.connect(self._turn)
        self.reviewer.editingFinished.connect(self._keep_reviewer)
        self.layer.subsetStringChanged.connect(self.reload)
        QgsProject.instance().layersWillBeRemoved.connect(self._leave)
        QgsProject.instance().layersAdded.connect(self._fill_views)
        QgsProject.instance().layersRemoved.connect(self._fill_views)

    # Events ----------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the buildings again, after the layer's filter has changed."""
        skip = self.walk.skip_reviewed
        walk = Walk(read_buildings(self.layer), self.walk.reviews)
        if not len(walk):
            self._say("the layer's filter leaves no building to review", Qgis.MessageLevel.Warning)
            return
        self.walk = walk
        self.walk.skip_reviewed = skip
        self.show_building()

    def finish(self) -> None:
        """Let go of the layer and the images, and close; once is enough."""
        if self._open:
            self._open = False
            self._disconnect()
            for view in (self.before, self.after):
                view.outline(None)
                view.close_canvas()
        self.hide()

    def event(self, event: Any) -> bool:
        """Take the review's keys before shortcuts of the main window do."""
        if event.type() == QEvent.Type.ShortcutOverride and self._action(event) is not None:
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: Any) -> None:
        """Do what a key stands for."""
        action = self._action(event)
        if action is None:
            super().keyPressEvent(event)
            return
        event.accept()
        action()

    def closeEvent(self, event: Any) -> None:
        """Let go of the layers when the dock is closed by its cross."""
        self.finish()
        super().closeEvent(event)

    def _action(self, event: Any) -> Any:
        """Return what a key stands for; None where it is not ours."""
        key = event.key()
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if self.reviewer.hasFocus():
            return self.setFocus if key in ACCEPT_KEYS else None
        if modifiers == Qt.KeyboardModifier.ControlModifier:
            return self.undo if key == Qt.Key.Key_Z else None
        if modifiers != Qt.KeyboardModifier.NoModifier:
            return None
        if key in KEYS:
            return lambda: self.grade(KEYS[key])
        actions = (
            (ACCEPT_KEYS, self.accept),
            (NEXT_KEYS, self.next),
            (PREVIOUS_KEYS, self.previous),
            ((Qt.Key.Key_Backspace,), self.undo),
        )
        return next((action for keys, action in actions if key in keys), None)

    def _link_after(self) -> None:
        self._link(self.before, self.after)

    def _link_before(self) -> None:
        self._link(self.after, self.before)

    def _link(self, leader: DateView, follower: DateView) -> None:
        """Show in one view what the other shows: same centre, same scale."""
        if self._linking:
            return
        self._linking = True
        follower.canvas.setExtent(leader.canvas.extent())
        follower.canvas.refresh()
        self._linking = False

    def _set_skip(self, skip: bool) -> None:
        self.walk.skip_reviewed = skip

    def _keep_reviewer(self) -> None:
        QgsSettings().setValue(REVIEWER_SETTING, self.reviewer.text().strip())

    def _leave(self, layer_ids: Iterable[str]) -> None:
        """Close while the layer is still there, if it is among those that go."""
        if self.layer.id() in layer_ids:
            self.finish()

    def _fill_views(self, _layers: Iterable[Any]) -> None:
        for view in (self.before, self.after):
            view.fill()

    def _disconnect(self) -> None:
        self.layer.subsetStringChanged.disconnect(self.reload)
        QgsProject.instance().layersWillBeRemoved.disconnect(self._leave)
        QgsProject.instance().layersAdded.disconnect(self._fill_views)
        QgsProject.instance().layersRemoved.disconnect(self._fill_views)


def _facts(layer: QgsVectorLayer) -> Facts | None:
    """Return the sidecar's facts; None for a copy without a sidecar."""
    path = output_path(layer)
    try:
        return read_facts(path) if path is not None else None
    except PluginError:
        return None


def _reviewer() -> str:
    """Return who reviews: the name given before, else that of the account."""
    name = QgsSettings().value(REVIEWER_SETTING, "", type=str)
    return str(name or QgsApplication.userFullName() or QgsApplication.userLoginName())


def _transformed(
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


def _around(box: QgsRectangle) -> QgsRectangle:
    """Return a box with room for the neighbours."""
    return box.buffered(max(MARGIN, 0.8 * max(box.width(), box.height())))


def _seen_in_part(building: Building) -> str:
    reason = building.status_reason.replace("_", " ")
    return f", seen in part ({reason})" if reason else ", seen in part"


def _said(review: Review) -> str:
    title = TITLES[review.reviewed_damage] if review.reviewed_damage else ""
    by = f" by {review.reviewer}" if review.reviewer else ""
    return f"Reviewed{by}: <b>{title}</b>"


def _end(walk: Walk) -> str:
    if walk.reviewed == len(walk):
        return f"all {len(walk)} buildings are reviewed; untick Skip reviewed to see them again"
    return "that was the last building"


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    # Else Enter and Space would press the button that was clicked last.
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return button


def _button_style(colour: str) -> str:
    return (
        f"QPushButton {{ text-align: left; padding: 4px 8px; border: 1px solid #888;"
        f" border-left: 12px solid {colour}; }}"
        f"QPushButton:checked {{ background: {colour}; color: {_ink(colour)};"
        f" border: 2px solid #1a1a1a; border-left: 12px solid {colour}; font-weight: bold; }}"
        "QPushButton:hover { border-color: #1a1a1a; }"
    )


def _bar_style(colour: str) -> str:
    return (
        "QProgressBar { border: 1px solid #999; text-align: right; padding-right: 4px;"
        " background: palette(base); }"
        f"QProgressBar::chunk {{ background: {colour}; }}"
    )


def _ink(colour: str) -> str:
    """Return black or white, whichever reads better on a colour."""
    red, green, blue = QColor(colour).red(), QColor(colour).green(), QColor(colour).blue()
    # Source: ITU-R BT.601, luma.
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "#ffffff"
