# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a program beside QGIS: what it says becomes events, and it can be cancelled.

Nothing here imports QGIS, and nothing of geodamage runs inside QGIS's Python.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess  # nosec B404
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from geodamage_qgis.errors import CancelledError, PluginError
from geodamage_qgis.program.events import Event, Parser
from geodamage_qgis.program.processes import environment_for, process_group
from geodamage_qgis.translation import tr

#: Seconds that a cancelled program has for tidying up before it is killed.
GRACE = 20.0
#: Seconds that what a program left behind may still write into its pipes.
LINGER = 2.0
#: Exit code of geodamage when some scenes of a batch failed, and when it was interrupted.
SOME_FAILED, INTERRUPTED = 3, 130


@dataclass(frozen=True)
class Outcome:
    """What a program came to.

    Attributes
    ----------
    code
        Exit code; 130 for a program that was cancelled.
    cancelled
        Somebody called `Run.cancel`, and the program did not finish before.
    error
        The program's one line of why it failed, or one that says how it ended; None where it
        succeeded or was cancelled.
    facts
        What `geodamage assess` or `batch` reported of the result; empty for others.
    output
        What the program wrote to stdout.
    log
        Every line it wrote to stderr, and to stdout where it was asked to be echoed.
    """

    code: int
    cancelled: bool = False
    error: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    log: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether there is a result: also that of a batch of which some scenes failed."""
        return not self.cancelled and self.code in (0, SOME_FAILED)

    def check(self) -> Outcome:
        """Return the outcome itself if the program succeeded.

        Raises
        ------
        CancelledError
            If the program was cancelled.
        PluginError
            If it failed; the message is its one line of error, the details are its log.
        """
        if self.cancelled:
            raise CancelledError(details=self.log)
        if not self.succeeded:
            raise PluginError(
                self.error or tr("the program ended with code {code}", code=self.code), self.log
            )
        return self


class Run:
    """One run of a program, in a process of its own.

    The process starts when the run is iterated. `cancel` may be called from any thread, at any
    time, also before. A loop that is left early cancels the run.

    Parameters
    ----------
    argv
        The program and its arguments.
    environment_variables
        Added to those of QGIS, of which the ones that would break another Python are left out.
    outputs
        Files that the program writes. If it has to be killed, what it began of them is removed.
    echo
        Give what the program says on stdout as messages, too.
    grace
        Seconds between asking a program to end and killing it.

    Examples
    --------
    >>> run = Run(["geodamage", "assess", "pre.tif", "post.tif", "-o", "buildings.gpkg"])
    >>> for event in run:
    ...     print(event.kind, event.fraction, event.text)
    >>> run.result().check()
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment_variables: Mapping[str, str] | None = None,
        outputs: Iterable[str | os.PathLike[str]] = (),
        echo: bool = False,
        grace: float = GRACE,
    ) -> None:
        self.argv = [str(part) for part in argv]
        self._variables = dict(environment_variables or {})
        self._outputs = [Path(path) for path in outputs]
        self._echo = echo
        self._grace = grace
        self._group = process_group()
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._outcome: Outcome | None = None
        self._killed = False
        self._lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self._parser = Parser()
        self._output: list[str] = []
        self._log: list[str] = []
        self._facts: Mapping[str, Any] = {}
        self._error: str | None = None

    def __iter__(self) -> Iterator[Event]:
        """Start the program and yield what it says until it has ended.

        Raises
        ------
        PluginError
            If the program cannot be started, or the run has been used before.
        """
        if self._process is not None or self._outcome is not None:
            raise PluginError("this run has been started before; make a new one")
        if not self._start():
            self._outcome = Outcome(INTERRUPTED, cancelled=True)
            return
        ended = False
        try:
            yield from self._follow()
            ended = True
        finally:
            if not ended:
                self.cancel()
            self._finish()

    def cancel(self) -> None:
        """Ask the program to end, and kill it if it does not within its grace; returns at once."""
        with self._lock:
            if self._cancelled.is_set():
                return
            self._cancelled.set()
            process = self._process
        if process is not None:
            threading.Thread(target=self._stop, args=(process,), daemon=True).start()

    def result(self) -> Outcome:
        """Return what the program came to; runs it to its end if nobody did."""
        if self._outcome is None:
            for _ in self:
                pass
        if self._outcome is None:
            raise PluginError("the program is still running")
        return self._outcome

    def _start(self) -> bool:
        with self._lock:
            if self._cancelled.is_set():
                return False
            self._process = self._open()
        for name in ("stdout", "stderr"):
            pipe = getattr(self._process, name)
            threading.Thread(target=_read, args=(name, pipe, self._lines), daemon=True).start()
        return True

    def _open(self) -> subprocess.Popen[str]:
        program = self.argv[0]
        try:
            return subprocess.Popen(  # nosec B603
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=environment_for(os.environ, self._variables),
                **self._group.options,
            )
        except FileNotFoundError as error:
            raise PluginError(
                tr("{program}: no such program; set its path in the options", program=program)
            ) from error
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise PluginError(
                tr("{program} cannot be started: {why}; set another path", program=program, why=why)
            ) from error

    def _follow(self) -> Iterator[Event]:
        for name, line in self._said():
            if name == "stdout":
                self._output.append(line)
            if name == "stderr" or self._echo:
                self._log.append(line.rstrip("\n"))
                event = self._parser.parse(line)
                if event is not None:
                    self._note(event)
                    yield event

    def _said(self) -> Iterator[tuple[str, str]]:
        """Yield lines until both pipes are closed, or the process is gone for a while."""
        process = self._running()
        waiting, gone_at = 2, None
        while waiting:
            try:
                name, line = self._lines.get(timeout=0.2)
            except queue.Empty:
                if process.poll() is None:
                    continue
                gone_at = gone_at or time.monotonic()
                if time.monotonic() - gone_at > LINGER:
                    return
                continue
            if line is None:
                waiting -= 1
            else:
                yield name, line

    def _note(self, event: Event) -> None:
        if event.kind == "error":
            self._error = event.text
        elif event.kind == "done":
            self._facts = event.data

    def _finish(self) -> None:
        process = self._running()
        code = process.wait()
        # A result that was complete before the signal arrived is a result.
        cancelled = self._cancelled.is_set() and code != 0
        if cancelled:
            self._group.kill(process)
            self._sweep(process.pid)
        error = None
        if code != 0 and not cancelled:
            error = self._error or _describe_end(self.argv[0], code, self._log)
        self._outcome = Outcome(
            code=INTERRUPTED if cancelled else code,
            cancelled=cancelled,
            error=error,
            facts=self._facts,
            output="".join(self._output),
            log="\n".join(self._log),
        )

    def _stop(self, process: subprocess.Popen[str]) -> None:
        asked = self._group.ask(process)
        deadline = time.monotonic() + (self._grace if asked else 0)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is None:
            self._killed = True
            self._group.kill(process)

    def _sweep(self, pid: int) -> None:
        """Remove what a killed program began to write; one that ended by itself has done so."""
        for output in self._outputs if self._killed else ():
            for partial in partials_of(output, pid if self._group.keeps_pid else None):
                # It is of no use to anybody, and the tool removes what is left the next time.
                with contextlib.suppress(OSError):
                    partial.unlink()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise PluginError("the program has not been started")
        return self._process


