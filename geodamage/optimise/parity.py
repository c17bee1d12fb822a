"""Parity: how far a variant of a model is from the model it was made of, on labelled pairs."""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from geodamage.ahead import ahead
from geodamage.arrays import Prediction, predict_pair
from geodamage.buildings.finding import Grading
from geodamage.model.card import Card
from geodamage.model.heads import Heads, Predictor
from geodamage.model.rules import PixelRules
from geodamage.scores.evaluation import read_truth
from geodamage.scores.tallies import Drawing, Masks, Tally, Truth, count_pair, sum_votes
from geodamage.work import long_work
from geodamage.xbd.folders import Pair

#: Least share of the buildings that both must say the same of, and largest loss of an F1.
AGREEMENT, F1_LOSS = 0.995, 0.005
#: Figures that may not lose more than that.
GUARDED = ("localization_f1", "damage_f1", "score")


class Whole:
    """A model of one head as one of both: what it lacks says nothing.

    Localisation is 1 everywhere, so that every pixel is graded; the grades are all alike.
    """

    def __init__(self, model: Predictor) -> None:
        self._model = model

    @property
    def card(self) -> Card:
        """Facts about the model, as if it had both heads."""
        return replace(self._model.card, task="assess")

    @property
    def rules(self) -> PixelRules:
        """How its heads become one grade per pixel."""
        return self._model.rules

    @property
    def resident_bytes(self) -> int:
        """Memory that it holds between two calls, bytes."""
        return self._model.resident_bytes

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
        """Return both heads."""
        localisation, damage = self._model(pre, post)
        shape = len(pre), 1, *pre.shape[2:]
        if localisation is None:
            localisation = np.ones(shape, np.float32)
        if damage is None:
            damage = np.full((shape[0], 4, *shape[2:]), 0.25, np.float32)
        return Heads(localisation, damage)


@dataclass(frozen=True)
class Answers:
    """What a model says of one pair.

    Attributes
    ----------
    prediction
        Prediction for each pixel.
    grades
        int (n,): grade of each building that the labels outline, 1-4.
    found
        bool (n,): whether most of its pixels are above the threshold.
    tally
        Counts against the labels.
    """

    prediction: Prediction
    grades: np.ndarray
    found: np.ndarray
    tally: Tally


def ask(model: Predictor, truth: Truth) -> Answers:
    """Ask a model about one pair."""
    prediction = predict_pair(Whole(model), truth.pre, truth.post)
    grading, drawing = Grading.of(model.card), Drawing.of(model.card)
    grades = model.rules.grades(prediction.localisation, prediction.damage)
    masks = Masks((grades > 0).astype(np.uint8), grades, truth.localisation, truth.damage)
    tally = count_pair(truth, prediction, masks, grading, drawing)
    return Answers(prediction, *_of_buildings(model, truth, prediction), tally)


def _of_buildings(
    model: Predictor, truth: Truth, prediction: Prediction
) -> tuple[np.ndarray, np.ndarray]:
    """Return grade of every labelled building that has a pixel, and whether it is found."""
    sizes = np.bincount(truth.index.ravel())
    sizes[0] = 0
    shares = prediction.damage / np.maximum(prediction.damage.sum(0), 1e-30)
    votes = sum_votes(truth.index, shares)[sizes > 0]
    above = prediction.localisation > model.card.threshold
    counts = np.bincount(truth.index.ravel(), above.ravel(), len(sizes))[sizes > 0]
    grades = Grading.of(model.card).columns(votes)["damage_class"]
    return np.asarray(grades), counts * 2 > sizes[sizes > 0]


