# SPDX-License-Identifier: GPL-2.0-or-later
"""A program followed to its end: what it says goes to a feedback, which can cancel it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from qgis.core import (
    QgsProcessingFeedback,
)
from qgis.PyQt.QtCore import Qt

from geodamage_qgis.errors import CancelledError, PluginError
from geodamage_qgis.program.events import Event
from geodamage_qgis.program.runner import Outcome, Run

#: Seconds between two lines that say the same stage of a work.
LINE_EVERY = 10.0


def follow(run: Run, feedback: QgsProcessingFeedback) -> Outcome:
    """Run a program to its end, tell a feedback how it goes, and end it when that is cancelled.

    Raises
    ------
    CancelledError
        If it was cancelled.
    PluginError
        If it failed; the message is its one line.
    """
    # The signal comes from the main thread, and this one has no event loop to hear it by.
    feedback.canceled.connect(run.cancel, Qt.ConnectionType.DirectConnection)
    if feedback.isCanceled():
        run.cancel()
    teller = Teller(feedback)
    try:
        with _heeding_signals(run):
            for event in run:
                teller.tell(event)
    finally:
        feedback.canceled.disconnect(run.cancel)
    try:
        return run.result().check()
    except CancelledError:
        raise
    except PluginError as error:
        raise PluginError(str(error)) from error  # its details have been told, line by line


@contextmanager
def _heeding_signals(run: Run) -> Iterator[None]:
    """End a program by Ctrl-C and SIGTERM where its thread hears them: in `qgis_process`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: run.cancel()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for one that was not set from Python, and cannot be put back by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class Teller:
    """Says in a feedback what a program says.

    Parameters
    ----------
    feedback
        Of the algorithm.
    """

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback
        self._stage, self._said = "", 0.0

    def tell(self, event: Event) -> None:
        """Say what an event says."""
        if event.fraction is not None:
            self._feedback.setProgress(100 * event.fraction)
        if event.kind == "progress":
            self._tell_stage(event.text)
        elif event.kind == "warning":
            self._feedback.pushWarning(event.text)
        elif event.kind != "error":  # which is raised at the end
            self._feedback.pushInfo(event.text)

    def _tell_stage(self, text: str) -> None:
        stage, now = text.partition(":")[0], time.monotonic()
        if stage != self._stage or now - self._said >= LINE_EVERY:
            self._stage, self._said = stage, now
            self._feedback.setProgressText(text)
