"""`geodamage score`."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.cli.progress import LINE_EVERY
from geodamage.errors import OptionError
from geodamage.words import counted

K = TypeVar("K")
V = TypeVar("V")


@click.command(name="score")
@click.argument("pred_dir", type=FILE)
@click.argument("target_dir", type=FILE)
@takes("score")
def command(
    pred_dir: Path,
    target_dir: Path,
    as_json: bool,
    per_event: bool,
    strict: bool,
    buildings: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Score predictions against targets by the official xView2 metric, or buildings alone.

    PRED_DIR holds {test|hold}_{localization|damage}_ID_prediction.png and TARGET_DIR holds
    ..._target.png: PNGs of one 8-bit channel with the values 0-4. Every target is scored. Where
    TARGET_DIR/names.csv has the columns id and pair, each event is scored as well. The names that
    `geodamage masks` writes also work: PAIR_{pre|post}_disaster_target.png, of which
    PAIR_{pre|post}_disaster_prediction.png is the prediction.

    With --buildings each side is a mask (GeoTIFF or PNG), a raster of probabilities or a layer of
    polygons. The scores are the Jaccard index by pixel, and F1 by building from an overlap (IoU)
    of 0.5. Both sides are drawn on the grid of the truth if it is a raster, and otherwise on that
    of the prediction. What the prediction leaves out counts as no building. In folders, a.geojson
    is the prediction of a.tif, a_mask.png or a_buildings.geojson.

    \u0008
    Example:
      geodamage score --buildings footprints.geojson mask.tif
      geodamage score predictions targets --json
    """
    given = {name: value for name, value in options.items() if value is not None}
    if buildings:
        if per_event or strict:
            raise OptionError(
                "--per-event and --strict belong to the official metric; leave them out with "
                "--buildings"
            )
        _score_buildings(pred_dir, target_dir, as_json=as_json, quiet=quiet, **given)
        return
    if given:
        raise OptionError(f"--{next(iter(given))}: only with --buildings; also give --buildings")

    # Not before it is needed: these imports take a second.
    from geodamage.cli.tables import print_scores
    from geodamage.scores.scoring import NAMES, find_submission, report_scores, score_images

    submission = find_submission(pred_dir, target_dir)
    if per_event and not submission.events:
        raise OptionError(
            f"--per-event: {target_dir / NAMES} is not there; its columns id and pair say which "
            "image belongs to which event"
        )
    images = score_images(submission, strict=strict)
    figures = report_scores(submission, images if quiet else _watch(images, len(submission.images)))
    if as_json:
        click.echo(json.dumps(figures, ensure_ascii=False, allow_nan=False))
        return
    if not per_event:
        figures.pop("events", None)
    print_scores(figures)


def _score_buildings(
    prediction: Path, truth: Path, *, as_json: bool, quiet: bool, **options: Any
) -> None:
    from geodamage.cli.tables import print_footprint_scores
    from geodamage.scores.footprints import (
        FootprintScore,
        ScoringOptions,
        pair_files,
        score_files,
    )

    how = ScoringOptions(**options)
    pairs = pair_files(prediction, truth)
    scores = score_files(pairs, how)
    total = FootprintScore()
    for _, score in scores if quiet else _watch(scores, len(pairs)):
        total = total.plus(score)
    for doubt in total.doubts:
        click.echo(f"geodamage: warning: {doubt}", err=True)
    if as_json:
        click.echo(json.dumps(total.report(), allow_nan=False))
    else:
        print_footprint_scores(total.report())


def _watch(images: "Iterator[tuple[K, V]]", total: int) -> "Iterator[tuple[K, V]]":
    """Pass images on and say on stderr how far they are, where they take long."""
    said = time.monotonic()
    terminal = sys.stderr.isatty()
    every = 1.0 if terminal else LINE_EVERY
    for done, scored in enumerate(images, 1):
        if time.monotonic() - said >= every:
            said = time.monotonic()
            line = f"{done:,} of {counted(total, 'image')}"
            click.echo(f"\r{line}\x1b[K" if terminal else line, nl=not terminal, err=True)
        yield scored
    if terminal:
        click.echo("\r\x1b[K", nl=False, err=True)
