"""`geodamage evaluate`."""

import json
from typing import Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.cli.progress import follow
from geodamage.options.lookup import taken


@click.command(name="evaluate")
@click.argument("xbd_dir", type=FILE)
@takes("evaluate")
def command(**options: Any) -> None:
    """Score a model over a folder of labelled pairs.

    XBD_DIR holds images/ and labels/ in the layout of xBD: NAME_pre_disaster.* and
    NAME_post_disaster.*. It prints the official xView2 score by pixel, and scores
    of the found buildings, of the label polygons as footprints, and of the calibration.

    \u0008
    Example:
      geodamage evaluate xbd/test --model fast --per-event
    """
    # After the options are known to be good: these imports take a second.
    from geodamage.cli.tables import print_scores
    from geodamage.scores.evaluation import EvaluationJob, evaluate

    job = EvaluationJob(folder=options["xbd_dir"], **taken("EvaluationJob", "evaluate", options))
    quiet = options["quiet"]
    evaluation = follow(
        evaluate(job), lambda step: f"{step.done} of {step.total}  {step.pair}", quiet=quiet
    )
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
