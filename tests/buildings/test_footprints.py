import json
import os

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import MultiPolygon, Point, Polygon

from geodamage.buildings import footprints
from geodamage.buildings.footprint_files import _identities, read_footprints
from geodamage.buildings.footprints import grade_footprints
from geodamage.errors import FootprintError, GeodamageError
from geodamage.fields import GIVEN_FIELDS, conform
from geodamage.grid import WGS84, Grid, geodesic_areas, transformer
from geodamage.model.heads import Heads, probabilities
from geodamage.prediction import Strip
from geodamage.scene.pixels import (
    MISSING_POST,
    MISSING_PRE,
    OBSCURED_POST,
    OBSCURED_PRE,
    OUTSIDE_AOI,
)
from geodamage.vector.layer import VectorLayer
from geodamage.windows import Window
from tests.fakes import (
    SMALL,
    TRANSFORM,
    UTM,
    cut_strips,
    given_footprints,
    make_card,
    pixel_box,
    scene_of,
    strip_of,
)

SHAPE = (40, 60)
GRID = Grid(UTM, TRANSFORM, SHAPE)


def grade(footprints, whole, rows=(), columns=(), scene=None, **card):
    """Grade footprints on a strip that is cut; return them by name."""
    scene = scene or scene_of(whole)
    strips = cut_strips(whole, rows, columns)
    frames = list(grade_footprints(strips, scene, footprints, make_card(**card)))
    for frame in frames:
        assert list(frame.columns) == [*(field.name for field in GIVEN_FIELDS), "geometry"]
    found = pd.concat([conform(frame, UTM) for frame in frames], ignore_index=True)
    assert sorted(found.building_id) == sorted(footprints.frame.building_id)
    frame = gpd.GeoDataFrame(found, geometry="geometry", crs=UTM).set_index("building_id")
    return frame.loc[footprints.frame.building_id]


def town(value=0.9, grades=None, missing=None):
    return strip_of(np.full(SHAPE, value, np.float32), grades, missing)


# votes


def test_the_vote_is_weighted_by_cover():
    grades = np.full(SHAPE, 1)
    grades[:, 20:] = 4
    # Two whole columns of no damage, two fifths of a column destroyed.
    found = grade(given_footprints(pixel_box(10, 18, 10, 2.4)), town(grades=grades)).iloc[0]
    assert found.p_none == pytest.approx((2 * 0.7 + 0.4 * 0.1) / 2.4, abs=1e-4)
    assert found.p_destroyed == pytest.approx((2 * 0.1 + 0.4 * 0.7) / 2.4, abs=1e-4)
    assert (found.damage, found.status, found.valid_fraction) == ("no-damage", "assessed", 1)


@pytest.mark.parametrize("localisation", [1.0, 0.5, 1e-7, 0.0])
def test_the_vote_is_that_of_the_damage_head_alone(localisation):
    located = np.full((1, 1, *SHAPE), localisation, np.float32)
    located[..., 25:] = 1  # where the model sees the house more clearly it has no more votes
    damage = np.zeros((1, 4, *SHAPE), np.float32)
    damage[:, 3, :, :25] = 8
    damage[:, 1, :, :25] = 2
    damage[:, 0, :, 25:] = 0.5
    whole = Strip(
        Window(0, 0, *SHAPE), probabilities(Heads(located, damage))[0], np.zeros(SHAPE, np.uint8)
    )
    found = grade(given_footprints(pixel_box(10, 20, 10, 8)), whole).iloc[0]
    assert found.p_destroyed == pytest.approx(0.8 * 5 / 8, abs=1e-4)
    assert found.p_minor == pytest.approx(0.2 * 5 / 8, abs=1e-4)
    assert found.p_none == pytest.approx(3 / 8, abs=1e-4)


