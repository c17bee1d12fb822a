r"""Choose a model's thresholds on the validation places, score it on the test places.

    python -m training.calibrate model.onnx training/recipes/compact.csv \
        --data ../shared/data/xbd -o facts.json

What is scored is what `assess` would draw: components above the threshold, split at seeds, one
grade a building. Nothing is chosen on the test places. The result is a table of facts for
`training.export --facts`.
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

import cv2
import numpy as np

from geodamage.buildings import DEFAULT_MIN_AREA, Grading
from geodamage.damage import GRADES, NOT_ASSESSED
from geodamage.masks import burn_index
from geodamage.metrics import match, official_score, quadratic_kappa
from geodamage.model import load_model, probabilities
from geodamage.splitting import split_touching
from geodamage.xbd import Pair, read_split
from training.chips import LabelledPair, load_pair
from training.prepare import SIZE

GSD = 0.47  # metres, the median of xBD at hand; turns a least area into pixels
BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Rules:
    """What turns probabilities into buildings."""

    threshold: float = 0.5
    seed_threshold: float = 0.0
    seed_depth: int = 0
    min_area: float = DEFAULT_MIN_AREA


@dataclass(frozen=True)
class Predicted:
    """One pair with what the model says of it."""

    pair: LabelledPair
    truth: np.ndarray  # int32 (rows, columns): number of the label
    grades: dict[int, int]  # grade of each label that has one
    probabilities: np.ndarray  # float32 (5, rows, columns)


@dataclass(frozen=True)
class Found:
    """Buildings of one pair."""

    name: str
    truth: int  # labels
    predicted: int
    matched: int
    votes: np.ndarray  # float (k, 4), of matched buildings whose label has a grade
    grades: np.ndarray  # int (k,)


def predict_part(source: str, split: Path, data: Path, part: str) -> Iterator[Predicted]:
    """Run the model on every pair of a part."""
    model = load_model(source, device="auto")
    for pair in read_split(split, data, part):
        loaded = load_pair(pair)
        windows = (image.transpose(2, 0, 1)[None] for image in (loaded.pre, loaded.post))
        joined = probabilities(model(*(np.ascontiguousarray(w) for w in windows)))[0]
        yield Predicted(loaded, *_labels(pair), joined)


def _labels(pair: Pair) -> tuple[np.ndarray, dict[int, int]]:
    labels = pair.labels("post")
    grades = {i: int(label.grade) for i, label in enumerate(labels, 1) if label.grade is not None}
    return burn_index(labels, (SIZE, SIZE)), grades


def find(predicted: Predicted, rules: Rules) -> tuple[np.ndarray, Found]:
    """Draw the buildings of one pair as `assess` would; return their raster and what matches."""
    background = predicted.probabilities[0]
    count, labels = cv2.connectedComponents(
        (background < 1 - rules.threshold).view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    labels, count = split_touching(
        labels, count - 1, background, rules.seed_threshold, rules.seed_depth
    )
    areas = np.bincount(labels.ravel(), minlength=count + 1) * GSD**2
    keep = areas >= rules.min_area
    keep[0] = False
    labels = np.where(keep[labels], labels, 0)
    pairs = match(predicted.truth, labels)
    graded = [(i, j) for i, j in pairs if i in predicted.grades]
    inside = labels > 0
    votes = np.stack(
        [
            np.bincount(labels[inside], channel[inside], count + 1)
            for channel in predicted.probabilities[1:]
        ],
        1,
    )
    found = Found(
        predicted.pair.name,
        len(np.unique(predicted.truth)) - 1,
        int(keep.sum()),
        len(pairs),
        votes[[j for _, j in graded]].reshape(-1, 4),
        np.array([predicted.grades[i] for i, _ in graded], int),
    )
    return labels, found


def building_f1(found: Sequence[Found]) -> float:
    """F1 of buildings matched at IoU 0.5."""
    matched = sum(f.matched for f in found)
    return 2 * matched / max(sum(f.truth + f.predicted for f in found), 1)


def choose_rules(part: Sequence[Predicted]) -> Rules:
    """Choose the thresholds with the best F1 of buildings."""
    seeds = [(0.0, 0), *itertools.product((0.6, 0.7, 0.8), (0, 2, 3, 4, 5))]
    best = (-1.0, Rules())
    for threshold, (seed, depth) in itertools.product((0.35, 0.4, 0.45, 0.5, 0.55, 0.6), seeds):
        rules = Rules(threshold, seed, depth)
        score = building_f1([find(p, rules)[1] for p in part])
        print(f"threshold {threshold}, seeds {seed}, depth {depth}: F1 {score:.4f}")
        best = max(best, (score, rules), key=lambda item: item[0])
    return best[1]


def choose_grading(found: Sequence[Found]) -> Grading:
    """Choose weights by kappa and macro F1, then the temperature by likelihood."""
    votes = np.concatenate([f.votes for f in found])
    grades = np.concatenate([f.grades for f in found])
    steps = (0.5, 0.7, 1.0, 1.4, 2.0)
    best = (-1.0, Grading())
    for weights in itertools.product((1.0,), steps, steps, steps):
        grading = Grading(weights=weights)
        said = grading.columns(votes)["damage_class"]
        score = quadratic_kappa(grades, said) + float(
            np.nanmean(list(grade_f1(grades, said).values()))
        )
        # On a tie, and nearly so, the weights nearest to one: few buildings decide here.
        score -= 0.02 * float(np.abs(np.log(weights)).sum())
        best = max(best, (score, grading), key=lambda item: item[0])
    grading = best[1]
    temperatures = np.geomspace(0.4, 4, 40)
    losses = [_nll(replace(grading, temperature=float(t)), votes, grades) for t in temperatures]
    return replace(grading, temperature=round(float(temperatures[int(np.argmin(losses))]), 3))


def _probabilities(grading: Grading, votes: np.ndarray) -> np.ndarray:
    columns = grading.columns(votes)
    return np.stack([columns[n] for n in ("p_none", "p_minor", "p_major", "p_destroyed")], 1)


def _nll(grading: Grading, votes: np.ndarray, grades: np.ndarray) -> float:
    p = _probabilities(grading, votes)[np.arange(len(grades)), grades - 1]
    return float(-np.log(np.maximum(p, 1e-9)).mean())


def grade_f1(truth: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """F1 of each grade over buildings."""
    scores = {}
    for grade in GRADES:
        tp = int(((truth == grade) & (said == grade)).sum())
        total = int((truth == grade).sum() + (said == grade).sum())
        scores[grade.label] = 2 * tp / total if total else float("nan")
    return scores


def calibration_error(p: np.ndarray, grades: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error of the confidence (Guo et al. 2017)."""
    confidence, right = p.max(1), p.argmax(1) + 1 == grades
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[number == b].mean() - right[number == b].mean()) * (number == b).mean()
        for b in range(bins)
        if (number == b).any()
    ]
    return float(sum(gaps))


