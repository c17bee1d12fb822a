r"""Measure damaged or not of the buildings that models find: by grade, and by threshold.

    python -m benchmarks.damaged training/recipes/compact.csv fast accurate \
        --data ../shared/data/xbd --events hurricane-michael,santa-rosa-wildfire

By its grade, a building is damaged if that is not no-damage. By the threshold of the card
(`damaged_threshold`), it is damaged if the field `damaged` of a result says so. Several seeds of a
model can be given; the last line is their mean.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.distillation import named
from benchmarks.held_out import job_of, parser_of, show
from geodamage.buildings.finding import Grading
from geodamage.model.loading import load_model
from geodamage.scores.evaluation import choose_pairs
from geodamage.scores.pixels import pixel_counts
from geodamage.xbd.folders import Pair
from training.calibrate import found_votes


def of_events(pairs: Sequence[Pair], events: str) -> list[Pair]:
    """Return the pairs of a comma-separated list of events; all where it is empty.

    Raises
    ------
    OptionError
        If there is no pair of one of them.
    """
    known = sorted({pair.event for pair in pairs})
    wanted = named("--events", events, known) if events else known
    return [pair for pair in pairs if pair.event in wanted]


def measure(source: str, pairs: Sequence[Pair], min_area: float) -> tuple[int, float, float]:
    """Return how many graded buildings a model finds, and both F1 of damaged or not."""
    model = load_model(source)
    found = found_votes(model, pairs, min_area)
    truth, columns = found.grades > 1, Grading.of(model.card).columns(found.votes)
    by_grade, by_threshold = columns["damage_class"] > 1, columns["damaged"]
    return len(truth), pixel_counts(by_grade, truth).f1, pixel_counts(by_threshold, truth).f1


def table(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the report."""
    job = job_of(options)
    pairs = of_events(choose_pairs(job), options.events)
    yield f"part {options.part}: {len(pairs)} pairs\n"
    yield "| | graded buildings found | F1 by grade | F1 by threshold |"
    yield "|---|--:|--:|--:|"
    rows = []
    for source in options.models:
        number, *scores = measure(source, pairs, job.min_area)
        yield f"| {Path(source).stem} | {number:,} | {scores[0]:.3f} | {scores[1]:.3f} |"
        rows.append(scores)
    by_grade, by_threshold = np.mean(rows, 0)
    yield f"| mean | | {by_grade:.3f} | {by_threshold:.3f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = parser_of(__doc__)
    parser.add_argument("--events", default="", help="comma-separated; all unless given")
    options = parser.parse_args(arguments)
    show(parser, "damaged", table(options))


if __name__ == "__main__":
    main()
