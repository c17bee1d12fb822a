r"""Measure what a network for pairs makes of the post image alone, footprints given.

    python -m benchmarks.post_only training/recipes/compact.csv fast --data ../shared/data/xbd

The network sees a neutral image in place of the pre image: the mean colour of the post image, grey,
the post image itself, or that image blurred. The label polygons of the test part are graded, as
`assess --footprints` would. Intervals are 95 %, by resampling whole pairs.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.baselines import macro_f1
from benchmarks.distillation import say
from benchmarks.events import told
from benchmarks.held_out import job_of, parser_of, show
from geodamage.arrays import predict_pair
from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.scene import dates
from geodamage.scores.buildings import BuildingScore
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, read_truth
from geodamage.scores.tallies import Truth, count_footprints
from training.calibrate import rounded

#: Pixels of the blur, some 10 m: no building is left in it.
BLUR = 20.0
RESAMPLINGS = 1000
COLUMNS = ("", "before it sees", "event", "buildings", "kappa", "macro F1", "damaged F1")

#: What `assess --post-only` shows in place of the pre image.
TAKEN = "grey"

NEUTRAL: Mapping[str, Callable[[Truth], np.ndarray]] = {
    "the pre image": lambda truth: truth.pre,
    "its mean colour": lambda truth: np.broadcast_to(
        truth.post.mean((0, 1)).round().astype(np.uint8), truth.post.shape
    ).copy(),
    "grey": lambda truth: np.full_like(truth.post, dates.NEUTRAL),
    "the post image": lambda truth: truth.post,
    "that, blurred": lambda truth: np.asarray(cv2.GaussianBlur(truth.post, (0, 0), BLUR)),
}


def interval(scores: Sequence[BuildingScore]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of kappa, resampling pairs."""
    if not scores:
        return None, None
    tables = np.array([score.table for score in scores])
    chosen = np.random.default_rng(0).integers(len(tables), size=(RESAMPLINGS, len(tables)))
    kappas = [BuildingScore.of(tables[rows].sum(0)).kappa for rows in chosen]
    known = [kappa for kappa in kappas if kappa is not None]
    if not known:
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


#: By the name of a neutral image, the event and the score of each pair.
Found = dict[str, list[tuple[str, BuildingScore]]]


def measure(model: Model | Ensemble, job: EvaluationJob) -> Found:
    """Grade the labels of every pair, with each neutral image."""
    grading = Grading.of(model.card)
    found: Found = defaultdict(list)
    for pair in choose_pairs(job):
        say(f"{model.card.name} {model.card.version}: {pair.name}")
        truth = read_truth(pair)
        for name, make in NEUTRAL.items():
            damage = predict_pair(model, make(truth), truth.post).damage
            found[name].append((pair.event, count_footprints(truth, damage, grading)[0]))
    return found


def rows(card: Card, found: Found) -> Iterator[str]:
    """Yield a line in Markdown for each neutral image: all pairs, and each event."""
    for name, scores in found.items():
        yield _row(card, name, "all", [score for _, score in scores])
        telling = telling_event(scores)
        others = [score for event, score in scores if event != telling]
        if others:
            yield _row(card, name, f"all but {telling}", others)
        for event in sorted({event for event, _ in scores}):
            own = [score for where, score in scores if where == event]
            yield _row(card, name, event, own)


def telling_event(scores: Sequence[tuple[str, BuildingScore]]) -> str:
    """Return the event without which kappa of all others is least: all owe most to it."""
    events = sorted({event for event, _ in scores})
    without = {
        event: _kappa([score for other, score in scores if other != event]) for event in events
    }
    # Where nothing is left that kappa can be of, the event is all there is.
    return min(events, key=lambda event: without[event] or 0.0)


def _total(scores: Sequence[BuildingScore]) -> BuildingScore:
    tables = [np.array(score.table) for score in scores or [BuildingScore.empty()]]
    return BuildingScore.of(np.sum(tables, 0))


def _kappa(scores: Sequence[BuildingScore]) -> float | None:
    return _total(scores).kappa


def _row(card: Card, name: str, event: str, scores: Sequence[BuildingScore]) -> str:
    total = _total(scores)
    damaged = total.matched(*GRADES[1:])
    cells = [f"{card.name} {card.version}", name, event, f"{int(total.confusion.sum()):,}"]
    cells += [told(total.kappa, interval(scores)), told(macro_f1(total))]
    cells += [told(damaged.f1 if damaged.defined else None)]
    return f"| {' | '.join(cells)} |"


def facts_of(card: Card, found: Found, job: EvaluationJob) -> dict[str, Any]:
    """Return what `assess --post-only` says of its grades: the score of the image that it takes."""
    scores, pairs = found[TAKEN], found[next(iter(NEUTRAL))]
    telling = telling_event(scores)
    every = [score for _, score in scores]
    total = _total(every)
    others = [score for event, score in scores if event != telling]
    low, high = interval(every)
    return {
        "network": f"{card.name} {card.version}",
        "network_sha256": card.sha256,
        "data": f"xBD at hand, {len(every)} {job.part} pairs of {Path(job.split or '').name}",
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python -m benchmarks.post_only",
        "buildings": int(total.confusion.sum()),
        **rounded({"kappa": total.kappa, "kappa_95": [low, high]}),
        "without": telling,
        **rounded({"kappa_without": _kappa(others), "kappa_without_95": [*interval(others)]}),
        **rounded({"kappa_pair": _kappa([score for _, score in pairs])}),
    }


def table(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the report; keep the facts of the first model where that is asked for."""
    yield f"| {' | '.join(COLUMNS)} |\n|---|---|---|" + "--:|" * (len(COLUMNS) - 3)
    job = job_of(options)
    for number, source in enumerate(options.models):
        model = load_model(source)
        found = measure(model, job)
        yield from rows(model.card, found)
        if number == 0 and options.keep is not None:
            text = json.dumps(facts_of(model.card, found, job), indent=2) + "\n"
            options.keep.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = parser_of(__doc__)
    parser.add_argument("--keep", type=Path, help="JSON for the facts of the first model")
    show(parser, "post_only", table(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
