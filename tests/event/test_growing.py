import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given, settings
from hypothesis import strategies as st

from geodamage.errors import OutputError
from geodamage.event.layers import best_looks
from geodamage.event.looks import order_key
from geodamage.event.merging import add_scenes, merge_event
from geodamage.event.record import no_record
from geodamage.event.rollups import GRADE_FIELDS, roll_up_by_grid
from tests.event_scenes import (
    BARN,
    HOUSE,
    House,
    cut,
    hidden,
    layers,
    merge,
    same_layers,
    scene_of,
    write_scene,
)

house = st.builds(
    House,
    left=st.integers(0, 8).map(lambda n: n * 12.0),
    bottom=st.integers(0, 2).map(lambda n: n * 3.0),
    width=st.sampled_from([8.0, 12.0, 16.0]),
    grade=st.integers(1, 4),
    valid=st.sampled_from([0.5, 1.0]),
)
footprint = st.builds(
    lambda house, n: replace(house, left=n * 12.0, source="city.gpkg", identity=str(n)),
    house,
    st.integers(0, 8),
)
scene = st.tuples(
    st.lists(house | footprint, max_size=6, unique_by=lambda h: h.identity or (h.left, h.width)),
    st.sampled_from([None, "2018-10-11", "2018-10-12"]),
    st.sampled_from([(0, 0, 60, 40), (40, 0, 130, 40), (0, 0, 130, 40)]),
)
scenes_of = st.lists(scene, min_size=1, max_size=5).map(
    lambda scenes: [make_scene_looks(number, *scene) for number, scene in enumerate(scenes)]
)
many = settings(max_examples=10, deadline=None)


def make_scene_looks(number, houses, date, region):
    shown = [cut(house, region) for house in houses]
    return scene_of(f"s{number}", [house for house in shown if house.width > 1], date, region)


def added(*parts):
    """Return the record of an event that grew part by part."""
    record = no_record()
    for part in parts:
        record = add_scenes(record, part)
    return record


def same_record(first, second):
    assert_geodataframe_equal(first.looks, second.looks)
    assert_geodataframe_equal(first.scenes, second.scenes)
    assert_geodataframe_equal(best_looks(first.looks), best_looks(second.looks))


@pytest.mark.slow
@many
@given(scenes_of, st.randoms(use_true_random=False))
def test_the_order_of_the_looks_does_not_matter(scenes, random):
    first = added(scenes)
    random.shuffle(scenes)
    same_record(first, added(scenes))


@pytest.mark.slow
@many
@given(scenes_of, st.integers(0, 5))
def test_scenes_added_day_by_day_make_the_same_event(scenes, split):
    scenes = sorted(scenes, key=lambda scene: order_key(scene.look))
    same_record(added(scenes), added(scenes[:split], scenes[split:]))


@pytest.mark.slow
@many
@given(scenes_of, st.data())
def test_names_stay_whatever_is_added_or_redone(scenes, data):
    order = data.draw(st.permutations(scenes))
    first = added(order[:-1])
    second = add_scenes(first, order[-1:])
    keys = ["scene", "building_id"]
    names = second.looks.set_index(keys)["event_building_id"]
    for key, name in first.looks.set_index(keys)["event_building_id"].items():
        assert names[key] == name
    # The same result once more.
    same_record(second, add_scenes(second, [data.draw(st.sampled_from(scenes))]))


@pytest.mark.slow
@many
@given(scenes_of)
def test_every_look_appears_once_and_every_share_sums_to_one(scenes):
    looks = added(scenes).looks
    written = [(s.look.scene, name) for s in scenes for name in s.frame["building_id"]]
    assert sorted(zip(looks["scene"], looks["building_id"], strict=True)) == sorted(written)
    assert not looks.duplicated(["event_building_id", "scene"]).any()
    buildings = best_looks(looks)
    assert sorted(buildings["event_building_id"]) == sorted(looks["event_building_id"].unique())
    assert buildings["looks"].sum() == len(looks)
    grid = roll_up_by_grid(buildings, 10.0)
    assert grid["buildings"].sum() == len(buildings)
    shares = grid[[f"share_{name}" for name in GRADE_FIELDS.values()]].sum(axis=1)
    np.testing.assert_allclose(shares, 1)


