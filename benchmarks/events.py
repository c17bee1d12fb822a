r"""Measure what a new event costs: networks that never saw the events that they are scored on.

    python -m benchmarks.events train --data ../shared/data/xbd \
        --half ../shared/data/xbd_half512 --masked ../shared/data/buildings
    python -m benchmarks.events table --data ../shared/data/xbd

Each fold leaves out one event, or two, and learns from the others by `fast.toml` without a teacher:
the bundled `accurate` has seen all of them. Half-size pairs of an event that is left out are left
out, too. The fold `known` leaves out places, by `compact.csv`: how much of what is lacking is the
event, and how much the short training. `--set` changes the recipe of all folds, `--folds` names
those that count. Thresholds are one half, and nothing is tuned. With `--tuned` thresholds and
weights of grades are chosen as for bundled models, on the validation places of the fold. Its
events are known: what is left out has no part in the choice. Two methods without a network are
compared: the most frequent grade, and the difference of pixels (`benchmarks.baselines`). Their
thresholds come from the training events. Intervals are of 95 %, by resampling pairs.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.baselines import choose_thresholds, differences, grades_of, macro_f1
from benchmarks.distillation import RECIPES, is_done, named, say
from benchmarks.networks import positive
from benchmarks.robustness import add_facts
from geodamage.arrays import predict_pair
from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.errors import GeodamageError, OptionError
from geodamage.model.heads import Predictor
from geodamage.scores.buildings import MINIMUM_BUILDINGS, BuildingScore, grading_score
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, official_masks, read_truth
from geodamage.scores.tallies import Drawing, Tally, add_up, count_pair, intervals
from training import prepare, train
from training.calibrate import choose, predict_pairs, tuned
from training.predictor import load_predictor, read_trained

#: Events that are left out together. Two floods are in two folds: one is learnt from for the other.
#: Where none is, it is places that are left out.
FOLDS: Mapping[str, tuple[str, ...]] = {
    "michael": ("hurricane-michael",),
    "santa-rosa": ("santa-rosa-wildfire",),
    "guatemala-midwest": ("guatemala-volcano", "midwest-flooding"),
    "mexico-florence": ("mexico-earthquake", "hurricane-florence"),
    "known": (),
}
#: Of the half-size pairs with targets.
HALF_EVENT = "mexico-earthquake"
#: No teacher, a third of the steps, one look at validation at the end.
CHANGES = (
    "distil_teachers=[]", 'distil_cache=""', 'distil_tta="none"', "validate_every=1000000",
    "validate_on=2",
)  # fmt: skip
RESAMPLINGS = 2000
NOTE = "of small networks that learnt from the other events, without a teacher; not of this model"
COLUMNS = (
    "", "pairs", "score", "localisation F1", "damage F1", *(grade.label for grade in GRADES),
    "kappa, footprints", "damaged F1", "macro F1", "by pixels", "most frequent",
)  # fmt: skip


def command(fold: str, options: argparse.Namespace) -> list[str]:
    """Return the arguments of `training.train` for one fold.

    Raises
    ------
    OptionError
        If a folder is missing.
    """
    if options.half is None or options.masked is None:
        raise OptionError("--half and --masked: training learns from both; give the folders")
    changes = [f'name="{fold}"', f"steps={options.steps}", *CHANGES, *options.set]
    paths = ["--data", str(options.data), "--runs", str(options.runs), "--device", "cpu"]
    paths += ["--masked", str(options.masked)]
    if FOLDS[fold]:
        paths += ["--split", str(options.runs / f"{fold}.csv")]
    if HALF_EVENT in FOLDS[fold]:
        changes.append("chips_half_share=0.0")
    else:
        paths += ["--half", str(options.half)]
    return [str(RECIPES / "fast.toml"), *paths, *(p for c in changes for p in ("--set", c))]


def write_split(fold: str, options: argparse.Namespace) -> None:
    """Write the split of a fold: its events test; of the others a tenth validates."""
    folder = options.runs / "split"
    prepare.main(
        [str(options.data), "-o", str(folder), "--split", "leave_one_out",
         "--event", ",".join(FOLDS[fold]), "--accept-overlap"]
    )  # fmt: skip
    (folder / "split.csv").replace(options.runs / f"{fold}.csv")


def chosen(options: argparse.Namespace) -> list[str]:
    """Return the folds that are asked for.

    Raises
    ------
    OptionError
        If there is no such fold.
    """
    return named("--folds", options.folds, [*FOLDS]) if options.folds else [*FOLDS]


def train_all(options: argparse.Namespace) -> Iterator[str]:
    """Train the folds that are not yet trained; yields each when it is done."""
    for fold in chosen(options):
        if not is_done(options.runs / fold):
            if FOLDS[fold] and not (options.runs / f"{fold}.csv").exists():
                write_split(fold, options)
            train.main(command(fold, options))
        yield f"{options.runs / fold}: trained"


class Event:
    """What was counted of one event."""

    def __init__(self) -> None:
        self.tallies: list[Tally] = []
        self.by_pixels: list[BuildingScore] = []
        self.most_frequent: list[BuildingScore] = []

    def figures(self) -> dict[str, Any]:
        """Return what a card keeps of it."""
        total, ends = add_up(self.tallies), intervals(self.tallies, RESAMPLINGS)
        return {
            "pairs": total.pairs,
            "xview2_score": total.official.score,
            "xview2_score_95": ends["score"],
            "pixel_f1_building": total.official.localisation.f1,
            "pixel_f1_damage": total.official.damage_f1,
            "footprints_quadratic_kappa": total.footprints.kappa,
            "footprints_quadratic_kappa_95": ends["footprints_quadratic_kappa"],
            "by_pixel_difference_kappa": summed(self.by_pixels).kappa,
        }

    def row(self, name: str) -> str:
        """Return its line in Markdown."""
        total, ends = add_up(self.tallies), intervals(self.tallies, RESAMPLINGS)
        official, given = total.official, total.footprints
        cells = [name, str(total.pairs), told(official.score, ends["score"])]
        cells += [
            told(official.localisation.f1, ends["localization_f1"]),
            told(official.damage_f1, ends["damage_f1"]),
        ]
        labelled = given.confusion.sum(1)
        cells += [
            told(counts.f1) if number >= MINIMUM_BUILDINGS else f"n/a ({number})"
            for counts, number in zip(official.damage, labelled, strict=True)
        ]
        enough = labelled[1:].sum() >= MINIMUM_BUILDINGS
        cells.append(told(given.kappa, ends["footprints_quadratic_kappa"]))
        cells.append(told(given.matched(*GRADES[1:]).f1) if enough else "n/a")
        cells.append(told(macro_f1(given)))
        for scores in (self.by_pixels, self.most_frequent):
            both = summed(scores)
            cells.append(f"{told(both.kappa)}, {told(macro_f1(both))}")
        return f"| {' | '.join(cells)} |"


def told(value: float | None, ends: tuple[float | None, float | None] = (None, None)) -> str:
    """Return a figure with its interval."""
    if value is None:
        return "n/a"
    low, high = ends
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.2f}-{high:.2f})"


def summed(scores: Sequence[BuildingScore]) -> BuildingScore:
    """Return the scores of several pairs as one."""
    return BuildingScore.of(np.sum([score.table for score in scores], 0))


def measure(fold: str, options: argparse.Namespace) -> dict[str, Event]:
    """Count the events of a fold."""
    run = options.runs / fold
    learnt, chosen_on, scored = (
        EvaluationJob(folder=options.data, split=run / "split.csv", part=part)
        for part in ("train", "validation", "test")
    )
    known: list[tuple[np.ndarray, np.ndarray]] = []
    for pair in choose_pairs(learnt):
        say(f"{fold}: {pair.name}")
        truth = read_truth(pair)
        known.append((differences(truth), grades_of(truth)))
    changed, grades = (np.concatenate(arrays) for arrays in zip(*known, strict=True))
    thresholds = choose_thresholds(changed, grades)
    most = int(np.bincount(grades, minlength=5).argmax())
    model: Predictor = load_predictor([read_trained(run)], device="cpu")
    if options.tuned:
        best = choose(predict_pairs(model, choose_pairs(chosen_on)))
        say(f"{fold}: {best}")
        model = tuned(model, best.facts())
    grading, drawing = Grading.of(model.card), Drawing.of(model.card, scored.min_area)
    events: dict[str, Event] = defaultdict(Event)
    for pair in choose_pairs(scored):
        say(f"{fold}: {pair.name}")
        truth = read_truth(pair)
        event, names = events[pair.event], grades_of(truth)
        prediction = predict_pair(model, truth.pre, truth.post)
        masks = official_masks(model, truth, prediction)
        event.tallies.append(count_pair(truth, prediction, masks, grading, drawing))
        by_pixels = np.digitize(differences(truth), thresholds) + 1
        event.by_pixels.append(grading_score(names, by_pixels))
        event.most_frequent.append(grading_score(names, np.full(len(names), most)))
    return events


def table(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---|" + "--:|" * (len(COLUMNS) - 1)
    together, told_of = Event(), dict[str, Any]()
    for fold in chosen(options):
        if not is_done(options.runs / fold):
            continue
        for name, event in sorted(measure(fold, options).items()):
            if not FOLDS[fold]:
                yield event.row(f"{name}, known")
                continue
            yield event.row(name)
            told_of[name] = event.figures()
            together.tallies += event.tallies
            together.by_pixels += event.by_pixels
            together.most_frequent += event.most_frequent
    if together.tallies:
        yield together.row("all of them")
        for path in options.facts:
            add_facts(path, "events_not_learnt_from", {"note": NOTE, **told_of})


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the folds, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["train", "table"])
    parser.add_argument("--data", type=Path, required=True, help="folder of xBD pairs")
    parser.add_argument("--half", type=Path, help="folder of half-size pairs")
    parser.add_argument("--masked", type=Path, help="folder of masked images")
    parser.add_argument("--runs", type=Path, default=Path("runs/events"))
    parser.add_argument("--steps", type=positive, default=2500, help="of each fold")
    parser.add_argument("--folds", default="", help="comma-separated; all unless given")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of all recipes"
    )
    parser.add_argument(
        "--tuned", action="store_true", help="table: choose thresholds on known places"
    )
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument(
        "--facts", type=Path, action="append", default=[],
        help="facts of training.calibrate, to be added to",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        for line in train_all(options) if options.action == "train" else table(options):
            print(line, flush=True)
    except GeodamageError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
