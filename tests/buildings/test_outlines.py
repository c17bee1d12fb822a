import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize, shapes
from scipy import ndimage

from geodamage.buildings.outlines import polygonise
from tests.fakes import SMALL, TRANSFORM


@st.composite
def towns(draw):
    """Labels, each connected by its sides; some touch."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    grain = draw(st.sampled_from([1, 2]))
    colours = rng.integers(0, draw(st.integers(2, 4)), rng.integers(1, 13, 2))
    colours = np.kron(colours, np.ones((grain, grain), int))
    labels = np.zeros(colours.shape, np.int32)
    for colour in range(1, colours.max() + 1):
        found, _ = ndimage.label(colours == colour)
        labels = np.where(found > 0, found + labels.max(), labels)
    return labels.astype(np.int32)


@pytest.mark.slow
@SMALL
@given(towns())
def test_outlines_are_those_of_gdal(labels):
    numbers, polygons = polygonise(labels, TRANSFORM)
    drawn = sorted(shapes(labels, labels > 0, 4, TRANSFORM), key=lambda found: found[1])
    assert numbers.tolist() == [int(number) for _, number in drawn]
    for polygon, (shape, _) in zip(polygons, drawn, strict=True):
        assert polygon.wkb == shapely.normalize(shapely.geometry.shape(shape)).wkb


@pytest.mark.slow
@SMALL
@given(st.integers(0, 10**6), st.floats(0.2, 0.8))
def test_polygons_drawn_and_burnt_again_are_the_labels(seed, share):
    mask = np.random.default_rng(seed).random((12, 15)) < share
    labels, count = ndimage.label(mask)
    numbers, polygons = polygonise(labels.astype(np.int32), TRANSFORM)
    assert numbers.tolist() == list(range(1, count + 1))
    assert shapely.is_valid(polygons).all()
    assert (shapely.area(polygons) * 4 == np.bincount(labels.ravel())[1:]).all()
    if count:
        shapes = zip(polygons, numbers.tolist(), strict=True)
        assert np.array_equal(rasterize(shapes, labels.shape, transform=TRANSFORM), labels)


def test_equal_shapes_are_drawn_equally_on_any_raster():
    labels = np.zeros((9, 9), np.int32)
    labels[2:7, 2:7] = 1
    labels[4, 4] = 0
    (one,) = polygonise(labels, TRANSFORM)[1]
    (other,) = polygonise(labels[1:8, 2:7].copy(), TRANSFORM @ TRANSFORM.translation(2, 1))[1]
    assert one.wkb == other.wkb


def test_nothing_is_drawn_of_nothing():
    numbers, polygons = polygonise(np.zeros((4, 4), np.int32), TRANSFORM)
    assert len(numbers) == len(polygons) == 0


@pytest.mark.parametrize("holes", [[(2, 2), (3, 3)], [(1, 2), (2, 1)]])
def test_holes_that_meet_at_a_corner_make_a_valid_polygon(holes):
    labels = np.ones((6, 6), np.int32)
    for hole in holes:
        labels[hole] = 0
    (polygon,) = polygonise(labels, TRANSFORM)[1]
    assert polygon.is_valid
    assert len(polygon.interiors) == 2


def test_each_label_may_lie_elsewhere():
    labels = np.zeros((4, 8), np.int32)
    labels[1:3, 1:3], labels[1:3, 5:7] = 1, 2
    corners = [(0, 0), (10, 20), (30, 40)]
    polygons = polygonise(labels, TRANSFORM, corners)[1]
    for number, polygon in enumerate(polygons, 1):
        (alone,) = polygonise((labels == number).astype(np.int32), TRANSFORM, corners[number])[1]
        assert polygon.wkb == alone.wkb
