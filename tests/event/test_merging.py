import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from pyproj import CRS

from geodamage.errors import (
    ManifestError,
    OutputError,
    OutputExistsError,
    SceneError,
    SceneReadError,
)
from geodamage.event.merging import merge_event
from geodamage.event.rollups import TALLY_FIELDS
from geodamage.fields import NAMES
from geodamage.output.vectors import vector_writer
from tests.conftest import listing
from tests.event_scenes import (
    BARN,
    CORNER,
    HOUSE,
    UTM,
    House,
    cut,
    frame_of,
    hidden,
    layer,
    layers,
    merge,
    write_scene,
)


def ids(path, name="buildings"):
    return layer(path, name)["event_building_id"].tolist()


@pytest.mark.slow
def test_layers_and_fields(tmp_path, output):
    looks = [
        write_scene(tmp_path, "a", [HOUSE, BARN]),
        write_scene(tmp_path, "b", [HOUSE], date="2018-10-14"),
    ]
    summary = merge(looks, output)
    assert (summary.scenes, summary.fresh, summary.looks, summary.buildings) == (2, 2, 3, 2)
    found = layers(output)
    assert list(found) == ["buildings", "looks", "scenes", "assessed_area", "grid"]
    after = ["looks", "scene", "date", "first_seen", "last_seen", "geometry"]
    assert found["buildings"].columns.tolist() == ["event_building_id", *NAMES, *after]
    assert found["looks"].columns.tolist() == [
        "event_building_id", "scene", "date", *NAMES, "geometry",
    ]  # fmt: skip
    assert found["scenes"]["scene"].tolist() == ["a", "b"]
    assert found["scenes"]["buildings"].tolist() == [2, 1]
    assert found["scenes"]["no_damage"].tolist() == [2, 1]
    assert found["scenes"]["post"].tolist() == ["post.tif"] * 2
    assert found["scenes"]["model"].tolist() == ["bright 1"] * 2
    assert json.loads(found["scenes"]["facts"][0])["assessed_km2"] == 0.16
    for frame in found.values():
        assert frame.crs == "OGC:CRS84"
    house = found["buildings"].query("looks == 2").iloc[0]
    assert (house["scene"], house["date"]) == ("b", "2018-10-14")
    assert (house["first_seen"], house["last_seen"]) == ("2018-10-13", "2018-10-14")
    back = found["buildings"].to_crs(32616).geometry
    assert back.area.sort_values().tolist() == pytest.approx([100, 600], rel=1e-3)


@pytest.mark.slow
def test_the_sidecar_says_what_the_event_is(tmp_path, output):
    merge(
        [write_scene(tmp_path, "a", [HOUSE, replace(BARN, grade=4), hidden(House(9, 9))])], output
    )
    facts = json.loads((tmp_path / "event.gpkg.json").read_text())
    assert facts["statement"] == "preliminary, automatic, not validated in the field"
    assert facts["buildings_per_grade"] == {
        "no-damage": 1, "minor-damage": 0, "major-damage": 0, "destroyed": 1,
    }  # fmt: skip
    assert facts["area_m2_per_grade"]["destroyed"] == 600
    assert facts["buildings_per_status"] == {"assessed": 2, "partial": 0, "not_assessed": 1}
    assert facts["assessed_km2"] == pytest.approx(0.16, rel=1e-3)
    assert (facts["scenes"], facts["first_date"]) == (1, "2018-10-13")
    assert listing(tmp_path) == ["event.gpkg", "event.gpkg.json", "scenes"]


@pytest.mark.slow
def test_a_house_cut_by_the_edge_of_a_tile_appears_once_and_whole(tmp_path, output):
    """The left tile shows 3 of 10 m of it: an IoU of 0.3 only, and 1 where both tiles look."""
    left, right = (0, 0, 103, 400), (90, 0, 400, 400)
    looks = [
        write_scene(tmp_path, "left", [cut(HOUSE, left)], region=left),
        write_scene(tmp_path, "right", [HOUSE], region=right),
    ]
    for order in (looks, looks[::-1]):
        merge(order, output, existing="replace")
        buildings = layer(output)
        assert len(buildings) == 1
        assert buildings.loc[0, ["scene", "status", "looks"]].tolist() == ["right", "assessed", 2]
        assert buildings.to_crs(32616).area[0] == pytest.approx(100, rel=1e-3)


