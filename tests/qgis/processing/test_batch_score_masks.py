"""The algorithms for many scenes and for labelled pairs."""

import json
import re
import shutil
from pathlib import Path

import pytest
from features import read_features


def test_a_batch_of_two_scenes_is_one_layer(run, assess, small_pair, tmp_path):
    from geodamage_qgis.results.layers import dress
    from qgis.core import QgsVectorLayer

    pair = small_pair
    assess(OUTPUT=str(tmp_path / "one.gpkg"))
    manifest = tmp_path / "scenes.csv"
    manifest.write_text(f"name,pre,post\none,{pair[0]},{pair[1]}\ntwo,{pair[0]},{pair[1]}\n")
    output = tmp_path / "assessed"
    values = {"MANIFEST": str(manifest), "OUTPUT": str(output), "WORKERS": 1, "REPORTS": True}
    found = run("batch", **values, LOAD=False)
    assert (found["DONE"], found["FAILED"]) == (2, 0)
    scenes = sorted(output.glob("scenes/*/buildings.gpkg"))
    assert len(scenes) == 2
    assert read_features(scenes[0]) == read_features(tmp_path / "one.gpkg")
    event = QgsVectorLayer(found["EVENT"], "event", "ogr")
    # What two scenes show is in the event once.
    assert event.featureCount() == len(read_features(scenes[0]))
    dress(event)
    assert "preliminary" in Path(found["SUMMARY"]).read_text(encoding="utf-8")

    assert Path(found["REPORT"]).is_file()

    again = run("batch", **values, LOAD=False)
    assert (again["DONE"], again["FAILED"]) == (2, 0)


def test_a_folder_of_images_is_a_batch(run, small_pair, tmp_path):
    for date, path in zip(("pre", "post"), small_pair, strict=True):
        (tmp_path / "event" / date).mkdir(parents=True)
        shutil.copy(path, tmp_path / "event" / date / "one.tif")
    output = tmp_path / "out"
    found = run("batch", FOLDER=str(tmp_path / "event"), OUTPUT=str(output), LOAD=False)
    assert (found["DONE"], found["FAILED"]) == (1, 0)


def test_a_folder_is_picked_as_one(provider, tmp_path):
    from qgis.core import QgsProcessingContext, QgsProcessingParameterFile
    from qgis.gui import QgsFileWidget, QgsGui, QgsProcessingGui
    from qgis.PyQt.QtTest import QTest

    algorithm = provider.algorithm("batch").create()
    parameter = algorithm.parameterDefinition("FOLDER")
    assert parameter.behavior() == QgsProcessingParameterFile.Behavior.Folder
    wrapper = QgsGui.processingGuiRegistry().createParameterWidgetWrapper(
        parameter, QgsProcessingGui.WidgetType.Standard
    )
    context = QgsProcessingContext()
    field = wrapper.createWrappedWidget(context)
    assert field.storageMode() == QgsFileWidget.StorageMode.GetDirectory
    field.show()
    QTest.keyClicks(field.lineEdit(), str(tmp_path))
    assert wrapper.parameterValue() == str(tmp_path)
    field.close()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "no scenes: give a folder"),
        ({"FOLDER": "{here}", "MANIFEST": "{here}"}, "a folder and a list of scenes: give"),
        ({"FOLDER": "{here}"}, "has no folders pre and post"),
        ({"MANIFEST": "{here}/none.csv"}, "no such file or folder"),
    ],
)
def test_wrong_scenes_are_refused_before_anything_runs(provider, tmp_path, values, said):
    from qgis.core import QgsProcessingContext

    given = {name: text.format(here=tmp_path) for name, text in values.items()}
    algorithm = provider.algorithm("batch")
    good, why = algorithm.checkParameterValues(
        {"OUTPUT": str(tmp_path / "out"), **given}, QgsProcessingContext()
    )
    assert not good
    assert said in why


