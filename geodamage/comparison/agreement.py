"""Agreement: tables of who says what, and what follows from them, with intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from geodamage.damage import GRADES
from geodamage.reviews.agreement import weighted_kappa
from geodamage.reviews.intervals import LEVEL, wilson

Counts = npt.NDArray[np.int64]

#: Random tables behind the interval of kappa, and the seed that makes them the same each time.
DRAWS = 2000
SEED = 0


@dataclass(frozen=True)
class Table:
    """How often the result said the row and the official layer the column.

    Attributes
    ----------
    names
        Names of the rows and of the columns.
    counts
        int64 (k, k).
    """

    names: tuple[str, ...]
    counts: Counts

    def facts(self) -> dict[str, Any]:
        """Return the table, the share of equal words and kappa, with 95 % intervals.

        Source: Efron 1979, "Bootstrap methods: another look at the jackknife", for that of kappa:
        buildings are drawn again with the shares of the table.
        """
        total = int(self.counts.sum())
        kappa = weighted_kappa(self.counts.astype(np.float64), 1)
        return {
            "names": list(self.names),
            "counts": self.counts.tolist(),
            "buildings": total,
            "same": _share(int(np.trace(self.counts)), total),
            "kappa": None if kappa is None else {"value": kappa, **self._interval()},
        }

    def _interval(self) -> dict[str, float | None]:
        total = int(self.counts.sum())
        generator = np.random.default_rng(SEED)
        shares = self.counts.ravel() / total
        tables = generator.multinomial(total, shares, DRAWS).reshape(DRAWS, *self.counts.shape)
        grades = np.arange(len(self.counts))
        weights = np.abs(grades[:, None] - grades)
        chance = np.einsum("di,ij,dj->d", tables.sum(2), weights, tables.sum(1)) / total
        apart = (weights * tables).sum((1, 2))
        known = 1 - apart[chance > 0] / chance[chance > 0]  # as `weighted_kappa` has it
        if not len(known):
            return {"low": None, "high": None}
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return {"low": float(low), "high": float(high)}


def _share(found: int, total: int) -> dict[str, float | None]:
    """Return a share with Wilson's interval."""
    if not total:
        return {"value": None, "low": None, "high": None}
    low, high = wilson(found / total, total, float(special.ndtri(0.5 + LEVEL / 2)))
    return {"value": found / total, "low": low, "high": high}


def grade_table(ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]) -> Table:
    """Return the table of two gradings, int64 (n,) of 1-4 each."""
    counts = np.zeros((len(GRADES), len(GRADES)), np.int64)
    np.add.at(counts, (ours - 1, theirs - 1), 1)
    return Table(tuple(grade.label for grade in GRADES), counts)


def damage_table(ours: npt.NDArray[np.bool_], theirs: npt.NDArray[np.bool_]) -> Table:
    """Return the table of two opinions on whether buildings are damaged, bool (n,) each."""
    counts = np.zeros((2, 2), np.int64)
    np.add.at(counts, (ours.astype(int), theirs.astype(int)), 1)
    return Table(("undamaged", "damaged"), counts)


def damaged_facts(table: Table) -> dict[str, Any]:
    """Return precision and recall of damaged buildings, the official layer being the measure."""
    found = int(table.counts[1, 1])
    return {
        "precision": _share(found, int(table.counts[1].sum())),
        "recall": _share(found, int(table.counts[:, 1].sum())),
    }


def cell_facts(ours: Counts, theirs: Counts) -> dict[str, Any]:
    """Return how far two counts of damaged buildings agree, cell by cell.

    Parameters
    ----------
    ours, theirs
        int64 (cells,).

    Returns
    -------
    dict
        `cells`, and how many have a damaged building: in both, only in the result, only in the
        official layer, or in neither. `correlation` is that of the counts, None where one is
        constant.
    """
    both = int(((ours > 0) & (theirs > 0)).sum())
    varies = len(ours) > 1 and ours.std() > 0 and theirs.std() > 0
    return {
        "cells": len(ours),
        "both": both,
        "only_result": int(((ours > 0) & (theirs == 0)).sum()),
        "only_official": int(((ours == 0) & (theirs > 0)).sum()),
        "neither": int(((ours == 0) & (theirs == 0)).sum()),
        "correlation": float(np.corrcoef(ours, theirs)[0, 1]) if varies else None,
    }
