r"""Measure what grades are worth that need no network, beside a model's, on places held out.

    python -m benchmarks.baselines accurate training/recipes/compact.csv --data ../shared/data/xbd

All grade the label polygons, as if they had been given. `every building no-damage` says the most
frequent grade of the training part. `difference of pixels` calls more damage where the pixels of a
polygon changed more. It takes the mean absolute difference of both images, after each channel of
post was given mean and spread of pre. Its three thresholds are chosen on the training part.
Intervals are of 95 %, by resampling pairs.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from geodamage.arrays import predict_pair
from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.errors import GeodamageError
from geodamage.model.heads import Predictor
from geodamage.model.loading import load_model
from geodamage.scores.buildings import BuildingScore, grading_score
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, read_truth
from geodamage.scores.tallies import Tally, Truth, add_up, count_footprints, intervals

RESAMPLINGS = 2000
#: Quantiles of the differences of the training part that are tried as thresholds.
QUANTILES = np.linspace(0.5, 0.995, 24)
COLUMNS = ("", "quadratic kappa", "macro F1", "damaged F1", *(grade.label for grade in GRADES))


def differences(truth: Truth) -> np.ndarray:
    """Return how much the pixels of each graded polygon changed, float (n,), in grey levels."""
    pre, post = (image.astype(np.float64) for image in (truth.pre, truth.post))
    means, spreads = (f((0, 1)) for f in (post.mean, post.std))
    moved = (post - means) / np.maximum(spreads, 1) * pre.std((0, 1)) + pre.mean((0, 1))
    changed = np.abs(moved - pre).mean(2)
    count = int(truth.index.max(initial=0)) + 1
    sums = np.bincount(truth.index.ravel(), changed.ravel(), count)
    areas = np.bincount(truth.index.ravel(), minlength=count)
    return np.asarray([sums[n] / areas[n] for n in graded(truth)])


def graded(truth: Truth) -> list[int]:
    """Return the polygons that have a grade and a pixel."""
    areas = np.bincount(truth.index.ravel())
    return [n for n in truth.grades if n < len(areas) and areas[n]]


def grades_of(truth: Truth) -> np.ndarray:
    """Return the grades of these, int (n,)."""
    return np.array([truth.grades[n] for n in graded(truth)], int)


def choose_thresholds(changed: np.ndarray, grades: np.ndarray) -> tuple[float, ...]:
    """Choose three rising thresholds by the mean F1 of the grades that occur."""
    levels = np.unique(np.quantile(changed, QUANTILES))
    trials = itertools.combinations(levels, len(GRADES) - 1)

    def worth(thresholds: tuple[float, ...]) -> float:
        return macro_f1(grading_score(grades, np.digitize(changed, thresholds) + 1))

    return max(trials, key=worth)


def macro_f1(score: BuildingScore) -> float:
    """Return the mean F1 of the grades that occur."""
    counts = [score.matched(grade) for grade in GRADES]
    return float(np.mean([count.f1 for count in counts if count.defined]))


def row(name: str, scores: Sequence[BuildingScore]) -> str:
    """Return a line of the table in Markdown."""
    tallies = [replace(Tally.empty(), pairs=1, footprints=score) for score in scores]
    total = add_up(tallies).footprints
    low, high = intervals(tallies, RESAMPLINGS)["footprints_quadratic_kappa"]
    kappa = "n/a" if total.kappa is None else f"{total.kappa:.3f}"
    between = "" if low is None else f" ({low:.2f} to {high:.2f})"
    f1 = [total.matched(*GRADES[1:]).f1, *(total.matched(grade).f1 for grade in GRADES)]
    told = [f"{macro_f1(total):.3f}", *(f"{value:.3f}" for value in f1)]
    return f"| {' | '.join([name, kappa + between, *told])} |"


def truths(job: EvaluationJob) -> Iterator[Truth]:
    """Yield the pairs of a part."""
    for pair in choose_pairs(job):
        if sys.stderr.isatty():
            print(f"\r{pair.name}\x1b[K", end="", file=sys.stderr, flush=True)
        yield read_truth(pair)


def measure(model: Predictor, learnt: EvaluationJob, scored: EvaluationJob) -> Iterator[str]:
    """Yield the lines of the table."""
    known = [(differences(truth), grades_of(truth)) for truth in truths(learnt)]
    changed, grades = (np.concatenate(arrays) for arrays in zip(*known, strict=True))
    thresholds = choose_thresholds(changed, grades)
    most = GRADES[int(np.bincount(grades, minlength=5).argmax()) - 1]
    grading = Grading.of(model.card)
    rows: list[list[BuildingScore]] = [[], [], []]
    for truth in truths(scored):
        told = grades_of(truth)
        rows[0].append(grading_score(told, np.full(len(told), int(most))))
        by_pixels = np.digitize(differences(truth), thresholds) + 1
        rows[1].append(grading_score(told, by_pixels))
        damage = predict_pair(model, truth.pre, truth.post).damage
        rows[2].append(count_footprints(truth, damage, grading)[0])
    yield f"| {' | '.join(COLUMNS)} |\n|---{'|--:' * (len(COLUMNS) - 1)}|"
    yield row(f"every building {most.label}", rows[0])
    yield row("difference of pixels", rows[1])
    yield row(f"{model.card.name} {model.card.version}", rows[2])
    yield f"\nthresholds of the difference: {', '.join(f'{t:.1f}' for t in thresholds)} of 255"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("split", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="test")
    options = parser.parse_args(arguments)
    learnt, scored = (
        EvaluationJob(folder=options.data, split=options.split, part=part)
        for part in ("train", options.part)
    )
    print(f"{datetime.now(UTC).date()}, part {options.part}\n")
    try:
        for line in measure(load_model(options.model), learnt, scored):
            print(line, flush=True)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"benchmarks.baselines: error: {error}\n")


if __name__ == "__main__":
    main()
