from functools import partial

import numpy as np
import pytest

from geodamage.buildings.finding import BuildingOptions, find_buildings
from geodamage.buildings.footprints import grade_footprints
from geodamage.buildings.votes import count_pixels, count_pixels_within, plain
from geodamage.grid import Grid
from geodamage.scene.pixels import (
    MISSING_POST,
    MISSING_PRE,
    OBSCURED_POST,
    OBSCURED_PRE,
    OUTSIDE_AOI,
)
from tests.fakes import TRANSFORM, UTM, given_footprints, make_card, pixel_box, scene_of, strip_of


def graded_strip(grades, best=None):
    """Return a strip whose pixels have these grades; `best` is what the damage head says."""
    grades = np.asarray(grades, np.uint8)
    strip = strip_of(np.where(grades > 0, 0.9, 0.1), grades if best is None else np.asarray(best))
    return strip.__class__(strip.window, strip.probabilities, strip.missing, grades)


def test_a_building_takes_the_grade_of_most_of_its_pixels():
    grades = np.zeros((20, 20), np.uint8)
    grades[5:15, 5:9], grades[5:15, 9:12], grades[5:15, 12:15] = 2, 3, 4
    strip = graded_strip(grades)
    # Sums of probabilities, weighted, would say otherwise.
    card = make_card(grade_weights=(1.0, 1.0, 9.0, 1.0), temperature=2.0)
    (frame,) = find_buildings(
        count_pixels([strip], 0.5), Grid(UTM, TRANSFORM, (20, 20)), strip.window, plain(card),
        options=BuildingOptions(0),
    )  # fmt: skip
    (building,) = frame.itertuples()
    assert building.damage_class == 2
    shares = building.p_none, building.p_minor, building.p_major, building.p_destroyed
    assert shares == pytest.approx((0, 0.4, 0.3, 0.3), abs=1e-6)
    assert building.geometry.equals(pixel_box(5, 5, 10, 10))


@pytest.mark.parametrize(
    ("flag", "reason"), [(OBSCURED_POST, "obscured_post"), (MISSING_POST, "nodata_post")]
)
def test_a_building_that_post_hides_is_found_and_not_graded(flag, reason):
    grades = np.zeros((20, 20), np.uint8)
    grades[5:15, 5:15] = 2
    strip = graded_strip(grades)
    strip.missing[:, 5:12] = flag  # as prediction leaves it: a building, and no grade
    strip.probabilities[1:, :, 5:12] = 0
    strip.grades[:, 5:12] = 0
    (frame,) = find_buildings(
        count_pixels([strip], 0.5), Grid(UTM, TRANSFORM, (20, 20)), strip.window,
        plain(make_card()), options=BuildingOptions(0),
    )  # fmt: skip
    (building,) = frame.itertuples()
    assert (building.status, building.status_reason) == ("not_assessed", reason)
    assert building.valid_fraction == pytest.approx(0.3)
    assert building.geometry.equals(pixel_box(5, 5, 10, 10))


@pytest.mark.parametrize("flag", [OBSCURED_PRE, MISSING_PRE, OUTSIDE_AOI])
def test_nothing_is_found_where_pre_shows_nothing(flag):
    strip = graded_strip(np.zeros((20, 20), np.uint8))
    strip.probabilities[0] = 0.1
    strip.missing[:] = flag | OBSCURED_POST
    (counted,) = count_pixels([strip], 0.5)
    assert (counted.probabilities[0] == 1).all()


def test_a_footprint_counts_the_best_grade_where_the_rules_see_no_building():
    grades, best = np.zeros((20, 20), np.uint8), np.full((20, 20), 4)
    grades[5:15, 5:9], best[5:15, 5:9] = 2, 1  # the rules have overwritten these
    strip = graded_strip(grades, best)
    footprints = given_footprints(pixel_box(5, 5, 10, 10))
    scene = scene_of(strip)
    frames = grade_footprints(count_pixels_within([strip]), scene, footprints, plain(make_card()))
    (building,) = [row for frame in frames for row in frame.itertuples()]
    assert building.damage_class == 4
    assert float(building.p_minor) == pytest.approx(0.4, abs=1e-6)
    assert float(building.p_none) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("count", [partial(count_pixels, threshold=0.5), count_pixels_within])
def test_strips_without_grades_are_refused(count):
    with pytest.raises(ValueError, match="with_grades=True"):
        list(count([strip_of(np.ones((4, 4)))]))


@pytest.mark.parametrize("count", [partial(count_pixels, threshold=0.5), count_pixels_within])
def test_closing_a_vote_closes_the_strips(count):
    closed = []

    def strips():
        try:
            yield graded_strip(np.ones((4, 4)))
            yield graded_strip(np.ones((4, 4)))
        finally:
            closed.append(True)

    voting = count(strips())
    next(voting)
    voting.close()
    assert closed
