"""Tallies: what a model says of labelled pairs, counted by pixel and by building; they add up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from geodamage.arrays import Prediction
from geodamage.buildings.components import Components
from geodamage.buildings.finding import DEFAULT_MIN_AREA, Grading
from geodamage.buildings.splitting import split_touching
from geodamage.model.card import Card
from geodamage.prediction import Strip
from geodamage.scores.buildings import (
    BuildingScore,
    SizeRecall,
    building_score,
    grading_score,
    match,
    size_recall,
)
from geodamage.scores.calibration import Calibration, calibration
from geodamage.scores.metrics import report
from geodamage.scores.pixels import Counts, OfficialScore, official_score
from geodamage.windows import Window
from geodamage.xbd.folders import Pair

#: What was taken for a building, in a report.
MATCHED, GIVEN = "label polygons, matched to what was drawn", "label polygons with a grade"


@dataclass(frozen=True)
class Truth:
    """One labelled pair, on one pixel grid.

    Attributes
    ----------
    pair
        Its name and folder.
    pre, post
        uint8 (rows, columns, 3), red, green, blue.
    localisation
        uint8 (rows, columns): 1 in a building of the pre labels; of the post labels where the
        pair has no others.
    damage
        uint8 (rows, columns): grades 1-4 of the post labels; 0 where there is none.
    index
        int32 (rows, columns): place of the post label in its file, from 1; 0 background.
    grades
        Grade of each post label that has one, by that place.
    pixel_area
        Ground area of a pixel, m².
    has_pre_labels, has_place
        Whether there is a pre label file; whether the labels say where they lie.
    """

    pair: Pair
    pre: np.ndarray
    post: np.ndarray
    localisation: np.ndarray
    damage: np.ndarray
    index: np.ndarray
    grades: dict[int, int]
    pixel_area: float
    has_pre_labels: bool
    has_place: bool


class Masks(NamedTuple):
    """Predictions and targets of one pair as the official scorer takes them.

    Attributes
    ----------
    localisation, localisation_target
        uint8 (rows, columns), 0-1.
    damage, damage_target
        uint8 (rows, columns), 0-4.
    """

    localisation: np.ndarray
    damage: np.ndarray
    localisation_target: np.ndarray
    damage_target: np.ndarray


@dataclass(frozen=True)
class Drawing:
    """How buildings are drawn from probabilities.

    Attributes
    ----------
    threshold, seed_threshold, seed_depth
        The same as on the card of a model.
    min_area
        m²; smaller things are left out.
    """

    threshold: float = 0.5
    seed_threshold: float = 0.0
    seed_depth: int = 0
    min_area: float = DEFAULT_MIN_AREA

    @classmethod
    def of(cls, card: Card, min_area: float = DEFAULT_MIN_AREA) -> "Drawing":
        """Return what the card of a model says."""
        return cls(card.threshold, card.seed_threshold, card.seed_depth, min_area)


def draw_buildings(probabilities: np.ndarray, drawing: Drawing, pixel_area: float) -> np.ndarray:
    """Draw the buildings of one image as `assess` would, and number them.

    Parameters
    ----------
    probabilities
        float32 (5, rows, columns): background, then the four grades.
    drawing
        Thresholds and least area.
    pixel_area
        Ground area of a pixel, m².

    Returns
    -------
    int32 (rows, columns)
        Labels: 0 nothing, each building its own positive number.
    """
    region = Window(0, 0, *probabilities.shape[1:])
    whole = Strip(region, probabilities, np.zeros(region.shape, np.uint8))
    index = np.zeros(region.shape, np.int32)
    for patch in Components(region, drawing.threshold, (0, 0)).add(whole):
        labels, count = split_touching(
            patch.labels,
            patch.count,
            patch.probabilities[0],
            drawing.seed_threshold,
            drawing.seed_depth,
        )
        keep = np.bincount(labels.ravel(), minlength=count + 1) * pixel_area >= drawing.min_area
        keep[0] = False
        inside = keep[labels]
        index[patch.window.slices][inside] = labels[inside] + int(index.max(initial=0))
    return index


def sum_votes(index: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Sum what the pixels of each building say.

    Parameters
    ----------
    index
        int (rows, columns): number of the building, 0 background.
    channels
        float (4, rows, columns).

    Returns
    -------
    float64 (numbers, 4)
        Row n is building n; row 0 is nothing.
    """
    inside = index > 0
    numbers, count = index[inside], int(index.max(initial=0)) + 1
    return np.stack([np.bincount(numbers, channel[inside], count) for channel in channels], 1)