def score(part: Sequence[Predicted], rules: Rules, grading: Grading) -> dict[str, Any]:
    """Score the pairs of a part: by pixel as xView2 does, and by building."""
    drawn = [find(p, rules) for p in part]
    found = [f for _, f in drawn]
    total = None
    for predicted, (labels, _) in zip(part, drawn, strict=True):
        grades = _paint(labels, predicted.probabilities, grading)
        target = np.where(predicted.pair.damage == NOT_ASSESSED, 0, predicted.pair.damage)
        one = official_score(grades, grades, (predicted.truth > 0).astype(np.uint8), target)
        total = one if total is None else total.plus(one)
    assert total is not None
    votes = np.concatenate([f.votes for f in found])
    truth = np.concatenate([f.grades for f in found])
    said = grading.columns(votes)["damage_class"]
    low, high = bootstrap_kappa(found, grading)
    matched = sum(f.matched for f in found)
    figures: dict[str, Any] = {
        "pairs": len(part),
        "buildings": sum(f.truth for f in found),
        "pixel_f1_building": total.localisation.f1,
        "pixel_f1_damage": total.damage_f1,
        "pixel_f1_per_grade": {g.label: c.f1 for g, c in zip(GRADES, total.damage, strict=True)},
        "xview2_score": total.score,
        "recall_iou50": matched / max(sum(f.truth for f in found), 1),
        "precision_iou50": matched / max(sum(f.predicted for f in found), 1),
        "graded_buildings_found": len(truth),
        "quadratic_kappa": quadratic_kappa(truth, said),
        "quadratic_kappa_95": [low, high],
        "building_f1_per_grade": grade_f1(truth, said),
        "binary_damaged_f1": _binary_f1(truth, said),
        "ece": calibration_error(_probabilities(grading, votes), truth),
    }
    rounded: dict[str, Any] = _rounded(figures)
    return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 4)
    return value


