"""`geodamage evaluate`."""

import contextlib
import json
import sys
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.cli.progress import LINE_EVERY
from geodamage.options.lookup import taken

if TYPE_CHECKING:
    from geodamage.scores.evaluation import Evaluation, Progress


@click.command(name="evaluate")
@click.argument("xbd_dir", type=FILE)
@takes("evaluate")
def command(**options: Any) -> None:
    """Score a model over a folder of labelled pairs.

    XBD_DIR holds images/ and labels/ as xBD is given away: NAME_pre_disaster.* and
    NAME_post_disaster.*. The scores are the official one of xView2, by pixel; that of the buildings
    that are found; and that of the label polygons, graded as if they had been given.

    \u0008
    Example:
      geodamage evaluate xbd/test --model fast --per-event
    """
    # After the options are known to be good: these imports take a second.
    from geodamage.cli.tables import print_scores
    from geodamage.scores.evaluation import EvaluationJob, evaluate

    job = EvaluationJob(folder=options["xbd_dir"], **taken("EvaluationJob", "evaluate", options))
    quiet = options["quiet"]
    evaluation = _follow(evaluate(job), quiet=quiet)
    figures = evaluation.report()
    if not quiet:
        for note in evaluation.notes:
            click.echo(f"geodamage: note: {note}", err=True)
    if options["as_json"]:
        click.echo(json.dumps(figures, ensure_ascii=False, allow_nan=False))
        return
    if not options["per_event"]:
        del figures["events"]
    print_scores(figures)


def _follow(work: "Generator[Progress, None, Evaluation]", *, quiet: bool) -> "Evaluation":
    """Run an evaluation to its end and say how it goes; an interrupted one is closed first."""
    said = time.monotonic()
    with contextlib.closing(work):
        while True:
            try:
                progress = next(work)
            except StopIteration as stop:
                evaluation: Evaluation = stop.value
                return evaluation
            line = f"{progress.done} of {progress.total}  {progress.pair}"
            if not quiet and sys.stderr.isatty():
                click.echo(f"\r{line}\x1b[K", nl=progress.done == progress.total, err=True)
            elif not quiet and time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                click.echo(line, err=True)
