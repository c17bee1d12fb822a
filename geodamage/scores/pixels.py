"""The official score, and what it counts: pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from geodamage.damage import GRADES, DamageGrade

#: Name of the class "any building" in a report, spelled as the official scorer does.
LOCALIZATION = "localization"


DAMAGED = tuple(grade for grade in GRADES if grade > DamageGrade.NO_DAMAGE)


class Counts(NamedTuple):
    """True positives, false negatives, false positives; they add up over images."""

    tp: int
    fn: int
    fp: int

    def plus(self, other: "Counts") -> "Counts":
        """Return the counts of both sets together."""
        return Counts(self.tp + other.tp, self.fn + other.fn, self.fp + other.fp)

    @property
    def defined(self) -> bool:
        """Whether the class occurs in the targets; where it does not, its F1 says nothing."""
        return self.tp + self.fn > 0

    # Source: DIUx-xView/xView2_scoring, xview2_metrics.py: all 0 where there is no true positive.
    @property
    def precision(self) -> float:
        """Share of the found that is true; 0 without a true positive."""
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        """Share of the true that is found; 0 without a true positive."""
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where either is 0."""
        if self.tp == 0:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)

    # Source: Jaccard 1912, "The distribution of the flora in the alpine zone": shared over all.
    @property
    def jaccard(self) -> float | None:
        """Intersection over union; None where there is nothing on either side."""
        union = self.tp + self.fn + self.fp
        return self.tp / union if union else None

    def f1_from(self, minimum: int) -> float | None:
        """Return F1, or None where the class occurs fewer than `minimum` times, or never."""
        return self.f1 if self.tp + self.fn >= max(minimum, 1) else None

    def rates(self) -> dict[str, float | None]:
        """Return precision, recall and F1; None for a share of nothing."""
        return {
            "precision": self.precision if self.tp + self.fp else None,
            "recall": self.recall if self.defined else None,
            "f1": self.f1,
        }


@dataclass(frozen=True)
class OfficialScore:
    """The official xView2 score of a set of images, with the counts it came from."""

    localisation: Counts
    damage: tuple[Counts, Counts, Counts, Counts]

    @classmethod
    def empty(cls) -> "OfficialScore":
        """Return the score of no image; `plus` leaves the other as it is."""
        none = Counts(0, 0, 0)
        return cls(none, (none, none, none, none))

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
        return _harmonic_mean(self.damage)

    @property
    def damage_f1_defined(self) -> float | None:
        """Harmonic mean over the grades that occur in the targets; None where none does.

        Not the official figure: that one collapses where a grade is absent.
        """
        present = [counts for counts in self.damage if counts.defined]
        return _harmonic_mean(present) if present else None

    @property
    def score(self) -> float:
        """0.3 localisation F1 + 0.7 damage F1."""
        return 0.3 * self.localisation.f1 + 0.7 * self.damage_f1

    @property
    def classes(self) -> dict[str, Counts]:
        """Counts of every class by its name in a report."""
        grades = {g.label: counts for g, counts in zip(GRADES, self.damage, strict=True)}
        return {LOCALIZATION: self.localisation, **grades}

    def figures(self) -> dict[str, float]:
        """Return the figures of the official scorer by its names."""
        grades = {
            f"damage_f1_{grade.label.replace('-', '_')}": counts.f1
            for grade, counts in zip(GRADES, self.damage, strict=True)
        }
        return {
            "score": self.score,
            "localization_f1": self.localisation.f1,
            "damage_f1": self.damage_f1,
            **grades,
        }

    def extras(self) -> dict[str, Any]:
        """Return what the official scorer does not say: counts, rates, and what is absent."""
        return {
            "damage_f1_defined": self.damage_f1_defined,
            "counts": {name: counts._asdict() for name, counts in self.classes.items()},
            "classes": {
                name: {**counts.rates(), "defined": counts.defined}
                for name, counts in self.classes.items()
            },
        }


def _harmonic_mean(damage: Sequence[Counts]) -> float:
    # Source: DIUx-xView/xView2_scoring, xview2_metrics.py: 4 / sum(1 / (F1 + 1e-6)).
    return len(damage) / sum(1 / (counts.f1 + 1e-6) for counts in damage)


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
    first, second, third, fourth = (pixel_counts(predicted == c, target == c) for c in GRADES)
    return OfficialScore(pixel_counts(found, true), (first, second, third, fourth))


def pixel_counts(predicted: np.ndarray, true: np.ndarray) -> Counts:
    """Count two bool arrays of one shape, pixel by pixel."""
    tp = int(np.count_nonzero(predicted & true))
    return Counts(tp, int(np.count_nonzero(true)) - tp, int(np.count_nonzero(predicted)) - tp)


_GRADED = slice(1, 5)
