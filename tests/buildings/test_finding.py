import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS
from scipy import ndimage

from geodamage.buildings.finding import (
    CUT_SHARE,
    BuildingCounts,
    BuildingOptions,
    Grading,
    count_seen,
    find_buildings,
    pixel_area,
)
from geodamage.errors import OptionError
from geodamage.fields import NAMES, conform
from geodamage.grid import WGS84, Grid
from geodamage.prediction import NEAR_MISSING, Strip
from geodamage.scene.pixels import MISSING_PRE
from geodamage.windows import Window
from tests.fakes import SMALL, TRANSFORM, UTM, cut_strips, make_card, pixel_box, strip_of

ALL = BuildingOptions(min_area=0.0)


def find(whole, rows=(), columns=(), *, options=ALL, counts=None, **card):
    """Find the buildings of a strip that is cut; return one frame in order of place."""
    grid = Grid(UTM, TRANSFORM, whole.window.shape)
    frames = list(
        find_buildings(
            cut_strips(whole, rows, columns),
            grid,
            whole.window,
            make_card(**card),
            options=options,
            counts=counts,
        )
    )
    for frame in frames:
        assert list(frame.columns) == [*NAMES, "geometry"]
        assert frame.crs == UTM
    found = [frame for frame in frames if len(frame)]
    if not found:
        return frames[0]
    frame = gpd.GeoDataFrame(pd.concat(found, ignore_index=True), crs=UTM)
    return frame.sort_values(["lat", "lon"], ascending=[False, True]).reset_index(drop=True)


def houses(*boxes, shape=(40, 60)):
    """Return localisation 0.9 in boxes of (row, column, height, width)."""
    p = np.full(shape, 0.1, np.float32)
    for row, column, height, width in boxes:
        p[row : row + height, column : column + width] = 0.9
    return p


# polygons


def test_a_building_of_10_by_20_pixels_has_the_area_of_200():
    frame = find(strip_of(houses((5, 7, 10, 20))))
    assert len(frame) == 1
    shape = frame.geometry[0]
    assert shape.area == 200 * 0.25
    assert shape.equals(pixel_box(5, 7, 10, 20))
    area, _ = WGS84.geometry_area_perimeter(frame.to_crs(4326).geometry[0])
    assert frame.area_m2[0] == pytest.approx(abs(area), rel=1e-4)


def test_an_area_in_web_mercator_is_that_of_the_ellipsoid():
    crs = CRS.from_epsg(3857)
    grid = Grid(crs, Affine(0.5, 0, 1_000_000, 0, -0.5, 200_000), (40, 60))
    strips = [strip_of(houses((5, 7, 10, 20)))]
    frame, *_ = find_buildings(strips, grid, Window(0, 0, 40, 60), make_card())
    area, _ = WGS84.geometry_area_perimeter(frame.to_crs(4326).geometry[0])
    assert frame.area_m2[0] == pytest.approx(abs(area), rel=1e-4)  # PROJ's own scale: 0.7 % off


def test_holes_are_kept():
    p = houses((5, 5, 20, 20))
    p[10:15, 10:14] = 0.1
    p[20, 20] = 0.1
    shape = find(strip_of(p), [12], [11]).geometry[0]
    assert shape.area == (400 - 20 - 1) * 0.25
    assert len(shape.interiors) == 2


def test_a_house_in_a_courtyard_is_its_own():
    p = houses((5, 5, 20, 20))
    p[8:22, 8:22] = 0.1
    p[12:16, 12:16] = 0.9
    frame = find(strip_of(p), [14], [13])
    assert sorted(frame.geometry.area * 4) == [16, 400 - 196]


def test_pixels_that_meet_at_a_corner_are_two_buildings():
    assert len(find(strip_of(houses((5, 5, 4, 4), (9, 9, 4, 4))), [9])) == 2


@pytest.mark.slow
@SMALL
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 39), max_size=5),
    st.lists(st.integers(1, 49), max_size=5),
)
def test_buildings_are_the_same_however_the_scene_is_cut(seed, rows, columns):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random((40, 50)), 1.5)
    p = ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)
    missing = np.where(rng.random(p.shape) < 0.02, MISSING_PRE, 0).astype(np.uint8)
    missing[ndimage.binary_dilation(missing, np.ones((3, 3)))] |= NEAR_MISSING
    whole = strip_of(p, rng.integers(1, 5, p.shape), missing)
    card = {"threshold": 0.55, "seed_threshold": 0.7}
    counts, cut_counts = BuildingCounts(), BuildingCounts()
    plain = find(whole, options=BuildingOptions(min_area=2), counts=counts, **card)
    cut = find(whole, rows, columns, options=BuildingOptions(min_area=2), counts=cut_counts, **card)
    assert counts == cut_counts
    assert plain.building_id.is_unique
    plain, cut = (conform(f.sort_values("building_id"), UTM) for f in (plain, cut))
    assert [g.wkb for g in plain.geometry] == [g.wkb for g in cut.geometry]
    numbers = ["p_none", "p_minor", "p_major", "p_destroyed", "damage_score", "confidence"]
    np.testing.assert_allclose(
        plain[numbers].to_numpy(float), cut[numbers].to_numpy(float), atol=1e-6
    )
    same = ["building_id", "damage", "damage_class", "damaged", "status", "status_reason"]
    assert plain[same].equals(cut[same])


