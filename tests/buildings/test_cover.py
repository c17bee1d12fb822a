import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodamage.buildings import cover
from geodamage.buildings.cover import cover_of, portions
from tests.fakes import SMALL, TRANSFORM, pixel_box

SIZE = (12, 15)
WHOLE = (0, 0, *SIZE)


def covered(shape, box=WHOLE):
    """Return the cover of a shape on all of a small raster; what lies beyond the box is 0."""
    found = cover_of(np.array([shape], object), np.array([box]), TRANSFORM)
    assert (found.share > 0).all()
    result = np.zeros(SIZE)
    result[found.row, found.column] = found.share
    return result


def expected(shape):
    """Return the area of a shape in each pixel, as GEOS has it."""
    pixels = [[pixel_box(row, column, 1, 1) for column in range(SIZE[1])] for row in range(SIZE[0])]
    return shapely.area(shapely.intersection(np.array(pixels, object), shape)) / TRANSFORM.a**2


def pixels_of(places):
    """Return points of the grid, given in pixels."""
    return np.asarray(places) * [TRANSFORM.a, TRANSFORM.e] + [TRANSFORM.c, TRANSFORM.f]


def test_parts_of_pixels_count_as_far_as_they_are_covered():
    found = covered(pixel_box(2.25, 3.1, 1.5, 2))
    assert found[2].tolist()[3:6] == pytest.approx([0.75 * 0.9, 0.75, 0.75 * 0.1], abs=1e-6)
    assert found[3].tolist()[3:6] == pytest.approx([0.75 * 0.9, 0.75, 0.75 * 0.1], abs=1e-6)
    assert found.sum() == pytest.approx(3, abs=1e-5)


def test_whole_pixels_are_covered_wholly_and_their_neighbours_not():
    found = covered(pixel_box(2, 3, 4, 5))
    assert (found[2:6, 3:8] == 1).all()
    assert found.sum() == 20


@SMALL
@given(st.integers(0, 10**6))
def test_cover_is_the_area_in_each_pixel(seed):
    rng = np.random.default_rng(seed)
    places = rng.uniform(-4, 18, (rng.integers(4, 12), 2))
    if seed % 2:
        places = places.round()  # edges along the sides and through the corners of pixels
    hull = shapely.concave_hull(shapely.multipoints(pixels_of(places)), ratio=0.2)
    hole = shapely.centroid(hull).buffer(rng.uniform(0.1, 2))
    for shape in (hull, hull.difference(hole), hull.union(pixel_box(1, 1, 2.5, 1.5))):
        found = covered(shape)
        np.testing.assert_allclose(found, expected(shape), atol=2e-6)
        np.testing.assert_array_equal(covered(shape.reverse()), found)


@given(st.integers(0, 11), st.integers(0, 14), st.integers(0, 11), st.integers(0, 14))
def test_a_box_limits_the_pixels_and_not_their_cover(row, column, bottom, right):
    row, bottom = min(row, bottom), max(row, bottom) + 1
    column, right = min(column, right), max(column, right) + 1
    shape = shapely.Point(*pixels_of([7.3, 5.8])).buffer(3.1 * TRANSFORM.a)
    whole, part = covered(shape), covered(shape, (row, column, bottom, right))
    inside = np.s_[row:bottom, column:right]
    np.testing.assert_array_equal(part[inside], whole[inside])
    assert part.sum() == part[inside].sum()


def test_cover_does_not_depend_on_what_is_measured_beside_it():
    rng = np.random.default_rng(8)
    shapes = [shapely.Point(*pixels_of(place)).buffer(0.9) for place in rng.uniform(1, 11, (30, 2))]
    found = cover_of(np.array(shapes, object), np.tile(WHOLE, (30, 1)), TRANSFORM)
    assert (np.diff(found.owner) >= 0).all()
    for number, shape in enumerate(shapes):
        own = found.owner == number
        alone = cover_of(np.array([shape], object), np.array([WHOLE]), TRANSFORM)
        np.testing.assert_array_equal(found.share[own], alone.share)
        np.testing.assert_array_equal(found.row[own], alone.row)
        np.testing.assert_array_equal(found.column[own], alone.column)


@pytest.mark.parametrize(
    "shape",
    [
        None,
        shapely.Polygon(),
        shapely.Point(*pixels_of([3.5, 3.5])),
        shapely.LineString(pixels_of([[1, 1], [9, 5]])),
        pixel_box(3, 40, 2, 2),
        pixel_box(-9, 3, 2, 2),
    ],
)
def test_what_is_no_polygon_or_lies_elsewhere_covers_nothing(shape):
    assert covered(shape).sum() == 0


def test_polygons_of_collections_count():
    parts = [pixel_box(1, 1, 2, 2), shapely.MultiPolygon([pixel_box(5, 5, 1, 3)])]
    found = covered(shapely.GeometryCollection([*parts, shapely.Point(0, 0)]))
    assert found.sum() == 7


def test_boxes_are_cut_and_put_together(monkeypatch):
    monkeypatch.setattr(cover, "AT_ONCE", 100)
    boxes = np.array([[0, 0, 4, 5], [3, 7, 33, 17], [8, 0, 10, 300], [1, 1, 2, 2]])
    seen = []
    for numbers, parts in portions(boxes):
        sizes = (parts[:, 2] - parts[:, 0]) * (parts[:, 3] - parts[:, 1])
        assert (sizes <= 300).all()  # a row stays whole
        assert sizes[1:].sum() <= 100
        seen += [(int(number), *part) for number, part in zip(numbers, parts.tolist(), strict=True)]
    for number, (row, column, bottom, right) in enumerate(boxes.tolist()):
        own = [part for owner, *part in seen if owner == number]
        assert [part[0] for part in own] == [row, *(part[2] for part in own[:-1])]
        assert own[-1][2] == bottom
        assert {(part[1], part[3]) for part in own} == {(column, right)}
    assert not list(portions(boxes[:0]))
