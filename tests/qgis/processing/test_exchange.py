"""The algorithms that hand results on, and the model that is imported into the list."""

import json
import shutil
from pathlib import Path

import pytest
from folders import SAMPLE
from geodamage_qgis import settings
from geodamage_qgis.results.layers import load_result
from osgeo import gdal
from qgis.core import QgsProcessingException, QgsRasterLayer, QgsVectorLayer


@pytest.fixture
def result(sample_result, tmp_path):
    for ending in ("", ".json"):
        shutil.copy(f"{sample_result}{ending}", tmp_path)
    return tmp_path / sample_result.name


def test_a_result_is_exported_in_the_words_of_others(run, result, tmp_path):
    output = tmp_path / "cems.shp"
    layer = load_result(result)
    outputs = run("export", RESULT=layer, SCHEMA="cems", GEOMETRY="point", OUTPUT=str(output))
    assert outputs["OUTPUT"] == str(output)
    exported = QgsVectorLayer(str(output), "cems", "ogr")
    assert exported.featureCount() == layer.featureCount()
    assert "Possibly damaged" in {feature["damage_gra"] for feature in exported.getFeatures()}
    assert "becomes Possibly damaged" in run.feedback.textLog()


def test_an_export_of_another_format_is_refused(run, result, tmp_path):
    with pytest.raises(QgsProcessingException, match=r"b\.dxf: an export is one of \.gpkg"):
        run("export", RESULT=str(result), OUTPUT=str(tmp_path / "b.dxf"))
    output = tmp_path / "b.csv"
    output.touch()
    with pytest.raises(QgsProcessingException, match=r"b\.csv exists"):
        run("export", RESULT=str(result), OUTPUT=str(output))
    assert output.stat().st_size == 0


def test_a_layer_without_a_file_is_refused(run, project, tmp_path):
    layer = QgsVectorLayer("Polygon?crs=EPSG:4326", "scratch", "memory")
    project.addMapLayer(layer)
    with pytest.raises(QgsProcessingException):
        run("export", RESULT=layer, OUTPUT=str(tmp_path / "b.csv"))
    assert "scratch: is no file" in run.feedback.textLog()


def test_a_result_is_compared_with_an_official_layer(run, result, tmp_path):
    official = tmp_path / "official.geojson"
    run("export", RESULT=str(result), SCHEMA="cems", OUTPUT=str(official))
    page, output = tmp_path / "c.html", tmp_path / "c.gpkg"
    outputs = run(
        "compare", RESULT=str(result), OFFICIAL=str(official), PAGE=str(page), OUTPUT=str(output)
    )
    assert outputs["KAPPA"] == 1
    assert outputs["COMPARED"] > 50
    told = Path(outputs["SUMMARY"]).read_text(encoding="utf-8")
    assert "kappa</td><td align='right'><b>1.00</b>" in told
    assert "no proof of truth" in told
    assert page.stat().st_size
    assert QgsVectorLayer(str(output), "c", "ogr").isValid()


def test_a_result_is_not_compared_with_itself(run, result):
    layer = load_result(result)
    for official in (layer, str(result)):
        with pytest.raises(QgsProcessingException, match="given as the result and as the official"):
            run("compare", RESULT=layer, OFFICIAL=official)


def test_a_layer_of_no_known_fields_is_the_tools_one_line(run, result):
    with pytest.raises(QgsProcessingException, match=r"footprints\.geojson"):
        run("compare", RESULT=str(result), OFFICIAL=str(SAMPLE / "footprints.geojson"))


def test_results_are_merged_to_an_event(run, result, pair, project, tmp_path):
    output = tmp_path / "event.gpkg"
    raster = tmp_path / "people.tif"
    gdal.Translate(str(raster), str(pair[0]), bandList=[1], width=20, height=20, outputType=6)
    image = QgsRasterLayer(str(raster), "people")
    project.addMapLayer(image)
    outputs = run("event", RESULTS=[str(result)], POPULATION=image, CELL=100, OUTPUT=str(output))
    facts = json.loads(Path(f"{outputs['OUTPUT']}.json").read_text(encoding="utf-8"))
    assert facts["scenes"] == 1
    assert facts["buildings"] == QgsVectorLayer(str(output), "e", "ogr").featureCount()
    assert "no damage" in Path(outputs["SUMMARY"]).read_text(encoding="utf-8")


def test_an_event_needs_results(run, tmp_path):
    output = str(tmp_path / "event.gpkg")
    with pytest.raises(QgsProcessingException, match="no results"):
        run("event", OUTPUT=output)
    with pytest.raises(QgsProcessingException, match="no such folder"):
        run("event", FOLDER=str(tmp_path / "nowhere"), OUTPUT=output)


@pytest.fixture
def own_models(qgis_app, tmp_path, monkeypatch):
    """Keep the models that are imported, and their names, to the test."""
    monkeypatch.setenv("GEODAMAGE_MODELS", str(tmp_path / "models"))
    before = settings.models()
    yield
    settings.set_models(before)


def test_an_imported_model_is_in_the_list_and_grades(
    run, assess, provider, command_line, own_models, tmp_path
):
    bundled = json.loads(command_line("models", "list", "--json").stdout)[0]["path"]
    assert run("import", FILES=[bundled], NAME="mine")["MODEL"] == "mine"
    assert (tmp_path / "models" / "mine.onnx").is_file()
    algorithm = provider.algorithm("assess").create()
    hints = algorithm.parameterDefinition("MODEL").metadata()["widget_wrapper"]["value_hints"]
    assert hints[-1] == "mine"
    assess(MODEL="mine", OUTPUT=str(tmp_path / "b.gpkg"))
    assert "--model=mine" in run.feedback.textLog()
    assert (tmp_path / "b.gpkg.json").is_file()


@pytest.mark.parametrize(
    ("name", "why"),
    [("a/b", "no name of a model"), ("", "no name of a model"), ("fast", "another")],
)
def test_a_name_that_is_none_is_refused(run, tmp_path, name, why):
    weights = tmp_path / "w.onnx"
    weights.touch()
    with pytest.raises(QgsProcessingException, match=why):
        run("import", FILES=[str(weights)], NAME=name)
    assert "models import" not in run.feedback.textLog()
