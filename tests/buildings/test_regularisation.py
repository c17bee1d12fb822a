import numpy as np
import pytest
import shapely
import shapely.affinity
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize
from rasterio.transform import Affine
from scipy import ndimage

from geodamage.buildings.outlines import polygonise
from geodamage.buildings.regularisation import LEAST_IOU, regularise
from tests.fakes import SMALL

PIXEL = 0.5
TRANSFORM = Affine(PIXEL, 0, 0, 0, -PIXEL, 60)


def drawn(shape):
    """Return the outline of a shape along the edges of its pixels."""
    burnt = rasterize([(shape, 1)], out_shape=(120, 120), transform=TRANSFORM)
    labels, _ = ndimage.label(burnt)
    _, polygons = polygonise(labels, TRANSFORM)
    return max(polygons, key=lambda polygon: polygon.area)


def iou(a, b):
    return shapely.intersection(a, b).area / shapely.union(a, b).area


def angles(ring):
    steps = np.diff(shapely.get_coordinates(ring), axis=0)
    turned = np.arctan2(steps[:, 1], steps[:, 0])
    return np.degrees(np.diff(np.append(turned, turned[0]))) % 90


def has_right_angles(polygon):
    rings = [polygon.exterior, *polygon.interiors]
    return all(np.minimum(a := angles(ring), 90 - a).max() < 1e-6 for ring in rings)


@pytest.mark.slow
@SMALL
@given(st.floats(0, 90), st.floats(8, 22), st.floats(8, 22))
def test_a_turned_rectangle_gets_its_four_corners(angle, width, height):
    true = shapely.affinity.rotate(shapely.box(30, 30, 30 + width, 30 + height), angle)
    true = shapely.affinity.translate(true, 30 - true.centroid.x, 30 - true.centroid.y)
    outlines, fits = regularise(np.array([drawn(true)], object), PIXEL)
    assert fits.tolist() == [True]
    assert len(outlines[0].exterior.coords) == 5
    assert has_right_angles(outlines[0])
    assert iou(outlines[0], true) > 0.85


@pytest.mark.parametrize("angle", [0, 20, 45, 71])
def test_an_l_keeps_its_corner(angle):
    shape = shapely.union(shapely.box(15, 15, 45, 27), shapely.box(15, 15, 27, 45))
    outlines, fits = regularise(np.array([drawn(shapely.affinity.rotate(shape, angle))]), PIXEL)
    assert fits.all()
    assert len(outlines[0].exterior.coords) == 7
    assert has_right_angles(outlines[0])


def test_a_courtyard_stays():
    shape = shapely.difference(shapely.box(10, 10, 50, 40), shapely.box(20, 18, 40, 32))
    (outline,), fits = regularise(np.array([drawn(shapely.affinity.rotate(shape, 17))]), PIXEL)
    assert fits.all()
    assert len(outline.interiors) == 1
    assert has_right_angles(outline)


def test_what_no_right_angle_fits_stays_as_it_was():
    triangle = drawn(shapely.Polygon([(10, 10), (50, 10), (10, 50)]))
    outlines, fits = regularise(np.array([triangle]), PIXEL)
    assert not fits.any()
    assert outlines[0] is triangle


@pytest.mark.slow
@SMALL
@given(st.integers(0, 2**32 - 1))
def test_whatever_the_outline_the_result_is_valid_and_keeps_the_building(seed):
    generator = np.random.default_rng(seed)
    boxes = [
        shapely.affinity.rotate(shapely.box(x, y, x + w, y + h), angle)
        for x, y, w, h, angle in generator.uniform([5, 5, 1, 1, 0], [40, 40, 18, 18, 90], (6, 5))
    ]
    polygon = drawn(shapely.union_all(boxes))
    outlines, fits = regularise(np.array([polygon]), PIXEL)
    assert isinstance(outlines[0], shapely.Polygon)
    assert outlines[0].is_valid
    if fits[0]:
        assert iou(outlines[0], polygon) >= LEAST_IOU
        assert has_right_angles(outlines[0])


def test_nothing_in_nothing_out():
    outlines, fits = regularise(np.zeros(0, object), PIXEL)
    assert len(outlines) == len(fits) == 0
