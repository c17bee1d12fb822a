r"""Measure what a network for pairs makes of the image after alone, footprints given.

    python -m benchmarks.post_only training/recipes/compact.csv fast --data ../shared/data/xbd

The network sees a neutral image in place of the one before: the mean colour of the image after,
grey, the image after itself, or that image blurred. The label polygons of the test part are
graded, as `assess --footprints` would. Intervals are 95 %, by resampling whole pairs.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.baselines import macro_f1
from benchmarks.distillation import say
from benchmarks.events import told
from geodamage.arrays import predict_pair
from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.errors import GeodamageError
from geodamage.model.loading import load_model
from geodamage.scores.buildings import BuildingScore
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, read_truth
from geodamage.scores.tallies import Truth, count_footprints

#: Pixels of the blur, some 10 m: no building is left in it.
BLUR = 20.0
RESAMPLINGS = 1000
COLUMNS = ("", "before it sees", "event", "buildings", "kappa", "macro F1", "damaged F1")

NEUTRAL: Mapping[str, Callable[[Truth], np.ndarray]] = {
    "the image before": lambda truth: truth.pre,
    "its mean colour": lambda truth: np.broadcast_to(
        truth.post.mean((0, 1)).round().astype(np.uint8), truth.post.shape
    ).copy(),
    "grey": lambda truth: np.full_like(truth.post, 128),
    "the image after": lambda truth: truth.post,
    "that, blurred": lambda truth: np.asarray(cv2.GaussianBlur(truth.post, (0, 0), BLUR)),
}


def interval(scores: Sequence[BuildingScore]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of kappa, resampling pairs."""
    tables = np.array([score.table for score in scores])
    chosen = np.random.default_rng(0).integers(len(tables), size=(RESAMPLINGS, len(tables)))
    kappas = [BuildingScore.of(tables[rows].sum(0)).kappa for rows in chosen]
    known = [kappa for kappa in kappas if kappa is not None]
    if not known:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def rows(source: str, job: EvaluationJob) -> Iterator[str]:
    """Yield a line in Markdown for each neutral image: all test pairs, then each event."""
    model = load_model(source)
    grading = Grading.of(model.card)
    found: dict[str, list[tuple[str, BuildingScore]]] = defaultdict(list)
    for pair in choose_pairs(job):
        say(f"{source}: {pair.name}")
        truth = read_truth(pair)
        for name, make in NEUTRAL.items():
            damage = predict_pair(model, make(truth), truth.post).damage
            found[name].append((pair.event, count_footprints(truth, damage, grading)[0]))
    for name, scores in found.items():
        for event in ("all", *sorted({event for event, _ in scores})):
            own = [score for where, score in scores if event in ("all", where)]
            yield _row(Path(source).stem, name, event, own)


def _row(model: str, name: str, event: str, scores: Sequence[BuildingScore]) -> str:
    total = BuildingScore.of(np.array([score.table for score in scores]).sum(0))
    damaged = total.matched(*GRADES[1:])
    cells = [model, name, event, f"{int(total.confusion.sum()):,}"]
    cells += [told(total.kappa, interval(scores)), told(macro_f1(total))]
    cells += [told(damaged.f1 if damaged.defined else None)]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("split", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="test")
    options = parser.parse_args(arguments)
    print(f"| {' | '.join(COLUMNS)} |\n|---|---|---|" + "--:|" * (len(COLUMNS) - 3))
    try:
        job = EvaluationJob(folder=options.data, split=options.split, part=options.part)
        for name in options.models:
            for line in rows(name, job):
                print(line, flush=True)
    except GeodamageError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