def test_a_small_footprint_is_graded_with_a_ring_and_is_partial():
    grades = np.full(SHAPE, 4)
    grades[20, 20] = 1
    found = grade(
        given_footprints(pixel_box(20, 20, 1, 1), pixel_box(10, 10, 2, 2)), town(grades=grades)
    )
    assert found.damage.tolist() == ["destroyed", "destroyed"]
    assert found.status.tolist() == ["partial", "assessed"]
    assert found.status_reason.tolist()[0] == "too_small"
    assert found.status_reason.isna().tolist() == [False, True]
    assert found.area_m2.iloc[0] == pytest.approx(0.25, abs=0.01)


def test_a_sliver_between_the_centres_of_sub_pixels_is_graded_with_a_ring():
    found = grade(given_footprints(pixel_box(10.22, 5, 0.06, 50)), town(), [10], [9]).iloc[0]
    assert (found.status, found.status_reason) == ("partial", "too_small")
    assert found.damage == "no-damage"


def test_only_small_footprints_are_copied():
    shapes = np.array([pixel_box(2, 2, 8, 8), pixel_box(20, 20, 1, 1)], object)
    voted, small = footprints._voted(shapes, 0.5)
    assert small.tolist() == [False, True]
    assert voted[0] is shapes[0]  # a ring around each of 300,000 took 300 MB
    assert voted[1].area > shapes[1].area


def test_footprints_beyond_the_region_come_some_at_a_time(monkeypatch):
    monkeypatch.setattr(footprints, "ROWS_AT_ONCE", 4)
    beyond = given_footprints(*(pixel_box(1000 + 3 * n, 3, 2, 2) for n in range(10)))
    frames = list(grade_footprints([town()], scene_of(town()), beyond, make_card()))
    assert [len(frame) for frame in frames] == [4, 4, 2, 0]


def test_overlapping_footprints_are_each_graded():
    box = pixel_box(10, 10, 8, 8)
    found = grade(given_footprints(box, box, pixel_box(12, 12, 8, 8)), town(), [13], [15])
    assert found.status.tolist() == ["assessed"] * 3


# every one comes out


KINDS = (
    *("null", "empty", "point", "line", "box", "far"),
    *("multi", "hole", "deep", "many", "mixed"),
)


@st.composite
def shapes(draw):
    """Return a footprint of any kind, in or near the scene."""
    kind = draw(st.sampled_from(KINDS))
    row, column = draw(st.floats(-15, 50)), draw(st.floats(-15, 70))
    height, width = draw(st.floats(0.1, 25)), draw(st.floats(0.1, 25))
    box = pixel_box(row, column, height, width)
    return {
        "null": None,
        "empty": Polygon(),
        "point": box.centroid,
        "line": box.exterior,
        "box": box,
        "far": pixel_box(row + 1e6, column, height, width),
        "multi": MultiPolygon([box, pixel_box(row, column + width + 3, height, width)]),
        "hole": box.difference(box.buffer(-0.2 * min(height, width))),
        "deep": shapely.force_3d(box, 7.0),
        "many": shapely.MultiPoint(list(box.exterior.coords)),
        "mixed": shapely.GeometryCollection([box, Point(box.bounds[0] - 1, box.bounds[1])]),
    }[kind]


CUTS = st.lists(st.integers(1, 59), max_size=5)


@pytest.mark.slow
@SMALL
@given(st.lists(shapes(), min_size=1, max_size=6), CUTS, CUTS, st.integers(0, 99))
def test_every_footprint_comes_out_once_and_the_same_however_it_is_cut(some, rows, columns, seed):
    rng = np.random.default_rng(seed)
    missing = np.zeros(SHAPE, np.uint8)
    missing[: seed % 20] = MISSING_PRE
    whole = strip_of(rng.random(SHAPE).astype(np.float32), rng.integers(1, 5, SHAPE), missing)
    footprints = given_footprints(*some)
    plain, cut = grade(footprints, whole), grade(footprints, whole, rows, columns)
    texts = ["damage", "damage_class", "damaged", "status", "status_reason"]
    assert plain[texts].equals(cut[texts])
    numbers = ["p_none", "p_minor", "p_major", "p_destroyed", "valid_fraction", "area_m2"]
    np.testing.assert_allclose(
        plain[numbers].to_numpy(float), cut[numbers].to_numpy(float), atol=2e-4
    )
    none = plain.status == "not_assessed"
    graded = [*texts[:3], *numbers[:4], "confidence", "damage_score"]
    assert plain.loc[none, graded].isna().all().all()
    assert plain.loc[~none, graded].notna().all().all()
    assert plain.loc[plain.status != "assessed", "status_reason"].notna().all()
    assert plain.loc[~none, numbers[:4]].sum(axis=1).to_numpy() == pytest.approx(1, abs=3e-4)


