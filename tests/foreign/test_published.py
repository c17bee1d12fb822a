"""Stand-ins of published files: `models import`, `assess` with each, and `evaluate`."""

import json

import geopandas as gpd
import pytest

from geodamage.foreign import importing
from tests.conftest import run_command
from tests.foreign.graphs import beacongis, hot, write_graph
from tests.labelled_pairs import write_pair


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch):
    monkeypatch.setattr(importing, "measure_memory", lambda path, size: 99.0)


def run(*words):
    result = run_command(*words)
    assert result.exit_code == 0, result.stderr
    return result


def sidecar(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())


@pytest.mark.slow
def test_three_files_of_beacongis_find_and_grade_and_are_scored(tmp_path, pair):
    run("models", "import", *beacongis(tmp_path), "-o", tmp_path / "beacongis")
    model, output = tmp_path / "beacongis.toml", tmp_path / "b.geojson"
    run("assess", *pair, "-o", output, "--model", model)
    facts = sidecar(output)
    assert len(gpd.read_file(output, layer=0)) == facts["buildings"] > 0
    assert facts["model"]["licence"].startswith("CC BY-NC-SA 4.0 (beaconGIS")
    assert facts["scene"]["statistics"]  # the scene was stretched, and the sidecar says how
    data = write_pair(tmp_path / "data", "flood_00000001")
    report = json.loads(run("evaluate", data, "--model", model, "--json").stdout)
    assert report["pairs"] == 1
    assert 0 <= report["localization_f1"] <= 1


@pytest.mark.slow
def test_the_file_of_hot_grades_footprints_and_is_scored_with_one_that_localises(
    tmp_path, pair, found
):
    source = hot(tmp_path / "model.onnx")
    run("models", "import", source, "-o", tmp_path / "hot")
    footprints, output = tmp_path / "footprints.geojson", tmp_path / "b.geojson"
    found[["geometry"]].to_file(footprints)
    refused = run_command("assess", *pair, "-o", output, "--model", tmp_path / "hot.onnx")
    assert refused.exit_code == 5
    assert "give --footprints, or an ensemble of it and a model of the task" in refused.stderr
    run("assess", *pair, "-o", output, "--model", tmp_path / "hot.onnx", "--footprints", footprints)
    graded = gpd.read_file(output, layer=0)
    assert len(graded) == len(found)
    assert set(graded["status"]) == {"assessed"}
    # A network that only localises joins it: together they find, grade, and can be scored.
    located = write_graph(
        tmp_path / "loc.onnx", {"x": ["n", 3, "h", "w"]}, {"y": ["n", 1, "h", "w"]}, seed=3
    )
    told = tmp_path / "loc.toml"
    told.write_text(
        'layout = "pre"\norder = "rgb"\ndivisor = 255\ngsd = 0.47\ntile = 512\n'
        'licence = "CC0-1.0"\n[[output]]\nactivation = "sigmoid"\n'
    )
    both = ("--convention", told, "--convention", "hot-dinov3")
    run("models", "import", located, source, *both, "-o", tmp_path / "both")
    model = tmp_path / "both.toml"
    run("assess", *pair, "-o", tmp_path / "c.geojson", "--model", model)
    assert sidecar(tmp_path / "c.geojson")["buildings"] == len(
        gpd.read_file(tmp_path / "c.geojson")
    )
    data = write_pair(tmp_path / "data", "flood_00000001")
    report = json.loads(run("evaluate", data, "--model", model, "--json").stdout)
    assert report["footprints"]
