"""Calibration: whether probabilities mean what they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geodamage.damage import GRADES, DamageGrade

#: Equal-width bins of the confidence.
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities of a set of buildings keep their word.

    Attributes
    ----------
    buildings
        Number of buildings in each bin of the confidence; bins are of equal width on 0-1.
    confidence
        Sum of their confidence, the highest of the four probabilities.
    right
        Number of them whose likeliest grade is the true one.
    damaged
        Number of buildings that are damaged.
    squared_error
        Sum over buildings of (probability of any damage - damaged)².
    """

    buildings: tuple[int, ...]
    confidence: tuple[float, ...]
    right: tuple[int, ...]
    damaged: int
    squared_error: float

    @classmethod
    def empty(cls, bins: int = CALIBRATION_BINS) -> "Calibration":
        """Return the calibration of no building; `plus` leaves the other as it is."""
        return cls((0,) * bins, (0.0,) * bins, (0,) * bins, 0, 0.0)

    def plus(self, other: "Calibration") -> "Calibration":
        """Return the calibration of both sets together.

        Raises
        ------
        ValueError
            If they do not have the same bins.
        """

        def add(mine: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(a + b for a, b in zip(mine, theirs, strict=True))

        return Calibration(
            add(self.buildings, other.buildings),
            add(self.confidence, other.confidence),
            add(self.right, other.right),
            self.damaged + other.damaged,
            self.squared_error + other.squared_error,
        )

    @property
    def count(self) -> int:
        """Number of buildings."""
        return sum(self.buildings)

    @property
    def ece(self) -> float | None:
        """Expected calibration error of the confidence; None of nothing."""
        # Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3:
        # sum over bins of n_b / n * |accuracy_b - confidence_b|; n_b cancels.
        gaps = (abs(r - c) for r, c in zip(self.right, self.confidence, strict=True))
        return sum(gaps) / self.count if self.count else None

    @property
    def brier(self) -> float | None:
        """Mean squared error of the probability of any damage; None of nothing."""
        # Source: Brier 1950, "Verification of forecasts expressed in terms of probability".
        return self.squared_error / self.count if self.count else None

    @property
    def brier_skill(self) -> float | None:
        """Share of the error that is saved against always saying the share of damaged buildings.

        1 is perfect, 0 no better than that share; None where all are damaged, or none is.
        """
        if not 0 < self.damaged < self.count:
            return None
        share = self.damaged / self.count
        return 1 - self.squared_error / (self.count * share * (1 - share))

    def reliability(self) -> list[dict[str, float | None]]:
        """Return edges, number, mean confidence and accuracy of each bin; None of nothing."""
        bins = len(self.buildings)
        rows = zip(self.buildings, self.confidence, self.right, strict=True)
        return [
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "buildings": count,
                "confidence": confidence / count if count else None,
                "accuracy": right / count if count else None,
            }
            for number, (count, confidence, right) in enumerate(rows)
        ]

    def figures(self) -> dict[str, Any]:
        """Return the rates for a report; the module says their form."""
        return {
            "buildings": self.count,
            "ece": self.ece,
            "brier": self.brier,
            "brier_skill": self.brier_skill,
            "damaged_share": self.damaged / self.count if self.count else None,
            "reliability": self.reliability(),
        }


def calibration(
    p: np.ndarray, truth: Sequence[int] | np.ndarray, *, bins: int = CALIBRATION_BINS
) -> Calibration:
    """Count how far probabilities of grades keep their word.

    Parameters
    ----------
    p
        float (n, 4), each row sums to 1.
    truth
        int (n,), grades 1-4.
    bins
        Number of bins of the confidence.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    truth = np.asarray(truth, int)
    if p.shape != (len(truth), len(GRADES)):
        raise ValueError(f"probabilities are {p.shape}; {len(truth)} buildings need 4 each")
    confidence, right = p.max(1), p.argmax(1) + 1 == truth
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    damaged = truth > DamageGrade.NO_DAMAGE
    return Calibration(
        tuple(np.bincount(number, minlength=bins).tolist()),
        tuple(np.bincount(number, confidence, bins).tolist()),
        tuple(np.bincount(number[right], minlength=bins).tolist()),
        int(damaged.sum()),
        float(((p[:, 1:].sum(1) - damaged) ** 2).sum()),
    )
