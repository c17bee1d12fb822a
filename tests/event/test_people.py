import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from geodamage.errors import InputError, SceneError, SceneReadError
from geodamage.event.people import PeopleSource, count_people, share_out
from geodamage.event.population import Parts, open_population
from geodamage.event.rollups import PEOPLE_FIELDS
from tests.conftest import make_raster, run_command
from tests.event_scenes import (
    CORNER,
    UTM,
    House,
    frame_of,
    hidden,
    layer,
    layers,
    merge,
    same_layers,
    write_scene,
)

#: Four cells of 200 m that the ground of a scene fills.
CELLS = np.array([[40.0, 0.0], [100.0, 7.0]])


def population(
    path: Path, cells: np.ndarray = CELLS, *, side: float = 200.0, crs: object = UTM, **profile
) -> Path:
    top = CORNER[1] + side * cells.shape[0]
    transform = profile.pop("transform", Affine(side, 0, CORNER[0], 0, -side, top))
    return make_raster(path, cells[None], crs=crs, transform=transform, **profile)


def people_of(path: Path, houses, **profile):
    """Return the people of houses whose scene is all ground."""
    buildings = frame_of(houses).to_crs("OGC:CRS84")
    source = PeopleSource(population(path, **profile))
    found, _ = count_people(buildings, None, source)
    return found.buildings["people"].to_numpy(), found


def test_a_cell_is_shared_out_by_the_ground_that_buildings_cover(tmp_path):
    houses = [House(10, 10), House(50, 50, 30, 10), House(10, 310)]
    people, found = people_of(tmp_path / "people.tif", houses)
    assert people == pytest.approx([25, 75, 40], rel=1e-5)
    assert found.facts["in_cells"] == found.facts["in_buildings"] == 140


def test_a_house_on_two_cells_has_people_of_both(tmp_path):
    people, _ = people_of(tmp_path / "people.tif", [House(195, 10), House(10, 10, 5, 10)])
    assert people == pytest.approx([50 + 7, 50], rel=1e-3)


