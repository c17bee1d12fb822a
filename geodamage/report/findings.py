"""What a layer of buildings comes to: totals, and which of them to look at first. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geodamage.damage import GRADES, DamageGrade

#: What every product says of itself.
STATEMENT = "preliminary, automatic, not validated in the field"

#: Fields that a report cannot do without.
NEEDED = ("building_id", "damage_class", "status", "area_m2")

PROBABILITIES = ("p_none", "p_minor", "p_major", "p_destroyed")

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GradeTotal:
    """What was found of one grade.

    Attributes
    ----------
    grade
        Which.
    count, share
        Buildings, and their share of all with a grade, 0-1.
    area
        m².
    """

    grade: DamageGrade
    count: int
    share: float
    area: float


@dataclass(frozen=True)
class Findings:
    """What a layer of buildings comes to.

    Attributes
    ----------
    grades
        One total for each grade, none first.
    graded
        Buildings with a grade; shares are of these.
    partial, not_assessed
        Buildings of which a part was seen (they have a grade), and without a grade.
    outside
        Buildings beyond the images or the area of interest; they are without a grade, too.
    """

    grades: tuple[GradeTotal, ...]
    graded: int
    partial: int
    not_assessed: int
    outside: int = 0

    @property
    def buildings(self) -> int:
        """All buildings."""
        return self.graded + self.not_assessed

    @property
    def area(self) -> float:
        """Ground that buildings with a grade cover, m²."""
        return sum(total.area for total in self.grades)

    def at_least(self, grade: DamageGrade) -> int:
        """Return how many buildings have this grade or a worse one."""
        return sum(total.count for total in self.grades if total.grade >= grade)


def summarise(buildings: pd.DataFrame) -> Findings:
    """Count buildings and areas by grade; exact, whatever is drawn of them."""
    grades = codes(buildings)
    areas = np.nan_to_num(numbers(buildings, "area_m2"))
    graded = int((grades > 0).sum())
    totals = tuple(
        GradeTotal(
            grade,
            count := int((grades == grade).sum()),
            count / max(graded, 1),
            float(areas[grades == grade].sum()),
        )
        for grade in GRADES
    )
    partial = int((buildings["status"] == "partial").fillna(False).sum())
    outside = 0
    if "status_reason" in buildings:
        reasons = buildings.loc[grades == 0, "status_reason"].astype("string").fillna("")
        outside = int(reasons.str.startswith("outside_").sum())
    return Findings(totals, graded, partial, len(buildings) - graded, outside)


def codes(buildings: pd.DataFrame) -> npt.NDArray[np.uint8]:
    """Return the grade of each building, 1-4, or 0 without one; uint8 (buildings,)."""
    values = numbers(buildings, "damage_class")
    known = np.isin(values, GRADES)
    return np.where(known, values, 0).astype(np.uint8)


def numbers(buildings: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Return a field as float64 (buildings,); NaN for null, for text and for a missing field."""
    if name not in buildings:
        return np.full(len(buildings), np.nan)
    values = pd.to_numeric(buildings[name], errors="coerce")
    return np.asarray(values.to_numpy(dtype="float64", na_value=np.nan))


def worst(buildings: pd.DataFrame, most: int) -> Positions:
    """Return where the worst buildings are: by grade, then by expected grade.

    Ties go to the larger building, then to the smaller identity.
    """
    grades = codes(buildings)
    found = _ranked(
        buildings,
        [-grades.astype(float), -np.nan_to_num(numbers(buildings, "damage_score"))],
    )
    # No damage at all is not among the worst, however few buildings there are.
    return found[grades[found] > DamageGrade.NO_DAMAGE][:most]


def least_certain(buildings: pd.DataFrame, most: int) -> Positions:
    """Return where the buildings are whose grade is least certain; ties as in `worst`."""
    confidence = numbers(buildings, "confidence")
    found = _ranked(buildings, [confidence])
    return found[(codes(buildings) > 0)[found] & np.isfinite(confidence[found])][:most]


def first_to_draw(
    buildings: pd.DataFrame,
    vertices: npt.NDArray[np.int64],
    *,
    kept: Sequence[int],
    most: int,
    most_vertices: int,
) -> Positions:
    """Return which buildings are drawn as shapes, where not all can be: the worst first.

    Parameters
    ----------
    buildings
        All of them.
    vertices
        Vertices of each building, (buildings,); 0 where it has no shape.
    kept
        Positions that are drawn in any case.
    most, most_vertices
        Buildings and vertices that are drawn at most.

    Returns
    -------
    Positions in the order of the layer.
    """
    grades = codes(buildings).astype(float)
    ranked = _ranked(buildings, [-grades, -np.nan_to_num(numbers(buildings, "damage_score"))])
    order = np.concatenate([np.asarray(kept, np.int64), ranked])
    _, first = np.unique(order, return_index=True)
    order = order[np.sort(first)]
    order = order[vertices[order] > 0][:most]
    fits = np.cumsum(vertices[order]) <= most_vertices
    return np.sort(order[fits])


def _ranked(buildings: pd.DataFrame, keys: Sequence[npt.NDArray[np.float64]]) -> Positions:
    """Return positions sorted by keys, the first the strongest, all ascending, NaN last."""
    identities = buildings["building_id"].astype("string").fillna("").to_numpy(dtype=object)
    ties: list[Any] = [identities, -np.nan_to_num(numbers(buildings, "area_m2"))]
    return np.lexsort([*ties, *reversed(list(keys))]).astype(np.int64)
