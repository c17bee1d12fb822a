import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import ResourceError
from geodamage.event.places import (
    IOU_DECIMALS,
    LEAST_IOU,
    MOST_PAIRS,
    UNKNOWN,
    Seen,
    Sightings,
    find_places,
    fit,
)

GROUND = shapely.box(0, 0, 100, 100)


def array(*values):
    filled = np.empty(len(values), object)
    filled[:] = values
    return filled


def sightings(*rows, outlines=()):
    """Return looks of (scene, shape, identity, given, place)."""
    scene, shape, identity, given, place = zip(*rows, strict=True)
    outlines = outlines or [None] * (max(scene) + 1)
    return Sightings(
        shapes=array(*shape),
        scene=np.array(scene),
        identity=array(*identity),
        given=np.array(given),
        unseen=np.zeros(len(rows), bool),
        area=np.array([0.0 if each is None else each.area for each in shape]),
        place=np.array(place),
        cut=np.zeros(len(rows), bool),
        outlines=array(*outlines),
    )


def model(scene, box, place=UNKNOWN):
    return scene, shapely.box(*box), f"{scene} {box}", False, place


def seen(shape, ground=None, cut=False):
    return Seen(array(shape), array(ground), np.array([cut]))


sides = st.integers(0, 20)
boxes = st.tuples(sides, sides, sides, sides).map(
    lambda b: shapely.box(b[0], b[1], b[0] + b[2] + 1, b[1] + b[3] + 1)
)


@pytest.mark.slow
@given(boxes, boxes)
def test_the_fit_of_whole_polygons_is_their_iou(one, two):
    found = fit(seen(one), seen(two, GROUND))[0]
    common = one.intersection(two).area
    assert found == pytest.approx(common / (one.area + two.area - common))
    assert found == fit(seen(two, GROUND), seen(one))[0]


@pytest.mark.slow
@given(boxes, st.integers(1, 20))
def test_a_part_that_a_scene_shows_fits_its_whole(whole, edge):
    ground = shapely.box(0, 0, edge, 100)
    part = whole.intersection(ground)
    if part.area > 0:
        assert fit(seen(part, ground), seen(whole, GROUND))[0] == pytest.approx(1)


def test_a_part_that_missing_pixels_leave_fits_as_far_as_it_lies_in_a_whole():
    whole, part = shapely.box(0, 0, 10, 10), shapely.box(8, -2, 12, 2)
    assert fit(seen(part, cut=True), seen(whole))[0] == pytest.approx(4 / 16)
    assert fit(seen(whole), seen(shapely.box(0, 0, 2, 10), cut=True))[0] == 1
    parts = seen(shapely.box(0, 0, 2, 10), cut=True), seen(whole, cut=True)
    assert fit(*parts)[0] == pytest.approx(0.2)


def test_iou_of_a_half_is_enough_and_less_is_not():
    first = model(0, (0, 0, 10, 10))
    assert find_places(sightings(first, model(1, (0, 0, 5, 10)))).tolist() == [0, 0]
    assert find_places(sightings(first, model(1, (0, 0, 4.9, 10)))).tolist() == [0, 1]


def test_a_building_takes_one_look_of_a_scene():
    rows = [model(0, (0, 0, 10, 10)), model(1, (0, 0, 10, 9)), model(1, (0, 0, 10, 9.5))]
    assert find_places(sightings(*rows)).tolist() == [0, 1, 0]


def test_known_places_stay_and_new_ones_count_on():
    rows = [
        model(0, (0, 0, 10, 10), place=4),
        model(1, (50, 0, 60, 10)),
        model(2, (0, 0, 10, 9)),
        model(2, (50, 0, 60, 9)),
    ]
    assert find_places(sightings(*rows)).tolist() == [4, 5, 4, 5]


def test_any_earlier_look_may_be_the_one_that_fits():
    """A building that grows: each look is like the last, and not like the first."""
    rows = [model(scene, (0, 0, 10 * 1.5**scene, 10)) for scene in range(4)]
    assert find_places(sightings(*rows)).tolist() == [0, 0, 0, 0]