@pytest.mark.slow
def test_a_hall_that_both_tiles_cut_appears_once(tmp_path, output):
    hall, left, right = House(50, 50, 100, 30), (0, 0, 110, 400), (90, 0, 400, 400)
    looks = [
        write_scene(tmp_path, "left", [cut(hall, left)], region=left),
        write_scene(tmp_path, "right", [cut(hall, right)], region=right),
    ]
    merge(looks, output)
    assert len(layer(output)) == 1
    assert len(layer(output, "looks")) == 2


@pytest.mark.slow
def test_a_house_next_to_the_edge_is_not_mistaken_for_its_neighbour(tmp_path, output):
    """Row houses of 10 m: the tile ends within the second."""
    row = [HOUSE, HOUSE.moved(10), HOUSE.moved(20)]
    left = (0, 0, 115, 400)
    looks = [
        write_scene(tmp_path, "left", [row[0], cut(row[1], left)], region=left),
        write_scene(tmp_path, "right", row),
    ]
    merge(looks, output)
    assert sorted(layer(output)["looks"]) == [1, 2, 2]


@pytest.mark.slow
def test_a_house_that_lost_its_roof_between_two_dates_is_destroyed(tmp_path, output):
    looks = [
        write_scene(tmp_path, "z", [HOUSE], date="2018-10-11"),
        write_scene(tmp_path, "a", [replace(HOUSE.moved(1), grade=4)], date="2018-10-13"),
    ]
    merge(looks, output)
    (house,) = layer(output).to_dict("records")
    assert (house["damage"], house["scene"], house["looks"]) == ("destroyed", "a", 2)
    assert (house["first_seen"], house["last_seen"]) == ("2018-10-11", "2018-10-13")
    both = layer(output, "looks")
    assert both["damage"].tolist() == ["no-damage", "destroyed"]
    # The name is made of the first look.
    assert house["event_building_id"] == both["building_id"][0]


@pytest.mark.slow
def test_a_better_view_beats_a_later_one_and_any_view_beats_none(tmp_path, output):
    well = replace(HOUSE, valid=0.98, source="city.gpkg", identity="7")
    looks = [
        write_scene(tmp_path, "a", [well], date="2018-10-11"),
        write_scene(tmp_path, "b", [replace(well, valid=0.4, status="partial")], date="2018-10-12"),
        write_scene(tmp_path, "c", [hidden(well)], date="2018-10-13"),
    ]
    merge(looks, output)
    (house,) = layer(output).to_dict("records")
    assert (house["scene"], house["looks"], house["last_seen"]) == ("a", 3, "2018-10-12")


@pytest.mark.slow
def test_given_footprints_are_one_building_by_their_identity(tmp_path, output):
    """Here their places differ by more than half; another with the same outline stays apart."""
    first = replace(HOUSE, source="city.gpkg", identity="7")
    second = replace(first.moved(7), source="city.gpkg")
    twin = replace(first, identity="8")
    looks = [
        write_scene(tmp_path, "a", [first, twin], date="2018-10-11"),
        write_scene(tmp_path, "b", [second, twin], date="2018-10-12"),
    ]
    merge(looks, output)
    found = layer(output, "looks").groupby("event_building_id")["building_id"].agg(list)
    assert sorted(found) == [["7", "7"], ["8", "8"]]
    plain = ids(output)
    assert len(set(plain)) == 2
    assert min(plain, key=len) in max(plain, key=len)  # one place and size: a suffix


@pytest.mark.slow
def test_equal_identities_far_apart_are_two_buildings(tmp_path, output):
    """Two districts may both count their footprints from 1."""
    first = replace(HOUSE, source="east.gpkg", identity="1")
    second = replace(HOUSE.moved(200), source="west.gpkg", identity="1")
    merge([write_scene(tmp_path, "a", [first]), write_scene(tmp_path, "b", [second])], output)
    assert len(layer(output)) == 2


