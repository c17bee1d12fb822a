r"""Choose a model's thresholds on the validation places, score it on the test places.

    python -m training.calibrate model.onnx training/recipes/compact.csv \
        --data ../shared/data/xbd -o facts.json

Buildings are drawn as `assess` draws them: components above the threshold, split at seeds, one
grade a building. Pixels and buildings are counted as `geodamage evaluate` counts them. Nothing is
chosen on the test places. The result is a table of facts for `training.export --facts`.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.arrays import predict_pair
from geodamage.buildings import Grading
from geodamage.damage import GRADES
from geodamage.evaluation import USUAL_GSD, read_truth
from geodamage.metrics import Counts, building_score, grading_score
from geodamage.model import load_model
from geodamage.postprocessing import PixelRules
from geodamage.tallies import (
    Drawing,
    Masks,
    MatchedVotes,
    Tally,
    Truth,
    add_up,
    count_pair,
    draw_buildings,
    grade_probabilities,
    intervals,
    match_votes,
    sum_votes,
)
from geodamage.xbd import Pair, read_split

GSD = USUAL_GSD
BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Predicted:
    """One pair with what the model says of it."""

    labelled: Truth
    probabilities: np.ndarray  # float32 (5, rows, columns)

    @property
    def truth(self) -> np.ndarray:
        """Number of the label, int32 (rows, columns)."""
        return self.labelled.index


def predict_part(source: str, split: Path, data: Path, part: str) -> Iterator[Predicted]:
    """Run the model on every pair of a part."""
    model = load_model(source, device="auto")
    for pair in read_split(split, data, part):
        truth = read_truth(pair)
        yield Predicted(truth, predict_pair(model, truth.pre, truth.post).probabilities)


def detect(predicted: Predicted, drawing: Drawing) -> Counts:
    """Count buildings found, missed and spurious of one pair."""
    truth = predicted.labelled
    index = draw_buildings(predicted.probabilities, drawing, truth.pixel_area)
    return building_score(truth.index, index, truth_grades={}, found_grades={}).detection


def collect_votes(part: Sequence[Predicted], drawing: Drawing) -> MatchedVotes:
    """Return the votes of all buildings found whose label has a grade."""
    found = []
    for predicted in part:
        truth, channels = predicted.labelled, predicted.probabilities
        index = draw_buildings(channels, drawing, truth.pixel_area)
        found.append(match_votes(truth, index, sum_votes(index, channels[1:])))
    return MatchedVotes(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def choose_drawing(part: Sequence[Predicted]) -> Drawing:
    """Choose the thresholds with the best F1 of buildings."""
    seeds = [(0.0, 0), *itertools.product((0.6, 0.7, 0.8), (0, 2, 3, 4, 5))]
    best = (-1.0, Drawing())
    for threshold, (seed, depth) in itertools.product((0.35, 0.4, 0.45, 0.5, 0.55, 0.6), seeds):
        drawing = Drawing(threshold, seed, depth)
        found = Counts(0, 0, 0)
        for predicted in part:
            found = found.plus(detect(predicted, drawing))
        print(f"threshold {threshold}, seeds {seed}, depth {depth}: F1 {found.f1:.4f}")
        best = max(best, (found.f1, drawing), key=lambda item: item[0])
    return best[1]


def choose_grading(found: MatchedVotes) -> Grading:
    """Choose weights by kappa and macro F1, then the temperature by likelihood."""
    steps = (0.5, 0.7, 1.0, 1.4, 2.0)
    best = (-1.0, Grading())
    for weights in itertools.product((1.0,), steps, steps, steps):
        grading = Grading(weights=weights)
        # On a tie, and nearly so, the weights nearest to one: few buildings decide here.
        score = _agreement(found, grading) - 0.02 * float(np.abs(np.log(weights)).sum())
        best = max(best, (score, grading), key=lambda item: item[0])
    grading = best[1]
    temperatures = np.geomspace(0.4, 4, 40)
    losses = [_nll(replace(grading, temperature=float(t)), found) for t in temperatures]
    return replace(grading, temperature=round(float(temperatures[int(np.argmin(losses))]), 3))


def _agreement(found: MatchedVotes, grading: Grading) -> float:
    """Return kappa and mean F1 of the grades that occur, added."""
    score = grading_score(found.grades, grading.columns(found.votes)["damage_class"])
    counts = [score.matched(grade) for grade in GRADES]
    occurring = [count.f1 for count in counts if sum(count)]
    return (score.kappa or 0.0) + float(np.mean(occurring))


def _nll(grading: Grading, found: MatchedVotes) -> float:
    p = grade_probabilities(grading, found.votes)[np.arange(len(found.grades)), found.grades - 1]
    return float(-np.log(np.maximum(p, 1e-9)).mean())


def choose_damaged(found: MatchedVotes, grading: Grading) -> float:
    """Choose the probability of any damage from which a building is called damaged."""
    truth = found.grades > 1
    p = 1 - grade_probabilities(grading, found.votes)[:, 0]
    thresholds = np.arange(0.2, 0.81, 0.05)
    scores = [
        2 * (truth & (p >= t)).sum() / max(truth.sum() + (p >= t).sum(), 1) for t in thresholds
    ]
    return round(float(thresholds[int(np.argmax(scores))]), 2)


@dataclass(frozen=True)
class Chosen:
    """What was chosen on the validation places."""

    drawing: Drawing
    grading: Grading
    damaged: float

    def facts(self) -> dict[str, Any]:
        """Return what the card of the model will say."""
        return {
            "threshold": self.drawing.threshold,
            "seed_threshold": self.drawing.seed_threshold,
            "seed_depth": self.drawing.seed_depth,
            "damaged_threshold": self.damaged,
            "temperature": self.grading.temperature,
            "grade_weights": list(self.grading.weights),
        }


def choose(part: Sequence[Predicted]) -> Chosen:
    """Choose everything on the pairs of a part."""
    drawing = choose_drawing(part)
    found = collect_votes(part, drawing)
    grading = choose_grading(found)
    return Chosen(drawing, grading, choose_damaged(found, grading))


def count_part(source: str, pairs: Sequence[Pair], chosen: Chosen) -> Iterator[tuple[Pair, Tally]]:
    """Count pair after pair with what was chosen."""
    model = load_model(source, device="auto")
    rules = PixelRules((chosen.drawing.threshold,) * 4)
    for pair in pairs:
        truth = read_truth(pair)
        said = predict_pair(model, truth.pre, truth.post)
        grades = rules.grades(said.localisation, said.damage)
        found = (grades > 0).astype(np.uint8)
        masks = Masks(found, grades, truth.localisation, truth.damage)
        yield pair, count_pair(truth, said, masks, chosen.grading, chosen.drawing)


def score(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Return the figures that the card keeps: by pixel as xView2 does, and by building."""
    total = add_up(tallies)
    official, buildings, given = total.official, total.buildings, total.footprints
    found = buildings.detection
    names = [grade.label for grade in GRADES]
    ends = intervals(tallies, BOOTSTRAPS)["buildings_quadratic_kappa"]
    figures: dict[str, Any] = {
        "pairs": total.pairs,
        "buildings": found.tp + found.fn,
        "pixel_f1_building": official.localisation.f1,
        "pixel_f1_damage": official.damage_f1,
        "pixel_f1_per_grade": {n: c.f1 for n, c in zip(names, official.damage, strict=True)},
        "xview2_score": official.score,
        "recall_iou50": found.recall,
        "precision_iou50": found.precision,
        "graded_buildings_found": int(buildings.confusion.sum()),
        "quadratic_kappa": buildings.kappa,
        "quadratic_kappa_95": list(ends),
        "building_f1_per_grade": {g.label: _f1(buildings.matched(g)) for g in GRADES},
        "binary_damaged_f1": _f1(buildings.matched(*GRADES[1:])),
        "ece": total.calibration.ece,
        "footprints_quadratic_kappa": given.kappa,
        "footprints_f1_per_grade": {g.label: _f1(given.matched(g)) for g in GRADES},
    }
    rounded: dict[str, Any] = _rounded(figures)
    return rounded