def grade_probabilities(grading: Grading, votes: np.ndarray) -> np.ndarray:
    """Return the probabilities of the four grades of some buildings, float64 (n, 4)."""
    columns = grading.columns(votes)
    return np.stack([columns[n] for n in ("p_none", "p_minor", "p_major", "p_destroyed")], 1)


@dataclass(frozen=True)
class Tally:
    """What was counted over a set of pairs; it adds up.

    Attributes
    ----------
    pairs
        Number of pairs.
    official
        Pixels, as xView2 counts them.
    buildings, calibration
        Label polygons matched to what was drawn.
    footprints, footprint_calibration
        Label polygons that have a grade, graded as if they had been given.
    sizes
        Label polygons matched to what was drawn, by ground area.
    """

    pairs: int
    official: OfficialScore
    buildings: BuildingScore
    calibration: Calibration
    footprints: BuildingScore
    footprint_calibration: Calibration
    sizes: SizeRecall

    @classmethod
    def empty(cls) -> "Tally":
        """Return the tally of no pair."""
        none, sure = BuildingScore.empty(), Calibration.empty()
        return cls(0, OfficialScore.empty(), none, sure, none, sure, SizeRecall.empty())

    def plus(self, other: "Tally") -> "Tally":
        """Return the tally of both sets together."""
        return Tally(
            self.pairs + other.pairs,
            self.official.plus(other.official),
            self.buildings.plus(other.buildings),
            self.calibration.plus(other.calibration),
            self.footprints.plus(other.footprints),
            self.footprint_calibration.plus(other.footprint_calibration),
            self.sizes.plus(other.sizes),
        )

    def figures(self) -> dict[str, Any]:
        """Return the figures for a report; `geodamage.scores.metrics` says their form."""
        figures = report(self.official, self.buildings, self.calibration, self.sizes)
        figures["buildings"]["unit"] = MATCHED
        given = report(OfficialScore.empty(), self.footprints, self.footprint_calibration)
        footprints = {**_grades_alone(given["buildings"]), "calibration": given["calibration"]}
        return {**figures, "footprints": footprints, "pairs": self.pairs}


