"""Conditions change pairs as they say, and what was moved is known on the grid of the scene."""

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod

from benchmarks.conditions import CONDITIONS, Shot, centre_of, laid, moved, on_grid


@pytest.fixture
def shot():
    """An image of half a metre in the middle of UTM zone 17."""
    profile = {"transform": Affine(5.5e-6, 0, -81, 0, -4.5e-6, 35), "dtype": "uint8"}
    pixels = np.random.default_rng(0).integers(1, 255, (3, 64, 64), dtype=np.uint8)
    return Shot(pixels, profile)


def test_grid_north_is_not_true_north(shot):
    lon, lat = centre_of(shot)
    there = Geod(ellps="WGS84").fwd(lon, lat, 0, 40)
    right, up = on_grid(shot, (there[0] - lon, there[1] - lat), "EPSG:32617")
    assert np.hypot(right, up) == pytest.approx(40, rel=1e-3)
    # In the middle of a zone there is no convergence; six degrees east of one it is 6 sin(35).
    assert np.degrees(np.arctan2(right, up)) == pytest.approx(0, abs=0.1)
    right, up = on_grid(shot, (there[0] - lon, there[1] - lat), "EPSG:32616")
    assert np.degrees(np.arctan2(right, up)) == pytest.approx(-3.44, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_post_is_moved_by_as_many_metres(shot, seed):
    case = moved(20, metres=True)(shot, shot, np.random.default_rng(seed))
    assert np.hypot(*on_grid(shot, case.moved, "EPSG:32617")) == pytest.approx(20, rel=0.01)
    was, now = shot.profile["transform"], case.post.profile["transform"]
    assert (now.c - was.c, now.f - was.f) == pytest.approx(case.moved)
    assert case.pre is shot


def test_footprints_are_laid_elsewhere(shot):
    case = laid(10, "apply")(shot, shot, np.random.default_rng(3))
    assert np.hypot(*on_grid(shot, case.laid, "EPSG:32617")) == pytest.approx(10, rel=0.01)
    assert case.options.registration == "apply"
    assert case.moved is None


@pytest.mark.parametrize("name", ["white stripes", "cloud, 60 %", "16 bits, dark", "blue first"])
def test_a_condition_changes_post_and_is_drawn_alike_again(shot, name):
    cases = [CONDITIONS[name](shot, shot, np.random.default_rng(5)) for _ in range(2)]
    assert (cases[0].post.pixels == cases[1].post.pixels).all()
    assert (cases[0].post.pixels.astype(float) != shot.pixels).any()
    if cases[0].covered is not None:
        assert cases[0].covered.max() <= 1
        same = cases[0].covered == 0
        assert (cases[0].post.pixels[:, same] == shot.pixels[:, same]).all()
