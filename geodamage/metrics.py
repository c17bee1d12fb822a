"""Scores: the official xView2 metric, and what an analyst asks per building."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from geodamage.damage import GRADES


class Counts(NamedTuple):
    """True positives, false negatives, false positives; they add up over images."""

    tp: int
    fn: int
    fp: int

    def plus(self, other: "Counts") -> "Counts":
        """Return the counts of both sets together."""
        return Counts(self.tp + other.tp, self.fn + other.fn, self.fp + other.fp)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where either is 0."""
        # Source: DIUx-xView/xView2_scoring, xview2_metrics.py: 0 where there is no true positive.
        if self.tp == 0:
            return 0.0
        precision, recall = self.tp / (self.tp + self.fp), self.tp / (self.tp + self.fn)
        return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class OfficialScore:
    """The official xView2 score of a set of images, with the counts it came from."""

    localisation: Counts
    damage: tuple[Counts, Counts, Counts, Counts]

    def plus(self, other: "OfficialScore") -> "OfficialScore":
        """Return the score of both sets: counts are summed first, F1 is taken once."""
        first, second, third, fourth = (
            mine.plus(theirs) for mine, theirs in zip(self.damage, other.damage, strict=True)
        )
        return OfficialScore(
            self.localisation.plus(other.localisation), (first, second, third, fourth)
        )

    @property
    def damage_f1(self) -> float:
        """Harmonic mean over the four grades; near 0 where a grade does not occur."""
        # Source: DIUx-xView/xView2_scoring, xview2_metrics.py: 4 / sum(1 / (F1 + 1e-6)).
        return 4 / sum(1 / (counts.f1 + 1e-6) for counts in self.damage)

    @property
    def score(self) -> float:
        """0.3 localisation F1 + 0.7 damage F1."""
        return 0.3 * self.localisation.f1 + 0.7 * self.damage_f1


def official_score(
    localisation: np.ndarray,
    damage: np.ndarray,
    localisation_target: np.ndarray,
    damage_target: np.ndarray,
) -> OfficialScore:
    """Count one image as the official scorer does.

    Parameters
    ----------
    localisation, localisation_target
        Integers (rows, columns); any value above 0 is a building.
    damage, damage_target
        Integers (rows, columns), 0-4. Damage is scored where the target has a grade, and a
        prediction counts there only where its own localisation has a building.
    """
    found, true = localisation > 0, localisation_target > 0
    graded = damage_target > 0
    predicted, target = (damage * found)[graded], damage_target[graded]
    first, second, third, fourth = (_counts(predicted == c, target == c) for c in GRADES)
    return OfficialScore(_counts(found, true), (first, second, third, fourth))


def _counts(predicted: np.ndarray, true: np.ndarray) -> Counts:
    tp = int(np.count_nonzero(predicted & true))
    return Counts(tp, int(np.count_nonzero(true)) - tp, int(np.count_nonzero(predicted)) - tp)


def quadratic_kappa(
    truth: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray
) -> float:
    """Return Cohen's kappa with quadratic weights of two gradings, 1-4.

    Source: Cohen 1968, "Weighted kappa". 1 is agreement, 0 is chance; nan where either side has
    one grade only and both agree by that.
    """
    count = len(GRADES)
    table = np.zeros((count, count))
    np.add.at(table, (np.asarray(truth, int) - 1, np.asarray(predicted, int) - 1), 1)
    grades = np.arange(count)
    weights = (grades[:, None] - grades[None, :]) ** 2
    expected = np.outer(table.sum(1), table.sum(0)) / max(table.sum(), 1)
    chance = float((weights * expected).sum())
    return float("nan") if chance == 0 else 1 - float((weights * table).sum()) / chance


def match(truth: np.ndarray, found: np.ndarray, threshold: float = 0.5) -> list[tuple[int, int]]:
    """Match buildings of two index rasters by intersection over union.

    At a threshold of 0.5 or more a building has at most one partner, so no choice is made.

    Parameters
    ----------
    truth, found
        int (rows, columns), 0 background, each building its own positive number.
    threshold
        Least intersection over union, 0.5-1.

    Returns
    -------
    list of (number in truth, number in found)
    """
    if threshold < 0.5:
        raise ValueError("below 0.5 a match is not unique")
    width = int(found.max(initial=0)) + 1
    areas_truth = np.bincount(truth.ravel())
    areas_found = np.bincount(found.ravel())
    both = (truth > 0) & (found > 0)
    pairs, shared = np.unique(
        truth[both].astype(np.int64) * width + found[both], return_counts=True
    )
    a, b = pairs // width, pairs % width
    overlap = shared / (areas_truth[a] + areas_found[b] - shared)
    return [(int(i), int(j)) for i, j, iou in zip(a, b, overlap, strict=True) if iou >= threshold]
