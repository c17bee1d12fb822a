# SPDX-License-Identifier: GPL-2.0-or-later
"""What QGIS loads: the provider, a toolbar button, a menu, and the windows behind them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsApplication, QgsMessageLog
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction, QFileDialog

from geodamage_qgis.errors import PluginError
from geodamage_qgis.gui.background import end_all
from geodamage_qgis.processing.provider import GeodamageProvider
from geodamage_qgis.translation import tr, use

MENU = "GeoDamage"
ICON = Path(__file__).parent / "icon.svg"


class GeodamagePlugin:
    """The plugin.

    Parameters
    ----------
    iface
        The desktop; None where there is none, as in `qgis_process`.
    """

    def __init__(self, iface: Any) -> None:
        use(str(QgsApplication.locale()))
        self.iface = iface
        self.provider: GeodamageProvider | None = None
        self.dialog: Any = None
        self.review: Any = None
        self.assistant: Any = None
        self.diagnostics: Any = None
        self.algorithm: Any = None
        self.actions: list[QAction] = []

    def initProcessing(self) -> None:
        """Add the provider; all that `qgis_process` asks for."""
        self.provider = GeodamageProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add the provider, the button and the menu."""
        self.initProcessing()
        entries: list[tuple[str, Callable[[], None]]] = [
            (tr("Assess building damage…"), self.open_dialog),
            (tr("Open a result…"), self.open_result),
            (tr("Review the active layer"), self.open_review),
            (tr("Export a result…"), lambda: self.open_algorithm("export", "RESULT")),
            (
                tr("Compare with an official layer…"),
                lambda: self.open_algorithm("compare", "RESULT"),
            ),
            (tr("Merge results into an event…"), lambda: self.open_algorithm("event", "RESULTS")),
            (tr("Import a model…"), lambda: self.open_algorithm("import")),
            (tr("Set up…"), self.open_assistant),
            (tr("Diagnostics…"), self.open_diagnostics),
        ]
        for title, slot in entries:
            self._add(title, slot)
        self.actions[0].setIcon(QIcon(str(ICON)))
        self.iface.addToolBarIcon(self.actions[0])

    def unload(self) -> None:
        """Take everything away again; a run that goes on is ended."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        if self.iface is None:
            return
        if self.actions:
            self.iface.removeToolBarIcon(self.actions[0])
        for action in self.actions:
            self.iface.removePluginRasterMenu(MENU, action)
            action.deleteLater()
        self.actions = []
        self._close_windows()
        end_all()

    def open_dialog(self) -> None:
        """Show the dialog, as it was left."""
        if self.dialog is None:
            from geodamage_qgis.gui.dialog import AssessDialog

            self.dialog = AssessDialog(self.iface, self)
        _raise(self.dialog)

    def open_result(self) -> None:
        """Ask for a result and load it."""
        window = self.iface.mainWindow()
        kinds = tr("Results") + " (*.gpkg *.geojson *.geojsonl *.fgb *.parquet)"
        path, _ = QFileDialog.getOpenFileName(window, tr("Open a result"), "", kinds)
        if path:
            with self.telling_errors():
                from geodamage_qgis.results.layers import load_result

                self.iface.setActiveLayer(load_result(path))

    def open_review(self, layer: Any = None) -> None:
        """Step through the buildings of a layer: the active one, or the only result, unless given.

        The dialog gives way to it.
        """
        with self.telling_errors():
            from geodamage_qgis.review.dock import ReviewDock, reviewable_layer

            layer = reviewable_layer(layer or self.iface.activeLayer())
            self._close_review()
            self.review = ReviewDock(self.iface, layer)
            self.review.steps.drawn.connect(self.open_sample)
            self.review.steps.regraded.connect(self.show_results)
            if self.dialog is not None:
                self.dialog.close()
            self.review.begin()

    def open_sample(self, path: str) -> None:
        """Look at the buildings of a sample."""
        with self.telling_errors():
            from geodamage_qgis.review.samples import load_sample

            layer = load_sample(path)
            self.iface.setActiveLayer(layer)
            self.open_review(layer)

    def show_results(self, paths: list[str]) -> None:
        """Load results that were made in the review."""
        with self.telling_errors():
            from geodamage_qgis.results.layers import load_result

            for path in paths:
                load_result(path)

    def open_algorithm(self, name: str, takes: str | None = None) -> None:
        """Show the window of one of the algorithms.

        Parameters
        ----------
        name
            Of the algorithm, without the provider's.
        takes
            Parameter that takes results: it is filled with the active layer if that is one.
        """
        from geodamage_qgis.results.layers import is_result

        given = {}
        layer = self.iface.activeLayer()
        if takes is not None and is_result(layer):
            given[takes] = [layer] if takes == "RESULTS" else layer
        with self.telling_errors():
            self.algorithm = _algorithm_dialog(f"geodamage:{name}", given)
            _raise(self.algorithm)

    def open_assistant(self) -> None:
        """Show the assistant that finds or installs the program."""
        if self.assistant is None:
            from geodamage_qgis.gui.assistant import Assistant

            self.assistant = Assistant(self.iface.mainWindow())
            self.assistant.changed.connect(self._refresh)
            self.assistant.finished.connect(self._forget_assistant)
        _raise(self.assistant)

    def open_diagnostics(self) -> None:
        """Show what was found, and what runs."""
        if self.diagnostics is None:
            from geodamage_qgis.gui.diagnostics_page import DiagnosticsPage

            self.diagnostics = DiagnosticsPage(self.iface.mainWindow())
            self.diagnostics.finished.connect(self._forget_diagnostics)
        _raise(self.diagnostics)

    def _refresh(self) -> None:
        """Let the dialog look at the program that is used from now on."""
        if self.dialog is not None:
            self.dialog.look_for_models()

    def _forget_assistant(self) -> None:
        self.assistant = None

    def _forget_diagnostics(self) -> None:
        self.diagnostics = None

    @contextlib.contextmanager
    def telling_errors(self) -> Any:
        """Show an error's one line in the message bar, and its details in the log."""
        try:
            yield
        except PluginError as error:
            self.iface.messageBar().pushMessage(MENU, str(error), Qgis.MessageLevel.Warning)
            if error.details:
                QgsMessageLog.logMessage(error.details, MENU, Qgis.MessageLevel.Warning)

    def _add(self, title: str, slot: Callable[[], None]) -> None:
        action = QAction(title, self.iface.mainWindow())
        # `triggered` says whether the action is checked, which is no layer to review.
        action.triggered.connect(lambda checked=False: slot())
        self.iface.addPluginToRasterMenu(MENU, action)
        self.actions.append(action)

    def _close_windows(self) -> None:
        for window in (self.assistant, self.diagnostics, self.algorithm):
            # QGIS deletes the window of an algorithm when it is closed.
            with contextlib.suppress(RuntimeError):
                if window is not None:
                    window.close()
        self.algorithm = None
        if self.dialog is not None:
            self.dialog.shut_down()
            self.dialog = None
        self._close_review()

    def _close_review(self) -> None:
        if self.review is not None:
            self.iface.removeDockWidget(self.review)
            self.review.close()
            self.review.deleteLater()
            self.review = None


def _algorithm_dialog(name: str, given: dict[str, Any]) -> Any:
    """Return the window of an algorithm, with some of its parameters filled in."""
    try:
        import processing
    except ImportError as error:
        why = tr("QGIS's own plugin Processing is off; switch it on in the plugin manager")
        raise PluginError(why) from error
    return processing.createAlgorithmDialog(name, given)


def _raise(window: Any) -> None:
    window.show()
    window.raise_()
    window.activateWindow()