def _read(name: str, pipe: IO[str], lines: queue.Queue[tuple[str, str | None]]) -> None:
    """Hand on what comes through a pipe, line by line, to its end."""
    with pipe:
        for line in pipe:
            lines.put((name, line))
    lines.put((name, None))


def _describe_end(program: str, code: int, log: Sequence[str]) -> str:
    name = Path(program).stem
    said = next((line.strip() for line in reversed(log) if line.strip()), tr("it said nothing"))
    if code < 0:
        return (
            tr(
                "{name} was ended by signal {number}, perhaps for want of memory: lower the memory "
                "in the options; the last it said: {said}",
                name=name,
                number=-code,
                said=said,
            )
            if -code == getattr(signal, "SIGKILL", 9)
            else tr(
                "{name} was ended by signal {number}; the last it said: {said}",
                name=name,
                number=-code,
                said=said,
            )
        )
    return tr("{name} ended with code {code}: {said}", name=name, code=code, said=said)


def partials_of(output: str | os.PathLike[str], pid: int | None = None) -> list[Path]:
    """Return what a run of geodamage has begun to write of an output and of its sidecar.

    Parameters
    ----------
    output
        The result.
    pid
        Only of this process; None for any.
    """
    output = Path(output)
    number = r"\d+" if pid is None else str(pid)
    # Source: `PARTIAL_NAME` in geodamage/output/publication.py; drivers put their own beside them.
    name = re.compile(rf"\.{re.escape(output.name)}(\.json)?\.{number}-[0-9a-f]{{6}}\.partial.*")
    try:
        return sorted(path for path in output.parent.iterdir() if name.fullmatch(path.name))
    except OSError:
        return []
