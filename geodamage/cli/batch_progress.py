"""What a batch says while it works: a bar, plain lines, or JSON for programs."""

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodamage.cli.progress import LINE_EVERY, Reporter, tell
from geodamage.damage import GRADES
from geodamage.errors import without_secrets
from geodamage.words import counted

if TYPE_CHECKING:
    from geodamage.batch.plan import BatchPlan
    from geodamage.batch.progress import BatchProgress, BatchSummary
    from geodamage.work import Work


class BatchReporter(Reporter):
    """Says on stderr how a batch is going.

    Attributes
    ----------
    exit_code
        Exit code of the command: 0, or 3 if some scenes failed.
    done
        Scenes that are done so far.
    """

    exit_code = 0
    done = 0
    _last_values: "dict[str, Any] | None" = None

    def follow_batch(self, work: "Work[BatchProgress, BatchSummary]", output: Path) -> None:
        """Run a batch to its end and say how it goes; an interrupted batch is closed first."""
        steps: Any = work
        self.follow(steps, output)

    def warn(self, message: str) -> None:
        """Say something about the list."""
        if self._json:
            self._emit({"stage": "open", "message": message, "level": "warning"})
        else:
            self._say(message, True)

    def _step(self, progress: Any) -> None:
        self.done = progress.done
        if self._json:
            self._step_json(progress)
            return
        if progress.message is not None:
            where = "" if progress.scene is None else f"{progress.scene}: "
            self._say(f"{where}{progress.message}", progress.warning)
        if progress.stage == "assess" and not self._quiet:
            self._show(progress)

    def _step_json(self, progress: "BatchProgress") -> None:
        values = {key: value for key, value in asdict(progress).items() if value is not None}
        values.pop("warning")
        if progress.message is not None:
            values["level"] = "warning" if progress.warning else "info"
        # Time goes on where nothing else does: that is no news.
        news = {key: value for key, value in values.items() if key != "eta"}
        if news != self._last_values:
            self._last_values = news
            self._emit(values)

    def _show(self, progress: Any) -> None:
        if not sys.stderr.isatty():
            now = time.monotonic()
            if now - self._last_line >= LINE_EVERY or self._verbose:
                self._last_line = now
                tell(f"{100 * progress.share:5.1f} %  {_state(progress)}")
            return
        if self._bar is None:
            self._start_bar(1)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=progress.share, buildings=_state(progress))

    def _finish(self, summary: Any, output: Path, say: Any) -> None:
        # A batch has a table of its own, and names what failed even where it is asked to be quiet.
        self.exit_code = summary.exit_code
        if self._json:
            self._emit({"stage": "result", "output": str(output), **summary.facts()})
            return
        if not self._quiet:
            with suppress(OSError, ValueError):  # its reader may have left
                _print_summary(summary, output)
        _print_failed(summary)


def _state(progress: "BatchProgress") -> str:
    text = f"{progress.done:,} of {counted(progress.total, 'scene')}, {progress.km2:,.2f} km²"
    if progress.failed:
        text += f", {progress.failed:,} failed"
    if progress.eta is not None:
        text += f", {duration(progress.eta)} left"
    return text


def duration(seconds: float) -> str:
    """Return a time span in words, coarse: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _print_summary(summary: "BatchSummary", output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("damage")
    for name in ("buildings", "share", "area m²"):
        table.add_column(name, justify="right")
    graded = max(sum(summary.counts.values()), 1)
    for grade in GRADES:
        count, area = summary.counts[grade.label], summary.areas[grade.label]
        table.add_row(grade.label, f"{count:,}", f"{100 * count / graded:.1f} %", f"{area:,.0f}")
    console = Console(stderr=True, highlight=False)
    console.print(table)
    console.print(
        f"{counted(len(summary.done), 'scene')} done, {summary.assessed:,} of them now; "
        f"{summary.km2:.3f} km² assessed (ground of two scenes counts twice); "
        f"{summary.seconds:.1f} s"
    )
    if summary.elsewhere:
        console.print(
            f"{counted(len(summary.elsewhere), 'scene is', 'scenes are')} being assessed by other "
            f"processes"
        )
    for path in (summary.event, summary.report):
        if path is not None:
            console.print(f"wrote {path}", soft_wrap=True)
    console.print(f"results of the scenes are in {output / 'scenes'}", soft_wrap=True)
    console.print("preliminary, automatic, not validated in the field")


def _print_failed(summary: "BatchSummary") -> None:
    if not summary.failed:
        return
    tell(f"geodamage: error: {counted(len(summary.failed), 'scene')} failed:")
    for name, why in summary.failed.items():
        tell(f"  {name}: {why}")
    tell("fix them and run the same command with --retry-failed")


def print_plan(plan: "BatchPlan", *, as_json: bool) -> None:
    """Write what a batch will take to stdout: a line a scene, then all of them."""
    for row in plan.scenes:
        scene = row.scene
        pre, post = (list(map(without_secrets, names)) for names in (scene.pre, scene.post))
        if as_json:
            values = asdict(row) | {"scene": scene.name, "pre": pre, "post": post}
            click.echo(json.dumps(values | {"date": scene.date}, ensure_ascii=False))
            continue
        if not row.is_usable:
            click.echo(f"{scene.name}: cannot be used: {'; '.join(row.notes)}")
            continue
        click.echo(
            f"{scene.name}: {', '.join(pre)} + {', '.join(post)}: overlap "
            f"{100 * (row.overlap or 0):.0f} %, {row.area_km2:.3f} km², {row.megapixels:.1f} MP, "
            f"{duration(row.seconds or 0)}" + "".join(f"; {note}" for note in row.notes)
        )
    km2 = sum(row.area_km2 or 0.0 for row in plan.scenes)
    facts = {
        "scenes": len(plan.scenes),
        "usable": sum(row.is_usable for row in plan.scenes),
        "area_km2": round(km2, 6),
        "workers": plan.workers,
        "megapixels_per_second": round(plan.speed, 3),
        "seconds": round(plan.seconds, 1),
    }
    if as_json:
        click.echo(json.dumps({"stage": "plan", **facts}))
    else:
        click.echo(
            f"{facts['usable']:,} of {counted(int(facts['scenes']), 'scene')} can be used: "
            f"{km2:.3f} km², about {duration(plan.seconds)} with {plan.workers} at a time "
            f"({plan.speed:.2f} MP/s each)"
        )
