"""Scores of classified chips: top-1 over all of them, and of each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ChipScores:
    """Right and wrong answers."""

    confusion: Numbers
    """int64 (classes, classes): true class, then the answer."""

    @classmethod
    def of(cls, truth: Numbers, answers: Numbers, classes: int) -> "ChipScores":
        """Count the answers; both are int (n,), from 0 to `classes` - 1."""
        counts = np.bincount(truth * classes + answers, minlength=classes**2)
        return cls(counts.reshape(classes, classes).astype(np.int64))

    @property
    def top_1(self) -> float:
        """Share of right answers; nan without any chip."""
        total = int(self.confusion.sum())
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def per_class(self) -> npt.NDArray[np.float64]:
        """Share of right answers among the chips of each class; nan where it has none."""
        totals = self.confusion.sum(1)
        right = np.diag(self.confusion).astype(np.float64)
        shares = np.full(len(right), np.nan)
        np.divide(right, totals, out=shares, where=totals > 0)
        return shares

    @property
    def class_mean(self) -> float:
        """Mean of `per_class` over the classes that have chips; nan without any."""
        there = self.per_class[~np.isnan(self.per_class)]
        return float(there.mean()) if len(there) else float("nan")

    def row(self) -> dict[str, float]:
        """Return the figures of a validation by their names."""
        found = {"top_1": self.top_1, "class_mean": self.class_mean}
        shares = enumerate(self.per_class)
        return found | {f"class_{c}": float(share) for c, share in shares if not np.isnan(share)}


def table(columns: Sequence[tuple[str, ChipScores]]) -> str:
    """Lay scores out as text, a column each: top-1, the mean of the classes, every class."""
    width = max(8, *(len(name) for name, _ in columns))
    lines = [f"{'':12}" + "".join(f"{name:>{width + 2}}" for name, _ in columns)]
    rows = [
        ("top-1", [s.top_1 for _, s in columns]),
        ("class mean", [s.class_mean for _, s in columns]),
    ]
    classes = len(columns[0][1].confusion)
    rows += [(f"class {c}", [s.per_class[c] for _, s in columns]) for c in range(classes)]
    for name, values in rows:
        cells = ("-" if np.isnan(value) else f"{value:.4f}" for value in values)
        lines.append(f"{name:12}" + "".join(f"{cell:>{width + 2}}" for cell in cells))
    return "\n".join(lines)
