import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon

from geodamage.damage import GRADES, DamageGrade
from geodamage.labels import Label, read_xbd
from geodamage.masks import burn_index, burn_labels
from tests.fakes import SMALL

DATA = Path(os.environ.get("GEODAMAGE_DATA", Path(__file__).parents[2] / "shared" / "data"))
TARGETS = sorted((DATA / "xbd_original" / "targets").glob("*_post_disaster_target.png"))

COORDINATES = st.tuples(st.floats(-8, 40), st.floats(-8, 40))
POLYGONS = st.lists(COORDINATES, min_size=3, max_size=7).map(Polygon)
LABELS = st.lists(
    st.builds(Label, st.just("a"), POLYGONS, st.sampled_from([*GRADES, None])), max_size=5
)


def box(left, top, right, bottom, grade=DamageGrade.MAJOR, holes=()):
    ring = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return Label("a", Polygon(ring, holes), grade)


@SMALL
@given(LABELS)
def test_masks_are_fill_poly_of_rounded_vertices_in_file_order(labels):
    expected = np.zeros((32, 32), np.uint8)
    for label in labels:
        if label.grade is not None:
            vertices = np.array(label.polygon.exterior.coords).round().astype(np.int32)
            cv2.fillPoly(expected, [vertices], int(label.grade))
    assert np.array_equal(burn_labels(labels, (32, 32)), expected)


def test_fill_poly_includes_its_vertices():
    mask = burn_labels([box(2, 3, 5, 4)], (8, 8))
    assert np.argwhere(mask == 3).tolist() == [[r, c] for r in (3, 4) for c in (2, 3, 4, 5)]


def test_half_pixels_are_rounded_to_even():
    mask = burn_labels([box(0.5, 1.5, 2.5, 3.5)], (8, 8))
    assert np.argwhere(mask).min(0).tolist() == [2, 0]
    assert np.argwhere(mask).max(0).tolist() == [4, 2]


def test_the_later_of_two_labels_wins():
    first, second = box(0, 0, 4, 4), box(3, 3, 6, 6, DamageGrade.MINOR)
    assert burn_labels([first, second], (8, 8))[3, 3] == 2
    assert burn_labels([second, first], (8, 8))[3, 3] == 3


def test_labels_without_a_grade_are_drawn_only_when_asked():
    labels = [box(0, 0, 4, 4), box(2, 2, 6, 6, None)]
    assert set(np.unique(burn_labels(labels, (8, 8)))) == {0, 3}
    mask = burn_labels(labels, (8, 8), unclassified=255)
    assert mask[3, 3] == 255


def test_a_hole_keeps_what_was_there():
    ring = box(0, 0, 9, 9, holes=[[(3, 3), (6, 3), (6, 6), (3, 6)]])
    mask = burn_labels([box(4, 4, 5, 5, DamageGrade.MINOR), ring], (12, 12))
    assert mask[4, 4] == 2
    assert mask[3, 3] == 0
    assert mask[1, 1] == 3


@SMALL
@given(LABELS)
def test_an_index_and_a_mask_agree(labels):
    index = burn_index(labels, (32, 32))
    grades = np.array([0, *(0 if label.grade is None else label.grade for label in labels)])
    graded = [label for label in labels if label.grade is not None]
    if len(graded) == len(labels):
        assert np.array_equal(grades[index], burn_labels(labels, (32, 32)))
    assert index.dtype == np.int32
    assert index.max() <= len(labels)


@pytest.mark.data
@pytest.mark.skipif(not TARGETS, reason="no xBD targets; see GEODAMAGE_DATA")
def test_every_official_target_is_burnt_to_the_pixel():
    checked = 0
    for target in TARGETS:
        name = target.name.replace("_target.png", ".json")
        folders = [DATA / kind / "labels" / name for kind in ("xbd_original", "xbd")]
        path = next((path for path in folders if path.exists()), None)
        if path is None:
            continue
        official = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(burn_labels(read_xbd(path), official.shape[:2]), official), name
        checked += 1
    assert checked