def _f1(counts: Counts) -> float | None:
    """Return F1; None where a class neither occurs nor is said."""
    return counts.f1 if sum(counts) else None


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def score_part(source: str, pairs: Sequence[Pair], chosen: Chosen) -> dict[str, dict[str, Any]]:
    """Score pairs, and those of each event; the whole has the empty name."""
    counted = list(count_part(source, pairs, chosen))
    scores = {"": score([tally for _, tally in counted])}
    for event in sorted({pair.event for pair, _ in counted}):
        scores[event] = score([tally for pair, tally in counted if pair.event == event])
    return scores


def main() -> None:
    """Write the facts of a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("split", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    chosen = choose(list(predict_part(options.model, options.split, options.data, "validation")))
    print(f"chosen on validation: {chosen}")
    validation, test = (
        score_part(options.model, read_split(options.split, options.data, part), chosen)
        for part in ("validation", "test")
    )
    facts = {
        **chosen.facts(),
        "scores": {
            "date": datetime.now(UTC).date().isoformat(),
            "data": f"xBD at hand, places held out ({options.split.name}); chosen on validation",
            "command": f"python -m training.calibrate {' '.join(sys.argv[1:3])}",
            "validation": validation[""],
            "test": test.pop(""),
            "test_per_event": test,
        },
    }
    options.output.write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts["scores"], indent=2))


if __name__ == "__main__":
    main()