def _binary_f1(truth: np.ndarray, said: np.ndarray) -> float:
    tp = int(((truth > 1) & (said > 1)).sum())
    return 2 * tp / max(int((truth > 1).sum() + (said > 1).sum()), 1)


def _paint(labels: np.ndarray, channels: np.ndarray, grading: Grading) -> np.ndarray:
    count = int(labels.max(initial=0))
    votes = np.stack([np.bincount(labels.ravel(), c.ravel(), count + 1) for c in channels[1:]], 1)
    codes = grading.columns(votes)["damage_class"].astype(np.uint8)
    codes[0] = 0
    painted: np.ndarray = codes[labels]
    return painted


def bootstrap_kappa(found: Sequence[Found], grading: Grading) -> tuple[float, float]:
    """Return the 95 % interval of kappa, resampling whole pairs: their buildings are alike."""
    rng = np.random.default_rng(0)
    said = [grading.columns(f.votes)["damage_class"] for f in found]
    kappas = []
    for _ in range(BOOTSTRAPS):
        chosen = rng.integers(len(found), size=len(found))
        truth = np.concatenate([found[i].grades for i in chosen])
        kappas.append(quadratic_kappa(truth, np.concatenate([said[i] for i in chosen])))
    low, high = np.nanquantile(kappas, (0.025, 0.975))
    return float(low), float(high)


def choose_damaged(found: Sequence[Found], grading: Grading) -> float:
    """Choose the probability of any damage from which a building is called damaged."""
    votes = np.concatenate([f.votes for f in found])
    truth = np.concatenate([f.grades for f in found]) > 1
    p = 1 - _probabilities(grading, votes)[:, 0]
    thresholds = np.arange(0.2, 0.81, 0.05)
    scores = [
        2 * (truth & (p >= t)).sum() / max(truth.sum() + (p >= t).sum(), 1) for t in thresholds
    ]
    return round(float(thresholds[int(np.argmax(scores))]), 2)


def main() -> None:
    """Write the facts of a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("split", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    validation = list(predict_part(options.model, options.split, options.data, "validation"))
    rules = choose_rules(validation)
    found = [find(p, rules)[1] for p in validation]
    grading = choose_grading(found)
    damaged = choose_damaged(found, grading)
    print(f"chosen on validation: {rules}, {grading}, damaged from {damaged}")
    scores = {"validation": score(validation, rules, grading)}
    del validation
    test = list(predict_part(options.model, options.split, options.data, "test"))
    scores["test"] = score(test, rules, grading)
    events = sorted({p.pair.name.rsplit("_", 1)[0] for p in test})
    scores["test_per_event"] = {
        event: score([p for p in test if p.pair.name.startswith(event)], rules, grading)
        for event in events
    }
    facts = {
        "threshold": rules.threshold,
        "seed_threshold": rules.seed_threshold,
        "seed_depth": rules.seed_depth,
        "damaged_threshold": damaged,
        "temperature": grading.temperature,
        "grade_weights": list(grading.weights),
        "scores": {
            "date": datetime.now(UTC).date().isoformat(),
            "data": f"xBD at hand, places held out ({options.split.name}); chosen on validation",
            "command": f"python -m training.calibrate {' '.join(sys.argv[1:3])}",
            **scores,
        },
    }
    options.output.write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts["scores"], indent=2))


if __name__ == "__main__":
    main()
