import json

import geopandas as gpd
import numpy as np
import onnx
import pandas as pd
import pytest
import shapely

from geodamage.buildings import footprint_files
from geodamage.fields import NAMES
from geodamage.model.card import with_card
from geodamage.output.publication import read_sidecar
from tests.assessments import comparable, run, write_footprints
from tests.conftest import (
    ROOFS,
    UTM,
    Roof,
    run_command,
)
from tests.fakes import make_card, pointwise_bytes


@pytest.mark.slow
def test_footprints_all_come_out(pair, model, tmp_path):
    far = Roof(500, 500, 20, 20, 1)
    half = Roof(118, 120, 20, 20, 1)  # 10 of its 20 rows are beyond the images
    shapes = [*(roof.polygon for roof in ROOFS), far.polygon, half.polygon, None]
    ids = [f"b{n}" for n in range(7)] + ["null"]
    footprints = write_footprints(tmp_path / "f.gpkg", ids, shapes)
    frame = run(pair, tmp_path / "b.gpkg", model, "--footprints", footprints)
    frame = frame.set_index("building_id").loc[ids]
    assert frame["damage_class"].to_list()[:5] == [roof.grade for roof in ROOFS]
    assert (frame["status"][:5] == "assessed").all()
    assert frame["status"].to_list()[5:] == ["not_assessed", "partial", "not_assessed"]
    assert frame["status_reason"].to_list()[5:] == ["outside_pre", "outside_pre", "no_geometry"]
    graded = list(NAMES[NAMES.index("damage") : NAMES.index("status")])
    assert frame.loc[["b5", "null"], graded].isna().all(axis=None)
    assert frame["valid_fraction"].to_list()[:7] == [1, 1, 1, 1, 1, 0, 0.5]
    assert frame.geometry.isna().to_list() == [False] * 7 + [True]
    assert shapely.equals(frame.geometry.to_numpy()[:7], np.array(shapes[:7])).all()
    assert (frame["source"] == "f.gpkg").all()
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["footprints"]["count"] == facts["buildings"] == 8
    assert facts["buildings_per_status"] == {"assessed": 5, "partial": 1, "not_assessed": 2}


@pytest.mark.slow
def test_what_footprints_take_is_part_of_the_memory(pair, model, tmp_path, monkeypatch):
    footprints = write_footprints(tmp_path / "f.gpkg", range(5), [r.polygon for r in ROOFS])
    monkeypatch.setattr(footprint_files, "_FOOTPRINT_BYTES", 10**9)
    result = run_command(
        "assess", pair.pre, pair.post, "-o", tmp_path / "b.gpkg", "--model", model,
        "--footprints", footprints,
    )  # fmt: skip
    assert result.exit_code == 7
    assert "raise --memory to 5." in result.stderr
    assert not (tmp_path / "b.gpkg").exists()


@pytest.mark.slow
def test_footprints_do_not_depend_on_the_tile_nor_on_their_crs(pair, model, tmp_path):
    footprints = write_footprints(tmp_path / "f.gpkg", range(5), [r.polygon for r in ROOFS])
    expected = run(pair, tmp_path / "a.gpkg", model, "--footprints", footprints)
    found = run(pair, tmp_path / "b.gpkg", model, "--footprints", footprints, "--tile", 48)
    assert comparable(found).equals(comparable(expected))
    degrees = gpd.read_file(footprints, layer=0).to_crs(4326)
    degrees.to_file(tmp_path / "d.geojson")
    found = run(pair, tmp_path / "c.gpkg", model, "--footprints", tmp_path / "d.geojson")
    assert found.set_index("building_id")["damage_class"].to_dict() == {
        str(n): roof.grade for n, roof in enumerate(ROOFS)
    }


@pytest.mark.slow
def test_a_footprint_of_a_pixel_is_graded_with_its_ring(pair, model, tmp_path):
    dots = [Roof(60, 50, 1, 1, 2), Roof(108, 70, 1, 2, 4)]
    footprints = write_footprints(tmp_path / "f.gpkg", ["a", "b"], [d.polygon for d in dots])
    frame = run(pair, tmp_path / "b.gpkg", model, "--footprints", footprints)
    assert sorted(frame["damage_class"]) == [2, 4]
    assert set(frame["status"]) == {"partial"}
    assert set(frame["status_reason"]) == {"too_small"}


@pytest.mark.slow
def test_what_is_computed_beside_footprints_changes_nothing(pair, model, tmp_path):
    footprints = write_footprints(tmp_path / "f.gpkg", range(2), [r.polygon for r in ROOFS[:2]])
    given = ["--footprints", footprints, "--tile", 48]
    alone = run(pair, tmp_path / "a.gpkg", model, *given)
    beside = run(pair, tmp_path / "b.gpkg", model, *given, "--probabilities", tmp_path / "p.tif")
    assert comparable(alone).equals(comparable(beside))
    facts = [read_sidecar(tmp_path / name) for name in ("a.gpkg", "b.gpkg")]
    assert facts[0]["assessed_km2"] == facts[1]["assessed_km2"]


