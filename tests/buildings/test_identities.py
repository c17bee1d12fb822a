"""The identity of a building: unique, the same however it is found, and lasting."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from scipy import ndimage

from geodamage.buildings.identities import COARSEST, Former, Identities
from geodamage.buildings.outlines import polygonise
from tests.fakes import SMALL, TRANSFORM, UTM

EAST, NORTH = TRANSFORM.c, TRANSFORM.f


def to_lonlat(crs=UTM):
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def name(*polygons, former=None, crs=UTM):
    """Name buildings whose coordinates are metres from the corner of the grid."""
    shapes = np.array([shapely.affinity.translate(p, EAST, NORTH) for p in polygons], object)
    return Identities(to_lonlat(crs), former).name(shapes)


def earlier(**shapes):
    moved = [shapely.affinity.translate(shape, EAST, NORTH) for shape in shapes.values()]
    return Former(list(shapes), np.array(moved, object))


def house(left, bottom, width=12.0, height=10.0):
    return shapely.box(left, bottom, left + width, bottom + height)


@pytest.mark.slow
@SMALL
@given(st.integers(0, 10**6), st.floats(0.1, 0.9), st.floats(0, 2))
def test_identities_are_unique_and_each_comes_of_its_own_building(seed, share, smooth):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((40, 50)), smooth)
    labels, _ = ndimage.label(noise < np.quantile(noise, share))
    _, polygons = polygonise(labels.astype(np.int32), TRANSFORM)
    names = Identities(to_lonlat()).name(polygons)
    assert len(set(names)) == len(names)
    assert [Identities(to_lonlat()).name(polygons[[n]])[0] for n in range(len(names))] == names
    assert set(map(len, names)) <= {19}


def test_most_identities_outlast_a_pixel_at_the_rim():
    places = np.random.default_rng(0).uniform(0, 1000, (300, 2))
    whole = [house(*place) for place in places]
    bitten = [shapely.difference(house(*place), house(*place, 0.5, 0.5)) for place in places]
    kept = sum(a == b for a, b in zip(name(*whole), name(*bitten), strict=True))
    assert kept >= 0.98 * len(places)


def test_a_large_building_is_known_though_a_wing_was_not_seen():
    hall = house(3, 3, 60, 40)
    seen = shapely.difference(hall, house(3, 3, 1, 40))
    middle = shapely.centroid(hall)
    assert abs(middle.x - shapely.centroid(seen).x) < COARSEST / 8
    assert len({*name(hall), *name(seen)}) == 1


def test_the_grid_does_not_matter():
    shape = shapely.affinity.translate(house(101, 57), EAST, NORTH)
    names = set()
    for crs in ("EPSG:32616", "EPSG:32615", "EPSG:3857"):
        turn = Transformer.from_crs(UTM, crs, always_xy=True)
        there = shapely.transform(shape, lambda xy, t=turn: np.column_stack(t.transform(*xy.T)))
        names |= set(Identities(to_lonlat(crs)).name(np.array([there], object)))
    assert len(names) == 1


def test_a_house_in_a_courtyard_has_another_identity():
    yard = shapely.difference(house(0, 0, 40, 40), house(10, 10, 20, 20))
    inner = house(16, 16, 8, 8)
    assert len(set(name(yard, inner))) == 2
    assert name(yard) == name(yard, inner)[:1]


def test_walls_a_pixel_wide_side_by_side_have_different_identities():
    walls = [house(n, 0, 0.5, 30) for n in range(12)]
    assert len(set(name(*walls))) == 12


@pytest.mark.parametrize(("lon", "lat"), [(180, 10), (-180, -60), (0, 0), (25, 83.9), (-70, -79)])
def test_every_place_has_a_lattice(lon, lat):
    zone = f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84"
    shapes = [house(x, y, 6, 6) for x in range(-42, 42, 12) for y in range(-42, 42, 12)]
    names = Identities(to_lonlat(zone)).name(np.array(shapes, object))
    assert len(set(names)) == len(shapes)


def test_nothing_has_no_identity():
    assert name() == []
    assert name(former=earlier(a=house(0, 0))) == []


def test_an_earlier_building_that_is_overlapped_by_more_than_half_gives_its_identity():
    before = earlier(shop=house(0, 0), school=house(40, 0), far=house(900, 900))
    names = name(house(43, 1), house(2, 0), house(0, 40), former=before)
    assert names[:2] == ["school", "shop"]
    assert names[2] == name(house(0, 40))[0]


def test_the_best_of_overlapping_earlier_buildings_is_taken_over():
    before = earlier(b=house(1, 0), a=house(0.5, 0), c=house(1, 0))
    assert name(house(0, 0), former=before) == ["a"]
    assert name(house(1.1, 0), former=before) == ["b"]  # as good as c


def test_of_a_building_that_comes_in_two_the_larger_part_keeps_the_identity():
    hall = house(0, 0, 40, 10)
    (plain,) = name(hall)
    before = earlier(**{plain: hall})
    large, small = house(0, 0, 25, 10), house(26, 0, 14, 10)
    assert name(large, small, former=before)[0] == plain
    # The part on which the old point lies keeps it no more than any other where none is larger.
    halves = name(house(0, 0, 19, 10), house(21, 0, 19, 10), former=before)
    assert plain not in halves
    assert len(set(halves)) == 2


@pytest.mark.slow
@SMALL
@given(st.integers(0, 10**6), st.randoms())
def test_identities_are_taken_over_in_any_order_and_never_twice(seed, random):
    generator = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(generator.random((40, 50)), 1.5)
    other = noise + 0.02 * ndimage.gaussian_filter(generator.random((40, 50)), 1)
    before, now = (
        polygonise(ndimage.label(n > np.quantile(n, 0.6))[0].astype(np.int32), TRANSFORM)[1]
        for n in (noise, other)
    )
    former = Former(Identities(to_lonlat()).name(before), before)
    whole = Identities(to_lonlat(), former)
    names = whole.name(now)
    assert len(set(names)) == len(names)
    assert whole.taken_over == len(set(names) & set(former.names))
    order = list(range(len(now)))
    random.shuffle(order)
    pieces = Identities(to_lonlat(), former)
    assert [pieces.name(now[[n]])[0] for n in order] == [names[n] for n in order]
