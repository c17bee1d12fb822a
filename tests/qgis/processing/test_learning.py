"""The algorithms of a new event: a result with features, its sample, and its answers."""

import json
import shutil
from pathlib import Path

import pytest
from geodamage_qgis.results.journal import Review, journal_path
from geodamage_qgis.results.layers import load_result
from geodamage_qgis.results.reviews import now, write_reviews
from qgis.core import QgsProcessingException, QgsVectorLayer

GRADES = ("no-damage", "minor-damage", "major-damage", "destroyed")


@pytest.fixture(scope="module")
def featured(command_line, pair, tmp_path_factory):
    """Return a result with its features, by the command line."""
    folder = tmp_path_factory.mktemp("featured")
    output = folder / "b.gpkg"
    command_line("assess", *pair, "-o", output, "--features", folder / "b.npz", "-q")
    return output


@pytest.fixture
def result(featured, tmp_path):
    for path in featured.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / "b.gpkg"


@pytest.fixture
def drawn(run, result, tmp_path):
    """Return a sample, answered against what the model said."""
    output = tmp_path / "sample.gpkg"
    outputs = run("sample", RESULTS=[str(result)], NUMBER=50, OUTPUT=str(output))
    assert outputs["BUILDINGS"] == 50
    layer = QgsVectorLayer(str(output), "sample", "ogr")
    turned = dict(zip(GRADES, reversed(GRADES), strict=True))
    said = {
        f.id(): Review(f["building_id"], turned[f["damage"]], "Ada", now())
        for f in layer.getFeatures()
    }
    assert len(said) == 50
    write_reviews(layer, said)
    return output


def test_a_sample_of_layers_of_the_project_is_drawn(run, result, tmp_path):
    layer = load_result(result)
    output = tmp_path / "s.gpkg"
    run("sample", RESULTS=[layer], NUMBER=20, DESIGN="simple", SEED=3, OUTPUT=str(output))
    facts = json.loads(Path(f"{output}.json").read_text())
    assert (facts["seed"], facts["design"], facts["drawn_for"]["estimate"]) == (3, "simple", 20)
    with pytest.raises(QgsProcessingException, match=r"s\.gpkg exists"):
        run("sample", RESULTS=[layer], NUMBER=20, OUTPUT=str(output))


def test_totals_are_outputs_and_a_page(run, result, drawn, tmp_path):
    output = tmp_path / "e.json"
    outputs = run("estimate", RESULTS=[str(result)], SAMPLE=str(drawn), OUTPUT=str(output))
    told = json.loads(output.read_text())
    assert outputs["DAMAGED"] == told["damaged"]["total"]
    assert outputs["DAMAGED_LOW"] == told["damaged"]["low"] < told["damaged"]["high"]
    assert "buildings were reviewed" in Path(outputs["SUMMARY"]).read_text()


def test_answers_may_stand_in_files_of_their_own(run, result, drawn, tmp_path):
    answers = tmp_path / "a.csv"
    layer = QgsVectorLayer(str(drawn), "sample", "ogr")
    rows = [f"{f['building_id']},no building" for f in layer.getFeatures()]
    answers.write_text("\n".join(["building_id,damage", *rows[:-1], rows[-1].split(",")[0] + ",1"]))
    outputs = run(
        "estimate", RESULTS=[str(result)], SAMPLE=str(drawn), ANSWERS=[str(answers)],
        CONFLICTS="worst",
    )  # fmt: skip
    assert outputs["DAMAGED"] == 0
    with pytest.raises(QgsProcessingException, match="no such file"):
        run("estimate", RESULTS=[str(result)], SAMPLE=str(drawn), ANSWERS=[str(answers) + "x"])


def test_what_is_learnt_grades_the_result_anew(run, result, drawn, tmp_path):
    model, better = tmp_path / "m.toml", tmp_path / "better.gpkg"
    outputs = run("adapt", RESULTS=[str(result)], ANSWERS=str(drawn), OUTPUT=str(model))
    assert outputs["HELPS"] is True
    assert "AUC" in Path(outputs["SUMMARY"]).read_text()
    run("regrade", RESULT=str(result), MODEL=str(model), OUTPUT=str(better))
    layer = QgsVectorLayer(str(better), "better", "ogr")
    assert sum("reviewed" in f["source"] for f in layer.getFeatures()) == 50
    assert not journal_path(better).exists()


def test_a_result_without_features_is_refused_in_one_line(run, drawn, sample_result, tmp_path):
    with pytest.raises(QgsProcessingException, match="has no features") as caught:
        run(
            "adapt", RESULTS=[str(sample_result)], ANSWERS=str(drawn),
            OUTPUT=str(tmp_path / "m.toml"),
        )  # fmt: skip
    assert "\n" not in str(caught.value)


def test_an_assessment_keeps_features(assess, tmp_path):
    features = tmp_path / "f.npz"
    outputs = assess(OUTPUT=str(tmp_path / "b.gpkg"), FEATURES=str(features), ENGINE="onnxruntime")
    assert outputs["FEATURES"] == str(features)
    facts = json.loads((tmp_path / "b.gpkg.json").read_text())
    assert facts["features"]["file"] == "f.npz"
    assert "ONNX Runtime" in facts["model"]["provider"]
