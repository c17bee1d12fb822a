# SPDX-License-Identifier: GPL-2.0-or-later
"""The dialog *Assess building damage*: form, run, progress, log and summary."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsMessageLog,
    QgsProcessing,
    QgsProcessingContext,
    QgsProject,
    QgsRasterLayer,
    QgsReferencedRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMessageBar, QgsMessageBarItem
from qgis.PyQt.QtCore import Qt, QUrl
from qgis.PyQt.QtGui import QDesktopServices, QFontDatabase, QIcon
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from geodamage_qgis import settings
from geodamage_qgis.errors import PluginError
from geodamage_qgis.gui.background import Workers
from geodamage_qgis.gui.form import BESIDE, AssessForm
from geodamage_qgis.gui.task import AlgorithmTask, TaskFeedback
from geodamage_qgis.processing import parameters
from geodamage_qgis.processing.tool import ICON
from geodamage_qgis.program.exchange import ExportParameters, export_command
from geodamage_qgis.program.executable import ask
from geodamage_qgis.program.runner import Run
from geodamage_qgis.results import layers
from geodamage_qgis.translation import tr

LOG = "GeoDamage"
ALGORITHM = "geodamage:assess"

#: Colours of what is said in the log, legible on light and dark.
#: Colours of lines on a light and on a dark ground; each has a contrast of 4.5 or more to it.
_COLOURS = {
    "error": ("#c62828", "#ff8a80"), "warning": ("#8f5600", "#ffb74d"),
    "command": ("#54707d", "#90a4ae"), "detail": ("#54707d", "#90a4ae"),
}  # fmt: skip


class Windows(Protocol):
    """What opens the other windows."""

    def open_assistant(self) -> None:
        """Show the assistant that finds or installs the program."""

    def open_review(self, layer: Any = None) -> None:
        """Step through the buildings of a layer."""


class AssessDialog(QDialog):
    """Asks for an assessment, runs it beside QGIS and loads its result.

    It can be closed while it runs: the run goes on, and its end is told in QGIS's message bar.

    Parameters
    ----------
    iface
        The desktop.
    windows
        Opens the other windows.
    """

    def __init__(self, iface: Any, windows: Windows) -> None:
        super().__init__(iface.mainWindow())
        self._iface, self._windows = iface, windows
        self._task: AlgorithmTask | None = None
        self._lookers = Workers()
        self._setup: QgsMessageBarItem | None = None
        self._output = ""
        self._shapefile: str | None = None
        self._name: str | None = None
        # Messages that may have to go before somebody closes them, and where they are.
        self._told: list[tuple[QgsMessageBar, QgsMessageBarItem]] = []
        self.setWindowTitle(tr("Assess building damage"))
        self.setWindowIcon(QIcon(str(ICON)))
        self.bar = QgsMessageBar(self)
        self.bar.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self.form = AssessForm(iface.mapCanvas(), self)
        self.tabs = self._make_tabs()
        self.status = QLabel(self)
        self.progress = QProgressBar(self)
        self.progress.setRange(0, 1000)
        self._lay_out(self._make_buttons())
        self.resize(650, 740)
        QgsProject.instance().cleared.connect(self._forget)

    def _make_tabs(self) -> QTabWidget:
        self.log = QPlainTextEdit(self)
        self.log.setReadOnly(True)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.summary = QTextBrowser(self)
        self.summary.setOpenLinks(False)
        self.summary.anchorClicked.connect(self.open_link)
        tabs = QTabWidget(self)
        tabs.addTab(self.form, tr("Parameters"))
        tabs.addTab(self.log, tr("Log"))
        tabs.addTab(self.summary, tr("Summary"))
        tabs.setTabEnabled(2, False)
        return tabs

    def _make_buttons(self) -> QDialogButtonBox:
        box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        self.run_button = QPushButton(tr("Run"), self)
        self.run_button.setDefault(True)
        self.cancel_button = QPushButton(tr("Cancel"), self)
        self.cancel_button.setEnabled(False)
        box.addButton(self.run_button, QDialogButtonBox.ButtonRole.ActionRole)
        box.addButton(self.cancel_button, QDialogButtonBox.ButtonRole.ActionRole)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        box.rejected.connect(self.close)
        return box

    def _lay_out(self, buttons: QDialogButtonBox) -> None:
        layout = QVBoxLayout(self)
        for widget in (self.bar, self.tabs, self.status, self.progress, buttons):
            layout.addWidget(widget)
        layout.setStretchFactor(self.tabs, 1)

    # ------------------------------------------------------------------------- what a user does

    def showEvent(self, event: Any) -> None:
        """Fill in what can be known."""
        super().showEvent(event)
        self.form.guess()
        self.look_for_models()

    def run(self) -> None:
        """Start the assessment."""
        self._forget()
        try:
            values, self._shapefile = self.form.values(), self.form.shapefile()
            self._task = self._make_task(values)
        except PluginError as error:
            self._tell(error)
            return
        temporary = values["OUTPUT"] == QgsProcessing.TEMPORARY_OUTPUT
        self._name = tr("buildings (temporary)") if temporary else None
        settings.set_model(self.form.model.value())
        self._show_running(True)
        self.tabs.setCurrentWidget(self.log)
        self._say("stage", tr("Starting"))
        QgsApplication.taskManager().addTask(self._task)

    def cancel(self) -> None:
        """End the run; nothing is left of it."""
        if self._task is not None:
            self.status.setText(tr("Cancelling …"))
            self.cancel_button.setEnabled(False)
            self._task.cancel()

    def review(self, output: str) -> None:
        """Review a result, which is loaded again if its layer has gone, and give way to it."""
        try:
            layer = layers.find_layer(output) or layers.load_result(output)
        except PluginError as error:
            self._tell(error)
            return
        self._windows.open_review(layer)

    def shut_down(self) -> None:
        """Close for good: a run that goes on is ended, and nothing is told of it."""
        task, self._task = self._task, None
        self._lookers.forget()
        if task is not None:
            task.ended.disconnect(self._end)
            task.end()
        self._take_back()
        self.close()
        self.deleteLater()

    def look_for_models(self) -> None:
        """Offer the models of the program, as soon as it has named them."""
        self._lookers.forget()
        self._lookers.begin(_list_models, succeeded=self._offer_models, failed=self._tell_setup)

    # -------------------------------------------------------------------------- what comes of it

    def _make_task(self, values: dict[str, Any]) -> AlgorithmTask:
        algorithm = QgsApplication.processingRegistry().algorithmById(ALGORITHM)
        if algorithm is None:
            raise PluginError(tr("the algorithms of the plugin are missing; load the plugin again"))
        # Both belong to the task, which outlives this method.
        self._context, self._feedback = QgsProcessingContext(), TaskFeedback()
        self._context.setProject(QgsProject.instance())
        self._feedback.said.connect(self._say)
        self._feedback.progressChanged.connect(self._show_progress)
        task = AlgorithmTask(algorithm, values, self._context, self._feedback)
        task.ended.connect(self._end)
        return task

    def _forget(self) -> None:
        """Show nothing of a run before, or of another project."""
        self._take_back()
        if self._task is not None:
            return
        self.log.clear()
        self.summary.clear()
        self.tabs.setTabEnabled(2, False)
        self.status.clear()
        self.progress.setValue(0)

    def _take_back(self) -> None:
        """Take back the messages that are still shown."""
        told, self._told = self._told, []
        for bar, item in told:
            if item in bar.items():
                bar.popWidget(item)

    def _offer_models(self, entries: list[dict[str, Any]]) -> None:
        self._take_back_setup()
        self.form.model.set_bundled(entries)
        settings.set_models([str(entry["name"]) for entry in entries if entry.get("name")])
        last = settings.model()
        if last and self.form.model.value() is None and self._knows(last):
            self.form.model.set_value(last)

    def _knows(self, model: str) -> bool:
        return self.form.model.models.findData(model) >= 0 or Path(model).is_file()

    def _tell_setup(self, error: PluginError) -> None:
        """Say that there is no program that works, and offer to set one up."""
        self._take_back_setup()
        self.form.model.set_bundled([])
        setup = (tr("Set up…"), self._windows.open_assistant)
        self._setup = self._push(_capital(str(error)), Qgis.MessageLevel.Warning, setup)

    def _take_back_setup(self) -> None:
        """Take back what was said of a program that did not work."""
        item, self._setup = self._setup, None
        if item is not None and item in self.bar.items():
            self.bar.popWidget(item)

    def _end(self, succeeded: bool) -> None:
        task, self._task = self._task, None
        self._show_running(False)
        if succeeded and task is not None:
            self._take_result(task.results)
        elif task is not None and task.error:
            self.status.setText(tr("Failed"))
            self._say("error", task.error)
            self._tell(PluginError(task.error))
        else:
            self.progress.setValue(0)
            self.status.setText(tr("Cancelled; nothing was written"))

    def _take_result(self, results: dict[str, Any]) -> None:
        self.progress.setValue(self.progress.maximum())
        counts = tr("{buildings} buildings, {damaged} of them damaged").format(
            buildings=f"{results['BUILDINGS']:,}", damaged=f"{results['DAMAGED']:,}"
        )
        self.status.setText(counts)
        self._output = results["OUTPUT"]
        try:
            layer = layers.load_result(self._output, name=self._name)
            self.summary.setHtml(layers.summary_html(self._output, self._written(results)))
        except PluginError as error:
            self._tell(error)
            return
        self.tabs.setTabEnabled(2, True)
        self._iface.setActiveLayer(layer)
        self._zoom_to(layer)
        self._tell_success(counts)
        if self._shapefile is not None:
            self._hand_on(self._shapefile)

    def _hand_on(self, shapefile: str) -> None:
        """Write the Shapefile that was asked for, of the result, beside QGIS."""
        self._say("stage", tr("Writing {file}", file=shapefile))
        overwrite = self.form.overwrite.isChecked()
        self._lookers.begin(
            partial(_export, self._output, shapefile, overwrite),
            succeeded=partial(self._handed_on, shapefile),
            failed=self._tell,
        )

    def _handed_on(self, shapefile: str, _: None) -> None:
        """Say where the Shapefile is, and why the layer on the map is another file."""
        text = tr(
            "{shapefile} is written; the map shows {result}, which has all fields and can be "
            "reviewed",
            shapefile=Path(shapefile).name,
            result=Path(self._output).name,
        )
        self._say("stage", text)
        # It would cover what the run came to, and the way to the review.
        if not self.isVisible():
            self._push(text, Qgis.MessageLevel.Info)

    def _written(self, results: dict[str, Any]) -> dict[str, str]:
        """Return what was written beside the result and can be opened, by title."""
        return {
            tr(title): results[name]
            for name, title, _ in BESIDE
            if results.get(name) and name != parameters.FEATURES
        }

    def _zoom_to(self, layer: QgsVectorLayer) -> None:
        """Show all of a result on the map."""
        if not layer.extent().isEmpty():
            canvas = self._iface.mapCanvas()
            canvas.setReferencedExtent(QgsReferencedRectangle(layer.extent(), layer.crs()))
            canvas.refresh()

    def open_link(self, link: QUrl) -> None:
        """Open what the summary links to: a raster as a layer, a page in the browser."""
        path = Path(link.toLocalFile())
        if path.suffix.lower() == ".tif":
            image = QgsRasterLayer(str(path), path.stem)
            if image.isValid():
                QgsProject.instance().addMapLayer(image)
            else:
                why = tr("QGIS cannot open {path}; it may have been moved", path=path)
                self._tell(PluginError(why))
        elif not QDesktopServices.openUrl(link):
            why = tr("{path} cannot be opened; open it in a browser by hand", path=path)
            self._tell(PluginError(why))

    def _tell_success(self, text: str) -> None:
        summary = (tr("Summary"), partial(self._show_tab, 2))
        # The layer may be gone when somebody presses the button.
        review = (tr("Review"), partial(self.review, self._output))
        self._push(text, Qgis.MessageLevel.Success, summary, review)

    def _tell(self, error: PluginError) -> None:
        """Show an error's line in the message bar, and its details in the log."""
        self._push(_capital(str(error)), Qgis.MessageLevel.Critical)
        if error.details:
            self._say("detail", error.details)
        QgsMessageLog.logMessage(str(error), LOG, Qgis.MessageLevel.Critical, False)

    def _push(
        self, text: str, level: Any, *buttons: tuple[str, Callable[[], None]]
    ) -> QgsMessageBarItem:
        """Show a message in the bar that is seen: QGIS's where the dialog is closed."""
        bar = self.bar if self.isVisible() else self._iface.messageBar()
        row = QWidget(bar)
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        # Two lines of a bar's own text are cut in half, and an error is often longer than one.
        label = QLabel(text, row)
        label.setWordWrap(True)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        width = max(bar.width() - 130 - 100 * len(buttons), 200)
        label.setMinimumHeight(label.heightForWidth(width))
        layout.addWidget(label, 1)
        for title, slot in buttons:
            button = QPushButton(title, row)
            button.clicked.connect(lambda checked=False, slot=slot: slot())
            layout.addWidget(button)
        item = QgsMessageBarItem(row, level)
        item.setProperty("text", text)
        bar.pushWidget(item, level)
        self._told.append((bar, item))
        return item

    def _say(self, kind: str, text: str) -> None:
        """Show what the run says; QGIS's log panel has it, too."""
        cancelled = self._task is not None and self._task.isCanceled()
        if kind == "stage" and not cancelled:
            self.status.setText(text)
        level = Qgis.MessageLevel.Warning if kind == "warning" else Qgis.MessageLevel.Info
        # Errors are logged with their message; a stage is no news.
        if kind not in ("stage", "error"):
            QgsMessageLog.logMessage(text, LOG, level, False)
        lines = html.escape(text).replace("\n", "<br>")
        is_dark = self.log.palette().base().color().lightness() < 128
        colour = _COLOURS[kind][is_dark] if kind in _COLOURS else None
        self.log.appendHtml(f'<span style="color:{colour}">{lines}</span>' if colour else lines)

    def _show_progress(self, percent: float) -> None:
        self.progress.setValue(round(10 * percent))

    def _show_running(self, running: bool) -> None:
        self.form.setEnabled(not running)
        self.run_button.setEnabled(not running)
        self.cancel_button.setEnabled(running)
        self.progress.setValue(0)

    def _show_tab(self, number: int) -> None:
        self.show()
        self.tabs.setCurrentIndex(number)


def _list_models() -> list[dict[str, Any]]:
    """Return the models that came with the program; it takes a second."""
    program = settings.find().path
    answer = ask([str(program), "models", "list", "--json"])
    try:
        return list(json.loads(answer))
    except ValueError as error:
        why = tr("{program} does not name its models; update it", program=program)
        raise PluginError(why, answer) from error


def _export(result: str, output: str, overwrite: bool) -> None:
    """Write a result in another format."""
    asked = ExportParameters(result, output, overwrite=overwrite)
    Run(export_command(str(settings.find().path), asked)).result().check()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