@pytest.mark.slow
def test_an_id_field_is_kept(pair, model, tmp_path):
    frame = gpd.GeoDataFrame(
        {"uid": ["x", "y"], "ref": [7, 9]}, geometry=[r.polygon for r in ROOFS[:2]], crs=UTM
    )
    frame.to_file(tmp_path / "f.gpkg")
    options = "--footprints", tmp_path / "f.gpkg", "--id-field", "ref"
    found = run(pair, tmp_path / "b.geojson", model, *options)
    assert sorted(found["building_id"].astype(str)) == ["7", "9"]
    text = json.loads((tmp_path / "b.geojson").read_text())
    assert [f["id"] for f in text["features"]] == [
        f["properties"]["building_id"] for f in text["features"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["geojson", "parquet"])
def test_attributes_come_with_the_result(pair, model, tmp_path, extension):
    path = tmp_path / "f.gpkg"
    columns = {"uid": range(5), "floors": [1, 2, None, 4, 2**53 + 1], "use": list("abcde")}
    columns["floors"] = pd.array(columns["floors"], "Int64")
    gpd.GeoDataFrame(columns, geometry=[r.polygon for r in ROOFS], crs=UTM).to_file(path)
    frame = run(pair, tmp_path / f"b.{extension}", model, "--footprints", path)
    assert list(frame.columns[-4:]) == ["uid", "floors", "use", "geometry"]
    frame = frame.set_index("building_id").loc[[str(n) for n in range(5)]]
    assert frame["use"].to_list() == list("abcde")
    text = (tmp_path / f"b.{extension}").read_bytes()
    if extension == "geojson":
        assert str(2**53 + 1).encode() in text
        assert frame["floors"].isna().to_list() == [False, False, True, False, False]
    facts = read_sidecar(tmp_path / f"b.{extension}")
    assert facts["footprints"]["kept"] == ["uid", "floors", "use"]


@pytest.mark.slow
def test_a_layer_of_several_is_chosen_and_is_no_output(pair, model, tmp_path):
    path = write_footprints(tmp_path / "f.gpkg", ["a"], [ROOFS[0].polygon])
    two = gpd.GeoDataFrame({"uid": ["b"]}, geometry=[ROOFS[1].polygon], crs=UTM)
    two.to_file(path, layer="houses")
    frame = run(pair, tmp_path / "b.gpkg", model, "--footprints", f"{path}:houses")
    assert frame["building_id"].to_list() == ["b"]
    assert frame["source"].to_list() == ["f.gpkg:houses"]
    for options, code in ((["--footprints", path], 4), (["--footprints", f"{path}:houses"], 2)):
        output = path if code == 2 else tmp_path / "c.gpkg"
        result = run_command("assess", *pair, "-o", output, "--model", model, *options)
        assert result.exit_code == code, result.stderr
        assert ("f, houses" if code == 4 else "also an input") in result.stderr


@pytest.mark.slow
def test_broken_footprints_are_refused_unless_asked(pair, model, tmp_path):
    path = tmp_path / "f.geojson"
    write_footprints(path, ["a", "b"], [ROOFS[0].polygon, ROOFS[1].polygon])
    text = json.loads(path.read_text())
    del text["features"][1]["geometry"]["coordinates"][0][-1]
    path.write_text(json.dumps(text))
    output = tmp_path / "b.geojson"
    command = ["assess", *pair, "-o", output, "--model", model, "--footprints", path]
    result = run_command(*command)
    assert result.exit_code == 4
    assert "1 of 2 features" in result.stderr
    assert "--skip-broken" in result.stderr
    result = run_command(*command, "--skip-broken")
    assert result.exit_code == 0, result.stderr
    assert "warning: " in result.stderr
    facts = read_sidecar(output)
    assert facts["footprints"]["broken"] == 1
    assert any("1 of 2 features" in line for line in facts["warnings"])
    assert facts["not_assessed_by_reason"] == {"no_geometry": 1}


@pytest.mark.slow
def test_a_model_that_only_grades_wants_footprints(pair, tmp_path):
    grader = tmp_path / "grader.onnx"
    graph = onnx.load_from_string(pointwise_bytes())
    del graph.graph.output[0]
    assert [node.name for node in graph.graph.output] == ["damage"]
    grader.write_bytes(with_card(graph.SerializeToString(), make_card(halo=0, task="damage")))
    result = run_command("assess", *pair, "-o", tmp_path / "b.gpkg", "--model", grader)
    assert result.exit_code == 5
    assert "grades buildings and finds none; give --footprints" in result.stderr
    footprints = write_footprints(tmp_path / "f.gpkg", range(3), [r.polygon for r in ROOFS[:3]])
    frame = run(pair, tmp_path / "b.gpkg", grader, "--footprints", footprints)
    assert (frame["status"] == "assessed").all()
    assert frame["damage_class"].between(1, 4).all()