def read(tmp_path, *shapes, crs=UTM, **columns):
    path = tmp_path / "own.gpkg"
    gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs).to_file(path, engine="pyogrio")
    return path


BOX = pixel_box(10, 10, 10, 10)
LEFT, BOTTOM, RIGHT, TOP = BOX.bounds
BOW = Polygon([(LEFT, TOP), (RIGHT, BOTTOM), (RIGHT, TOP), (LEFT, BOTTOM)])
FLAT = Polygon([(LEFT, TOP), (RIGHT, TOP), (LEFT + 1, TOP)])


@pytest.mark.slow
def test_odd_geometries_are_read_and_come_out(tmp_path):
    odd = [
        BOX,
        None,
        Polygon(),
        BOX.centroid,
        BOX.exterior,
        BOW,
        FLAT,
        MultiPolygon([BOX, pixel_box(10, 30, 5, 5)]),
        shapely.force_3d(BOX, 3.0),
        pixel_box(1000, 1000, 5, 5),
    ]
    footprints = read_footprints(read(tmp_path, *odd), GRID)
    assert len(footprints.frame) == len(odd)
    assert footprints.repaired == 2
    found = grade(footprints, town(), [15], [15])
    assert len(found) == len(odd)
    assert found.status.tolist() == [
        "assessed",
        "not_assessed",
        "not_assessed",
        "partial",
        "partial",
        "assessed",
        "not_assessed",
        "assessed",
        "assessed",
        "not_assessed",
    ]
    assert found.status_reason.iloc[[1, 2, 6]].tolist() == ["no_geometry"] * 3
    assert not found.geometry.has_z.any()
    assert found.geometry.iloc[5].area == BOX.area / 2
    areas = found.area_m2.tolist()
    assert areas[7] == pytest.approx(125 / 4, rel=2e-3)
    assert areas[3] == areas[4] == 0


def test_footprints_are_brought_to_the_grid(tmp_path):
    degrees = gpd.GeoSeries([BOX], crs=UTM).to_crs(4326)[0]
    footprints = read_footprints(read(tmp_path, degrees, crs=4326), GRID)
    assert footprints.source == "own.gpkg"
    assert footprints.frame.geometry[0].equals_exact(BOX, 1e-4)
    found = grade(footprints, town()).iloc[0]
    assert found.source == "own.gpkg"
    assert Point(found.lon, found.lat).within(degrees)


