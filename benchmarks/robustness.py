r"""Measure how a model stands shift, coarser pixels and mirror images, on places held out.

    python -m benchmarks.robustness accurate training/recipes/compact.csv --data ../shared/data/xbd

`--facts` adds the figures to those of `training.calibrate`, for the card of the model. Each row
sees the same pairs. A shift moves the post image against the labels and the pre image, along each
of the four axes in turn, pair by pair. Uncovered ground is mirrored. A coarser sensor averages both
images to its pixels. Near the model's own GSD the model sees those pixels. Coarser ones are
upsampled to its own, as `assess` does. Answers are brought back to the pixels of the labels. The
model's thresholds are those of its card; nothing is chosen here.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geodamage.arrays import Prediction, predict_pair
from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.errors import GeodamageError
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble, with_flips
from geodamage.model.heads import Predictor
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.output.publication import output_errors
from geodamage.scene.lattice import coarsest_kept
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, official_masks, read_truth
from geodamage.scores.tallies import Drawing, Tally, Truth, add_up, count_pair
from training.calibrate import rounded
from training.export import read_facts
from training.runs.records import replace_text

SHIFTS = (4, 8, 16, 32)
GSDS = (0.6, 0.8, 1.0, 1.2)
#: Directions of a shift, (rows, columns): a pair takes that of its number.
AXES = ((0, 1), (1, 0), (0, -1), (-1, 0))
COLUMNS = (
    "", "score", "localisation F1", "damage F1", "recall at IoU 0.5", "kappa, footprints",
    "damaged F1, footprints",
)  # fmt: skip

#: Says what a model says of a pair under one condition; the number is the pair's.
Look = Callable[[Truth, int], Prediction]


def moved(image: np.ndarray, pixels: int, number: int) -> np.ndarray:
    """Return an image whose content lies some pixels off, along the axis of a number."""
    rows, columns = (pixels * step for step in AXES[number % len(AXES)])
    size = image.shape[1], image.shape[0]
    matrix = np.array([[1.0, 0, columns], [0, 1, rows]])
    return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT_101))


def coarse(image: np.ndarray, gsd: float, card: Card, own: float) -> np.ndarray:
    """Return an image as the model would get it of a sensor of coarser pixels.

    Parameters
    ----------
    gsd, own
        Metres per pixel, of that sensor and of the image.
    """
    rows, columns = image.shape[:2]
    small = max(round(columns * own / gsd), 1), max(round(rows * own / gsd), 1)
    seen = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    if gsd > coarsest_kept(card.gsd):
        native = round(columns * own / card.gsd_native), round(rows * own / card.gsd_native)
        seen = cv2.resize(seen, native, interpolation=cv2.INTER_LINEAR)
    return np.asarray(seen)


def brought_back(prediction: Prediction, shape: tuple[int, int]) -> Prediction:
    """Return a prediction at the pixels of the labels."""
    size = shape[1], shape[0]

    def grown(plane: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR))

    damage, joined = (np.stack([*map(grown, planes)]) for planes in prediction[1:3])
    return Prediction(grown(prediction.localisation), damage, joined)


def as_shifted(model: Predictor, pixels: int) -> Look:
    """Return the look at pairs whose post image lies some pixels off."""
    return lambda truth, number: predict_pair(model, truth.pre, moved(truth.post, pixels, number))


def as_coarser(model: Predictor, gsd: float) -> Look:
    """Return the look at pairs of a sensor of coarser pixels; finer pairs stay as they are."""

    def look(truth: Truth, number: int) -> Prediction:
        own = truth.pixel_area**0.5
        if own >= gsd:
            return predict_pair(model, truth.pre, truth.post)
        pre, post = (coarse(image, gsd, model.card, own) for image in (truth.pre, truth.post))
        return brought_back(predict_pair(model, pre, post), truth.damage.shape)

    return look


def looks(model: Model | Ensemble) -> Iterator[tuple[str, Look]]:
    """Yield every condition by its name."""
    yield "as it is", as_shifted(model, 0)
    yield "four mirror images", as_shifted(with_flips(model), 0)
    for pixels in SHIFTS:
        yield f"shift of {pixels} pixels", as_shifted(model, pixels)
    for gsd in GSDS:
        yield f"pixels of {gsd:g} m", as_coarser(model, gsd)


@dataclass
class Row:
    """One condition, and what was counted under it, pair by pair."""

    name: str
    look: Look
    tallies: list[Tally]

    def figures(self) -> dict[str, float | None]:
        """Return what its columns say, by the names that cards have."""
        total = add_up(self.tallies)
        given = total.footprints
        return {
            "xview2_score": total.official.score,
            "pixel_f1_building": total.official.localisation.f1,
            "pixel_f1_damage": total.official.damage_f1,
            "recall_iou50": total.buildings.detection.recall,
            "footprints_quadratic_kappa": given.kappa,
            "footprints_binary_damaged_f1": given.matched(*GRADES[1:]).f1,
        }

    def text(self) -> str:
        """Return the row in Markdown."""
        values = self.figures().values()
        told = ["n/a" if value is None else f"{value:.3f}" for value in values]
        return f"| {' | '.join([self.name, *told])} |"


def measure(job: EvaluationJob, model: Model | Ensemble, rows: Sequence[Row]) -> Iterator[str]:
    """Count every pair under every condition; yields the name of each pair when it is done."""
    grading, drawing = Grading.of(model.card), Drawing.of(model.card, job.min_area)
    for number, pair in enumerate(choose_pairs(job)):
        truth = read_truth(pair)
        for row in rows:
            prediction = row.look(truth, number)
            masks = official_masks(model, truth, prediction)
            row.tallies.append(count_pair(truth, prediction, masks, grading, drawing))
        yield pair.name


def add_facts(path: Path, key: str, figures: dict[str, Any]) -> None:
    """Put figures among the scores of a file of facts for `training.export`.

    Raises
    ------
    OptionError, OutputError
        If it is not a sidecar, or cannot be written.
    """
    facts = read_facts(path)
    scores = facts.setdefault("scores", {})
    scores[key] = {"date": datetime.now(UTC).date().isoformat(), **rounded(figures)}
    with output_errors(path):
        replace_text(path, json.dumps(facts, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("split", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--facts", type=Path, help="facts of training.calibrate, to be added to")
    options = parser.parse_args(arguments)
    job = EvaluationJob(folder=options.data, split=options.split, part=options.part)
    try:
        if options.facts is not None:
            read_facts(options.facts)  # before minutes of work
        model = load_model(options.model)
        rows = [Row(name, look, []) for name, look in looks(model)]
        for name in measure(job, model, rows):
            if sys.stderr.isatty():
                print(f"\r{name}\x1b[K", end="", file=sys.stderr, flush=True)
        if options.facts is not None:
            figures = {row.name: row.figures() for row in rows}
            add_facts(options.facts, "robustness", figures)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"benchmarks.robustness: error: {error}\n")
    print(
        f"{model.card.name} {model.card.version}, {datetime.now(UTC).date()}, part {options.part}: "
        f"{len(rows[0].tallies)} pairs\n\n| {' | '.join(COLUMNS)} |\n|---{'|--:' * 6}|"
    )
    for row in rows:
        print(row.text())


if __name__ == "__main__":
    main()
