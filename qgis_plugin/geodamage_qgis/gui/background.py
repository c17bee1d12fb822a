# SPDX-License-Identifier: GPL-2.0-or-later
"""Work of the plugin's windows in threads of its own, so that QGIS never waits for it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from qgis.PyQt.QtCore import QCoreApplication, QEventLoop, QThread, pyqtSignal

from geodamage_qgis.errors import PluginError
from geodamage_qgis.translation import tr

#: Seconds that QGIS waits for work that was cancelled when the plugin is unloaded: longer than a
#: program has for ending by itself.
PATIENCE = 25.0

#: Qt ends QGIS if a thread is thrown away while it runs: they are held here until they end.
_running: set[Worker] = set()


class Worker(QThread):
    """Does one thing beside the windows and tells them what came of it.

    Its signals arrive in the thread of the window that listens.

    Parameters
    ----------
    job
        Returns a result, or is a generator of events that does.
    cancel
        Ends the job; None where it ends soon by itself.
    """

    said = pyqtSignal(object)
    succeeded = pyqtSignal(object)
    failed = pyqtSignal(object)

    def __init__(
        self,
        job: Callable[[], Any],
        *,
        cancel: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._job = job
        self._cancel = cancel

    def begin(self) -> None:
        """Start the job."""
        _running.difference_update([worker for worker in _running if worker.isFinished()])
        _running.add(self)
        self.start()

    def cancel(self) -> None:
        """End the job if it can be ended; what it leaves is the job's own to tidy."""
        if self._cancel is not None:
            self._cancel()

    def run(self) -> None:
        """Do the job; Qt calls this in the new thread."""
        try:
            result = self._job()
            if isinstance(result, Generator):
                result = self._follow(result)
        except PluginError as error:
            self.failed.emit(error)
        except Exception as error:
            # The outermost boundary of a thread: what is left is our mistake, and would end QGIS.
            text = tr(
                "internal error, {name}: {why}; please report it",
                name=type(error).__name__,
                why=error,
            )
            self.failed.emit(PluginError(text, traceback.format_exc()))
        else:
            self.succeeded.emit(result)

    def _follow(self, work: Generator[Any, None, Any]) -> Any:
        while True:
            try:
                self.said.emit(next(work))
            except StopIteration as stop:
                return stop.value


class Workers:
    """The work of one window.

    A window that is closed forgets its work: what comes of it then is no news any more.
    """

    def __init__(self) -> None:
        self._workers: set[Worker] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing runs."""
        return not self._workers

    def begin(
        self,
        job: Callable[[], Any],
        *,
        succeeded: Callable[[Any], None],
        failed: Callable[[PluginError], None],
        said: Callable[[Any], None] | None = None,
        cancel: Callable[[], None] | None = None,
    ) -> None:
        """Begin a job.

        Parameters
        ----------
        job, cancel
            As for `Worker`.
        succeeded, failed, said
            Told of the result, the error and the events, in the thread of the window.
        """
        worker = Worker(job, cancel=cancel)
        worker.succeeded.connect(partial(self._end, worker, succeeded))
        worker.failed.connect(partial(self._end, worker, failed))
        if said is not None:
            worker.said.connect(partial(self._pass_on, worker, said))
        self._workers.add(worker)
        worker.begin()

    def cancel(self) -> None:
        """Cancel what can be cancelled; the window hears of it."""
        for worker in self._workers:
            worker.cancel()

    def forget(self) -> None:
        """Cancel what can be cancelled, and hear of nothing any more."""
        self.cancel()
        self._workers.clear()

    def _pass_on(self, worker: Worker, listener: Callable[[Any], None], what: Any) -> None:
        if worker in self._workers:
            listener(what)

    def _end(self, worker: Worker, listener: Callable[[Any], None], what: Any) -> None:
        if worker in self._workers:
            self._workers.remove(worker)
            listener(what)


def end_all() -> None:
    """Cancel what runs and wait for it; for the plugin's end."""
    for worker in _running:
        worker.cancel()
    wait_until(lambda: all(worker.isFinished() for worker in _running))
    _running.clear()


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Wait while Qt and Python go on, and return whether it was not in vain.

    Qt's own ways to wait for a thread keep the one of Python from running, for which it waits then.

    Parameters
    ----------
    condition
        What is waited for.
    patience
        Seconds.
    """
    ends = time.monotonic() + patience
    while not condition():
        if time.monotonic() > ends:
            return False
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
        time.sleep(0.01)
    return True
