# SPDX-License-Identifier: GPL-2.0-or-later
"""The review: buildings one by one, least certain first, with both dates side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qgis.core import (
    Qgis,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QEvent, Qt
from qgis.PyQt.QtWidgets import (
    QBoxLayout,
    QDockWidget,
    QTabWidget,
    QWidget,
)

from geodamage_qgis.errors import PluginError
from geodamage_qgis.results.journal import NO_BUILDING, UNCLEAR, Review, append_reviews
from geodamage_qgis.results.layers import refresh, working_crs
from geodamage_qgis.results.results import file_stamp, is_result, output_path
from geodamage_qgis.results.reviews import (
    find_feature,
    now,
    restore,
    why_read_only,
    write_reviews,
)
from geodamage_qgis.review.buildings import is_sample, read_buildings
from geodamage_qgis.review.event import EventPanel
from geodamage_qgis.review.panel import ReviewPanel
from geodamage_qgis.review.samples import (
    facts_of,
    hide_results,
    images_of,
    results_of,
    show_layers,
)
from geodamage_qgis.review.view import DateView, around, transformed
from geodamage_qgis.review.walk import Building, Walk
from geodamage_qgis.translation import tr

KEYS = {
    Qt.Key.Key_1: "no-damage",
    Qt.Key.Key_2: "minor-damage",
    Qt.Key.Key_3: "major-damage",
    Qt.Key.Key_4: "destroyed",
    Qt.Key.Key_X: NO_BUILDING,
    Qt.Key.Key_U: UNCLEAR,
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
        tr("choose the layer to review in the layer panel: a result of geodamage")
        if results
        else tr("there is no result to review in the project; assess a pair or load a result first")
    )


class ReviewDock(QDockWidget):
    """A dock that steps through the buildings of a result.

    The caller begins it. Corrections go to the journal beside the result and to fields of the layer
    as they are made; closing loses nothing. A result that is replaced meanwhile is read again, and
    a building is found in it by its `building_id`, for its feature may have another number.

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
        super().__init__(
            tr("Review building damage: {layer}", layer=layer.name()), iface.mainWindow()
        )
        self.setObjectName("GeodamageReview")
        self.iface = iface
        self.layer = layer
        self.facts = facts_of(layer)
        self.crs = working_crs(self.facts, layer)
        self.walk = Walk(read_buildings(layer), restore(layer), blind=is_sample(layer))
        self._stamp = file_stamp(layer)
        if not len(self.walk):
            raise PluginError(_nothing_in(layer))
        self.before = DateView(tr("Before"), self._images("pre"))
        self.after = DateView(tr("After"), self._images("post"))
        self.panel = ReviewPanel()
        # The map would show what the model says, and lead.
        self._hidden = hide_results(results_of(layer)) if self.walk.blind else []
        self.steps = EventPanel(results_of(layer), output_path(layer), in_sample=self.walk.blind)
        self._build()
        self._connect()
        self.show_building()
        self._say_if_read_only()

    def begin(self) -> None:
        """Add the dock to the main window, in front and with the keys."""
        self.iface.addDockWidget(self.AREA, self)
        self.show()
        self.raise_()
        self.window().activateWindow()
        self.take_keys()

    def take_keys(self) -> None:
        """Let the review hear the keys."""
        self.widget().setFocus(Qt.FocusReason.OtherFocusReason)

    # What a person does ----------------------------------------------------------------------

    def grade(self, damage: str) -> None:
        """Give the current building a grade, write it down, and go to the next."""
        building = self.walk.current
        if building is None:
            return
        review = Review(building.building_id, damage, self.panel.reviewer.text().strip(), now())
        self.walk.say(review)
        self._write(building, review)
        self.next()

    def accept(self) -> None:
        """Accept the model's grade of the current building, and go to the next.

        In a sample nobody has seen it.
        """
        if self.walk.current is not None and not self.walk.blind:
            self.grade(self.walk.current.damage)

    def next(self) -> None:
        """Go to the next building that is to be reviewed."""
        if not self.walk.next():
            self._say(_last_words(self.walk))
            if self.walk.blind and self.walk.reviewed == len(self.walk):
                self.tabs.setCurrentWidget(self.steps)
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
        self._write(
            step.building, step.before or Review(name, None, self.panel.reviewer.text(), now())
        )
        self.show_building()

    # What is shown ---------------------------------------------------------------------------

    def show_building(self) -> None:
        """Show the current building in the views and the panel."""
        building = self.walk.current
        if building is None:
            return
        self.panel.show_building(self.walk, building)
        self.steps.show_progress(self.walk)
        self._show_place(building)

    def _show_place(self, building: Building) -> None:
        feature = find_feature(self.layer, building.building_id, near=building.feature_id)
        geometry = None
        if feature is not None:
            geometry = transformed(feature.geometry(), self.layer.crs(), self.crs)
        for view in (self.before, self.after):
            view.outline(geometry)
        if geometry is None:
            name = building.building_id
            self._say(tr("building {building} is not in the layer any more", building=name))
            return
        extent = around(geometry.boundingBox())
        self.before.canvas.setExtent(extent)
        self._link(self.before, self.after)
        self.before.canvas.refresh()
        self.after.canvas.refresh()
        if self.panel.follow.isChecked():
            self._move_main_map(extent)

    def _move_main_map(self, extent: QgsRectangle) -> None:
        canvas = self.iface.mapCanvas()
        target = canvas.mapSettings().destinationCrs()
        box = transformed(QgsGeometry.fromRect(extent), self.crs, target)
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
            if file_stamp(self.layer) != self._stamp:
                refresh(self.layer)  # the journal's corrections come with it
            elif why_read_only(self.layer) is None:
                self._write_to_layer(building, review)
        except PluginError as error:
            self._say(str(error), Qgis.MessageLevel.Critical)

    def _write_to_layer(self, building: Building, review: Review) -> None:
        feature = find_feature(self.layer, building.building_id, near=building.feature_id)
        if feature is None:
            raise PluginError(
                tr(
                    "building {building} is not in {layer} any more; the correction is in the "
                    "journal",
                    building=building.building_id,
                    layer=self.layer.name(),
                )
            )
        write_reviews(self.layer, {feature.id(): review})
        # Some formats are written as a new file.
        self._stamp = file_stamp(self.layer)

    def _say_if_read_only(self) -> None:
        why = why_read_only(self.layer)
        if why is not None:
            self._say(why, Qgis.MessageLevel.Warning)

    def _say(self, message: str, level: Any = Qgis.MessageLevel.Info) -> None:
        self.iface.messageBar().pushMessage("GeoDamage", message, level, 8)

    # Construction ----------------------------------------------------------------------------

    def _images(self, date: str) -> list[QgsRasterLayer]:
        return images_of(self.layer, date)

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
        self._layout.addWidget(self._tabs())
        self.setWidget(inner)
        self.setFocusProxy(inner)

    def _tabs(self) -> QTabWidget:
        """Return the panels of the building and of the event, of which one is shown."""
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.panel, tr("Building"))
        self.tabs.addTab(self.steps, tr("This event"))
        # Else a click would take the keys.
        for widget in (self.tabs, self.tabs.tabBar()):
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return self.tabs

    def _turn(self, area: Any) -> None:
        """Put views and panel side by side in a wide dock, one over the other in a high one."""
        sides = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea)
        high = area in sides
        directions = QBoxLayout.Direction
        for layout in (self._views, self._layout):
            layout.setDirection(directions.TopToBottom if high else directions.LeftToRight)

    def _connect(self) -> None:
        self._open = True
        self._linking = False
        self.before.canvas.extentsChanged.connect(self._link_after)
        self.after.canvas.extentsChanged.connect(self._link_before)
        self.panel.graded.connect(self.grade)
        self.panel.accepted.connect(self.accept)
        self.panel.undone.connect(self.undo)
        self.panel.next.connect(self.next)
        self.panel.previous.connect(self.previous)
        self.panel.skip.toggled.connect(self._set_skip)
        self.dockLocationChanged.connect(self._turn)
        for view in (self.before, self.after):
            view.choice.activated.connect(lambda _index: self.take_keys())
            # These take keys for themselves when they have been clicked.
            for widget in (view.canvas, view.canvas.viewport(), view.choice):
                widget.installEventFilter(self)
        self.layer.subsetStringChanged.connect(self.refilter)
        self.layer.dataSourceChanged.connect(self.reload)
        QgsProject.instance().layersWillBeRemoved.connect(self._leave)
        QgsProject.instance().layersAdded.connect(self._fill_views)
        QgsProject.instance().layersRemoved.connect(self._fill_views)

    # Events ----------------------------------------------------------------------------------

    def refilter(self) -> None:
        """Read the buildings again, after the layer's filter has changed."""
        if not self._take(self.walk.reviews):
            why = tr("the layer's filter leaves no building to review")
            self._say(why, Qgis.MessageLevel.Warning)

    def reload(self) -> None:
        """Read everything again, after the layer's source has changed or was replaced."""
        if not is_result(self.layer):
            name = self.layer.name()
            self._end(tr("layer {layer} is no result of geodamage any more", layer=name))
            return
        self._stamp = file_stamp(self.layer)
        self.facts = facts_of(self.layer)
        self.crs = working_crs(self.facts, self.layer)
        for view, date in ((self.before, "pre"), (self.after, "post")):
            view.canvas.setDestinationCrs(self.crs)
            view.set_images(self._images(date))
        try:
            reviews = restore(self.layer)
        except PluginError as error:
            self._say(str(error), Qgis.MessageLevel.Critical)
            reviews = self.walk.reviews
        if not self._take(reviews):
            self._end(_nothing_in(self.layer))

    def _take(self, reviews: Mapping[str, Review]) -> bool:
        """Walk through the layer's buildings as they are now; return whether there are any."""
        walk = Walk(read_buildings(self.layer), reviews, blind=self.walk.blind)
        if not len(walk):
            return False
        walk.skip_reviewed = self.walk.skip_reviewed
        if self.walk.current is not None:
            walk.go_to(self.walk.current.building_id)
        self.walk = walk
        self.show_building()
        return True

    def _end(self, why: str) -> None:
        self._say(tr("{why}; the review is closed", why=why), Qgis.MessageLevel.Warning)
        self.finish()

    def finish(self) -> None:
        """Let go of the layer and the images, and close; once is enough."""
        if self._open:
            self._open = False
            self.steps.finish()
            self._disconnect()
            show_layers(self._hidden)
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

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Take the review's keys before a view or its list of images does."""
        action = self._action(event) if event.type() == QEvent.Type.KeyPress else None
        if action is None:
            return bool(super().eventFilter(watched, event))
        action()
        return True

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
        if self.steps.number.hasFocus():
            return self.take_keys if key in ACCEPT_KEYS else None
        if self.panel.reviewer.hasFocus():
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

    def _leave(self, layer_ids: Iterable[str]) -> None:
        """Close while the layer is still there, if it is among those that go."""
        if self.layer.id() in layer_ids:
            self.finish()

    def _fill_views(self, _layers: Iterable[Any]) -> None:
        for view in (self.before, self.after):
            view.fill()

    def _disconnect(self) -> None:
        self.layer.subsetStringChanged.disconnect(self.refilter)
        self.layer.dataSourceChanged.disconnect(self.reload)
        QgsProject.instance().layersWillBeRemoved.disconnect(self._leave)
        QgsProject.instance().layersAdded.disconnect(self._fill_views)
        QgsProject.instance().layersRemoved.disconnect(self._fill_views)


def _nothing_in(layer: QgsVectorLayer) -> str:
    return tr("layer {layer} shows no building that was assessed", layer=layer.name())


def _last_words(walk: Walk) -> str:
    if walk.blind and walk.reviewed == len(walk):
        return tr(
            "all {count} buildings are answered; estimate the totals, or learn from them",
            count=len(walk),
        )
    if walk.reviewed == len(walk):
        return tr(
            "all {count} buildings are reviewed; untick Skip reviewed to see them again",
            count=len(walk),
        )
    return tr("that was the last building")