@pytest.mark.slow
def test_footprints_that_no_scene_reaches_stay_once(tmp_path, output):
    seen = replace(HOUSE, source="city.gpkg", identity="1")
    never = replace(hidden(House(900, 900), "outside_post"), source="city.gpkg", identity="2")
    nowhere = replace(hidden(BARN, "no_geometry"), source="city.gpkg", identity="3")
    looks = [
        write_scene(tmp_path, "a", [hidden(seen, "outside_pre"), never, nowhere]),
        write_scene(tmp_path, "b", [seen, never, nowhere]),
        write_scene(tmp_path, "c", [hidden(seen, "outside_pre"), never, nowhere]),
    ]
    merge(looks, output)
    rows = layer(output, "looks").sort_values("building_id")
    assert rows[["building_id", "scene"]].values.tolist() == [["1", "b"], ["2", "a"], ["3", "a"]]
    assert layer(output)["status"].value_counts().to_dict() == {"not_assessed": 2, "assessed": 1}
    assert layer(output, "scenes")["buildings"].tolist() == [3, 3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("extension", [".geojson", ".geojsonl", ".gpkg", ".fgb", ".parquet"])
def test_a_scene_in_which_nothing_was_assessed(tmp_path, output, extension):
    """Every graded field is null then, and a format may not know its type."""
    blank = replace(hidden(HOUSE), source="city.gpkg", identity="1")
    merge([write_scene(tmp_path, "a", [blank], extension=extension)], output)
    (house,) = layer(output).to_dict("records")
    assert (house["looks"], house["status"]) == (1, "not_assessed")
    assert pd.isna(house["first_seen"])
    grid = layer(output, "grid").iloc[0]
    assert grid[["buildings", "assessed", "not_assessed"]].tolist() == [1, 0, 1]
    assert np.isnan(grid["share_no_damage"])


@pytest.mark.slow
def test_a_footprint_without_geometry_is_kept_once_and_counted_nowhere(tmp_path, output):
    looks = []
    for scene in "ab":
        rows = [replace(hidden(h, "no_geometry"), source="x.gpkg") for h in (HOUSE, BARN)]
        frame = frame_of([replace(h, identity=str(n)) for n, h in enumerate(rows)])
        frame.geometry = gpd.GeoSeries([None, None], crs=frame.crs)
        frame[["lon", "lat", "area_m2"]] = np.nan
        look = write_scene(tmp_path, scene, [])
        with vector_writer(look.buildings, frame.crs) as writer:
            writer.append(frame)
        facts = json.loads(look.sidecar.read_text())
        look.sidecar.write_text(json.dumps(facts | {"buildings": 2}))
        looks.append(look)
    merge(looks, output)
    assert layer(output, "looks")["scene"].tolist() == ["a", "a"]
    assert len(set(ids(output))) == 2
    assert len(layer(output, "grid")) == 0
    merge(looks, output, existing="update")
    assert len(layer(output, "looks")) == 2


@pytest.mark.slow
def test_the_better_fit_wins_and_the_rest_is_a_new_building(tmp_path, output):
    """Both houses of b lie over the one of a by at least half; one of them may join it."""
    looks = [
        write_scene(tmp_path, "a", [House(100, 100, 20, 10)], date="2018-10-11"),
        write_scene(
            tmp_path, "b", [House(100, 100, 11, 10), House(106, 100, 14, 10)], date="2018-10-12"
        ),
    ]
    merge(looks, output)
    found = layer(output, "looks").query("scene == 'b'").sort_values("area_m2")
    first = ids(output, "looks")[0]
    assert (found["event_building_id"] == first).tolist() == [False, True]


@pytest.mark.slow
def test_the_larger_one_wins_a_tie(tmp_path, output):
    """IoU is 0.625 with both: 50 of 80 m², and 80 of 128 m²."""
    looks = [
        write_scene(tmp_path, "a", [House(100, 100, 8, 10)], date="2018-10-11"),
        write_scene(
            tmp_path, "b", [House(100, 100, 5, 10), House(100, 100, 8, 16)], date="2018-10-12"
        ),
    ]
    merge(looks, output)
    found = layer(output, "looks").query("scene == 'b'").sort_values("area_m2")
    assert (found["event_building_id"] == ids(output, "looks")[0]).tolist() == [False, True]


@pytest.mark.slow
def test_formats_and_crs_do_not_matter(tmp_path, output):
    plain = [write_scene(tmp_path / "plain", name, [HOUSE, BARN]) for name in "abcd"]
    mixed = [
        write_scene(tmp_path / "mixed", "a", [HOUSE, BARN], extension=".geojson"),
        write_scene(tmp_path / "mixed", "b", [HOUSE, BARN], extension=".fgb"),
        write_scene(tmp_path / "mixed", "c", [HOUSE, BARN], extension=".parquet"),
        write_scene(tmp_path / "mixed", "d", [BARN, HOUSE], crs=CRS.from_epsg(32617)),
    ]
    merge(plain, output)
    other = tmp_path / "other.gpkg"
    merge(mixed, other)
    assert_geodataframe_equal(
        layer(output).drop(columns="scene"), layer(other).drop(columns="scene")
    )
    assert layer(output)["looks"].tolist() == [4, 4]


@pytest.mark.slow
def test_a_scene_without_buildings_counts_as_assessed(tmp_path, output):
    looks = [write_scene(tmp_path, "a", [], extension=".geojsonl")]
    merge(looks, output)
    assert [len(frame) for frame in layers(output).values()] == [0, 0, 1, 1, 0]
    assert layer(output, "assessed_area")["area_km2"][0] == pytest.approx(0.16, rel=1e-3)
    assert merge(looks, output, existing="update").unchanged == 1


@pytest.mark.slow
def test_the_assessed_area_counts_overlaps_once(tmp_path, output):
    looks = [
        write_scene(tmp_path, "a", [], region=(0, 0, 400, 400)),
        write_scene(tmp_path, "b", [], region=(200, 0, 600, 400)),
    ]
    merge(looks, output)
    assert layer(output, "assessed_area")["area_km2"][0] == pytest.approx(0.24, rel=1e-3)


@pytest.mark.slow
def test_the_assessed_area_is_what_the_images_show(tmp_path, output):
    looks = [write_scene(tmp_path, name, [], region=(0, 0, 400, 400)) for name in "abc"]
    left, bottom = CORNER
    halves = shapely.box(left, bottom, left + 100, bottom + 400), shapely.Polygon()
    for look, shape in zip(looks, halves, strict=False):
        facts = json.loads(look.sidecar.read_text())
        told = gpd.GeoSeries([shape], crs=UTM).to_crs("OGC:CRS84")[0]
        facts["assessed_area"] = {"wkt": shapely.to_wkt(told), "cell_m": 8.0}
        look.sidecar.write_text(json.dumps(facts))
    facts = merge(looks[:2], output).facts
    assert layer(output, "assessed_area")["area_km2"][0] == pytest.approx(0.04, rel=1e-3)
    assert facts["assessed_area_by_rectangle"] == []
    facts = merge(looks, output, existing="update").facts
    assert layer(output, "assessed_area")["area_km2"][0] == pytest.approx(0.16, rel=1e-3)
    assert facts["assessed_area_by_rectangle"] == ["c"]


@pytest.mark.slow
def test_the_grid_counts_assessed_buildings_by_cell(tmp_path, output):
    houses = [
        HOUSE,
        replace(BARN, grade=4),
        hidden(House(300, 300)),
        replace(House(600, 20), grade=2),
    ]
    merge([write_scene(tmp_path, "a", houses, region=(0, 0, 1000, 500))], output)
    grid = layer(output, "grid")
    assert grid.columns.tolist() == ["cell_id", *TALLY_FIELDS, "geometry"]
    assert grid["cell_id"].tolist() == ["32616-629500-3330500", "32616-630000-3330500"]
    first = grid.iloc[0]
    assert first[["buildings", "assessed", "not_assessed"]].tolist() == [3, 2, 1]
    assert first[["no_damage", "destroyed", "damaged"]].tolist() == [1, 1, 1]
    assert first[["share_no_damage", "share_destroyed", "share_damaged"]].tolist() == [0.5] * 3
    assert first[["area_m2_no_damage", "area_m2_destroyed"]].tolist() == [100, 600]
    assert grid["share_minor_damage"].tolist() == [0, 1]
    square = grid.to_crs(32616).geometry[0]
    assert square.bounds == pytest.approx((629_500, 3_330_500, 630_000, 3_331_000), abs=0.1)


@pytest.mark.slow
def test_a_redone_scene_replaces_its_looks_and_keeps_the_names(tmp_path, output):
    a = write_scene(tmp_path, "a", [HOUSE, BARN])
    b = write_scene(tmp_path, "b", [HOUSE.moved(1)], date="2018-10-14")
    merge([a, b], output)
    before = layer(output, "looks").set_index("building_id")["event_building_id"]
    # Better polygons, and a new house: only the old looks of the scene itself tell about the barn.
    redone = [HOUSE.moved(0.5), replace(BARN.moved(2), grade=2), House(300, 300)]
    write_scene(tmp_path, "a", redone)
    summary = merge([a], output, existing="update")
    assert (summary.fresh, summary.redone, summary.unchanged) == (0, 1, 0)
    found = layer(output, "looks")
    assert found["scene"].tolist() == ["a", "a", "a", "b"]
    barn = found[found["area_m2"] == 600].iloc[0]
    assert barn["damage"] == "minor-damage"
    assert set(before) < set(found["event_building_id"])
    assert barn["event_building_id"] in set(before)
    assert len(layer(output)) == 3
    # Nothing that went stays.
    write_scene(tmp_path, "a", [])
    merge([a, b], output, existing="update")
    assert len(layer(output)) == 1
    assert layer(output, "scenes")["buildings"].tolist() == [0, 1]


@pytest.mark.slow
def test_an_event_is_not_replaced_unasked(tmp_path, output):
    look = write_scene(tmp_path, "a", [HOUSE])
    merge([look], output)
    with pytest.raises(OutputExistsError):
        merge([look], output)


@pytest.mark.slow
def test_what_is_no_event_is_not_added_to(tmp_path, output):
    look = write_scene(tmp_path, "a", [HOUSE])
    look.buildings.rename(output)
    look.sidecar.rename(tmp_path / "event.gpkg.json")
    look = write_scene(tmp_path, "a", [HOUSE])
    with pytest.raises(OutputError, match="not an event that can be updated"):
        merge([look], output, existing="update")
    (tmp_path / "event.gpkg.json").unlink()
    with pytest.raises(OutputError, match="no sidecar"):
        merge([look], output, existing="update")


def test_closing_the_work_leaves_no_file(tmp_path, output):
    work = merge_event([write_scene(tmp_path, "a", [HOUSE])], output)
    next(work)
    work.close()
    assert listing(tmp_path) == ["scenes"]


@pytest.mark.slow
def test_looks_are_refused_by_name(tmp_path, output):
    look = write_scene(tmp_path, "a", [HOUSE])
    with pytest.raises(ManifestError, match="two scenes are called a"):
        merge([look, replace(look, buildings=tmp_path / "x.gpkg")], output)
    with pytest.raises(ManifestError, match="no assessed scene"):
        merge([], output)
    facts = json.loads(look.sidecar.read_text())
    look.sidecar.write_text(json.dumps(facts | {"buildings": 2}))
    with pytest.raises(SceneError, match="holds 1 building and its sidecar says 2"):
        merge([look], output)
    look.sidecar.write_text(json.dumps(facts | {"scene": {"crs": "EPSG:1"}}))
    with pytest.raises(SceneError, match="says no region and CRS"):
        merge([look], output)
    look.sidecar.unlink()
    with pytest.raises(SceneReadError, match=r"buildings\.gpkg has no sidecar"):
        merge([look], output)
    assert listing(tmp_path) == ["scenes"]


@pytest.mark.slow
def test_a_file_of_another_kind_is_refused(tmp_path, output):
    look = write_scene(tmp_path, "a", [HOUSE])
    frame = pyogrio.read_dataframe(look.buildings, layer=0).drop(columns="damage")
    look.buildings.unlink()
    frame.to_file(look.buildings)
    with pytest.raises(SceneError, match="lacks the field damage"):
        merge([look], output)


@pytest.mark.slow
def test_a_scene_that_does_not_say_its_ground_is_named(tmp_path, output):
    look = write_scene(tmp_path, "a", [HOUSE])
    facts = json.loads(look.sidecar.read_text())
    del facts["scene"]
    look.sidecar.write_text(json.dumps(facts))
    messages = [progress.message for progress in merge_event([look], output)]
    assert [m for m in messages if m] == [
        f"{look.sidecar}: does not say what was assessed; the assessed area lacks it"
    ]
    assert len(layer(output, "assessed_area")) == 0
    assert len(layer(output)) == 1
    assert pd.isna(layer(output, "scenes")["gsd"][0])


@pytest.mark.slow
def test_both_sides_of_the_antimeridian(tmp_path, output):
    """The house lies across 180°, in two scenes of two zones."""
    looks = []
    for scene, zone in (("a", 32701), ("b", 32760)):
        crs = CRS.from_epsg(zone)
        shape = gpd.GeoSeries([shapely.box(179.9999, -17, 180.0001, -16.9999)], crs=4326)
        look = write_scene(tmp_path, scene, [HOUSE], date="2022-01-15")
        frame = pyogrio.read_dataframe(look.buildings, layer=0)
        frame = frame.set_geometry(shape.to_crs(crs).to_numpy(), crs=crs)
        frame[["lon", "lat"]] = 180.0, -16.99995
        look.buildings.unlink()
        frame.to_file(look.buildings)
        facts = json.loads(look.sidecar.read_text())
        x, y = frame.geometry[0].centroid.coords[0]
        facts["scene"] |= {"crs": f"EPSG:{zone}", "region": [x - 200, y - 200, x + 200, y + 200]}
        look.sidecar.write_text(json.dumps(facts))
        looks.append(look)
    merge(looks, output)
    (house,) = layer(output).to_dict("records")
    assert house["looks"] == 2
    assert len(shapely.get_parts(house["geometry"])) == 2
    assert layer(output, "assessed_area")["area_km2"][0] == pytest.approx(0.16, rel=2e-2)
    assert len(layer(output, "grid")) == 1