def test_simplified_polygons_stay_near_and_grades_do_not_change():
    p = np.full((60, 60), 0.1, np.float32)
    rows, columns = np.indices(p.shape)
    p[np.abs(rows - 30) + np.abs(columns - 30) < 20] = 0.9
    plain, simple = (
        find(strip_of(p), options=BuildingOptions(0, simplify)) for simplify in (0.0, 0.5)
    )
    assert len(shapely.get_coordinates(simple.geometry)) < 12
    assert len(shapely.get_coordinates(plain.geometry)) > 70
    assert simple.geometry[0].is_valid
    assert shapely.hausdorff_distance(plain.geometry[0], simple.geometry[0]) <= 0.51
    kept = ["building_id", "area_m2", "p_none"]
    assert plain[kept].equals(simple[kept])


# what is left out


def test_what_is_too_small_is_left_out_and_counted():
    whole = strip_of(houses((2, 2, 4, 4), (10, 10, 6, 8), (20, 20, 7, 7)))
    counts = BuildingCounts()
    frame = find(whole, [12], options=BuildingOptions(min_area=12.1), counts=counts)
    assert sorted(frame.geometry.area * 4) == [49]
    assert counts.too_small == 2
    # 48 pixels of a quarter are 12 m² on the map and a little more on the ground.
    assert len(find(whole, options=BuildingOptions(min_area=12.0))) == 2


def test_touching_buildings_are_split_when_the_card_says_so():
    p = houses((10, 5, 12, 40))
    p[11:21, 6:20] = p[11:21, 30:44] = 0.99
    assert len(find(strip_of(p))) == 1
    frame = find(strip_of(p), [15], [25], seed_threshold=0.95)
    assert len(frame) == 2
    assert frame.geometry.area.sum() == 12 * 40 / 4


@pytest.mark.parametrize("bad", [{"min_area": -1}, {"simplify": -0.1}, {"min_area": float("nan")}])
def test_options_that_make_no_sense_are_refused(bad):
    with pytest.raises(OptionError, match=r"--(min-area|simplify) .*: give a number"):
        BuildingOptions(**bad)


def test_a_scene_without_buildings_has_every_field():
    frame = find(strip_of(houses()))
    assert len(frame) == 0
    assert list(frame.columns) == [*NAMES, "geometry"]


def test_huge_components_are_counted(monkeypatch):
    monkeypatch.setattr("geodamage.buildings.components.LARGEST_COMPONENT", 50)
    monkeypatch.setattr("geodamage.buildings.components.CELL", 7)
    counts = BuildingCounts()
    frame = find(strip_of(houses((5, 5, 20, 20), (30, 50, 3, 3))), [8], counts=counts)
    assert counts.cut_components == 1
    assert frame.geometry.area.sum() * 4 == 400 + 9


# grades


def test_one_building_has_one_grade_across_grades_and_tiles():
    p = houses((5, 5, 10, 20))
    grades = np.full(p.shape, 1)
    grades[:, 12:] = 4
    frame = find(strip_of(p, grades), [9], [13])
    assert len(frame) == 1
    row = frame.iloc[0]
    # 7 of 20 columns say no damage with 0.7 (else 0.1), 13 destroyed.
    assert row.p_none == pytest.approx((7 * 0.7 + 13 * 0.1) / 20)
    assert row.p_destroyed == pytest.approx((13 * 0.7 + 7 * 0.1) / 20)
    assert (row.damage, row.damage_class) == ("destroyed", 4)
    assert row.confidence == pytest.approx(row.p_destroyed)
    assert row.damage_score == pytest.approx((0.1 + 0.2 + 3 * row.p_destroyed) / 3)


VOTES = st.lists(st.lists(st.floats(0, 1e6), min_size=4, max_size=4), min_size=1, max_size=5).map(
    lambda votes: np.array(votes)
)


