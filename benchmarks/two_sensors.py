r"""Compare networks that grade by a radar's post image, on scenes that none of them has seen.

    python -m benchmarks.two_sensors runs/cross_modal_assess runs/cross_modal_assess_alone \
        --data drawn --split training/recipes/cross_modal_assess.csv

Each building is graded in its true outline, by the probabilities of its pixels, summed, as
`geodamage assess --footprints` does. Beside the runs stand the most frequent grade of the training
part, given to all, and the teacher, which sees the optical post image. The difference between the
first two runs comes with a 95 % interval: scenes drawn again with replacement, the same for both.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import torch

from geodamage.arrays import predict_pair
from geodamage.damage import GRADES
from geodamage.errors import GeodamageError
from geodamage.model.loading import load_model
from geodamage.xbd.folders import read_split
from training.data.crops import LabelledPair
from training.data.labelled import Sample
from training.data.two_sensors import LAYOUTS
from training.predictor import read_trained
from training.validation import predict

#: Returns building, then the four grades, float (5, rows, columns), of a pair.
Answer = Callable[[LabelledPair], np.ndarray]
COLUMNS = ("", "buildings, F1", "graded right", "macro F1", "damaged, F1", *(
    f"F1 {grade.label}" for grade in GRADES
))  # fmt: skip
RESAMPLINGS = 2000


@dataclass(frozen=True)
class Scene:
    """The outcome of one scene.

    Attributes
    ----------
    confusion
        int (4, 4): buildings by true and by said grade.
    pixels
        int (3,): building pixels found, missed, and found where there are none.
    """

    confusion: np.ndarray
    pixels: np.ndarray


def f1(found: float, missed: float, wrong: float) -> float:
    """Return the F1 of three counts; 0 where there is nothing."""
    return 2 * found / max(2 * found + missed + wrong, 1)


def figures(scenes: Sequence[Scene]) -> list[float]:
    """Return the columns of the table but the first."""
    table = np.sum([scene.confusion for scene in scenes], axis=0)
    pixels = np.sum([scene.pixels for scene in scenes], axis=0)
    right = np.diag(table)
    grades = [
        f1(right[g], table[g].sum() - right[g], table[:, g].sum() - right[g]) for g in range(4)
    ]
    damaged = f1(table[1:, 1:].sum(), table[1:, 0].sum(), table[0, 1:].sum())
    accuracy = right.sum() / max(table.sum(), 1)
    return [f1(*pixels), float(accuracy), float(np.mean(grades)), damaged, *grades]


def grade(probabilities: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """Return the grade of each building, int (count,): its pixels' probabilities, summed."""
    sums = [np.bincount(index.ravel(), plane.ravel(), count + 1)[1:] for plane in probabilities]
    return np.asarray(np.argmax(sums, axis=0) + 1)


def compare(pair: LabelledPair, said: np.ndarray) -> Scene:
    """Hold what was said of a scene against its labels."""
    index, truth = buildings(pair)
    confusion = np.zeros((4, 4), np.int64)
    np.add.at(confusion, (truth - 1, grade(said[1:], index, len(truth)) - 1), 1)
    found, there = said[0] > 0.5, pair.damage > 0
    pixels = [(found & there).sum(), (~found & there).sum(), (found & ~there).sum()]
    return Scene(confusion, np.array(pixels))


def buildings(pair: LabelledPair) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each pixel's building, int (rows, columns), and their grades."""
    index = np.zeros(pair.damage.shape, np.int32)
    grades: list[int] = []
    for level in GRADES:
        count, labels = cv2.connectedComponents(
            ((pair.damage == level) & (pair.buildings > 0)).astype(np.uint8), connectivity=4
        )
        index[labels > 0] = labels[labels > 0] + len(grades)
        grades += [int(level)] * (count - 1)
    return index, np.array(grades, int)


def of_run(path: Path) -> Answer:
    """Return the answers of a run, which sees the radar's image."""
    model = read_trained(path).exported()

    def answer(pair: LabelledPair) -> np.ndarray:
        sample = Sample(pair.pre, pair.post, pair.damage, pair.buildings)
        return predict(model, sample, torch.device("cpu"), torch.float32).numpy()

    return answer


def of_teacher(name: str) -> Answer:
    """Return the answers of a model file, which sees the optical post image."""
    model = load_model(name)

    def answer(pair: LabelledPair) -> np.ndarray:
        found = predict_pair(model, pair.pre, pair.post if pair.shown is None else pair.shown)
        return np.concatenate([found.localisation[None], found.damage])

    return answer


def of_majority(most: int) -> Answer:
    """Return the answers of one that gives every building the same grade, and finds none."""

    def answer(pair: LabelledPair) -> np.ndarray:
        said = np.zeros((5, *pair.damage.shape), np.float32)
        said[most] = 1
        return said

    return answer


def difference(first: Sequence[Scene], second: Sequence[Scene], column: int) -> str:
    """Return the difference of a column between two, with its 95 % interval."""
    rng = np.random.default_rng(0)
    apart = []
    for _ in range(RESAMPLINGS):
        drawn = rng.integers(len(first), size=len(first))
        pair = [figures([scenes[i] for i in drawn])[column] for scenes in (first, second)]
        apart.append(pair[0] - pair[1])
    low, high = np.percentile(apart, (2.5, 97.5))
    whole = figures(first)[column] - figures(second)[column]
    return f"{whole:+.3f} ({low:+.3f} to {high:+.3f})"


def measured(options: argparse.Namespace) -> Iterator[tuple[str, list[Scene]]]:
    """Yield what is compared, by name, with its scenes."""
    layout = LAYOUTS[options.layout]

    def load(part: str) -> list[LabelledPair]:
        named = read_split(options.split, options.data, part)
        return [layout(pair.name, pair.folder).labelled() for pair in named]

    learnt = np.concatenate([buildings(pair)[1] for pair in load("train")])
    most = int(np.bincount(learnt, minlength=5).argmax())
    pairs = load(options.part)
    answers = {f"every building {GRADES[most - 1].label}": of_majority(most)}
    if options.teacher:
        answers[f"{options.teacher}, optical after"] = of_teacher(options.teacher)
    answers |= {path.name: of_run(path) for path in options.runs}
    for name, answer in answers.items():
        yield name, [compare(pair, answer(pair)) for pair in pairs]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--layout", choices=[*LAYOUTS], default="two_sensors")
    parser.add_argument("--teacher", default="fast", help="model file; '' for none")
    options = parser.parse_args(arguments)
    try:
        found = dict(measured(options))
    except GeodamageError as error:
        parser.exit(error.exit_code, f"benchmarks.two_sensors: error: {error}\n")
    scenes = next(iter(found.values()))
    print(
        f"{datetime.now(UTC).date()}, part {options.part}: {len(scenes)} scenes, "
        f"{int(sum(scene.confusion.sum() for scene in scenes))} buildings\n"
    )
    print(f"| {' | '.join(COLUMNS)} |\n|---{'|--:' * (len(COLUMNS) - 1)}|")
    for name, rows in found.items():
        values = [f"{value:.3f}" for value in figures(rows)]
        if name.startswith("every building"):
            values[0] = ""
        print(f"| {name} | {' | '.join(values)} |")
    if len(options.runs) > 1:
        first, second = (found[path.name] for path in options.runs[:2])
        print(f"\n{options.runs[0].name} less {options.runs[1].name}, 95 % over scenes:")
        for column in (0, 1, 2, 3):
            print(f"- {COLUMNS[column + 1]}: {difference(first, second, column)}")


if __name__ == "__main__":
    main()
