"""Agreement: how far several reviewers say the same, and what counts where they do not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from geodamage.damage import GRADES
from geodamage.reviews.answers import UNCLEAR

Rule = Literal["majority", "worst", "mildest", "latest", "refuse"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True)
class Resolved:
    """One answer for each building.

    Attributes
    ----------
    answers
        A row for each building, in order of first mention, from `read_answers`.
        `reviewer` names all who answered.
    conflicts
        Buildings on which reviewers differ: `building_id`, `answers` (reviewer: answer) and
        `taken`. That one of them finds a building unclear is no conflict.
    """

    answers: pd.DataFrame
    conflicts: tuple[dict[str, Any], ...]


def resolve(answers: pd.DataFrame, rule: Rule = "majority") -> Resolved:
    """Return one answer for each building.

    Parameters
    ----------
    answers
        From `read_answers`, or `joined` from several files.
    rule
        The answer that counts if reviewers differ: that of most of them (the worst in a tie), the
        worst, the mildest, or the latest. A grade is worse than no building. An answer counts
        before `unclear`. For `refuse`, whose conflicts the caller refuses, it is as for `majority`.
    """
    choose = _CHOICES[rule]
    kept, conflicts = [], []
    for name, rows in answers.groupby("building_id", sort=False):
        clear = rows[rows["damage"] != UNCLEAR]
        said = clear if len(clear) else rows
        taken = choose(said) if said["damage"].nunique() > 1 else said.iloc[0]
        kept.append({**taken.to_dict(), "reviewer": ", ".join(dict.fromkeys(rows["reviewer"]))})
        if said["damage"].nunique() > 1:
            by = dict(zip(rows["reviewer"], rows["damage"], strict=True))
            conflicts.append({"building_id": name, "answers": by, "taken": taken["damage"]})
    frame = pd.DataFrame(kept, columns=list(answers.columns)).astype(answers.dtypes.to_dict())
    return Resolved(frame, tuple(conflicts))


def _severity(rows: pd.DataFrame) -> np.ndarray:
    return rows["damage_class"].to_numpy(dtype="int64", na_value=0)


def _most(rows: pd.DataFrame) -> pd.Series:
    counts = rows["damage"].value_counts()
    most = counts[counts == counts.max()].index.to_list()
    return _worst(rows[rows["damage"].isin(most)])


def _worst(rows: pd.DataFrame) -> pd.Series:
    return rows.iloc[int(_severity(rows).argmax())]


def _mildest(rows: pd.DataFrame) -> pd.Series:
    return rows.iloc[int(_severity(rows).argmin())]


def _latest(rows: pd.DataFrame) -> pd.Series:
    """Return what was said last; of equal times, what stands last."""
    return rows.sort_values("reviewed_at", kind="stable").iloc[-1]


_CHOICES: Mapping[Rule, Callable[[pd.DataFrame], pd.Series]] = {
    "majority": _most,
    "worst": _worst,
    "mildest": _mildest,
    "latest": _latest,
    "refuse": _most,
}


def agreement(answers: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how far each two reviewers agree on the buildings that both gave a grade.

    Returns
    -------
    list
        `reviewers` (two names), `buildings` (that both graded), `same` (share of equal grades),
        `linear_kappa` and `quadratic_kappa`. What is not defined is None.
    """
    graded = answers[answers["damage_class"].notna()]
    by = {
        name: rows.set_index("building_id")["damage_class"].astype(int)
        for name, rows in graded.groupby("reviewer", sort=False)
    }
    found = []
    for first, second in combinations(by, 2):
        both = pd.concat([by[first], by[second]], axis=1, join="inner").to_numpy()
        table = np.zeros((len(GRADES), len(GRADES)))
        np.add.at(table, (both[:, 0] - 1, both[:, 1] - 1), 1)
        found.append(
            {
                "reviewers": [first, second],
                "buildings": len(both),
                "same": float(np.mean(both[:, 0] == both[:, 1])) if len(both) else None,
                "linear_kappa": weighted_kappa(table, 1),
                "quadratic_kappa": weighted_kappa(table, 2),
            }
        )
    return found


def weighted_kappa(table: np.ndarray, power: int) -> float | None:
    """Return Cohen's weighted kappa of two gradings.

    Parameters
    ----------
    table
        float (4, 4): how often, or with what weight, one gave the grade of the row and the other
        that of the column. All four grades are in it, also those that nobody gave: without them
        the distances between the others would change.
    power
        1 for linear weights, 2 for quadratic ones.

    Returns
    -------
    float or None
        1 is agreement, 0 is chance. None where both gave the same single grade to all, for then
        chance alone agrees, and where the table is empty.

    Source: Cohen 1968, "Weighted kappa".
    """
    total = table.sum()
    if not total:
        return None
    grades = np.arange(len(table))
    weights = np.abs(grades[:, None] - grades[None, :]) ** power
    expected = np.outer(table.sum(1), table.sum(0)) / total
    chance = float((weights * expected).sum())
    return None if chance <= 0 else 1 - float((weights * table).sum()) / chance
