import json
from pathlib import Path

import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.results.journal import read_journal
from geodamage_qgis.results.layers import load_result
from geodamage_qgis.review.dock import ReviewDock, reviewable_layer
from graded import reopen, reviewed
from qgis.core import (
    QgsGeometry,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication
from reviewer import current, extent_of, press


def test_a_result_in_degrees_is_shown_in_metres(open_review, sample, tmp_path):
    path = sample.copy_result("buildings.geojson", tmp_path)
    layer = load_result(path)
    assert layer.crs().isGeographic()
    dock = open_review(layer)
    assert dock.before.canvas.mapSettings().destinationCrs().authid() == "EPSG:32616"
    box = dock.before._outline.asGeometry().boundingBox()
    assert 402000 < box.center().x() < 402320
    sidecar = Path(f"{path}.json")
    facts = json.loads(sidecar.read_text())
    del facts["scene"]["crs"]
    sidecar.write_text(json.dumps(facts))
    alone = open_review(layer)
    assert alone.before.canvas.mapSettings().destinationCrs().authid() == "EPSG:3857"
    assert extent_of(alone).width() < 1000


@pytest.mark.parametrize("name", ["buildings.geojson", "buildings.fgb"])
def test_formats_that_qgis_writes_get_the_fields(open_review, project, sample, tmp_path, name):
    path = sample.copy_result(name, tmp_path)
    layer = load_result(path)
    shapes = {f["building_id"]: f.geometry().asWkt(7) for f in layer.getFeatures()}
    dock = open_review(layer)
    first, second = (building.building_id for building in dock.walk.buildings[:2])
    press(dock, Qt.Key.Key_1)
    press(dock, Qt.Key.Key_2)
    expected = {first: "no-damage", second: "minor-damage"}
    assert reviewed(layer) == expected
    dock.close()
    again = reopen(project, path)
    assert reviewed(again) == expected
    assert {f["building_id"]: f.geometry().asWkt(7) for f in again.getFeatures()} == shapes


def test_geojson_keeps_its_form_and_says_utc(open_review, project, sample, tmp_path):
    path = sample.copy_result("buildings.geojson", tmp_path)
    for key in (Qt.Key.Key_1, Qt.Key.Key_2):
        dock = open_review(load_result(path))
        press(dock, key)
        dock.close()
        project.clear()
    content = json.loads(path.read_text())
    assert "crs" not in content
    moments = [f["properties"].get("reviewed_at") for f in content["features"]]
    assert [moment[-1] for moment in moments if moment is not None] == ["Z", "Z"]
    assert content["features"][0]["id"] == content["features"][0]["properties"]["building_id"]


def test_a_moment_that_qgis_took_for_one_is_read_as_utc(open_review, project, sample, tmp_path):
    path = sample.copy_result("buildings.geojson", tmp_path)
    dock = open_review(load_result(path))
    press(dock, Qt.Key.Key_1)
    dock.close()
    held = read_journal(path)
    project.clear()
    layer = QgsVectorLayer(str(path), "opened by hand", "ogr")  # here it is a DateTime
    project.addMapLayer(layer)
    dock = open_review(layer)
    assert dock.walk.reviews == held
    press(dock, Qt.Key.Key_2)
    assert len(reviewed(layer)) == 2


def test_a_format_that_qgis_cannot_write_says_so_in_one_line(
    open_review, iface, project, sample, tmp_path
):
    path = sample.copy_result("buildings.geojsonl", tmp_path)
    before = path.read_bytes()
    dock = open_review(load_result(path))
    assert "QGIS cannot change buildings.geojsonl" in iface.messages()[0]
    assert "buildings.geojsonl.reviews.jsonl" in iface.messages()[0]
    name = current(dock)
    press(dock, Qt.Key.Key_4)
    assert len(iface.messages()) == 1
    assert read_journal(path)[name].reviewed_damage == "destroyed"
    dock.close()
    assert open_review(reopen(project, path)).walk.reviewed == 1
    assert path.read_bytes() == before


def test_a_layer_marked_read_only_keeps_corrections_in_the_journal(open_review, iface, result):
    layer = load_result(result)
    layer.setReadOnly(True)
    dock = open_review(layer)
    assert "save it as GeoPackage" in iface.messages()[0]
    press(dock, Qt.Key.Key_4)
    assert reviewed(layer) == {}
    assert len(read_journal(result)) == 1


def test_a_journal_that_cannot_be_written_is_said(open_review, iface, result):
    layer = load_result(result)
    dock = open_review(layer)
    Path(f"{result}.reviews.jsonl").mkdir()
    press(dock, Qt.Key.Key_4)
    assert "would not survive another run" in iface.messages()[-1]


def test_the_last_building_is_said(open_review, iface, result):
    layer = load_result(result)
    layer.setSubsetString("\"building_id\" IN ('1', '2')")
    dock = open_review(layer)
    press(dock, Qt.Key.Key_4)
    press(dock, Qt.Key.Key_4)
    assert "all 2 buildings are reviewed" in iface.messages()[-1]


def test_what_cannot_be_reviewed_is_refused(iface, project, result, sample):
    with pytest.raises(PluginError, match="no result to review"):
        reviewable_layer(None)
    layer = load_result(result)
    assert reviewable_layer(None) is layer
    layer.setSubsetString("\"status\" = 'not_assessed'")
    with pytest.raises(PluginError, match="no building that was assessed"):
        ReviewDock(iface, layer)


def test_the_style_shows_the_correction(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    name = current(dock)
    press(dock, Qt.Key.Key_4)
    layer.selectByExpression(layer.renderer().rootRule().children()[3].filterExpression())
    assert name in {feature["building_id"] for feature in layer.selectedFeatures()}


def test_a_building_that_is_gone_from_the_layer_is_said(open_review, iface, result):
    layer = load_result(result)
    dock = open_review(layer)
    second = dock.walk.buildings[1].feature_id
    layer.dataProvider().deleteFeatures([second])
    press(dock, Qt.Key.Key_Right)
    assert "not in the layer any more" in iface.messages()[-1]
    assert isinstance(dock.before._outline.asGeometry(), QgsGeometry)


def test_keys_work_when_the_review_opens(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    name = current(dock)
    QTest.qWaitForWindowActive(dock.window())
    assert QApplication.focusWidget() is dock.widget()
    press(dock, Qt.Key.Key_4)
    assert reviewed(layer) == {name: "destroyed"}
