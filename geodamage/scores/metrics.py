"""Scores: the official xView2 metric, and what an analyst asks per building.

Everything counted here is a value that adds up: `plus` joins two sets, and a rate is taken once,
at the end. `report` turns them into the mapping that `geodamage score --json` and
`geodamage evaluate --json` print, of this form (null where a figure is not defined)::

    score, localization_f1, damage_f1, damage_f1_no_damage, damage_f1_minor_damage,
    damage_f1_major_damage, damage_f1_destroyed     numbers of the official scorer, always there
    damage_f1_defined   harmonic mean over the grades that occur in the targets, or null
    counts              {class: {tp, fn, fp}}, pixels
    classes             {class: {precision, recall, f1, defined}}; `defined` is false, and f1 is
                        the official 0, where no target pixel is of the class
    buildings           optional:
        unit            optional, text: what was taken for a building
        iou, minimum    numbers: least overlap of a match; fewest buildings that give a rate
        detection       {truth, predicted, tp, fn, fp, precision, recall, f1}
        grades          {grade: {truth, matched, f1_matched, f1_end_to_end}}
        damaged         the same of any damage against none
        accuracy, macro_f1_matched, macro_f1_end_to_end, quadratic_kappa
        confusion       4 x 4 counts, rows truth, columns prediction, of matched buildings
        missed          {grade in truth: count} of buildings not found
        spurious        {grade predicted: count} of buildings that are none
        without_grade   {matched_truth, matched_prediction, missed, spurious}: counts
        sizes           optional, [{low, high, truth, found, recall}], one a range of m²; high null
    calibration         optional:
        buildings, ece, brier, brier_skill, damaged_share
        reliability     [{low, high, buildings, confidence, accuracy}], one a bin
    images              optional, number
    official            optional, whether the official scorer would give these numbers
    official_reason     optional, text: why not, or null
    events              optional, {event: mapping of this form}

A class is `localization` or a grade: `no-damage`, `minor-damage`, `major-damage`, `destroyed`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from geodamage.damage import GRADES, DamageGrade

#: Fewest buildings of a grade that give a rate; with fewer, one building moves it by percents.
MINIMUM_BUILDINGS = 30
#: Least intersection over union of a building that counts as found.
MATCH_IOU = 0.5
#: Ranges of ground area that recall is told by, m²: from sheds to halls; chosen, of no source.
SIZES = (0.0, 50.0, 100.0, 200.0, 400.0, 1000.0, float("inf"))
#: Equal-width bins of the confidence.
CALIBRATION_BINS = 10
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
_NO_GRADE, _NO_BUILDING = 0, 5


@dataclass(frozen=True)
class BuildingScore:
    """What became of the buildings of a set, of those in truth and of those predicted.

    Attributes
    ----------
    table
        6 x 6 counts, rows truth, columns prediction. Index 0 is a building without a grade, 1-4
        one of that grade, 5 no building: row 5 is what was predicted where there is none, column
        5 what was missed.
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
        As in `building_score`.
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


def report(
    official: OfficialScore,
    buildings: BuildingScore | None = None,
    calibration: Calibration | None = None,
    sizes: SizeRecall | None = None,
    *,
    minimum: int = MINIMUM_BUILDINGS,
) -> dict[str, Any]:
    """Return all figures of a set, ready for JSON; the module says their form.

    Parameters
    ----------
    minimum
        Fewest buildings in truth that give a rate.
    """
    figures: dict[str, Any] = {**official.figures(), **official.extras()}
    if buildings is not None:
        figures["buildings"] = buildings.figures(minimum)
        if sizes is not None:
            figures["buildings"]["sizes"] = sizes.figures(minimum)
    if calibration is not None:
        figures["calibration"] = calibration.figures()
    return figures


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
