r"""Choose a model's thresholds on the validation places, score it on the test places.

    python -m training.calibrate model.onnx training/recipes/compact.csv \
        --data ../shared/data/xbd -o facts.json

Buildings are drawn as `assess` draws them: components above the threshold, split at seeds, one
grade a building. Pixels and buildings are counted as `geodamage evaluate` counts them. Nothing is
chosen on the test places. The result is a table of facts for `training.export --facts`.
"""

import argparse
import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.arrays import predict_pair
from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.errors import GeodamageError, ModelError
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble, Member
from geodamage.model.heads import Predictor
from geodamage.model.loading import load_model
from geodamage.output.publication import output_errors
from geodamage.scores.buildings import building_score
from geodamage.scores.evaluation import (
    Evaluation,
    EvaluationJob,
    EvaluationProgress,
    choose_pairs,
    evaluate_model,
    read_truth,
)
from geodamage.scores.pixels import Counts, pixel_counts
from geodamage.scores.tallies import (
    Drawing,
    MatchedVotes,
    Tally,
    Truth,
    add_up,
    draw_buildings,
    grade_probabilities,
    intervals,
    match_votes,
    sum_votes,
)
from geodamage.work import Work
from geodamage.xbd.folders import Pair

BOOTSTRAPS = 2000
#: Localisations that are tried as threshold.
THRESHOLDS = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
#: Thresholds and depths of seeds that are tried; the first splits nothing.
SEEDS = ((0.0, 0), *itertools.product((0.6, 0.7, 0.8), (0, 2, 3, 4, 5)))
#: Weights of a grade that are tried, against that of no-damage. Lower ones are likelier still, but
#: then a rare grade is hardly ever said: training/EXPERIMENTS.md.
WEIGHTS = (0.7, 1.0, 1.4)

#: Takes pairs done, pairs in all, and the name of the one just done.
Say = Callable[[int, int, str], None]


