"""Score a localisation and damage predictor on labelled pairs, by pixel and by building.

It counts with `geodamage.tallies`, as `geodamage evaluate` does. Here the masks are those of the
training: touching buildings are parted, a building is what is connected, and its grade is that of
most of its pixels.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from geodamage.arrays import Prediction
from geodamage.buildings import Grading
from geodamage.damage import NOT_ASSESSED
from geodamage.model import Heads, probabilities
from geodamage.tallies import Drawing, Masks, Tally, Truth, add_up, count_pair
from geodamage.xbd import Pair
from training.chips import LabelledPair

#: uint8 (h, w, 3) twice -> localisation (h, w) in 0..1 and damage (4, h, w), not negative.
Predictor = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

LEAST_PIXELS = 16  # of a predicted building; the smallest labels have about 20


@dataclass(frozen=True)
class Scores:
    """What was counted over a set of pairs."""

    tally: Tally

    def row(self) -> dict[str, float]:
        """Return the figures for a log; nan where one is not defined."""
        official, buildings = self.tally.official, self.tally.buildings
        names = ("f1_none", "f1_minor", "f1_major", "f1_destroyed")
        return {
            "f1_building": official.localisation.f1,
            "f1_damage": official.damage_f1,
            **{n: c.f1 for n, c in zip(names, official.damage, strict=True)},
            "recall": buildings.detection.recall,
            "precision": buildings.detection.precision,
            "kappa": float("nan") if buildings.kappa is None else buildings.kappa,
        }


def tally(pairs: Iterable[LabelledPair], predict: Predictor, threshold: float = 0.5) -> Scores:
    """Count what a predictor finds."""
    return Scores(add_up(count(pair, predict(pair.pre, pair.post), threshold) for pair in pairs))


def count(
    pair: LabelledPair, predicted: tuple[np.ndarray, np.ndarray], threshold: float = 0.5
) -> Tally:
    """Count one pair; `predicted` is localisation (h, w) and damage (4, h, w)."""
    localisation, damage = (head.astype(np.float32) for head in predicted)
    joined = probabilities(Heads(localisation[None, None], damage[None]))[0]
    truth = truth_of(pair)
    best = damage.argmax(0).astype(np.uint8) + 1
    found = (localisation > threshold).astype(np.uint8)
    return count_pair(
        truth,
        Prediction(localisation, damage, joined),
        Masks(found, best * found, truth.localisation, truth.damage),
        Grading(),
        Drawing(threshold, min_area=LEAST_PIXELS),
    )


def truth_of(pair: LabelledPair) -> Truth:
    """Return a pair as it is counted: a pixel has area 1."""
    _, index = cv2.connectedComponents(pair.buildings, connectivity=4, ltype=cv2.CV_32S)
    damage = np.where(pair.damage == NOT_ASSESSED, 0, pair.damage).astype(np.uint8)
    return Truth(
        pair=Pair(pair.name, Path()),
        pre=pair.pre,
        post=pair.post,
        localisation=pair.buildings,
        damage=damage,
        index=index,
        grades=_majority(index, damage),
        pixel_area=1.0,
        has_pre_labels=True,
        has_place=False,
    )


def _majority(index: np.ndarray, damage: np.ndarray) -> dict[int, int]:
    """Return the grade that most graded pixels of each building have."""
    graded = (index > 0) & (damage > 0)
    cells = np.bincount(index[graded] * 4 + damage[graded] - 1, minlength=4 * (index.max() + 1))
    votes = cells.reshape(-1, 4)
    return {int(n): int(votes[n].argmax()) + 1 for n in np.flatnonzero(votes.any(1))}
