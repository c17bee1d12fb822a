r"""Compare ways to choose the weights by which a building gets its grade.

    python -m benchmarks.grading training/recipes/compact.csv fast runs/events/michael \
        --data ../shared/data/xbd

Weights and temperature are chosen on the buildings found in the validation part, and scored on the
label polygons of the test part. A model file follows the named split, and a run its own. Runs of
`benchmarks.events` show the value of a choice in an unseen event. The ways are: none, where all
grades weigh alike; the sum of kappa and mean F1 of the grades; and likelihood, with weights down to
one half, or to 0.7. The last is what `training.calibrate` does. The temperature is the likeliest in
each.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.baselines import macro_f1
from benchmarks.distillation import say
from benchmarks.events import told
from geodamage.arrays import predict_pair
from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.errors import GeodamageError, ModelError
from geodamage.model.heads import Predictor
from geodamage.model.loading import load_model
from geodamage.scores.buildings import BuildingScore, grading_score
from geodamage.scores.calibration import Calibration
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, read_truth
from geodamage.scores.tallies import MatchedVotes, count_footprints
from training.calibrate import choose_grading, choose_weights, found_votes, likeliest
from training.predictor import load_predictor, read_trained

#: Weights that are tried beside those of `training.calibrate`.
WIDE = (0.5, 0.7, 1.0, 1.4, 2.0)


def alike(found: MatchedVotes) -> Grading:
    """Let all grades weigh alike."""
    return likeliest(Grading(), found)[0]


def by_agreement(found: MatchedVotes) -> Grading:
    """Choose weights by kappa and mean F1, then the likeliest temperature."""

    def agreement(grading: Grading) -> float:
        score = grading_score(found.grades, grading.columns(found.votes)["damage_class"])
        return (score.kappa or 0.0) + macro_f1(score)

    return likeliest(choose_weights(agreement, WIDE), found)[0]


def down_to_half(found: MatchedVotes) -> Grading:
    """Choose weights by likelihood, of more of them."""
    return choose_grading(found, WIDE)


WAYS: Mapping[str, Callable[[MatchedVotes], Grading]] = {
    "none": alike,
    "kappa and F1": by_agreement,
    "likelihood, to 0.5": down_to_half,
    "likelihood": choose_grading,
}
COLUMNS = (
    "", "weights by", "weights", "temperature", "kappa", "macro F1",
    *(grade.label for grade in GRADES), "damaged F1", "Brier skill",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A model with the split that says what it has not learnt from."""

    name: str
    model: Predictor
    split: Path

    @classmethod
    def of(cls, name: str, split: Path) -> "Source":
        """Read a model file, a bundled model or a run folder."""
        run = Path(name)
        if not run.is_dir():
            return cls(run.stem, load_model(name), split)
        trained = load_predictor([read_trained(run)], device="cpu")
        return cls(run.name, trained, run / "split.csv")

    def job(self, data: Path, part: str) -> EvaluationJob:
        """Return the pairs of a part."""
        return EvaluationJob(folder=data, split=self.split, part=part)


def validation_votes(source: Source, data: Path) -> MatchedVotes:
    """Return the votes of the buildings that are found in the validation part.

    Raises
    ------
    ModelError
        If there is none that has a grade.
    """
    job = source.job(data, "validation")
    found = found_votes(source.model, choose_pairs(job), job.min_area)
    if not len(found.grades):
        raise ModelError(f"{source.name}: finds no graded building to choose by; train it longer")
    return found


def rows(source: Source, data: Path) -> Iterator[str]:
    """Yield a line in Markdown for each way, scored on the test part."""
    found = validation_votes(source, data)
    gradings = {way: choose(found) for way, choose in WAYS.items()}
    counts: dict[str, tuple[BuildingScore, Calibration]] = {}
    for pair in choose_pairs(source.job(data, "test")):
        say(f"{source.name}: {pair.name}")
        truth = read_truth(pair)
        damage = predict_pair(source.model, truth.pre, truth.post).damage
        for way, grading in gradings.items():
            score, calibration = count_footprints(truth, damage, grading)
            if way in counts:
                score, calibration = counts[way][0].plus(score), counts[way][1].plus(calibration)
            counts[way] = score, calibration
    for way, (score, calibration) in counts.items():
        grading, skill = gradings[way], calibration.brier_skill
        grades = [score.matched(grade) for grade in GRADES]
        cells = [source.name, way, ", ".join(f"{w:g}" for w in grading.weights)]
        cells += [f"{grading.temperature:.2f}", told(score.kappa), told(macro_f1(score))]
        cells += [told(count.f1 if count.defined else None) for count in grades]
        cells += [told(score.matched(*GRADES[1:]).f1), told(skill)]
        yield f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("split", type=Path, help="of model files")
    parser.add_argument("sources", nargs="+", help="model files, bundled models or run folders")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"| {' | '.join(COLUMNS)} |\n|---|---|---|" + "--:|" * (len(COLUMNS) - 3))
    try:
        for name in options.sources:
            for line in rows(Source.of(name, options.split), options.data):
                print(line, flush=True)
    except GeodamageError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