def silent(done: int, total: int, name: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Predicted:
    """One pair with what the model says of it."""

    labelled: Truth
    probabilities: np.ndarray  # float32 (5, rows, columns)

    @property
    def truth(self) -> np.ndarray:
        """Number of the label, int32 (rows, columns)."""
        return self.labelled.index


def predict_pairs(
    model: Predictor, pairs: Sequence[Pair], say: Say = silent
) -> Iterator[Predicted]:
    """Run a model on pair after pair; each is said when it has been used."""
    for done, pair in enumerate(pairs, 1):
        truth = read_truth(pair)
        yield Predicted(truth, predict_pair(model, truth.pre, truth.post).probabilities)
        say(done, len(pairs), pair.name)


@dataclass
class Trial:
    """What one way of drawing finds on the pairs that it was tried on.

    Attributes
    ----------
    found
        Buildings found, missed and spurious.
    votes
        Votes of the buildings found whose label has a grade, pair by pair.
    """

    found: Counts = field(default_factory=lambda: Counts(0, 0, 0))
    votes: list[MatchedVotes] = field(default_factory=list)

    def add(self, predicted: Predicted, drawing: Drawing) -> None:
        """Try it on one more pair."""
        truth, channels = predicted.labelled, predicted.probabilities
        index = draw_buildings(channels, drawing, truth.pixel_area)
        score = building_score(truth.index, index, truth_grades={}, found_grades={})
        self.found = self.found.plus(score.detection)
        self.votes.append(match_votes(truth, index, sum_votes(index, channels[1:])))

    @property
    def matched(self) -> MatchedVotes:
        """The votes of all pairs."""
        return MatchedVotes(*(np.concatenate(arrays) for arrays in zip(*self.votes, strict=True)))


def try_drawings(part: Iterable[Predicted]) -> dict[Drawing, Trial]:
    """Try every way of drawing on every pair; of each pair only counts and votes are kept."""
    trials = {
        Drawing(threshold, *seed): Trial()
        for threshold, seed in itertools.product(THRESHOLDS, SEEDS)
    }
    for predicted in part:
        for drawing, trial in trials.items():
            trial.add(predicted, drawing)
    return trials


def choose_drawing(trials: dict[Drawing, Trial]) -> Drawing:
    """Choose the thresholds with the best F1 of buildings; of equal ones the first."""
    return max(trials, key=lambda drawing: trials[drawing].found.f1)


def found_votes(model: Predictor, pairs: Sequence[Pair], min_area: float) -> MatchedVotes:
    """Return the votes of the graded buildings that a model finds, drawn as its card says."""
    drawing, trial = Drawing.of(model.card, min_area), Trial()
    for predicted in predict_pairs(model, pairs):
        trial.add(predicted, drawing)
    return trial.matched


def choose_weights(worth: Callable[[Grading], float], weights: Sequence[float]) -> Grading:
    """Choose the most worthy weights, of those that are tried for each grade but no-damage."""

    def standing(grading: Grading) -> float:
        # On a tie, and nearly so, the weights nearest to one: few buildings decide here.
        return worth(grading) - 0.02 * float(np.abs(np.log(grading.weights)).sum())

    tried = itertools.product((1.0,), weights, weights, weights)
    return max((Grading(weights=each) for each in tried), key=standing)


def choose_grading(found: MatchedVotes, weights: Sequence[float] = WEIGHTS) -> Grading:
    """Choose weights, of those that are tried for each grade, and temperature by likelihood.

    Training shows the rare grades more often than they occur, so that votes call more buildings
    damaged than are. `training/EXPERIMENTS.md` compares this with kappa and F1.
    """
    chosen = choose_weights(lambda grading: -likeliest(grading, found)[1], weights)
    return likeliest(chosen, found)[0]


def likeliest(grading: Grading, found: MatchedVotes) -> tuple[Grading, float]:
    """Return a grading with its likeliest temperature, and the loss at that."""
    temperatures = np.geomspace(0.4, 4, 40)
    losses = [_nll(replace(grading, temperature=float(t)), found) for t in temperatures]
    least = int(np.argmin(losses))
    return replace(grading, temperature=round(float(temperatures[least]), 3)), losses[least]


def _nll(grading: Grading, found: MatchedVotes) -> float:
    p = grade_probabilities(grading, found.votes)[np.arange(len(found.grades)), found.grades - 1]
    return float(-np.log(np.maximum(p, 1e-9)).mean())


def choose_damaged(found: MatchedVotes, grading: Grading) -> float:
    """Choose the probability of any damage from which a building is called damaged."""
    truth = found.grades > 1
    p = 1 - grade_probabilities(grading, found.votes)[:, 0]
    thresholds = np.arange(0.2, 0.81, 0.05)
    # F1 hardly changes from one to the next, so that a few buildings decide: one half unless
    # another gains a point for each 0.05 that it is away.
    scores = [
        pixel_counts(p >= threshold, truth).f1 - 0.2 * abs(threshold - 0.5)
        for threshold in thresholds
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
            **drawing_facts(self.drawing),
            "damaged_threshold": self.damaged,
            "temperature": self.grading.temperature,
            "grade_weights": list(self.grading.weights),
        }


def drawing_facts(drawing: Drawing) -> dict[str, Any]:
    """Return what a card says of drawing."""
    return {
        "threshold": drawing.threshold,
        "seed_threshold": drawing.seed_threshold,
        "seed_depth": drawing.seed_depth,
    }


def choose(part: Iterable[Predicted]) -> Chosen:
    """Choose everything on the pairs of a part.

    Raises
    ------
    ModelError
        If no building with a grade is found, so that there is nothing to choose by.
    """
    trials = try_drawings(part)
    drawing = choose_drawing(trials)
    found = trials[drawing].matched
    if not len(found.grades):
        raise ModelError(
            "no building that has a grade in the validation part is found, so nothing can be "
            "chosen there; train longer, or look at the labels"
        )
    grading = choose_grading(found)
    return Chosen(drawing, grading, choose_damaged(found, grading))


def tuned(model: Predictor, facts: Mapping[str, Any]) -> Ensemble:
    """Return a model with other facts on its card, by which it draws and grades."""
    return Ensemble(with_facts(model.card, facts), [Member(model)])


def with_facts(card: Card, facts: Mapping[str, Any]) -> Card:
    """Return a card on which some facts are others.

    Raises
    ------
    ModelError
        If a card has no such fact, or not of that type.
    """
    return Card.from_json(json.dumps(dataclasses.asdict(card) | dict(facts)), card.name)


def count(job: EvaluationJob, model: Ensemble) -> Work[EvaluationProgress, Evaluation]:
    """Count what a model at hand says of the pairs of a job, as `geodamage evaluate` does."""
    return evaluate_model(job, model, choose_pairs(job))


def follow(work: Work[EvaluationProgress, Evaluation], say: Say) -> Evaluation:
    """Run an evaluation to its end and say how it goes."""
    with work:
        for progress in work:
            say(progress.done, progress.total, progress.pair)
    return work.result()


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
        "recall_by_size_m2": {f"{r['low']:.0f}+": r["recall"] for r in total.sizes.figures()},
        "graded_buildings_found": int(buildings.confusion.sum()),
        "quadratic_kappa": buildings.kappa,
        "quadratic_kappa_95": ends,
        "building_f1_per_grade": {g.label: _f1(buildings.matched(g)) for g in GRADES},
        "binary_damaged_f1": _f1(buildings.matched(*GRADES[1:])),
        "ece": total.calibration.ece,
        "brier_skill": total.calibration.brier_skill,
        "footprints_quadratic_kappa": given.kappa,
        "footprints_f1_per_grade": {g.label: _f1(given.matched(g)) for g in GRADES},
        "footprints_binary_damaged_f1": _f1(given.matched(*GRADES[1:])),
    }
    kept: dict[str, Any] = rounded(figures)
    return kept