@pytest.mark.slow
def test_an_event_on_disk_is_the_same_however_it_grew(tmp_path, output):
    looks = [
        write_scene(tmp_path, "a", [HOUSE, BARN], date=None),
        write_scene(tmp_path, "b", [HOUSE.moved(1), hidden(BARN)]),
        write_scene(tmp_path, "c", [], date="2018-10-15"),
        write_scene(tmp_path, "d", [replace(HOUSE, grade=4), House(20, 20)], date="2018-10-16"),
    ]
    merge(looks, output)
    other = tmp_path / "other.gpkg"
    for part in (looks[:1], looks[1:3], looks[2:], looks):
        merge(part, other, existing="update")
    same_layers(layers(output), layers(other))


@pytest.mark.slow
def test_a_scene_that_was_assessed_again_alike_changes_nothing(tmp_path, output):
    look = write_scene(tmp_path, "a", [HOUSE, BARN])
    merge([look], output)
    before = layers(output)
    facts = json.loads(look.sidecar.read_text())
    look.sidecar.write_text(json.dumps(facts | {"created": "later", "seconds": 2}))
    assert merge([look], output, existing="update").redone == 1
    same_layers(before, layers(output))
    assert merge([look], output, existing="update").unchanged == 1


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_an_event_that_is_being_edited_is_left_alone(tmp_path, output, journal):
    """A layer that QGIS edits is open in WAL, and its edits may be unsaved yet."""
    looks = [write_scene(tmp_path, name, [HOUSE]) for name in "ab"]
    merge(looks[:1], output)
    with closing(sqlite3.connect(output, isolation_level=None)) as base:
        base.execute(f"PRAGMA journal_mode = {journal}")
        base.execute("SELECT count(*) FROM buildings").fetchone()
        if journal == "delete":
            base.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="is being edited by another program"):
            merge(looks, output, existing="update")
        base.execute("CREATE TABLE note (text)")
        if journal == "delete":
            base.execute("COMMIT")
    assert merge(looks, output, existing="update").fresh == 1


@pytest.mark.slow
def test_an_event_has_one_run_at_a_time_from_its_first_step(tmp_path, output):
    looks = [write_scene(tmp_path, name, [HOUSE]) for name in "ab"]
    merge(looks[:1], output)
    work = merge_event(looks, output, existing="update")
    next(work)
    with pytest.raises(OutputError, match="another run is writing it"):
        merge(looks, output, existing="update")
    work.close()
    assert merge(looks, output, existing="update").fresh == 1


@pytest.mark.slow
def test_an_edit_that_begins_meanwhile_is_kept(tmp_path, output):
    looks = [write_scene(tmp_path, name, [HOUSE]) for name in "ab"]
    merge(looks[:1], output)
    work = merge_event(looks, output, existing="update")
    next(work)
    with closing(sqlite3.connect(output, isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        base.execute("CREATE TABLE note (text)")
        with pytest.raises(OutputError, match="is being edited"):
            for _ in work:
                pass
        base.execute("COMMIT")
        assert base.execute("SELECT count(*) FROM note").fetchone() == (0,)


@pytest.mark.parametrize("prints", [["a"], 7, {"a": []}])
def test_an_event_whose_facts_are_damaged_is_not_added_to(tmp_path, prints):
    event = tmp_path / "event.gpkg"
    looks = [write_scene(tmp_path, "a", [HOUSE])]
    merge(looks, event)
    sidecar = event.with_name("event.gpkg.json")
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(facts | {"fingerprints": prints}))
    before = event.read_bytes()
    if isinstance(prints, dict):  # another print: the scene is read anew
        assert merge(looks, event, existing="update").redone == 1
        return
    with pytest.raises(OutputError, match=r"not an event that can be updated .*; give --overwrite"):
        merge(looks, event, existing="update")
    assert event.read_bytes() == before


def test_an_event_of_another_format_is_not_opened(tmp_path):
    event = tmp_path / "event.gpkg"
    looks = [write_scene(tmp_path, "a", [HOUSE])]
    merge(looks, event)
    event.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(OutputError, match="it is GeoJSON, and no GeoPackage"):
        merge(looks, event, existing="update")