def test_the_area_of_a_large_footprint_is_geodesic():
    places = [np.array([[0, 0], [s, 0.3 * s], [0.1 * s, s]]) for s in (5, 60, 140, 900, 30_000)]
    shapes = shapely.polygons([500_000 + place for place in places])
    found = footprints._place(shapes, GRID)["area_m2"]
    to_lonlat = transformer(UTM, "EPSG:4326")
    turned = shapely.transform(shapes, to_lonlat.transform, interleaved=False)
    np.testing.assert_allclose(found, geodesic_areas(turned), atol=1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_an_area_does_not_depend_on_the_direction_of_rings(turned):
    ring = list(pixel_box(14, 14, 4, 4).exterior.coords)
    holed = Polygon(BOX.exterior.coords, [ring[::-1] if turned else ring])
    parts = MultiPolygon([BOX, Polygon(list(pixel_box(10, 30, 10, 10).exterior.coords)[::-1])])
    found = grade(given_footprints(holed, parts, BOX.reverse()), town())
    assert found.area_m2.to_numpy() == pytest.approx([21, 50, 25], rel=2e-3)


# identities


def identities(tmp_path, values, name="name", **options):
    shapes = [pixel_box(5, 5 + 3 * n, 2, 2) for n in range(len(values))]
    footprints = read_footprints(read(tmp_path, *shapes, **{name: values}), GRID, **options)
    return footprints.frame.building_id.tolist(), footprints.duplicates


def test_the_field_asked_for_is_taken(tmp_path):
    assert identities(tmp_path, ["a", "b"], id_field="name") == (["a", "b"], 0)


@pytest.mark.parametrize("name", ["building_id", "id", "uid", "osm_id"])
def test_a_usual_field_is_found(tmp_path, name):
    assert identities(tmp_path, [7, 8], name) == (["7", "8"], 0)


def test_without_a_field_the_number_of_the_feature_is_taken(tmp_path):
    assert identities(tmp_path, [30, 40]) == (["1", "2"], 0)


def test_numbers_with_gaps_stay_whole(tmp_path):
    assert identities(tmp_path, [7.0, None, 9.5], id_field="name") == (["7", "2", "9.5"], 0)


def test_duplicates_are_suffixed_and_counted(tmp_path):
    found, duplicates = identities(tmp_path, ["a", "a", "a-2", "a", "b", "a-2"], id_field="name")
    assert len(set(found)) == 6
    assert found[0] == "a"
    assert found[2] == "a-2"
    assert found[4] == "b"
    assert all(name.startswith("a-") for name in (found[1], found[3], found[5]))
    assert duplicates == 3


@pytest.mark.slow
@SMALL
@given(st.lists(st.sampled_from(["a", "b", "a-2", "a-3", "a-2-2", "1", "2", None]), max_size=9))
def test_identities_are_unique_and_the_first_keeps_its_own(values):
    frame = gpd.GeoDataFrame({"id": pd.Series(values, dtype=object)}, geometry=[None] * len(values))
    found, duplicates = _identities(VectorLayer(frame, "f.gpkg"), "f.gpkg", None)
    assert len(set(found)) == len(values)
    own = [str(n) if value is None else value for n, value in enumerate(values)]
    assert duplicates == sum(a != b for a, b in zip(found, own, strict=True))
    for value in set(own):
        assert found[own.index(value)] == value


def test_an_unknown_field_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(FootprintError, match="no field 'nam'; it has name"):
        identities(tmp_path, ["a"], id_field="nam")


# reasons

CAUSES = [
    (MISSING_PRE, "nodata_pre"),
    (MISSING_POST, "nodata_post"),
    (OUTSIDE_AOI, "outside_aoi"),
    (OBSCURED_PRE, "obscured_pre"),
    (OBSCURED_POST, "obscured_post"),
]
#: Hidden columns of twenty; 0.9 is well seen, under a half is not assessed.
HIDDEN = [
    (1, "assessed"),
    (2, "assessed"),
    (3, "partial"),
    (10, "partial"),
    (11, "not_assessed"),
    (19, "not_assessed"),
    (20, "not_assessed"),
]
BEYOND = [(50, "partial"), (58.5, "not_assessed"), (80, "not_assessed")]
UNREADABLE = ("none", "folder", "fifo", "text", "table", "empty", "points", "infinite")


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "reason"), CAUSES)
@pytest.mark.parametrize(("hidden", "status"), HIDDEN)
def test_what_is_hidden_has_a_reason(flag, reason, hidden, status):
    missing = np.zeros(SHAPE, np.uint8)
    missing[:, 10 : 10 + hidden] = flag
    found = grade(
        given_footprints(pixel_box(5, 10, 10, 20)), town(missing=missing), [9], [12]
    ).iloc[0]
    assert found.valid_fraction == pytest.approx(1 - hidden / 20)
    assert found.status == status
    assert (found.status_reason == reason) if status != "assessed" else pd.isna(found.status_reason)
    if status == "not_assessed":
        assert pd.isna(found.damage)
        assert pd.isna(found.p_none)


