import dataclasses

import numpy as np
import pytest

from geodamage.arrays import Prediction
from geodamage.buildings.finding import BuildingOptions, Grading, find_buildings, pixel_area
from geodamage.scores.buildings import BuildingScore, SizeRecall
from geodamage.scores.calibration import Calibration
from geodamage.scores.pixels import Counts, OfficialScore
from geodamage.scores.tallies import (
    Drawing,
    Masks,
    Tally,
    Truth,
    add_up,
    count_footprints,
    count_pair,
    draw_buildings,
    intervals,
    sum_votes,
)
from geodamage.xbd.folders import Pair
from tests.fakes import TRANSFORM, UTM, Grid, make_card, strip_of


def bumps(seed):
    """Return localisation of soft discs, many of which touch."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:80, :100]
    rows, columns = rng.uniform(0, 80, 30), rng.uniform(0, 100, 30)
    away = np.hypot(y[..., None] - rows, x[..., None] - columns) / rng.uniform(3, 9, 30)
    return np.clip(1.2 - away, 0, 0.99).max(2).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("depth", [0, 1])
def test_buildings_are_drawn_as_assess_draws_them(seed, depth):
    card = make_card(threshold=0.4, seed_threshold=0.7, seed_depth=depth)
    grades = np.random.default_rng(seed).integers(1, 5, (80, 100))
    strip = strip_of(bumps(seed), grades)
    grid = Grid(UTM, TRANSFORM, (80, 100))
    (frame,) = find_buildings([strip], grid, strip.window, card, options=BuildingOptions(12))
    index = draw_buildings(strip.probabilities, Drawing.of(card, 12), pixel_area(grid))
    pixels = np.bincount(index.ravel())[1:]
    assert len(frame) > 5
    assert sorted(pixels[pixels > 0] * 0.25) == pytest.approx(sorted(frame.area))
    # Each polygon is one building of the index, with the same grade.
    graded = Grading.of(card).columns(sum_votes(index, strip.probabilities[1:]))
    points = frame.representative_point()
    rows = ((TRANSFORM.f - points.y) / 0.5).astype(int)
    columns = ((points.x - TRANSFORM.c) / 0.5).astype(int)
    numbers = index[rows, columns]
    assert len(set(numbers)) == len(frame)
    assert (graded["damage_class"][numbers] == frame["damage_class"]).all()
    assert graded["confidence"][numbers] == pytest.approx(frame["confidence"])


def test_nothing_is_drawn_of_nothing():
    empty = strip_of(np.zeros((8, 8), np.float32)).probabilities
    assert not draw_buildings(empty, Drawing(), 1).any()


def truth_of(index, grades):
    image = np.zeros((*index.shape, 3), np.uint8)
    codes = np.array([grades.get(n, 0) for n in range(index.max() + 1)], np.uint8)
    buildings = (index > 0).astype(np.uint8)
    pair = Pair("storm_1", None)
    return Truth(pair, image, image, buildings, codes[index], index, grades, 1, True, True)


def striped(*numbers):
    """Return an index raster of stripes of four rows."""
    return np.repeat(np.array(numbers, np.int32), 4)[:, None].repeat(6, 1)


def test_footprints_are_graded_by_the_damage_head_alone():
    index = striped(1, 2, 0, 3)
    damage = np.full((4, 16, 6), 0.1, np.float32)
    damage[3, :4] = 5
    damage[1, 4:8] = 0.3
    # One bright pixel does not outvote the others: each pixel has one vote.
    damage[0, 4, 0] = 1000
    # The third label has no grade; the fourth was covered by others.
    score, sure = count_footprints(truth_of(index, {1: 4, 2: 1, 4: 2}), damage, Grading())
    table = np.zeros((4, 4), int)
    table[3, 3] = table[0, 1] = 1
    assert score.confusion.tolist() == table.tolist()
    assert sure.count == 2


def test_a_pair_without_labels_adds_only_what_was_drawn():
    truth = truth_of(np.zeros((16, 6), np.int32), {})
    strip = strip_of((striped(0, 1, 1, 0) > 0).astype(np.float32))
    heads = strip.probabilities[1:]
    grades = striped(0, 1, 1, 0).astype(np.uint8)
    masks = Masks(grades, grades, truth.localisation, truth.damage)
    prediction = Prediction(1 - strip.probabilities[0], heads, strip.probabilities)
    tally = count_pair(truth, prediction, masks, Grading(), Drawing(min_area=1))
    assert tally.buildings.detection == Counts(0, 0, 1)
    assert tally.sizes == SizeRecall.empty()
    assert tally.official.localisation == Counts(0, 0, 48)
    assert (tally.calibration.count, tally.footprints, tally.pairs) == (0, BuildingScore.empty(), 1)


def tally_of(right, wrong):
    table = np.zeros((6, 6), int)
    table[1, 1], table[4, 4], table[1, 4] = right, right, wrong
    score = BuildingScore.of(table)
    counts = Counts(right, wrong, wrong)
    official = OfficialScore(counts, (counts,) * 4)
    none = Calibration.empty()
    sizes = SizeRecall((right + wrong, 0, 0, 0, 0, 0), (right, 0, 0, 0, 0, 0))
    return Tally(1, official, score, none, score, none, sizes)


def test_tallies_add_up():
    total = add_up([tally_of(3, 1), tally_of(1, 2)])
    assert total == dataclasses.replace(tally_of(4, 3), pairs=2)
    assert add_up([]) == Tally.empty()


def test_the_report_tells_recall_by_size():
    first, *others = tally_of(40, 10).figures()["buildings"]["sizes"]
    assert first == {"low": 0, "high": 50, "truth": 50, "found": 40, "recall": 0.8}
    assert [row["recall"] for row in others] == [None] * 5


def test_footprints_say_nothing_of_what_was_found():
    figures = tally_of(40, 10).figures()["footprints"]
    assert figures["grades"]["no-damage"] == {"truth": 50, "f1": pytest.approx(80 / 90)}
    assert figures["macro_f1"] == pytest.approx(80 / 90)
    assert not {"detection", "missed", "spurious", "iou"} & figures.keys()


def test_an_interval_holds_the_figure_and_grows_with_the_spread():
    alike = intervals([tally_of(10, 2)] * 5, 100)
    assert alike["buildings_quadratic_kappa"][0] == alike["buildings_quadratic_kappa"][1]
    spread = intervals([tally_of(10, n) for n in range(6)], 200)
    total = add_up(tally_of(10, n) for n in range(6))
    low, high = spread["buildings_quadratic_kappa"]
    assert low < total.buildings.kappa < high
    low, high = spread["score"]
    assert low < total.official.score < high


def test_a_figure_that_is_never_defined_has_no_interval():
    assert intervals([tally_of(0, 0)] * 2, 10)["buildings_recall"] == (None, None)
