"""Fingerprints: what a result depends on changes them, and nothing else does."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pytest
from shapely import box

from geodamage.assessment import Job
from geodamage.batch.fingerprints import (
    input_fingerprint,
    model_fingerprint,
    option_fingerprint,
    output_fingerprint,
    output_record,
    why_altered,
)
from geodamage.buildings.finding import BuildingOptions
from geodamage.errors import ModelError
from geodamage.output.styles import set_styles
from geodamage.scene.options import SceneOptions
from tests.conftest import make_model, make_scene, run_command


@pytest.fixture
def job(tmp_path: Path) -> Job:
    pair = make_scene(tmp_path / "images")
    return Job(pre=(str(pair.pre),), post=(str(pair.post),), output=tmp_path / "b.gpkg")


def test_an_image_that_is_written_again_is_another_input(job):
    before = input_fingerprint(job)
    assert input_fingerprint(job) == before
    Path(job.post[0]).touch()
    assert input_fingerprint(job) != before


def test_an_image_that_turns_up_is_another_input(job):
    gone = replace(job, post=("/not/there.tif",))
    assert input_fingerprint(gone) == input_fingerprint(gone) != input_fingerprint(job)


def test_remote_images_are_known_by_their_address(job):
    remote = replace(
        job, post=("https://example.org/a.tif",), scene=SceneOptions(allow_remote=True)
    )
    other = replace(remote, post=("https://example.org/b.tif",))
    assert input_fingerprint(remote) != input_fingerprint(other)


def test_footprints_and_areas_are_inputs(job, tmp_path):
    (tmp_path / "f.geojson").write_text("{}")
    with_footprints = replace(job, footprints=tmp_path / "f.geojson")
    before = input_fingerprint(with_footprints)
    assert before != input_fingerprint(job)
    (tmp_path / "f.geojson").write_text('{"a": 1}')
    assert input_fingerprint(with_footprints) != before


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cpu"},
        {"threads": 3},
        {"memory": 2e9},
        {"batch_size": 4},
        {"overwrite": True},
        {"output": Path("elsewhere.gpkg")},
    ],
)
def test_where_and_how_fast_is_no_option(job, change):
    assert option_fingerprint(replace(job, **change)) == option_fingerprint(job)


@pytest.mark.parametrize(
    "change",
    [
        {"tta": "flips"},
        {"vote": "pixels"},
        {"tile": 128},
        {"raster": Path("g.tif")},
        {"id_field": "id"},
        {"scene": SceneOptions(scale=(0, 100))},
        {"buildings": BuildingOptions(min_area=30)},
    ],
)
def test_whatever_changes_the_result_is_an_option(job, change):
    assert option_fingerprint(replace(job, **change)) != option_fingerprint(job)


def test_a_model_is_known_by_its_content_and_its_card(tmp_path):
    first = make_model(tmp_path / "a.onnx")
    same = make_model(tmp_path / "b.onnx")
    other = make_model(tmp_path / "c.onnx", temperature=2.0)
    assert model_fingerprint(first) == model_fingerprint(same) != model_fingerprint(other)
    with pytest.raises(ModelError, match="check the path"):
        model_fingerprint(tmp_path / "d.onnx")


def test_an_ensemble_changes_with_its_members(tmp_path):
    make_model(tmp_path / "a.onnx")
    table = tmp_path / "both.toml"
    table.write_text('[[member]]\nfile = "a.onnx"\n')
    before = model_fingerprint(table)
    make_model(tmp_path / "a.onnx", temperature=2.0)
    assert model_fingerprint(table) != before
    table.write_text("member = 3")
    with pytest.raises(ModelError, match="not an ensemble"):
        model_fingerprint(table)


@pytest.mark.slow
def test_a_result_is_known_by_what_it_says(tmp_path, pair, model):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        output = tmp_path / name / "buildings.gpkg"
        options = ("--model", model, "--raster", tmp_path / name / "grades.tif")
        assert run_command("assess", *pair, "-o", output, *options).exit_code == 0
    for name in ("buildings.gpkg", "grades.tif", "grades.tif.json"):
        assert output_fingerprint(tmp_path / "a" / name) == output_fingerprint(
            tmp_path / "b" / name
        )
    with closing(sqlite3.connect(tmp_path / "b" / "buildings.gpkg")) as base:
        # The triggers of the spatial index want functions that SQLite alone lacks.
        for (trigger,) in base.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            base.execute(f'DROP TRIGGER "{trigger}"')
        base.execute("UPDATE buildings SET damage = 'destroyed'")
        base.commit()
    assert output_fingerprint(tmp_path / "a" / "buildings.gpkg") != output_fingerprint(
        tmp_path / "b" / "buildings.gpkg"
    )


def test_a_result_that_was_only_looked_at_is_not_altered(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"buildings": 3, "created": "today", "seconds": 1.0}))
    record = output_record(tmp_path, [path])
    assert why_altered(tmp_path, record) is None
    path.write_text(json.dumps({"created": "tomorrow", "seconds": 2.0, "buildings": 3}))
    assert why_altered(tmp_path, record) is None
    path.write_text(json.dumps({"buildings": 4}))
    assert why_altered(tmp_path, record) == "a.json was altered"
    path.unlink()
    assert why_altered(tmp_path, record) == "a.json is missing"


def test_a_style_that_a_viewer_changes_leaves_the_result_what_it_is(tmp_path):
    def written(damage, style):
        path = tmp_path / f"{damage}_{len(style)}.gpkg"
        shapes = gpd.GeoDataFrame({"damage": [damage]}, geometry=[box(0, 0, 1, 1)], crs=32631)
        shapes.to_file(path, layer="buildings")
        set_styles(path, "buildings", {"one": style})
        return output_fingerprint(path)

    assert written("destroyed", "<qgis/>") == written("destroyed", "<qgis></qgis>")
    assert written("destroyed", "<qgis/>") != written("no-damage", "<qgis/>")
