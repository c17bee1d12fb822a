"""Scores that count buildings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geodamage.damage import GRADES
from geodamage.scores.pixels import _GRADED, DAMAGED, Counts

#: Fewest buildings of a grade that give a rate; with fewer, one building moves it by percents.
MINIMUM_BUILDINGS = 30


#: Least intersection over union of a building that counts as found.
MATCH_IOU = 0.5
_NO_GRADE, _NO_BUILDING = 0, 5


#: Ranges of ground area that recall is told by, m²: from sheds to halls; chosen, of no source.
SIZES = (0.0, 50.0, 100.0, 200.0, 400.0, 1000.0, float("inf"))


@dataclass(frozen=True)
class BuildingScore:
    """What became of the buildings of a set, of those in truth and of those predicted.

    Attributes
    ----------
    table
        6 x 6 counts, rows truth, columns prediction. Index 0 is a building without a grade, 1-4 one
        of that grade, and 5 no building. Row 5 has predictions where there is no building, and
        column 5 what was missed.
    """

    table: tuple[tuple[int, ...], ...]

    @classmethod
    def empty(cls) -> "BuildingScore":
        """Return the score of no building; `plus` leaves the other as it is."""
        return cls.of(np.zeros((6, 6), int))

    @classmethod
    def of(cls, table: np.ndarray) -> "BuildingScore":
        """Return the score of an int (6, 6) table."""
        return cls(tuple(tuple(int(count) for count in row) for row in table))

    def plus(self, other: "BuildingScore") -> "BuildingScore":
        """Return the score of both sets together."""
        return BuildingScore.of(np.array(self.table) + np.array(other.table))

    @property
    def detection(self) -> Counts:
        """Buildings found, missed and spurious, whatever their grade."""
        table = np.array(self.table)
        return Counts(
            int(table[:_NO_BUILDING, :_NO_BUILDING].sum()),
            int(table[:, _NO_BUILDING].sum()),
            int(table[_NO_BUILDING].sum()),
        )

    @property
    def confusion(self) -> np.ndarray:
        """Matched buildings with a grade on both sides, int (4, 4), rows truth."""
        return np.array(self.table)[_GRADED, _GRADED]

    def matched(self, *grades: int) -> Counts:
        """Count these grades, taken as one class, over matched buildings only.

        A building without a grade, on either side, does not count.
        """
        return _class_counts(self.confusion, np.array(grades) - 1)

    def end_to_end(self, *grades: int) -> Counts:
        """Count these grades, taken as one class, over all buildings.

        A missed building, or one found but not graded, is a false negative; a spurious one is a
        false positive. Buildings without a grade in truth do not count.
        """
        table = np.array(self.table)
        table[_NO_GRADE] = 0
        return _class_counts(table, np.array(grades))

    @property
    def accuracy(self) -> float | None:
        """Share of `confusion` on its diagonal; None of nothing."""
        total = int(self.confusion.sum())
        return int(np.trace(self.confusion)) / total if total else None

    @property
    def kappa(self) -> float | None:
        """Quadratic kappa of `confusion`; None where chance alone would agree."""
        kappa = _quadratic_kappa(self.confusion)
        return None if np.isnan(kappa) else kappa

    def figures(self, minimum: int = MINIMUM_BUILDINGS) -> dict[str, Any]:
        """Return the rates and counts for a report; the module says their form.

        Parameters
        ----------
        minimum
            Fewest buildings in truth that give a rate; with fewer it is None. Means are taken
            over the grades that have one.
        """
        grades = {grade.label: self._rates(minimum, grade) for grade in GRADES}
        graded = int(self.confusion.sum()) >= minimum
        return {
            "iou": MATCH_IOU,
            "minimum": minimum,
            "detection": self._detection_figures(),
            "grades": grades,
            "damaged": self._rates(minimum, *DAMAGED),
            "accuracy": self.accuracy if graded else None,
            "macro_f1_matched": _mean([rates["f1_matched"] for rates in grades.values()]),
            "macro_f1_end_to_end": _mean([rates["f1_end_to_end"] for rates in grades.values()]),
            "quadratic_kappa": self.kappa if graded else None,
            **self._count_figures(),
        }

    def _rates(self, minimum: int, *grades: int) -> dict[str, float | None]:
        matched, whole = self.matched(*grades), self.end_to_end(*grades)
        return {
            "truth": whole.tp + whole.fn,
            "matched": matched.tp + matched.fn,
            "f1_matched": matched.f1_from(minimum),
            "f1_end_to_end": whole.f1_from(minimum),
        }

    def _detection_figures(self) -> dict[str, Any]:
        found = self.detection
        sizes = {"truth": found.tp + found.fn, "predicted": found.tp + found.fp}
        return {**sizes, **found._asdict(), **found.rates(), "f1": found.f1_from(1)}

    def _count_figures(self) -> dict[str, Any]:
        by_grade = {grade.label: int(grade) for grade in GRADES}
        table = self.table
        return {
            "confusion": self.confusion.tolist(),
            "missed": {name: table[g][_NO_BUILDING] for name, g in by_grade.items()},
            "spurious": {name: table[_NO_BUILDING][g] for name, g in by_grade.items()},
            "without_grade": {
                "matched_truth": sum(table[_NO_GRADE][:_NO_BUILDING]),
                "matched_prediction": sum(row[_NO_GRADE] for row in table[:_NO_BUILDING]),
                "missed": table[_NO_GRADE][_NO_BUILDING],
                "spurious": table[_NO_BUILDING][_NO_GRADE],
            },
        }


def _class_counts(table: np.ndarray, chosen: np.ndarray) -> Counts:
    """Count the chosen rows and columns of a table as one class."""
    tp = int(table[np.ix_(chosen, chosen)].sum())
    return Counts(tp, int(table[chosen].sum()) - tp, int(table[:, chosen].sum()) - tp)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def building_score(
    truth: np.ndarray,
    found: np.ndarray,
    *,
    truth_grades: Mapping[int, int],
    found_grades: Mapping[int, int],
) -> BuildingScore:
    """Match the buildings of one image and count what became of each.

    Parameters
    ----------
    truth, found
        int (rows, columns), 0 background, each building its own positive number. A number that
        no pixel holds is no building.
    truth_grades, found_grades
        Grade, 1-4, by number; a building that is not there has none.
    """
    pairs = match(truth, found, MATCH_IOU)
    table = np.zeros((6, 6), int)
    for i, j in pairs:
        table[_grade(truth_grades, i), _grade(found_grades, j)] += 1
    for i in _numbers(truth) - {i for i, _ in pairs}:
        table[_grade(truth_grades, i), _NO_BUILDING] += 1
    for j in _numbers(found) - {j for _, j in pairs}:
        table[_NO_BUILDING, _grade(found_grades, j)] += 1
    return BuildingScore.of(table)


def grading_score(
    truth: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray
) -> BuildingScore:
    """Count two gradings, 1-4, of the same buildings."""
    table = np.zeros((6, 6), int)
    table[_GRADED, _GRADED] = _confusion(truth, predicted)
    return BuildingScore.of(table)


@dataclass(frozen=True)
class SizeRecall:
    """Buildings in truth and those of them that were found, by ground area.

    Attributes
    ----------
    truth, found
        Counts of each range between two neighbours of `SIZES`.
    """

    truth: tuple[int, ...]
    found: tuple[int, ...]

    @classmethod
    def empty(cls) -> "SizeRecall":
        """Return the count of no building."""
        none = (0,) * (len(SIZES) - 1)
        return cls(none, none)

    def plus(self, other: "SizeRecall") -> "SizeRecall":
        """Return the counts of both sets together."""

        def add(mine: tuple[int, ...], theirs: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(a + b for a, b in zip(mine, theirs, strict=True))

        return SizeRecall(add(self.truth, other.truth), add(self.found, other.found))

    def figures(self, minimum: int = MINIMUM_BUILDINGS) -> list[dict[str, float | None]]:
        """Return a row for each range; no recall where there are too few buildings."""
        return [
            {
                "low": low,
                "high": high if np.isfinite(high) else None,
                "truth": truth,
                "found": found,
                "recall": found / truth if truth >= max(minimum, 1) else None,
            }
            for low, high, truth, found in zip(
                SIZES[:-1], SIZES[1:], self.truth, self.found, strict=True
            )
        ]


def size_recall(truth: np.ndarray, found: np.ndarray, pixel_area: float) -> SizeRecall:
    """Match the buildings of one image and count those of each size that were found.

    Parameters
    ----------
    truth, found
        The same as of `building_score`.
    pixel_area
        Ground area of a pixel, m².
    """
    areas = np.bincount(truth.ravel()) * pixel_area
    there = np.array(sorted(_numbers(truth)), int)
    matched = np.array([i for i, _ in match(truth, found, MATCH_IOU)], int)
    counts = [np.histogram(areas[numbers], SIZES)[0] for numbers in (there, matched)]
    return SizeRecall(*(tuple(map(int, count)) for count in counts))


def _numbers(index: np.ndarray) -> set[int]:
    return set(np.flatnonzero(np.bincount(index.ravel(), minlength=1)[1:]) + 1)


def _grade(grades: Mapping[int, int], number: int) -> int:
    grade = int(grades.get(number, _NO_GRADE))
    if grade != _NO_GRADE and grade not in GRADES:
        raise ValueError(f"building {number} has grade {grade}; a grade is 1-4")
    return grade


def quadratic_kappa(
    truth: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray
) -> float:
    """Return Cohen's kappa with quadratic weights of two gradings, 1-4.

    Source: Cohen 1968, "Weighted kappa". 1 is agreement, 0 is chance; nan where either side has
    one grade only and both agree by that.
    """
    return _quadratic_kappa(_confusion(truth, predicted))


def _confusion(
    truth: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray
) -> np.ndarray:
    table = np.zeros((len(GRADES), len(GRADES)), int)
    np.add.at(table, (np.asarray(truth, int) - 1, np.asarray(predicted, int) - 1), 1)
    return table


def _quadratic_kappa(table: np.ndarray) -> float:
    grades = np.arange(len(table))
    weights = (grades[:, None] - grades[None, :]) ** 2
    expected = np.outer(table.sum(1), table.sum(0)) / max(table.sum(), 1)
    chance = float((weights * expected).sum())
    return float("nan") if chance == 0 else 1 - float((weights * table).sum()) / chance


def match(truth: np.ndarray, found: np.ndarray, threshold: float = 0.5) -> list[tuple[int, int]]:
    """Match buildings of two index rasters by intersection over union.

    Above 0.5 a building has at most one partner. At exactly 0.5 it may have two, each of them
    half of it: then the one with the lowest number is taken.

    Parameters
    ----------
    truth, found
        int (rows, columns), 0 background, each building its own positive number.
    threshold
        Least intersection over union, 0.5-1.

    Returns
    -------
    list of (number in truth, number in found)
        Sorted; no number twice.
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
    good = shared / (areas_truth[a] + areas_found[b] - shared) >= threshold
    # Two halves of one building, in either raster: the first stays.
    partner: dict[int, int] = {}
    for i, j in zip(a[good].tolist(), b[good].tolist(), strict=True):
        partner.setdefault(j, i)
    first: dict[int, int] = {}
    for j, i in sorted(partner.items()):
        first.setdefault(i, j)
    return sorted(first.items())
