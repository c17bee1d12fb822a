import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.damage import DamageGrade
from geodamage.report.findings import first_to_draw, least_certain, summarise, worst

#: Identity, grade, expected grade 0-1, confidence, area.
ROWS = [
    ("a", 1, 0.1, 0.9, 10.0),
    ("b", 4, 0.8, 0.4, 20.0),
    ("c", 4, 0.9, 0.8, 30.0),
    ("d", 2, 0.4, 0.3, 40.0),
    ("e", None, None, None, 50.0),
    ("f", 4, 0.8, 0.5, 20.5),
]


@pytest.fixture
def buildings():
    names = ("building_id", "damage_class", "damage_score", "confidence", "area_m2")
    frame = pd.DataFrame(ROWS, columns=names).astype({"damage_class": "Int32"})
    frame["status"] = ["assessed", "partial", "assessed", "assessed", "not_assessed", "assessed"]
    return frame


def test_totals_are_of_graded_buildings_only(buildings):
    found = summarise(buildings)
    assert [total.count for total in found.grades] == [1, 1, 0, 3]
    assert [total.share for total in found.grades] == [0.2, 0.2, 0, 0.6]
    assert [total.area for total in found.grades] == [10, 40, 0, 70.5]
    assert (found.buildings, found.graded, found.partial, found.not_assessed) == (6, 5, 1, 1)
    assert found.area == 120.5
    assert found.at_least(DamageGrade.MINOR) == 4


def test_nothing_at_all_has_shares_of_zero(buildings):
    found = summarise(buildings.iloc[:0])
    assert (found.buildings, [total.share for total in found.grades]) == (0, [0, 0, 0, 0])


def test_a_grade_that_is_none_counts_as_not_assessed(buildings):
    buildings["damage_class"] = [9, -1, 0, None, "x", 4]
    assert (summarise(buildings).graded, summarise(buildings).not_assessed) == (1, 5)


def test_the_worst_come_by_grade_then_score_then_area_and_none_is_undamaged(buildings):
    assert list(buildings["building_id"].iloc[worst(buildings, 10)]) == ["c", "f", "b", "d"]
    assert len(worst(buildings, 2)) == 2


def test_the_least_certain_have_a_grade(buildings):
    assert "".join(buildings["building_id"].iloc[least_certain(buildings, 10)]) == "dbfca"


def test_the_order_does_not_depend_on_the_order_of_the_layer(buildings):
    turned = buildings.iloc[::-1].reset_index(drop=True)
    for order in (worst, least_certain):
        names = [list(f["building_id"].iloc[order(f, 9)]) for f in (buildings, turned)]
        assert names[0] == names[1]


@pytest.mark.slow
@given(st.lists(st.integers(0, 9), min_size=6, max_size=6), st.integers(0, 8), st.integers(0, 40))
def test_what_is_drawn_keeps_within_its_bounds(vertices, most, most_vertices):
    names = ("building_id", "damage_class", "damage_score", "confidence", "area_m2")
    frame = pd.DataFrame(ROWS, columns=names)
    count = np.array(vertices)
    drawn = first_to_draw(frame, count, kept=[4], most=most, most_vertices=most_vertices)
    assert len(drawn) <= most
    assert count[drawn].sum() <= most_vertices
    assert (count[drawn] > 0).all()
    assert list(drawn) == sorted(set(drawn))
    if most > 0 and 0 < count[4] <= most_vertices:
        assert 4 in drawn


@pytest.mark.parametrize(("reason", "outside"), [("outside_aoi", 1), ("obscured_post", 0)])
def test_what_lies_outside_is_counted_apart(buildings, reason, outside):
    buildings["status_reason"] = [None, "too_small", None, None, reason, None]
    assert summarise(buildings).outside == outside
    assert summarise(buildings.drop(columns="status_reason")).outside == 0
