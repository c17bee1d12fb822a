r"""Measure what a few answers are worth: a head on the features of an event, scored elsewhere.

    python -m benchmarks.adapt features --data ../shared/data/xbd \
        --places training/recipes/release.csv -o runs/adapt.npz
    python -m benchmarks.adapt unseen runs/adapt.npz --data ../shared/data/xbd \
        --runs runs/events -o runs/unseen.npz
    python -m benchmarks.adapt table runs/unseen.npz --repeats 20

`features` keeps, for the label polygons of every pair, what `geodamage assess --features` would
keep, and what a model says of them. A folder with `targets/` alone is of pairs at half size.
`unseen` adds the answers of networks that `benchmarks.events` taught without the event, with
nothing tuned. `table` plays events through: half of the places of an event
are answered from, by their labels, and the other half is scored. Tiles that overlap are one place.
The head starts from what the other events of the table teach.
`--draw` says which buildings are answered: `strata`, those that `geodamage sample` draws, each
with its weight; `teach`, those that `geodamage sample --for adapt` chooses; `simple`, any.

Each event is played with two models. `at home` is the model of `features`, which has learnt from
the event. `unseen` is the network that has not. Without `unseen`, a `stand-in` takes its place: a
linear model of the same features, learnt from the other events. `gain` is that of every play; `if
taken` counts what was refused as no gain. Intervals are of the mean, 95 %.
`harmful` is the share of plays that were taken and have an AUC lower by more than `HARM`. With
`--drawn` the true grades are drawn from what the model says, so that it is right and nothing can be
gained: whatever is taken then is taken by mistake.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from benchmarks.baselines import macro_f1
from benchmarks.distillation import say
from benchmarks.event_features import add_unseen, write_table
from geodamage.adaptation.head import Floats, softmax
from geodamage.adaptation.learning import Learnt, learn
from geodamage.adaptation.validation import areas_under_curve
from geodamage.errors import GeodamageError
from geodamage.reviews.design import allocate, draw, expected_spread, make_strata
from geodamage.reviews.teaching import choose_to_teach
from geodamage.scores.buildings import grading_score, quadratic_kappa
from geodamage.scores.calibration import calibration
from training.transfer import learn_transfer

ANSWERS = (20, 50, 60, 100, 200)
#: How much the weights of a stand-in are held back.
_HELD = 0.3
#: Fewest damaged and undamaged buildings on the scored tiles that give a figure.
FEWEST = 5
#: Loss of AUC that harms.
HARM = 0.01
COLUMNS = (
    "event", "model", "answers", "plays", "AUC before", "after", "gain", "if taken", "F1 before",
    "after", "kappa before", "after", "macro F1 before", "after", "ECE before", "after", "taken",
    "harmful", "worst loss where taken",
)  # fmt: skip


#: What is said, the threshold of damaged, and what is true.
Figure = Callable[[Floats, float, npt.NDArray[np.int64]], float]


class Play(NamedTuple):
    """Figures of one play: before and after, whether it was taken."""

    auc: tuple[float, float]
    f1: tuple[float, float]
    kappa: tuple[float, float]
    macro_f1: tuple[float, float]
    ece: tuple[float, float]
    taken: bool


@dataclass(frozen=True)
class Event:
    """The buildings of one event, with what one model says of them."""

    features: npt.NDArray[np.float16]
    said: Floats
    grades: npt.NDArray[np.int64]
    place: Floats
    tile: npt.NDArray[np.str_]
    threshold: float
    transfer: Floats | None = None

    def play(self, answers: int, seed: int, way: str = "strata") -> Play | None:
        """Answer on half of the places, and score the other; None where a class is too rare."""
        rng = np.random.default_rng(seed)
        tiles = rng.permutation(np.unique(self.tile))
        answered = np.isin(self.tile, tiles[: len(tiles) // 2])
        rows, weights = self.answered(way, rng, np.flatnonzero(answered), answers)
        scored = np.flatnonzero(~answered)
        damaged = self.grades[scored] > 1
        if min(damaged.sum(), (~damaged).sum()) < FEWEST or len(set(self.grades[rows])) == 1:
            return None
        learnt = learn(
            self.said, self.features, self.place, self.said.argmax(1) + 1, self.threshold, rows,
            self.grades[rows], weights, transfer=self.transfer,
        )  # fmt: skip
        return self._scored(learnt, scored)

    def drawn(self, seed: int) -> "Event":
        """Return the event with true grades that are drawn from what the model says."""
        chances = np.random.default_rng([seed, 1]).random((len(self.said), 1))
        grades = 1 + (self.said.cumsum(1)[:, :3] < chances).sum(1)
        return replace(self, grades=grades)

    def answered(
        self, way: str, rng: np.random.Generator, rows: npt.NDArray[np.int64], count: int
    ) -> tuple[npt.NDArray[np.int64], Floats | None]:
        """Return the rows that are answered, of those that may be, and what each stands for."""
        if way == "simple":
            return rng.permutation(rows)[:count], None
        said, (lon, lat) = self.said[rows], self.place[rows].T
        if way == "strata":
            strata = make_strata(said.argmax(1) + 1, said, most=max(count // 3, 1))
            parts = range(len(strata.names))
            spreads = np.array([expected_spread(said[strata.of == part]) for part in parts])
            sizes = allocate(strata.sizes, spreads, count)
            found = draw(strata, sizes, lon, lat, rng)
            return rows[found], (strata.sizes / sizes)[strata.of[found]]
        nothing = np.zeros(0, np.int64)
        found = choose_to_teach(said, lon, lat, without=nothing, number=count)
        return rows[found], None

    def _scored(self, learnt: Learnt, rows: npt.NDArray[np.int64]) -> Play:
        before = self.said[rows]
        after = learnt.head.probabilities(before, learnt.basis.components(self.features[rows]))
        truth = self.grades[rows]
        told = ((before, self.threshold), (after, learnt.threshold))

        def figure(of: Figure) -> tuple[float, float]:
            return float(of(*told[0], truth)), float(of(*told[1], truth))

        return Play(
            figure(_auc),
            figure(_f1),
            figure(_kappa),
            figure(_macro_f1),
            figure(_ece),
            learnt.helps,
        )


def _auc(said: Floats, threshold: float, truth: npt.NDArray[np.int64]) -> float:
    del threshold
    return float(areas_under_curve(said[:, 1:].sum(1), truth > 1, np.ones((1, len(truth))))[0])


def _f1(said: Floats, threshold: float, truth: npt.NDArray[np.int64]) -> float:
    called, damaged = said[:, 1:].sum(1) >= threshold, truth > 1
    return float(2 * (called & damaged).sum() / max(called.sum() + damaged.sum(), 1))


def _kappa(said: Floats, threshold: float, truth: npt.NDArray[np.int64]) -> float:
    del threshold
    return quadratic_kappa(truth.tolist(), (said.argmax(1) + 1).tolist())


def _macro_f1(said: Floats, threshold: float, truth: npt.NDArray[np.int64]) -> float:
    del threshold
    return macro_f1(grading_score(truth, said.argmax(1) + 1))


def _ece(said: Floats, threshold: float, truth: npt.NDArray[np.int64]) -> float:
    del threshold
    return float(calibration(said, truth).ece or 0.0)


def stand_in(table: Mapping[str, npt.NDArray[Any]], event: str) -> Floats:
    """Return what a linear model of the other events says of one, float64 (n, 4)."""
    features = table["features"].astype(np.float64)
    mean, spread = features.mean(0), features.std(0)
    scaled = (features - mean) / np.where(spread > 0, spread, 1) / np.sqrt(features.shape[1])
    design = np.column_stack([np.ones(len(scaled)), scaled])
    own = table["event"] == event
    known, wanted = design[~own], np.eye(4)[table["grades"][~own] - 1]

    def lost(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, 4)
        said = softmax(known @ weights)
        slope = known.T @ (said - wanted)
        slope[1:] += _HELD * weights[1:]
        loss = -np.log(np.maximum(said[wanted > 0], 1e-12)).sum()
        return float(loss + _HELD / 2 * (weights[1:] ** 2).sum()), slope.ravel()

    start = np.zeros(design.shape[1] * 4)
    found = minimize(lost, start, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
    return softmax(design[own] @ found.reshape(-1, 4))


def events_of(table: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, str, Event]]:
    """Yield name, model and buildings of each event that can be played."""
    for name in np.unique(table["event"]):
        own = table["event"] == name
        grades, place, tile = (table[key][own] for key in ("grades", "place", "tile"))
        damaged = table["grades"][own] > 1
        if min(damaged.sum(), (~damaged).sum()) < 2 * FEWEST:
            continue
        models = [("at home", table["said"][own], float(table["threshold"]))]
        if "unseen" in table:
            models.append(("unseen", table["unseen"][own], 0.5))
        elif not own.all():
            models.append(("stand-in", stand_in(table, name), 0.5))
        features, transfer = table["features"][own], transfer_without(table, name)
        for model, said, threshold in models:
            event = Event(features, said, grades, place, tile, threshold, transfer)
            yield name, model, event


def transfer_without(table: Mapping[str, npt.NDArray[Any]], event: str) -> Floats | None:
    """Return what the other events of a table teach of one; None where there are none."""
    others = table["event"] != event
    if not others.any():
        return None
    return learn_transfer(*(table[key][others] for key in ("features", "grades", "event")))


def rows(options: argparse.Namespace) -> Iterator[str]:
    """Yield the table in Markdown, line by line."""
    with np.load(options.table, allow_pickle=False) as arrays:
        table = {name: arrays[name] for name in arrays.files}
    yield f"| {' | '.join(COLUMNS)} |\n|---|---{'|--:' * (len(COLUMNS) - 2)}|"
    for name, model, event in events_of(table):
        for answers in options.answers:
            say(f"{name}, {model}: {answers} answers")
            plays = [
                (event.drawn(seed) if options.drawn else event).play(answers, seed, options.draw)
                for seed in range(options.repeats)
            ]
            found = [play for play in plays if play is not None]
            if found:
                yield row(name, model, answers, found)


def row(name: str, model: str, answers: int, plays: Sequence[Play]) -> str:
    """Return one line of the table."""
    auc, *others = (
        np.array([getattr(play, figure) for play in plays])
        for figure in ("auc", "f1", "kappa", "macro_f1", "ece")
    )
    taken = np.array([play.taken for play in plays])
    gain = auc[:, 1] - auc[:, 0]
    used = np.where(taken, gain, 0.0)
    worst = f"{gain[taken].min():+.3f}" if taken.any() else "-"
    cells = [name, model, str(answers), str(len(plays)), *_means(auc), _spread(gain), _spread(used)]
    cells += [mean for figure in others for mean in _means(figure)]
    cells += [f"{taken.mean():.0%}", f"{(taken & (gain < -HARM)).mean():.0%}", worst]
    return f"| {' | '.join(cells)} |"


def _means(pairs: Floats) -> list[str]:
    return [f"{value:.3f}" for value in np.nanmean(pairs, 0)]


def _spread(values: Floats) -> str:
    """Return a mean with the interval of 95 % of the mean over plays."""
    error = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    mean = values.mean()
    return f"{mean:+.3f} ({mean - error:+.3f} to {mean + error:+.3f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the features, add to them, or print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    features = commands.add_parser("features", help="keep features, labels and the model's words")
    features.add_argument("--data", type=Path, required=True, help="folder of labelled pairs")
    features.add_argument("-o", "--output", type=Path, required=True, help=".npz")
    features.add_argument("--model", default="fast")
    features.add_argument("--places", type=Path, help="list of pairs with their places, .csv")
    features.add_argument("--pairs", type=int, help="pairs of each event, at most")
    features.set_defaults(run=write_table)
    unseen = commands.add_parser("unseen", help="add what networks say that never saw the event")
    unseen.add_argument("table", type=Path, help=".npz of `features`")
    unseen.add_argument("--data", type=Path, required=True, help="folder of its pairs")
    unseen.add_argument("--runs", type=Path, required=True, help="folder of benchmarks.events")
    unseen.add_argument("-o", "--output", type=Path, required=True, help=".npz")
    unseen.add_argument("--pairs", type=int, help="pairs of each event, at most")
    unseen.set_defaults(run=add_unseen)
    table = commands.add_parser("table", help="play the events through")
    table.add_argument("table", type=Path, help=".npz")
    table.add_argument("--repeats", type=int, default=20)
    table.add_argument("--answers", type=int, nargs="+", default=ANSWERS)
    table.add_argument("--draw", choices=("strata", "teach", "simple"), default="strata")
    table.add_argument("--drawn", action="store_true", help="the model is right: nothing to gain")
    table.set_defaults(run=rows)
    options = parser.parse_args(arguments)
    try:
        for line in options.run(options):
            print(line, flush=True)
    except GeodamageError as error:
        sys.exit(f"benchmarks.adapt: {error}")


if __name__ == "__main__":
    main()
