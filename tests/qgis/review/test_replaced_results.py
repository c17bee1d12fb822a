import shutil
import sqlite3

import pytest
from geodamage_qgis.results.journal import read_journal
from geodamage_qgis.results.layers import load_result
from graded import reviewed
from qgis.core import (
    QgsProject,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt
from reviewer import current, press


def replace(path, source):
    """Put another result in the place of one, as a run with `--overwrite` does."""
    for ending in ("", ".json"):
        copy = path.with_name(f".{path.name}{ending}.new")
        shutil.copy(f"{source}{ending}", copy)
        copy.replace(f"{path}{ending}")


@pytest.fixture
def reversed_result(result, tmp_path):
    """Return a result of the same buildings whose features have other numbers."""
    folder = tmp_path / "other"
    folder.mkdir()
    path = folder / result.name
    layer = QgsVectorLayer(str(result), "buildings", "ogr")
    features = sorted(layer.getFeatures(), key=lambda feature: -feature.id())
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "GPKG", "buildings"
    writer = QgsVectorFileWriter.create(
        str(path), layer.fields(), layer.wkbType(), layer.crs(),
        QgsProject.instance().transformContext(), options,
    )  # fmt: skip
    for number, feature in enumerate(features, start=1):
        feature.setAttribute("fid", number)
        assert writer.addFeature(feature)
    del writer
    shutil.copy(f"{result}.json", f"{path}.json")
    return path


def test_a_correction_after_a_run_lands_on_the_building_that_is_shown(
    open_review, result, reversed_result, wait
):
    layer = load_result(result)
    dock = open_review(layer)
    press(dock, Qt.Key.Key_1)
    first = dock.walk.buildings[0].building_id
    replace(result, reversed_result)
    assert load_result(result) is layer
    name = current(dock)
    press(dock, Qt.Key.Key_4)
    assert reviewed(layer) == {first: "no-damage", name: "destroyed"}
    assert {n: r.reviewed_damage for n, r in read_journal(result).items()} == reviewed(layer)


def test_a_result_that_was_replaced_behind_the_layer_is_read_again(
    open_review, result, reversed_result
):
    layer = load_result(result)
    dock = open_review(layer)
    replace(result, reversed_result)  # in a terminal: QGIS hears nothing of it
    name = current(dock)
    press(dock, Qt.Key.Key_4)
    fresh = QgsVectorLayer(str(result), "fresh", "ogr")
    assert reviewed(fresh) == reviewed(layer) == {name: "destroyed"}
    outlines = dock.before._outline.asGeometry().boundingBox()
    shown = next(f for f in layer.getFeatures() if f["building_id"] == current(dock))
    assert outlines == shown.geometry().boundingBox()


def test_the_building_that_is_shown_stays_when_the_result_is_read_again(
    open_review, result, reversed_result
):
    layer = load_result(result)
    dock = open_review(layer)
    for _ in range(3):
        press(dock, Qt.Key.Key_Right)
    name = current(dock)
    replace(result, reversed_result)
    load_result(result)
    assert current(dock) == name


def test_buildings_that_the_new_result_lacks_are_left_out(open_review, result, tmp_path):
    layer = load_result(result)
    dock = open_review(layer)
    gone = current(dock)
    connection = sqlite3.connect(result)
    copy = tmp_path / "copy.gpkg"
    with sqlite3.connect(copy) as target:
        connection.backup(target)
        # QGIS has opened it to write: what it holds must be in the one file that is moved.
        target.execute("PRAGMA journal_mode = delete")
        target.execute("DROP TRIGGER IF EXISTS rtree_buildings_geom_delete")
        target.execute("DELETE FROM buildings WHERE building_id = ?", (gone,))
    connection.close()
    copy.replace(result)
    load_result(result)
    assert gone not in {building.building_id for building in dock.walk.buildings}
    assert current(dock) != gone


def test_the_review_closes_when_its_source_is_no_result_any_more(
    open_review, iface, result, sample
):
    layer = load_result(result)
    dock = open_review(layer)
    layer.setDataSource(str(sample.folder / "footprints.geojson"), "other", "ogr")
    assert not dock.isVisible()
    assert "no result" in iface.messages()[-1]
