"""What a command says while it works: a bar, plain lines, or JSON for programs."""

import json
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geodamage.damage import GRADES
from geodamage.errors import GeodamageWarning
from geodamage.words import counted
from geodamage.work import Work

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from geodamage.job import Coverage, Progress, Result
    from geodamage.summary import Summary

#: Seconds between two plain lines.
LINE_EVERY = 10.0

_interrupted = threading.Event()


P = TypeVar("P")
R = TypeVar("R")
S = TypeVar("S", bound="Coverage")


def catch_signals() -> None:
    """Let Ctrl-C and SIGTERM end a command alike, cleaning up behind it."""
    _interrupted.clear()
    # Other threads may not set handlers; a program that runs commands there has its own.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # GDAL swallows what is raised inside its callbacks, so the loop looks here, too.
    _interrupted.set()
    raise KeyboardInterrupt


def tell(text: str, *, nl: bool = True) -> None:
    """Write a line to stderr; who reads it may have left, and that ends no work."""
    with suppress(OSError, ValueError):  # of a pipe, and of a stream that is closed
        click.echo(text, nl=nl, err=True)


class Reporter:
    """Says on stderr how a job is going.

    Parameters
    ----------
    style
        `auto`: a bar on a terminal, plain lines elsewhere; `json`: one object a line.
    quiet
        Say nothing but errors.
    verbose
        Say more.
    """

    def __init__(self, style: str, *, quiet: bool = False, verbose: bool = False) -> None:
        self._json = style == "json"
        self._quiet = quiet and not self._json
        self._verbose = verbose
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()
        self._started = time.monotonic()

    def error(self, message: str, code: int) -> None:
        """Say why a job failed."""
        if self._json:
            self._emit({"stage": "error", "message": message, "code": code})
        else:
            tell(f"geodamage: error: {message}")

    def follow(
        self,
        work: "Work[Progress, Result[S]]",
        output: Path,
        *,
        say: "Callable[[S, Path], None] | None" = None,
    ) -> None:
        """Run a job to its end and say how it goes; an interrupted job is closed first.

        Parameters
        ----------
        work
            Work of `assess` or `localise`.
        output
            Main result.
        say
            Prints the summary; None prints the table of grades.
        """
        try:
            with warnings.catch_warnings():
                # They come as messages of the job, too.
                warnings.simplefilter("ignore", GeodamageWarning)
                for progress in work:
                    self._step(progress)
                    if _interrupted.is_set():
                        raise KeyboardInterrupt
            self._stop_bar()
            self._finish(work.result(), output, say or _print_table)
        finally:
            self._stop_bar()
            work.close()

    def _step(self, progress: "Progress") -> None:
        if self._json:
            self._emit({k: v for k, v in _plain(progress).items() if v is not None})
        elif progress.message is not None:
            self._say(progress.message, progress.warning)
        elif progress.stage == "predict" and not self._quiet:
            self._show(progress)

    def _say(self, message: str, warning: bool) -> None:
        if warning and not self._quiet:
            tell(f"geodamage: warning: {message}")
        elif not self._quiet:
            tell(message)

    def _show(self, progress: "Progress") -> None:
        if not sys.stderr.isatty():
            now = time.monotonic()
            if now - self._last_line >= LINE_EVERY or self._verbose:
                self._last_line = now
                share = 100 * progress.done / max(progress.total, 1)
                tell(f"{share:5.1f} %  {counted(progress.buildings, 'building')}")
            return
        if self._bar is None:
            self._start_bar(progress.total)
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                completed=progress.done,
                buildings=counted(progress.buildings, "building"),
            )

    def _start_bar(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[buildings]}"))
        self._bar = Progress(*columns, Remaining(), console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("assess", total=total, buildings="")
        self._bar.start()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _finish(self, result: Any, output: Path, say: "Callable[..., None]") -> None:
        if self._json:
            self._emit({"stage": "result", "output": str(output), **result.summary.facts()})
        elif not self._quiet:
            with suppress(OSError, ValueError):
                say(result.summary, output)

    def _emit(self, values: dict[str, Any]) -> None:
        tell(json.dumps(values, ensure_ascii=False))


def follow(work: Work[P, R], line_of: Callable[[P], str], *, quiet: bool) -> R:
    """Run work to its end and say on stderr how it goes; interrupted work is closed first.

    Parameters
    ----------
    work
        Anything but what `Reporter` follows.
    line_of
        Returns what to say of a step; what begins with `note:` stays.
    quiet
        Say nothing.
    """
    said, terminal = time.monotonic(), sys.stderr.isatty()
    with work:
        for progress in work:
            line = line_of(progress)
            if quiet:
                continue
            if line.startswith("note:"):
                tell(f"geodamage: {line}")
            elif terminal:
                tell(f"\r{line}\x1b[K", nl=False)
            elif time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                tell(line)
    if terminal and not quiet:
        tell("\r\x1b[K", nl=False)
    return work.result()


def _plain(progress: "Progress") -> dict[str, Any]:
    return {
        "stage": progress.stage,
        "done": progress.done,
        "total": progress.total,
        "buildings": progress.buildings,
        "message": progress.message,
        "level": None if progress.message is None else ("info", "warning")[progress.warning],
    }


def _print_table(summary: "Summary", output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("damage")
    for name in ("buildings", "share", "area m²"):
        table.add_column(name, justify="right")
    graded = max(sum(summary.counts.values()), 1)
    for grade in GRADES:
        count, area = summary.counts[grade], summary.areas[grade]
        table.add_row(grade.label, f"{count:,}", f"{100 * count / graded:.1f} %", f"{area:,.0f}")
    partial, outside = summary.statuses["partial"], summary.outside
    blank = summary.statuses["not_assessed"] - outside
    for note, count in (
        ("of these partial", partial),
        ("not assessed", blank),
        ("outside the area", outside),
    ):
        if count:
            table.add_row(note, f"{count:,}", "", "")
    console = Console(stderr=True, highlight=False)
    console.print(table)
    rate = summary.pixels / 1e6 / max(summary.seconds, 1e-9)
    noun = "candidates" if summary.are_candidates else "buildings"
    console.print(
        f"{sum(summary.counts.values()):,} {noun} on {summary.assessed_km2:.3f} km² assessed, "
        f"{summary.seconds:.1f} s, {rate:.2f} MP/s"
    )
    if summary.real_share is not None:
        console.print(f"in tests, {summary.real_share:.0%} of such candidates were buildings")
    console.print(f"wrote {output} and {output}.json", soft_wrap=True)
    console.print("preliminary, automatic, not validated in the field")