def _f1(counts: Counts) -> float | None:
    """Return F1; None where a class neither occurs nor is said."""
    return counts.f1 if sum(counts) else None


def rounded(value: Any) -> Any:
    """Return figures, nested as they may be, with the four digits that a card keeps."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def score_part(model: Predictor, job: EvaluationJob, chosen: Chosen) -> dict[str, dict[str, Any]]:
    """Score the pairs of a job, and those of each event; the whole has the empty name."""
    tallies = follow(count(job, tuned(model, chosen.facts())), silent).tallies
    scores = {"": score([*tallies.values()])}
    for event in sorted({pair.event for pair in tallies}):
        scores[event] = score([tally for pair, tally in tallies.items() if pair.event == event])
    return scores


def calibrate(source: str, split: Path, data: Path) -> dict[str, Any]:
    """Return the facts of a model file: what is chosen on validation, and the scores."""
    model = load_model(source)
    jobs = {
        part: EvaluationJob(folder=data, split=split, part=part) for part in ("validation", "test")
    }
    chosen = choose(predict_pairs(model, choose_pairs(jobs["validation"])))
    print(f"chosen on validation: {chosen}", file=sys.stderr)
    validation, test = (score_part(model, job, chosen) for job in jobs.values())
    return {
        **chosen.facts(),
        "scores": {
            "date": datetime.now(UTC).date().isoformat(),
            "data": f"xBD at hand, places held out ({split.name}); chosen on validation",
            "command": f"python -m training.calibrate {source} {split}",
            "validation": validation[""],
            "test": test.pop(""),
            "test_per_event": test,
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the facts of a model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("split", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        facts = calibrate(options.model, options.split, options.data)
        with output_errors(options.output):
            options.output.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.calibrate: error: {error}\n")
    print(json.dumps(facts["scores"], indent=2))


if __name__ == "__main__":
    main()