def test_the_help_names_every_column_of_a_list(provider):
    from folders import ROOT

    documented = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    rows = [line for line in documented.splitlines() if line.startswith("| `")]
    columns = {name for row in rows[:4] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert {"pre", "post", "date", "simplify"} <= columns
    shown = provider.algorithm("batch").shortHelpString()
    assert [name for name in columns if not re.search(rf"\b{name}\b", shown)] == []


def test_a_scene_that_fails_is_named_and_the_others_are_done(
    run, small_pair, raster_elsewhere, tmp_path
):
    pair = small_pair
    manifest = tmp_path / "scenes.csv"
    manifest.write_text(
        f"name,pre,post\ngood,{pair[0]},{pair[1]}\nbad,{pair[0]},{raster_elsewhere}\n"
    )
    found = run("batch", MANIFEST=str(manifest), OUTPUT=str(tmp_path / "out"), LOAD=False)
    assert (found["DONE"], found["FAILED"]) == (1, 1)
    assert "bad: the images do not overlap" in run.feedback.textLog()


def test_predictions_that_are_the_targets_score_one(run, masks, tmp_path):
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    targets = tmp_path / "targets"
    targets.mkdir()
    for kind in ("localization", "damage"):
        from osgeo import gdal

        for folder, end in ((predictions, "prediction"), (targets, "target")):
            path = folder / f"test_{kind}_00000_{end}.png"
            gdal.GetDriverByName("PNG").CreateCopy(str(path), masks[kind])
    output = tmp_path / "scores.json"
    found = run("score", PREDICTIONS=str(predictions), TARGETS=str(targets), OUTPUT=str(output))
    assert found["SCORE"] == pytest.approx(1.0)
    assert json.loads(output.read_text())["score"] == pytest.approx(1.0)
    assert "1.0000" in Path(found["SUMMARY"]).read_text(encoding="utf-8")


def test_masks_without_labels_are_refused(provider):
    from qgis.core import QgsProcessingContext

    algorithm = provider.algorithm("masks").create()
    values = {"OUTPUT": "TEMPORARY_OUTPUT"}
    good, why = algorithm.checkParameterValues(values, QgsProcessingContext())
    assert not good
    assert why == "no labels: give label files or a folder of them"


def test_labels_become_masks(run, label_file, command_line, tmp_path):
    by_command = tmp_path / "command"
    command_line("masks", label_file, "-o", by_command, "-q")
    found = run("masks", LABELS=[str(label_file)], OUTPUT=str(tmp_path / "qgis"))
    assert found["MASKS"] == 1
    of_folder = run("masks", FOLDER=str(label_file.parent), OUTPUT=str(tmp_path / "all"))
    assert of_folder["MASKS"] == 1
    (expected,) = by_command.glob("*.png")
    assert (tmp_path / "qgis" / expected.name).read_bytes() == expected.read_bytes()


@pytest.fixture
def masks(qgis_app):
    """Return masks with every grade, in memory."""
    from osgeo import gdal

    made = {}
    for kind, values in (("localization", [0, 1]), ("damage", [0, 1, 2, 3, 4])):
        dataset = gdal.GetDriverByName("MEM").Create("", 64, 64, 1, gdal.GDT_Byte)
        pixels = bytes(values[(column // 8) % len(values)] for column in range(64)) * 64
        if kind == "localization":
            grades = [0, 1, 2, 3, 4]
            pixels = bytes(bool(grades[(c // 8) % 5]) for c in range(64)) * 64
        dataset.WriteRaster(0, 0, 64, 64, pixels)
        made[kind] = dataset
    return made


@pytest.fixture
def label_file(tmp_path):
    """Return an xBD label file with two buildings."""

    def building(left, grade):
        corners = [(left, 20), (left + 30, 20), (left + 30, 50), (left, 50), (left, 20)]
        ring = ", ".join(f"{x} {y}" for x, y in corners)
        properties = {"feature_type": "building", "subtype": grade, "uid": f"b{left}"}
        return {"properties": properties, "wkt": f"POLYGON (({ring}))"}

    shapes = [building(10, "no-damage"), building(60, "destroyed")]
    path = tmp_path / "storm_00000001_post_disaster.json"
    content = {
        "features": {"xy": shapes, "lng_lat": []},
        "metadata": {"width": 1024, "height": 1024, "img_name": "storm_00000001_post_disaster.png"},
    }
    path.write_text(json.dumps(content))
    return path