def _grades_alone(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what a report says of buildings, without what can only be said of found ones."""
    names = ("minimum", "grades", "damaged", "accuracy", "quadratic_kappa", "confusion")
    graded: dict[str, Any] = {name: figures[name] for name in names}
    for rates in (*graded["grades"].values(), graded["damaged"]):
        rates["f1"] = rates.pop("f1_matched")
        del rates["f1_end_to_end"], rates["matched"]
    return {"unit": GIVEN, **graded, "macro_f1": figures["macro_f1_matched"]}


def add_up(tallies: Iterable[Tally]) -> Tally:
    """Return the tally of all sets together."""
    total = Tally.empty()
    for tally in tallies:
        total = total.plus(tally)
    return total


class MatchedVotes(NamedTuple):
    """Drawn buildings that match a label with a grade.

    Attributes
    ----------
    votes
        float64 (n, 4): what the pixels of each say of the grades.
    grades
        int (n,): 1-4, of the labels.
    """

    votes: np.ndarray
    grades: np.ndarray


def match_votes(truth: Truth, index: np.ndarray, votes: np.ndarray) -> MatchedVotes:
    """Match drawn buildings to labels and keep those that can be graded.

    Parameters
    ----------
    index
        From `draw_buildings`.
    votes
        From `sum_votes` of it.
    """
    graded = [(i, j) for i, j in match(truth.index, index) if i in truth.grades]
    grades = np.array([truth.grades[i] for i, _ in graded], int)
    return MatchedVotes(votes[[j for _, j in graded]].reshape(-1, 4), grades)


def count_buildings(
    truth: Truth, index: np.ndarray, probabilities: np.ndarray, grading: Grading
) -> tuple[BuildingScore, Calibration]:
    """Match the buildings drawn on one pair to its labels.

    Parameters
    ----------
    index
        From `draw_buildings`.
    probabilities
        float32 (5, rows, columns).
    """
    votes = sum_votes(index, probabilities[1:])
    said = grading.columns(votes)["damage_class"]
    score = building_score(
        truth.index,
        index,
        truth_grades=truth.grades,
        found_grades={n: int(said[n]) for n in range(1, len(said))},
    )
    matched = match_votes(truth, index, votes)
    return score, calibration(grade_probabilities(grading, matched.votes), matched.grades)


def count_footprints(
    truth: Truth, damage: np.ndarray, grading: Grading
) -> tuple[BuildingScore, Calibration]:
    """Grade the label polygons of one pair by the damage head alone.

    A label that later ones cover completely has no pixel, and does not count.

    Parameters
    ----------
    damage
        float32 (4, rows, columns), not negative.
    """
    shares = damage / np.maximum(damage.sum(0), 1e-30)
    votes = sum_votes(truth.index, shares)
    numbers = [n for n in truth.grades if n < len(votes) and votes[n].any()]
    grades = [truth.grades[n] for n in numbers]
    chosen = votes[numbers].reshape(-1, 4)
    said = grading.columns(chosen)["damage_class"]
    return grading_score(grades, said), calibration(grade_probabilities(grading, chosen), grades)


def count_pair(
    truth: Truth, prediction: Prediction, masks: Masks, grading: Grading, drawing: Drawing
) -> Tally:
    """Count one pair in every view."""
    index = draw_buildings(prediction.probabilities, drawing, truth.pixel_area)
    buildings = count_buildings(truth, index, prediction.probabilities, grading)
    footprints = count_footprints(truth, prediction.damage, grading)
    sizes = size_recall(truth.index, index, truth.pixel_area)
    return Tally(1, official_score(*masks), *buildings, *footprints, sizes)


def intervals(
    tallies: Sequence[Tally], resamplings: int, *, seed: int = 0
) -> dict[str, tuple[float | None, float | None]]:
    """Return the 95 % interval of the main figures, resampling whole pairs.

    The buildings of one pair are alike, so that they cannot be resampled one by one.

    Parameters
    ----------
    tallies
        Tallies of one pair each.
    resamplings
        How many.

    Returns
    -------
    dict
        Lower and upper end by figure; None where no resampling gives it.
    """
    # Source: Efron 1979, "Bootstrap methods"; percentiles of the resampled figures.
    chosen = np.random.default_rng(seed).integers(len(tallies), size=(resamplings, len(tallies)))
    pixels = np.array([[t.official.localisation, *t.official.damage] for t in tallies])
    buildings = np.array([t.buildings.table for t in tallies])
    footprints = np.array([t.footprints.table for t in tallies])
    rows = [
        _main_figures(pixels[row].sum(0), buildings[row].sum(0), footprints[row].sum(0))
        for row in chosen
    ]
    return {name: _interval([row[name] for row in rows]) for name in rows[0]} if rows else {}


def _main_figures(
    pixels: np.ndarray, buildings: np.ndarray, footprints: np.ndarray
) -> dict[str, float | None]:
    """Return the main figures of counts (5, 3) of pixels and of two tables (6, 6)."""
    localisation, none, minor, major, destroyed = (Counts(*map(int, row)) for row in pixels)
    official = OfficialScore(localisation, (none, minor, major, destroyed))
    found, given = BuildingScore.of(buildings), BuildingScore.of(footprints)
    return {
        "score": official.score,
        "localization_f1": official.localisation.f1,
        "damage_f1": official.damage_f1,
        "buildings_recall": found.detection.rates()["recall"],
        "buildings_precision": found.detection.rates()["precision"],
        "buildings_quadratic_kappa": found.kappa,
        "footprints_quadratic_kappa": given.kappa,
    }


def _interval(values: list[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
