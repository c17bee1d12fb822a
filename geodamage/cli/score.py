"""`geodamage score`."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geodamage.cli.assess import FILE
from geodamage.cli.progress import LINE_EVERY
from geodamage.errors import OptionError

if TYPE_CHECKING:
    from geodamage.scoring import ImageId, MaskScore


@click.command(name="score")
@click.argument("pred_dir", type=FILE)
@click.argument("target_dir", type=FILE)
@click.option("--json", "as_json", is_flag=True,
              help="One JSON object on stdout, the official keys first.")  # fmt: skip
@click.option("--per-event", is_flag=True,
              help="Show the scores of each event, too; needs TARGET_DIR/names.csv.")  # fmt: skip
@click.option("--strict", is_flag=True,
              help="Refuse what is not 1024 x 1024, as the official scorer does.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
def command(
    pred_dir: Path, target_dir: Path, as_json: bool, per_event: bool, strict: bool, quiet: bool
) -> None:
    """Score predictions against targets by the official xView2 metric.

    PRED_DIR holds {test|hold}_{localization|damage}_ID_prediction.png and TARGET_DIR holds
    ..._target.png: PNGs of one 8-bit channel with the values 0-4. Every target is scored. Where
    TARGET_DIR/names.csv has the columns id and pair, the events are scored apart, too.

    \u0008
    Example:
      geodamage score predictions targets --json
    """
    # Not before it is needed: these imports take a second.
    from geodamage.cli.tables import print_scores
    from geodamage.scoring import NAMES, find_submission, report_scores, score_images

    submission = find_submission(pred_dir, target_dir)
    if per_event and not submission.events:
        raise OptionError(
            f"--per-event: {target_dir / NAMES} is not there; it says by its columns id and pair "
            "which image is of which event"
        )
    images = score_images(submission, strict=strict)
    figures = report_scores(submission, images if quiet else _watch(images, len(submission.images)))
    if as_json:
        click.echo(json.dumps(figures, ensure_ascii=False, allow_nan=False))
        return
    if not per_event:
        figures.pop("events", None)
    print_scores(figures)


def _watch(
    images: "Iterator[tuple[ImageId, MaskScore]]", total: int
) -> "Iterator[tuple[ImageId, MaskScore]]":
    """Pass images on and say on stderr how far they are, where they take long."""
    said = time.monotonic()
    terminal = sys.stderr.isatty()
    every = 1.0 if terminal else LINE_EVERY
    for done, scored in enumerate(images, 1):
        if time.monotonic() - said >= every:
            said = time.monotonic()
            line = f"{done:,} of {total:,} images"
            click.echo(f"\r{line}\x1b[K" if terminal else line, nl=not terminal, err=True)
        yield scored
    if terminal:
        click.echo("\r\x1b[K", nl=False, err=True)
