from datetime import UTC, datetime

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodamage.batch.pairing import LEAST_OVERLAP, Placed, pair_up, shown_twice


def placed(name, left, bottom, width=1.0, height=1.0, day=None):
    taken = None if day is None else datetime(2026, 1, day, tzinfo=UTC)
    return Placed(
        name, f"/{name}.tif", shapely.box(left, bottom, left + width, bottom + height), taken
    )


def names_of(pairs):
    return {image.name: [other.name for other in found] for image, found in pairs}


def test_an_image_is_paired_with_all_it_lies_on_the_best_covered_first():
    pre = [placed("west", 0, 0), placed("east", 1, 0), placed("far", 5, 5)]
    post = [placed("a", 0.8, 0), placed("b", 0.1, 0), placed("c", 9, 9)]
    assert names_of(pair_up(pre, post)) == {"a": ["east", "west"], "b": ["west", "east"], "c": []}


def test_images_side_by_side_are_no_pair():
    pre = [placed("left", 0, 0), placed("above", 1, 1), placed("sliver", 2 - LEAST_OVERLAP / 2, 0)]
    assert names_of(pair_up(pre, [placed("a", 1, 0)])) == {"a": []}


def test_a_small_image_within_a_large_one_is_a_pair():
    large, small = placed("large", 0, 0, 3, 3), placed("small", 1, 1, 0.01, 0.01)
    assert names_of(pair_up([large], [small])) == {"small": ["large"]}
    assert names_of(pair_up([small], [large])) == {"large": ["small"]}


def test_of_dated_images_the_nearest_before_is_on_top_and_old_ones_fill_what_it_lacks():
    pre = [
        placed("old", 0, 0, day=1),
        placed("older", -1, -1, 4, 4, day=2),
        placed("recent", 0, 0, 0.5, 1, day=9),
    ]
    assert names_of(pair_up(pre, [placed("a", 0, 0, day=20)])) == {"a": ["recent", "older"]}


@pytest.mark.parametrize(("lon", "lat"), [(179.9, 10), (-180.1, 10), (0, 89.9), (30, -89.99)])
def test_antimeridian_and_poles_are_not_in_the_way(lon, lat):
    """Tiles of 2 km; the same place is written with another longitude."""

    def tile(name, east, turn):
        across = 0.02 / np.cos(np.radians(lat))
        box = shapely.box(lon + east * across, lat, lon + (east + 1) * across, lat + 0.005)
        turned = shapely.transform(box, lambda points: points + np.array([turn, 0]))
        return Placed(name, name, turned)

    pre = [tile("here", 0, 0), tile("next", 1, 0)]
    assert names_of(pair_up(pre, [tile("a", 0, 360)])) == {"a": ["here"]}
    assert names_of(pair_up(pre, [tile("a", 0.5, -360)])) == {"a": ["here", "next"]}


@pytest.mark.slow
@given(
    st.lists(st.tuples(*[st.floats(-3, 3)] * 2, *[st.floats(0.1, 2)] * 2), min_size=1, max_size=5),
    st.floats(-170, 170),
    st.floats(-60, 60),
)
def test_pairs_are_those_whose_boxes_meet(boxes, lon, lat):
    """In a plane of small boxes, near the middle of which degrees are square enough."""
    images = [
        placed(str(i), lon + x / 100, lat + y / 100, w / 100, h / 100)
        for i, (x, y, w, h) in enumerate(boxes)
    ]
    for image, found in pair_up(images, images):
        names = {other.name for other in found}
        assert image.name in names
        for other in images:
            smaller = min(image.outline.area, other.outline.area)
            share = image.outline.intersection(other.outline).area / smaller
            if share > 2 * LEAST_OVERLAP:
                assert other.name in names
            if share < LEAST_OVERLAP / 2:
                assert other.name not in names


def test_what_a_date_chose_is_not_doubted():
    post = placed("post", 0, 0)
    dated = [placed("old", 0, 0, day=1), placed("new", 0, 0, day=2)]
    assert list(shown_twice([(post, dated)])) == []
    undated = [placed("one", 0, 0), placed("two", 0, 0), placed("three", 0, 0)]
    assert len(list(shown_twice([(post, undated)]))) == 2
    assert list(shown_twice([(post, [placed("w", 0, 0, 0.6), placed("e", 0.4, 0, 0.6)])])) == []