def test_a_cell_that_the_ground_covers_in_part_counts_by_that_part(tmp_path):
    buildings = frame_of([House(10, 10)]).to_crs("OGC:CRS84")
    x, y = CORNER
    ground = gpd.GeoSeries([shapely.box(x, y + 20, x + 100, y + 180)], crs=UTM).to_crs("OGC:CRS84")[
        0
    ]
    source = PeopleSource(population(tmp_path / "people.tif"))
    found, _ = count_people(buildings, ground, source)
    assert found.buildings["people"].tolist() == pytest.approx([40], rel=1e-3)
    assert found.facts["beyond_the_ground"] == pytest.approx(60, rel=1e-3)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 9), st.floats(1e-6, 1)), min_size=1, max_size=60
    ),
    st.lists(st.floats(0, 1e6), min_size=10, max_size=10),
    st.lists(st.floats(0, 1), min_size=10, max_size=10),
)
def test_nobody_is_gained_or_lost(rows, cells, seen):
    shape, cell, covered = (np.array(column) for column in zip(*rows, strict=True))
    cells = np.array(cells)
    buildings = Parts(shape, cell, covered, cells[cell])
    every = np.arange(10)
    ground = Parts(np.zeros(10, np.int64), every, np.array(seen), cells)
    for known, share in ((None, np.ones(10)), (ground, np.array(seen))):
        shared = share_out(buildings, 7, known)
        used = np.isin(every, cell)
        assert shared.in_buildings == pytest.approx((cells * share)[used].sum(), rel=1e-9, abs=1e-6)
        whole = shared.in_buildings + shared.in_no_building + shared.beyond
        assert whole == pytest.approx(shared.raster, rel=1e-9, abs=1e-6)
        assert np.isnan(shared.people).tolist() == [n not in shape for n in range(7)]
    # Each cell for itself: the people of all others are taken away.
    for n in np.unique(cell):
        alone = np.where(every == n, cells, 0)
        shared = share_out(Parts(shape, cell, covered, alone[cell]), 7)
        assert shared.in_buildings == pytest.approx(cells[n], rel=1e-9, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("crs", ["EPSG:4326", "ESRI:54009"])
def test_the_raster_keeps_its_crs_and_its_sum(tmp_path, crs):
    houses = [House(30 * n, 25 * n, 8 + n, 9) for n in range(14)]
    buildings = frame_of(houses).to_crs("OGC:CRS84")
    left, bottom, right, top = buildings.to_crs(crs).total_bounds
    width, height = (right - left) / 5, (top - bottom) / 4
    transform = Affine(width, 0, left - width / 2, 0, -height, top + height / 2)
    cells = np.random.default_rng(1).integers(1, 50, (5, 6)).astype(np.int16)
    path = population(tmp_path / "people.tif", cells, crs=crs, transform=transform)
    found, _ = count_people(buildings, None, PeopleSource(path))
    with open_population(path) as raster:
        parts = raster.parts(buildings.geometry.to_numpy())
    inside = cells.ravel()[np.unique(parts.cell)].sum()
    assert found.buildings["people"].sum() == pytest.approx(inside, rel=1e-9)
    assert found.facts["in_no_building"] == 0


def test_numbers_below_zero_are_nobody_and_said(tmp_path):
    cells = np.array([[40, -200], [100, -200]], np.int32)
    houses = [House(10, 10), House(210, 10)]
    people, found = people_of(tmp_path / "people.tif", houses, cells=cells)
    assert people[0] == pytest.approx(100)
    assert np.isnan(people[1])
    assert found.facts["buildings_without_number"] == 1
    assert found.warnings[0].endswith(
        "down to -200, that no nodata tag declares; nobody is counted there"
    )


def test_declared_nodata_is_nobody(tmp_path):
    cells = np.where(CELLS == 7, -99999, CELLS).astype(np.float32)
    people, found = people_of(
        tmp_path / "people.tif", [House(10, 10), House(210, 10)], cells=cells, nodata=-99999
    )
    assert people[0] == pytest.approx(100)
    assert np.isnan(people[1])
    assert not any("below zero" in warning for warning in found.warnings)


def test_what_has_no_shape_stops_nobody(tmp_path):
    buildings = frame_of([House(10, 10)] * 3).to_crs("OGC:CRS84")
    buildings.geometry = gpd.GeoSeries(
        [None, shapely.Polygon(), buildings.geometry[2]], crs=buildings.crs
    )
    found, _ = count_people(buildings, None, PeopleSource(population(tmp_path / "people.tif")))
    assert np.isnan(found.buildings["people"]).tolist() == [True, True, False]
    assert found.buildings["people"].iloc[2] == pytest.approx(100)


@pytest.mark.parametrize(
    ("profile", "error", "words"),
    [
        ({"crs": None}, SceneError, "has no CRS"),
        ({"crs": "IAU_2015:30100"}, SceneError, "its CRS is unknown .*celestial body"),
        ({"cells": CELLS.astype(np.complex64)}, SceneError, "has complex numbers"),
        ({"transform": Affine(200, 5, CORNER[0], 5, -200, CORNER[1])}, SceneError, "not north up"),
        ({"cells": CELLS * 1e30}, SceneError, "e\\+32 people; declare it as nodata"),
    ],
)
def test_a_raster_that_is_none_of_people_is_refused(tmp_path, profile, error, words):
    with pytest.raises(error, match=words):
        people_of(tmp_path / "people.tif", [House(10, 10)], **profile)


def test_channels_and_other_files_are_refused(tmp_path):
    buildings = frame_of([House(10, 10)]).to_crs("OGC:CRS84")
    many = make_raster(tmp_path / "many.tif", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(SceneError, match="has 2 channels"):
        count_people(buildings, None, PeopleSource(many))
    text = tmp_path / "text.tif"
    text.write_text("people")
    with pytest.raises(SceneReadError, match="not a GeoTIFF"):
        count_people(buildings, None, PeopleSource(text))


def test_the_side_of_a_cell_is_told_in_metres(tmp_path):
    for crs, side in ((UTM, 100.0), (CRS("EPSG:4326"), 1 / 1200)):
        path = population(tmp_path / "people.tif", CELLS, side=side, crs=crs)
        with open_population(path) as raster:
            assert raster.cell_metres == pytest.approx(side if crs == UTM else 92.66, rel=1e-3)


@pytest.fixture
def scene(tmp_path):
    houses = [House(10, 10, grade=4), House(30, 10, 10, 30), hidden(House(10, 210)), House(210, 10)]
    beyond = hidden(House(900, 900), "outside_images")
    return write_scene(tmp_path / "monday", "a", [*houses, beyond])


@pytest.fixture
def admin(tmp_path):
    """Return a file of two areas side by side."""
    areas = gpd.GeoSeries(
        [shapely.box(CORNER[0] + x, CORNER[1], CORNER[0] + x + 200, CORNER[1] + 400)
         for x in (0, 200)], crs=UTM
    )  # fmt: skip
    gpd.GeoDataFrame({"name": ["West", "East"]}, geometry=areas).to_file(tmp_path / "admin.gpkg")
    return tmp_path / "admin.gpkg"


@pytest.mark.slow
def test_an_event_counts_its_people(scene, admin, tmp_path, output):
    raster = population(tmp_path / "people.tif")
    summary = merge([scene], output, admin=admin, population=raster)
    found = layers(output)
    assert found["buildings"].columns[-2:].tolist() == ["people", "geometry"]
    people = found["buildings"].set_index("building_id")["people"]
    assert people.sum() == pytest.approx(147, rel=1e-3)
    assert people.isna().sum() == 1  # beyond the images
    west = found["admin"].set_index("name").loc["West"]
    assert west[list(PEOPLE_FIELDS)].tolist() == pytest.approx(
        [140, 100, 40, 75, 0, 0, 25, 25], rel=1e-3
    )
    assert found["admin"]["people_of_area"].tolist() == pytest.approx([140, 7], rel=1e-3)
    facts = summary.facts["people"]
    assert facts["per_grade"]["destroyed"] == {"people": pytest.approx(25, rel=1e-3)}
    assert facts["in_cells"] == pytest.approx(147, rel=1e-3)
    assert sum(facts[k] for k in ("beyond_the_ground", "in_no_building", "in_buildings")) == (
        pytest.approx(facts["in_cells"], abs=0.01)
    )
    assert "people who have left" in facts["says"]


@pytest.mark.slow
def test_a_raster_of_another_place_is_said_and_not_counted(scene, tmp_path, output):
    far = population(tmp_path / "people.tif", transform=Affine(200, 0, 1e5, 0, -200, 1e5))
    arguments = ["event", tmp_path / "monday", "-o", output, "--population", far, "--json"]
    result = run_command(*arguments)
    assert "has nobody on the ground of the event; is it of this place?" in result.stderr
    facts = json.loads(result.stdout)["people"]
    assert facts["per_grade"]["damaged"] == {"people": 0}
    assert facts["buildings_without_number"] == 5
    assert layer(output, "grid")["people"].isna().all()


@pytest.mark.slow
def test_an_event_that_grows_counts_people_anew(scene, tmp_path, output):
    raster = population(tmp_path / "people.tif")
    merge([scene], output, population=raster)
    more = write_scene(tmp_path / "friday", "b", [House(60, 10)], date="2018-10-20")
    merge([more], output, population=raster, existing="update")
    once = tmp_path / "once.gpkg"
    merge([scene, more], once, population=raster)
    same_layers(layers(output), layers(once))
    assert layer(output)["people"].sum() == pytest.approx(147, rel=1e-3)


def estimate(path: Path, buildings: int) -> Path:
    total = {"total": 2.0, "low": 1.0, "high": 3.0}
    names = ("no-damage", "minor-damage", "major-damage", "destroyed", "damaged", "no building")
    areas = [{"name": "West", "answered": 3, "damaged": total}, {"name": "East", "damaged": None}]
    told = {"buildings": buildings, **dict.fromkeys(names, total), "areas": areas}
    path.write_text(json.dumps(told))
    return path


@pytest.mark.slow
def test_people_have_the_interval_of_an_estimate(scene, admin, tmp_path, output):
    raster = population(tmp_path / "people.tif")
    arguments = [tmp_path / "monday", "-o", output, "--admin", admin]
    arguments += ["--population", raster, "--estimate"]
    refused = run_command("event", *arguments, estimate(tmp_path / "other.json", 77))
    assert (refused.exit_code, "is of 77 buildings" in refused.stderr) == (4, True)
    result = run_command("event", *arguments, estimate(tmp_path / "estimate.json", 3))
    assert result.exit_code == 0, result.stderr
    assert (
        "25 people in damaged buildings (by the estimate 50: 25 to 75), of 147 in buildings; "
        "0 in cells without one"
    ) in result.stderr
    found = layer(output, "admin").set_index("name")
    ends = ["people_damaged_estimate", "people_damaged_low", "people_damaged_high"]
    assert found.loc["West", ends].tolist() == pytest.approx([50, 25, 75], rel=1e-2)
    assert found.loc["East", ends].isna().all()


def test_a_population_that_is_not_there_is_refused_first(tmp_path, output):
    look = write_scene(tmp_path, "a", [House(10, 10)])
    with pytest.raises(InputError, match="no such file"):
        merge([look], output, population=tmp_path / "none.tif")


def test_an_area_that_holds_the_raster_has_all_of_its_people(tmp_path):
    with open_population(population(tmp_path / "people.tif")) as raster:
        x, y = CORNER
        box = shapely.box(x - 10, y - 10, x + 500, y + 500)
        lonlat = gpd.GeoSeries([box], crs=UTM).to_crs("OGC:CRS84").to_numpy()
        assert raster.totals(lonlat).tolist() == pytest.approx([147], rel=1e-6)


def test_a_transform_that_is_none_is_refused_before_cells_are_read(tmp_path):
    path = population(tmp_path / "p.tif")
    content = path.read_bytes()
    top = np.float64(CORNER[1] + 400).tobytes()
    assert content.count(top) == 1
    path.write_bytes(content.replace(top, np.float64(np.nan).tobytes()))
    with pytest.raises(SceneError, match=r"its transform .* is not one"), open_population(path):
        pass


def test_only_a_tiff_is_let_near_it_and_what_a_pam_file_says_is_named(tmp_path):
    path = population(tmp_path / "p.tif")
    beside = Path(f"{path}.aux.xml")
    beside.write_text("<PAMDataset><NoDataValue>7</NoDataValue></PAMDataset>")
    houses = frame_of([House(10, 10)]).to_crs("OGC:CRS84")
    found, _ = count_people(houses, None, PeopleSource(path))
    assert any("gdal_edit.py -a_nodata 7" in warning for warning in found.warnings)
    Path(f"{path}.ovr").write_text("<VRTDataset/>")
    with pytest.raises(SceneReadError, match=r"p.tif.ovr beside it"), open_population(path):
        pass
