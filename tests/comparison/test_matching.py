import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodamage.comparison.matching import match, worst_of

SQUARES = np.array([shapely.box(20 * n, 0, 20 * n + 10, 10) for n in range(5)], object)


def points(*places):
    return np.array([shapely.Point(*place) for place in places], object)


def test_points_mean_what_they_lie_on_or_near():
    found = match(SQUARES, points((5, 5), (13, 5), (15, 5), (92, 5), (200, 5)), 3)
    assert found.building.tolist() == [0, 0, -1, 4, -1]
    assert found.distance[[0, 1, 3]].tolist() == [0, 3, 2]
    assert found.offset[3].tolist() == [-7, 0]
    facts = found.facts()
    assert (facts["matched"], facts["inside"]) == (3, 1)
    assert facts["median_m"] == 2.0


def test_polygons_mean_what_they_share_most_ground_with():
    wide = shapely.box(5, 0, 29, 10)  # five metres of the first square, nine of the second
    near = shapely.box(51, 0, 58, 10)
    found = match(SQUARES, np.array([wide, near, None], object), 2)
    assert found.building.tolist() == [1, 2, -1]


def test_buildings_without_outline_are_nobodys():
    holes = SQUARES.copy()
    holes[1] = None
    assert match(holes, points((25, 5)), 4).building.tolist() == [-1]
    assert match(SQUARES, points((500, 5)), 4).facts()["median_m"] is None


@given(st.lists(st.tuples(st.integers(-20, 120), st.integers(-20, 30)), min_size=1, max_size=12))
def test_the_nearest_is_the_nearest(places):
    found = match(SQUARES, points(*places), 6)
    apart = shapely.distance(points(*places)[:, None], SQUARES[None])
    np.testing.assert_array_equal(found.building >= 0, apart.min(1) <= 6)
    known = found.building >= 0
    np.testing.assert_allclose(found.distance[known], apart.min(1)[known])


def test_the_worst_of_several_features_counts():
    values = np.array([2.0, 4.0, np.nan, 1.0])
    found = worst_of(values, np.array([0, 0, 1, -1]), 3)
    np.testing.assert_array_equal(found, [4, np.nan, np.nan])