@dataclass(frozen=True)
class Parity:
    """How far a variant is from its parent over some pairs; it adds up.

    Attributes
    ----------
    task
        Task of the models.
    buildings
        Labelled buildings.
    same_grade, same_found
        How many both grade the same, and how many both find or both miss.
    parent, variant
        Counts against the labels.
    largest, mean
        Difference of a probability of a pixel; the mean is over pixels and channels.
    """

    task: str
    buildings: int = 0
    same_grade: int = 0
    same_found: int = 0
    parent: Tally = field(default_factory=Tally.empty)
    variant: Tally = field(default_factory=Tally.empty)
    largest: float = 0.0
    mean: float = 0.0

    def plus(self, ours: Answers, theirs: Answers) -> "Parity":
        """Return this and one more pair together: answers of the parent and of the variant."""
        apart = np.abs(ours.prediction.probabilities - theirs.prediction.probabilities)
        pairs = self.parent.pairs
        return replace(
            self,
            buildings=self.buildings + len(ours.grades),
            same_grade=self.same_grade + int((ours.grades == theirs.grades).sum()),
            same_found=self.same_found + int((ours.found == theirs.found).sum()),
            parent=self.parent.plus(ours.tally),
            variant=self.variant.plus(theirs.tally),
            largest=max(self.largest, float(apart.max())),
            mean=(self.mean * pairs + float(apart.mean(dtype=np.float64))) / (pairs + 1),
        )

    @property
    def agreement(self) -> float:
        """Share of the buildings that both say the same of: the grade, or whether it is there."""
        same = self.same_found if self.task == "localisation" else self.same_grade
        return same / max(self.buildings, 1)

    @property
    def f1(self) -> dict[str, tuple[float, float]]:
        """Figures of the parent and of the variant: three by pixel, one by building."""
        ours, theirs = (_f1(tally) for tally in (self.parent, self.variant))
        return {name: (ours[name], theirs[name]) for name in ours}

    def shortfalls(self) -> list[str]:
        """Return what keeps the variant from being as good as its parent; empty if nothing."""
        said = []
        if not self.buildings:
            said.append("there is no building to compare")
        elif self.agreement < AGREEMENT:
            said.append(f"agreement {self.agreement:.2%} is below {AGREEMENT:.1%}")
        for name in GUARDED:
            ours, theirs = self.f1[name]
            if not ours - theirs <= F1_LOSS:
                said.append(
                    f"{name} loses {100 * (ours - theirs):.2f} points, above {100 * F1_LOSS:g}"
                )
        return said

    def figures(self) -> dict[str, Any]:
        """Return everything, ready for JSON and for a card."""
        figures: dict[str, Any] = {
            "pairs": self.parent.pairs,
            "buildings": self.buildings,
            "agreement": round(self.agreement, 4),
        }
        if self.task == "assess":
            figures["found_agreement"] = round(self.same_found / max(self.buildings, 1), 4)
        for name, (ours, theirs) in self.f1.items():
            figures[name] = {
                "parent": round(ours, 4),
                "variant": round(theirs, 4),
                "loss_points": round(100 * (ours - theirs), 2),
            }
        return figures | {
            "largest_difference": round(self.largest, 4),
            "mean_difference": round(self.mean, 6),
            "passed": not self.shortfalls(),
        }


def _f1(tally: Tally) -> dict[str, float]:
    """Return the figures that are compared; damage over the grades that occur."""
    official = tally.official
    return {
        "localization_f1": official.localisation.f1,
        "damage_f1": official.damage_f1_defined or 0.0,
        "score": official.score,
        "detection_f1": tally.buildings.detection.f1,
    }


@long_work
def compare(
    parent: Predictor, variants: Mapping[str, Predictor], pairs: list[Pair]
) -> Generator[str, None, dict[str, Parity]]:
    """Compare variants with their parent, pair by pair, as `Work`; it yields the pairs' names.

    Parameters
    ----------
    parent
        The model as it was.
    variants
        What was made of it, by name.
    pairs
        Labelled.

    Returns
    -------
    The parity of each variant.

    Raises
    ------
    LabelError, SceneReadError
        If a pair cannot be read.
    """
    found = {name: Parity(parent.card.task) for name in variants}
    # Reading has a thread to itself.
    with contextlib.closing(ahead(map(read_truth, pairs))) as truths:
        for truth in truths:
            ours = ask(parent, truth)
            for name, variant in variants.items():
                found[name] = found[name].plus(ours, ask(variant, truth))
            yield truth.pair.name
    return found
