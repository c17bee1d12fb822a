# SPDX-License-Identifier: GPL-2.0-or-later
"""An algorithm of the plugin as a task beside the interface, for the dialog."""

from __future__ import annotations

import threading
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsTask,
)
from qgis.PyQt.QtCore import pyqtSignal

from geodamage_qgis.errors import PluginError
from geodamage_qgis.gui.background import wait_until
from geodamage_qgis.translation import tr


class TaskFeedback(QgsProcessingFeedback):
    """Hands on by signals what an algorithm says in its thread.

    Attributes
    ----------
    said
        Kind (`stage`, `message`, `warning`, `error`, `command` or `detail`) and text.
    last_error
        What was said last of an error.
    """

    said = pyqtSignal(str, str)

    def __init__(self) -> None:
        super().__init__(False)
        self.last_error = ""

    def setProgressText(self, text: str) -> None:
        """Say what is going on."""
        self.said.emit("stage", text)

    def pushInfo(self, text: str) -> None:
        """Say something."""
        self.said.emit("message", text)

    def pushWarning(self, text: str) -> None:
        """Say what may be wrong."""
        self.said.emit("warning", text)

    def pushCommandInfo(self, text: str) -> None:
        """Say which command is run."""
        self.said.emit("command", text)

    def pushDebugInfo(self, text: str) -> None:
        """Say what few people want to know."""
        self.said.emit("detail", text)

    def pushConsoleInfo(self, text: str) -> None:
        """Say what a program said."""
        self.said.emit("detail", text)

    def reportError(self, error: str, fatalError: bool = False) -> None:
        """Say what failed."""
        self.last_error = error
        self.said.emit("error", error)


class AlgorithmTask(QgsTask):
    """Runs an algorithm in its own thread.

    Parameters
    ----------
    algorithm
        As the registry has it; the task makes its own.
    values
        Its parameters.
    context
        With the project.
    feedback
        Hears of everything.

    Attributes
    ----------
    ended
        Emitted in the main thread at the end: whether there is a result.
    results
        Outputs of the algorithm.
    error
        Why it failed, in one line; empty where it did not, or was cancelled.

    Raises
    ------
    PluginError
        If the parameters cannot be used.
    """

    ended = pyqtSignal(bool)

    def __init__(
        self,
        algorithm: QgsProcessingAlgorithm,
        values: dict[str, Any],
        context: QgsProcessingContext,
        feedback: TaskFeedback,
    ) -> None:
        super().__init__(algorithm.displayName(), QgsTask.Flag.CanCancel)
        self.results: dict[str, Any] = {}
        self.error = ""
        self._values, self._context, self._feedback = values, context, feedback
        self._algorithm = algorithm.create()
        self._over = threading.Event()
        self._prepare()
        feedback.progressChanged.connect(self.setProgress)

    def _prepare(self) -> None:
        for possible, why in (
            self._algorithm.canExecute(),
            self._algorithm.checkParameterValues(self._values, self._context),
        ):
            if not possible:
                raise PluginError(why)
        try:
            prepared = self._algorithm.prepare(self._values, self._context, self._feedback)
        except QgsProcessingException as error:
            raise PluginError(str(error)) from error
        if not prepared:
            raise PluginError(
                self._feedback.last_error or tr("the layers cannot be used; see the log")
            )

    def run(self) -> bool:
        """Run the algorithm; QGIS calls this in another thread."""
        try:
            return self._run()
        finally:
            self._over.set()

    def end(self) -> None:
        """Cancel, and wait until nothing of it runs any more."""
        self.cancel()
        over = (QgsTask.TaskStatus.Complete, QgsTask.TaskStatus.Terminated)
        wait_until(lambda: self._over.is_set() or self.status() in over)

    def _run(self) -> bool:
        try:
            self.results = self._algorithm.runPrepared(self._values, self._context, self._feedback)
        except QgsProcessingException as error:
            self.error = str(error)
            return False
        return not self._feedback.isCanceled()

    def cancel(self) -> None:
        """End the work; the program is asked to tidy up behind itself."""
        self._feedback.cancel()
        super().cancel()

    def finished(self, result: bool) -> None:
        """Tell the main thread; QGIS calls this in it."""
        if result:
            self._algorithm.postProcess(self._context, self._feedback)
        elif not self.error and not self._feedback.isCanceled():
            self.error = self._feedback.last_error or tr("an internal error; see QGIS's Python log")
        self.ended.emit(result)