def test_identity_joins_what_touches_and_what_has_no_shape():
    near = [(s, shapely.box(s * 9, 0, s * 9 + 10, 10), "7", True, UNKNOWN) for s in (0, 1)]
    far = [(s, shapely.box(s * 90, 0, s * 90 + 10, 10), "8", True, UNKNOWN) for s in (0, 1)]
    blank = [(s, None, "9", True, UNKNOWN) for s in (0, 1)]
    rows = [near[0], far[0], blank[0], near[1], far[1], blank[1]]
    assert find_places(sightings(*rows)).tolist() == [0, 1, 2, 0, 3, 2]


def test_of_what_a_model_found_only_the_fit_says_that_it_is_one_building():
    shed, hall = shapely.box(0, 0, 5, 5), shapely.box(0, 0, 50, 50)
    rows = [(s, shape, "7", False, UNKNOWN) for s, shape in enumerate((shed, hall))]
    assert find_places(sightings(*rows)).tolist() == [0, 1]


def test_footprints_of_one_outline_are_told_apart_by_name_and_none_is_left_over():
    """Flats of one house: a name that is new takes a place that no other claims."""
    names = ["a", "b", "c"], ["c", "x", "a"]
    rows = [
        (scene, shapely.box(0, 0, 9, 9), name, True, UNKNOWN)
        for scene, given_names in enumerate(names)
        for name in given_names
    ]
    assert find_places(sightings(*rows)).tolist() == [0, 1, 2, 2, 1, 0]


@pytest.mark.slow
def test_outlines_on_top_of_each_other_take_no_pair_each():
    """A few thousand: their pairs would be 36 million, and the limit is lower."""
    count = 6_000
    rows = [
        (scene, shapely.box(0, 0, 9 - scene, 9), f"{scene} {n:04}", True, UNKNOWN)
        for scene in (0, 1)
        for n in range(count)
    ]
    assert count**2 > MOST_PAIRS
    place = find_places(sightings(*rows))
    assert place.tolist() == [*range(count), *range(count)]


def test_too_many_pairs_of_different_outlines_are_refused(monkeypatch):
    monkeypatch.setattr("geodamage.event.places.MOST_PAIRS", 50)
    rows = [
        (scene, shapely.box(0, 0, 9 + 0.001 * n, 9 + scene), f"{scene} {n}", True, UNKNOWN)
        for scene in (0, 1)
        for n in range(20)
    ]
    with pytest.raises(ResourceError, match="over 50 pairs of outlines"):
        find_places(sightings(*rows))


few = st.lists(
    st.tuples(st.integers(0, 2), boxes, st.sampled_from("abcdef"), st.booleans(), st.just(UNKNOWN)),
    max_size=14,
    unique_by=lambda row: (row[0], row[2]),
)


@pytest.mark.slow
@given(few)
def test_places_are_those_of_all_pairs_in_order(rows):
    """The rule of `find_places` itself, pair by pair."""
    rows = sorted(rows, key=lambda row: row[0])
    if not rows:
        return
    place = [UNKNOWN] * len(rows)
    for scene in range(3):
        offers = []
        for new, (s, shape, name, is_given, _) in enumerate(rows):
            if s != scene:
                continue
            for old, (other_scene, other, other_name, other_given, _) in enumerate(rows):
                if other_scene >= scene:
                    continue
                same = (name, is_given) == (other_name, other_given)
                iou = fit(seen(shape), seen(other))[0]
                by_name = same and (shape.intersects(other) if is_given else shape == other)
                weight = 2.0 if by_name else round(float(iou), IOU_DECIMALS)
                if by_name or iou >= LEAST_IOU:
                    offers.append((-weight, -shape.area, name, place[old], new))
        taken = set()
        for *_, number, new in sorted(offers):
            if place[new] == UNKNOWN and number not in taken:
                place[new] = number
                taken.add(number)
        for new, row in enumerate(rows):
            if row[0] == scene and place[new] == UNKNOWN:
                place[new] = max(place) + 1
    assert find_places(sightings(*rows, outlines=[None] * 3)).tolist() == place


def test_nothing_has_no_place():
    empty = np.zeros(0)
    looks = Sightings(
        shapes=array(), scene=empty.astype(int), identity=array(), given=empty.astype(bool),
        unseen=empty.astype(bool), area=empty, place=empty.astype(int), cut=empty.astype(bool),
        outlines=array(),
    )  # fmt: skip
    assert find_places(looks).tolist() == []