@pytest.mark.slow
@SMALL
@given(VOTES, st.floats(0.1, 10), st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_probabilities_of_a_building_sum_to_one(votes, temperature, weights):
    columns = Grading(temperature, tuple(weights)).columns(votes)
    p = np.stack([columns[f"p_{name}"] for name in ("none", "minor", "major", "destroyed")], 1)
    assert p.sum(1) == pytest.approx(1)
    assert (p >= 0).all()
    assert (columns["damage_class"] == p.argmax(1) + 1).all()
    assert (columns["confidence"] == p.max(1)).all()
    assert ((columns["damage_score"] >= 0) & (columns["damage_score"] <= 1 + 1e-12)).all()


def test_votes_are_shares_whatever_their_number():
    few, many = (Grading().columns(np.array([[1.0, 2, 3, 4]]) * n) for n in (1, 1000))
    assert few["p_major"] == pytest.approx(many["p_major"])
    assert many["p_major"] == pytest.approx([0.3])


def test_temperature_makes_less_certain_and_keeps_the_order():
    votes = np.array([[6.0, 2, 1, 1]])
    plain, warm, hot = (Grading(t).columns(votes) for t in (1, 2, 1000))
    assert plain["confidence"] == pytest.approx(0.6)
    assert warm["confidence"] == pytest.approx(6**0.5 / (6**0.5 + 2**0.5 + 2))
    assert hot["confidence"] == pytest.approx(0.25, abs=1e-3)
    assert plain["damage_class"] == warm["damage_class"] == hot["damage_class"] == 1


def test_weights_move_the_decision():
    votes = np.array([[4.0, 3, 2, 1]])
    columns = Grading(weights=(1, 2, 1, 1)).columns(votes)
    assert columns["damage"].tolist() == ["minor-damage"]
    assert columns["p_minor"] == pytest.approx(6 / 13)


@pytest.mark.parametrize(("threshold", "damaged"), [(0.29, True), (0.5, False), (0.0, True)])
def test_damaged_is_the_sum_of_three_grades_at_the_threshold(threshold, damaged):
    columns = Grading(damaged_threshold=threshold).columns(np.array([[7.0, 1, 1, 1]]))
    assert columns["damaged"].tolist() == [damaged]


def test_a_tie_goes_to_the_lesser_grade():
    assert Grading().columns(np.array([[1.0, 5, 5, 1]]))["damage_class"].tolist() == [2]
    assert Grading().columns(np.zeros((1, 4)))["damage_class"].tolist() == [1]


def test_the_card_says_how_to_grade():
    card = make_card(temperature=2.0, grade_weights=(1.0, 1.0, 3.0, 1.0), damaged_threshold=0.1)
    assert Grading.of(card) == Grading(2.0, (1.0, 1.0, 3.0, 1.0), 0.1)
    p = houses((5, 5, 10, 20))
    grades = np.full(p.shape, 3)
    plain = find(strip_of(p, grades)).iloc[0]
    warm = find(strip_of(p, grades), temperature=2.0).iloc[0]
    assert warm.p_major < plain.p_major == pytest.approx(0.7)


# status and identity


@pytest.mark.parametrize("near", [0, 3, 4, 5, 40])
def test_a_building_beside_missing_pixels_is_partial(near):
    p = houses((0, 7, 10, 20))
    missing = np.zeros(p.shape, np.uint8)
    missing[0, 7 : 7 + near] = NEAR_MISSING
    frame = find(strip_of(p, missing=missing), [4])
    partial = near / 200 > CUT_SHARE
    assert frame.status.tolist() == ["partial" if partial else "assessed"]
    assert frame.status_reason.tolist() == ["cut_by_edge_or_nodata" if partial else None]


def test_all_fields_are_given():
    frame = conform(find(strip_of(houses((5, 5, 10, 20), (20, 20, 5, 5)))), UTM)
    assert frame.drop(columns="status_reason").notna().all().all()
    assert frame.valid_fraction.tolist() == [1, 1]
    assert set(frame.source) == {"model"}
    for row in frame.to_crs(4326).itertuples():
        assert row.geometry.contains(shapely.Point(row.lon, row.lat))


def test_an_identity_does_not_depend_on_the_region():
    p = houses((15, 25, 10, 20))
    whole = find(strip_of(p)).building_id.tolist()
    grid = Grid(UTM, TRANSFORM, p.shape)
    strip = strip_of(p)
    small = Strip(
        strip.window.__class__(10, 20, 20, 30),
        strip.probabilities[:, 10:30, 20:50],
        strip.missing[10:30, 20:50],
    )
    (frame,) = find_buildings([small], grid, small.window, make_card(), options=ALL)
    assert frame.building_id.tolist() == whole


def test_seen_pixels_are_counted():
    missing = np.zeros((4, 5), np.uint8)
    missing[0] = MISSING_PRE
    missing[1] = NEAR_MISSING
    assert count_seen(strip_of(np.zeros((4, 5), np.float32), missing=missing)) == 15


def test_the_area_of_a_pixel_is_that_on_the_ground():
    assert pixel_area(Grid(UTM, TRANSFORM, (10, 10))) == pytest.approx(0.25 / 0.9996**2, rel=1e-5)