@pytest.mark.parametrize("date", ["pre", "post"])
@pytest.mark.parametrize(("column", "status"), BEYOND)
def test_what_lies_beyond_an_image_is_told(date, column, status):
    whole = town()
    scene = scene_of(whole)
    other = "post" if date == "pre" else "pre"
    wide = shapely.box(*GRID.window_bounds(Window(-500, -500, 2000, 2000)))
    setattr(scene, f"{other}_outline", wide)
    found = grade(given_footprints(pixel_box(5, column, 10, 20)), whole, scene=scene).iloc[0]
    assert (found.status, found.status_reason) == (status, f"outside_{date}")
    assert found.valid_fraction == pytest.approx(max(60 - column, 0) / 20, abs=0.02)


def test_what_lies_beyond_the_area_of_interest_is_told():
    whole = town()
    scene = scene_of(whole)
    scene.region = Window(0, 0, 40, 20)
    scene.aoi = shapely.box(*GRID.window_bounds(scene.region))
    part = Strip(scene.region, whole.probabilities[:, :, :20], whole.missing[:, :20])
    boxes = pixel_box(5, 15, 10, 10), pixel_box(5, 40, 10, 10), pixel_box(5, 5, 10, 10)
    found = grade(given_footprints(*boxes), part, scene=scene)
    assert found.status.tolist() == ["partial", "not_assessed", "assessed"]
    assert found.status_reason.tolist()[:2] == ["outside_aoi", "outside_aoi"]


def test_a_collection_beyond_the_edge_has_a_reason():
    box = pixel_box(5, 47, 10, 20)
    mixed = shapely.GeometryCollection([box, Point(box.bounds[0] - 1, box.bounds[1])])
    found = grade(given_footprints(mixed), town()).iloc[0]
    assert found.status == "partial"
    assert found.status_reason.startswith("outside_")


def test_a_footprint_larger_than_the_scene():
    found = grade(given_footprints(pixel_box(-600, -600, 2000, 2000)), town(), [7], [9]).iloc[0]
    assert (found.status, found.status_reason) == ("not_assessed", "outside_pre")
    assert found.valid_fraction == pytest.approx(2400 / 4e6, abs=1e-4)


# refusals


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_file_of_footprints_is_refused(tmp_path, kind):
    path = tmp_path / "own.geojson"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "text":
        path.write_text("hello")
    elif kind == "table":
        path = path.with_suffix(".csv")
        path.write_text("a,b\n1,2\n")
    elif kind == "empty":
        path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    elif kind == "points":
        path = read(tmp_path, Point(500_000, 3_330_000))
    elif kind == "infinite":
        path.write_text(
            '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":'
            '{"type":"Polygon","coordinates":[[[0,0],[1,1e999],[1,0],[0,0]]]}}]}'
        )
    # One of ours, one line: the kinds of input errors differ by who finds them.
    with pytest.raises(GeodamageError, match="own") as caught:
        read_footprints(path, GRID)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_file_without_a_crs_is_refused(tmp_path):
    path = tmp_path / "own.shp"
    gpd.GeoDataFrame(geometry=[BOX]).to_file(path)
    with pytest.raises(FootprintError, match="no CRS"):
        read_footprints(path, GRID)


def test_a_wrong_crs_is_named(tmp_path):
    path = tmp_path / "own.geojson"
    gpd.GeoDataFrame(geometry=[shapely.box(5e5, 3e6, 6e5, 4e6)], crs=4326).to_file(path)
    with pytest.raises(FootprintError, match="probably wrong"):
        read_footprints(path, GRID)


def test_footprints_of_another_place_are_refused():
    scene = scene_of(town())
    given_footprints(None, BOX).require_overlap(scene)
    with pytest.raises(FootprintError, match=r"own\.gpkg: no footprint lies in the scene"):
        given_footprints(None, pixel_box(5000, 5000, 10, 10)).require_overlap(scene)


def test_areas_are_geodesic():
    found = grade(given_footprints(BOX), town()).iloc[0]
    degrees = gpd.GeoSeries([BOX], crs=UTM).to_crs(4326)[0]
    area, _ = WGS84.geometry_area_perimeter(degrees)
    assert found.area_m2 == pytest.approx(abs(area), abs=0.006)
