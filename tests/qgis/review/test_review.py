from pathlib import Path

import pytest
from geodamage_qgis.results.journal import read_journal
from geodamage_qgis.results.layers import load_result
from graded import reopen, reviewed
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsRectangle,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication
from reviewer import click, current, press


def test_the_least_certain_building_comes_first(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    assessed = [f for f in layer.getFeatures() if f["status"] != "not_assessed"]
    assert len(dock.walk) == len(assessed) == 78
    least = min(assessed, key=lambda feature: feature["confidence"])
    assert current(dock) == least["building_id"]
    confidences = [building.confidence for building in dock.walk.buildings]
    assert confidences == sorted(confidences)
    assert any(building.status == "partial" for building in dock.walk.buildings)


def test_both_dates_show_the_building_at_the_same_place(open_review, result, wait):
    layer = load_result(result)
    dock = open_review(layer)
    assert [image.name() for image in dock.before.shown()] == ["before: pre"]
    assert [image.name() for image in dock.after.shown()] == ["after: post"]
    box = layer.getFeature(dock.walk.current.feature_id).geometry().boundingBox()
    for view in (dock.before, dock.after):
        assert view.canvas.extent().contains(box)
        assert view.canvas.extent().width() < 10 * max(box.width(), 20)
    outlines = [view._outline.asGeometry() for view in (dock.before, dock.after)]
    assert all(outline.boundingBox() == box for outline in outlines)


def test_the_views_are_linked_both_ways(open_review, result):
    dock = open_review(load_result(result))
    place = QgsRectangle(402100, 3344800, 402150, 3344850)
    for leader, follower in ((dock.before, dock.after), (dock.after, dock.before)):
        leader.canvas.setExtent(place)
        centre = leader.canvas.extent().center()
        assert follower.canvas.extent().center().distance(centre) < 0.01
        assert follower.canvas.scale() == pytest.approx(leader.canvas.scale(), rel=0.02)
        place = QgsRectangle(402200, 3344900, 402210, 3344910)


def test_keys_grade_and_go_on(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    names = [building.building_id for building in dock.walk.buildings[:5]]
    for key in (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_3, Qt.Key.Key_4):
        press(dock, key)
    grades = ["no-damage", "minor-damage", "major-damage", "destroyed"]
    assert reviewed(layer) == dict(zip(names[:4], grades, strict=True))
    assert current(dock) == names[4]
    assert "4 reviewed" in dock.panel.where.text()
    assert not layer.isEditable()


def test_a_correction_says_who_and_when(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    name = current(dock)
    press(dock, Qt.Key.Key_4, Qt.KeyboardModifier.KeypadModifier)
    feature = next(f for f in layer.getFeatures() if f["building_id"] == name)
    assert feature["reviewer"] == "Ada"
    assert feature["reviewed_at"].startswith("20")
    assert feature["reviewed_at"].endswith("Z")
    held = read_journal(result)[name]
    assert (held.reviewer, held.reviewed_at) == ("Ada", feature["reviewed_at"])


def test_enter_accepts_what_the_model_said(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    building = dock.walk.current
    press(dock, Qt.Key.Key_Return)
    assert reviewed(layer) == {building.building_id: building.damage}
    assert current(dock) != building.building_id


def test_undo_takes_back_and_shows_the_building_again(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    first = current(dock)
    press(dock, Qt.Key.Key_1)
    press(dock, Qt.Key.Key_2)
    press(dock, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    press(dock, Qt.Key.Key_Backspace)
    assert current(dock) == first
    assert reviewed(layer) == {}
    assert read_journal(result) == {}
    assert not dock.panel.undo_button.isEnabled()


def test_undo_gives_back_the_correction_before(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    first = current(dock)
    press(dock, Qt.Key.Key_1)
    press(dock, Qt.Key.Key_Left)
    press(dock, Qt.Key.Key_4)
    assert reviewed(layer) == {first: "destroyed"}
    press(dock, Qt.Key.Key_Backspace)
    assert reviewed(layer) == {first: "no-damage"}
    assert read_journal(result)[first].reviewed_damage == "no-damage"


def test_next_previous_and_skipping(open_review, result):
    dock = open_review(load_result(result))
    names = [building.building_id for building in dock.walk.buildings]
    press(dock, Qt.Key.Key_Right)
    press(dock, Qt.Key.Key_2)
    press(dock, Qt.Key.Key_Left)
    press(dock, Qt.Key.Key_Left)
    assert current(dock) == names[0]
    press(dock, Qt.Key.Key_Right)
    assert current(dock) == names[2]
    dock.panel.skip.setChecked(False)
    press(dock, Qt.Key.Key_P)
    assert current(dock) == names[1]
    assert "Reviewed by Ada: <b>minor damage</b>" in dock.panel.said.text()
    assert dock.panel.rows["minor-damage"][0].isChecked()


def test_buttons_do_what_keys_do(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    first = current(dock)
    dock.panel.rows["major-damage"][0].click()
    assert reviewed(layer) == {first: "major-damage"}
    dock.panel.undo_button.click()
    dock.panel.accept_button.click()
    assert set(reviewed(layer)) == {first}
    dock.panel.previous_button.click()
    assert current(dock) == first
    dock.panel.next_button.click()
    assert current(dock) != first


def test_digits_in_the_name_of_the_reviewer_grade_nothing(open_review, result, wait):
    layer = load_result(result)
    dock = open_review(layer)
    dock.panel.reviewer.setFocus()
    wait(dock.panel.reviewer.hasFocus, 5)
    QTest.keyClicks(dock.panel.reviewer, "4")
    QTest.keyClick(dock.panel.reviewer, Qt.Key.Key_Return)
    assert reviewed(layer) == {}
    assert dock.panel.reviewer.text() == "Ada4"
    assert QgsSettings().value("geodamage/reviewer") == "Ada4"


def test_a_review_goes_on_where_it_stopped(open_review, project, result):
    dock = open_review(load_result(result))
    done = current(dock)
    press(dock, Qt.Key.Key_4)
    going_on = current(dock)
    dock.close()
    layer = reopen(project, result)
    assert reviewed(layer) == {done: "destroyed"}
    assert current(open_review(layer)) == going_on


def test_a_correction_survives_a_run_with_overwrite(open_review, project, sample):
    output = sample.assess("reviewed.gpkg")
    layer = load_result(output)
    dock = open_review(layer)
    name = current(dock)
    press(dock, Qt.Key.Key_4)
    dock.close()
    sample.assess("reviewed.gpkg", "--overwrite")
    assert reviewed(QgsVectorLayer(str(output), "new", "ogr")) == {}
    assert load_result(output) is layer
    assert reviewed(layer) == {name: "destroyed"}


def test_a_layer_that_the_user_edits_keeps_the_edit_open(open_review, result):
    layer = load_result(result)
    layer.startEditing()
    dock = open_review(layer)
    name = current(dock)
    press(dock, Qt.Key.Key_4)
    assert layer.isEditable()
    assert reviewed(layer) == {name: "destroyed"}
    assert reviewed(QgsVectorLayer(str(result), "disk", "ogr")) == {}
    press(dock, Qt.Key.Key_Backspace)
    assert reviewed(layer) == {}
    press(dock, Qt.Key.Key_3)
    assert layer.commitChanges(), layer.commitErrors()
    assert reviewed(QgsVectorLayer(str(result), "disk", "ogr")) == {name: "major-damage"}


def test_edits_of_the_user_are_not_saved_by_a_review(open_review, result):
    layer = load_result(result)
    layer.startEditing()
    other = next(f for f in layer.getFeatures() if f["status"] == "not_assessed")
    layer.changeAttributeValue(other.id(), layer.fields().lookupField("source"), "mine")
    press(open_review(layer), Qt.Key.Key_4)
    layer.rollBack()
    assert "mine" not in {feature["source"] for feature in layer.getFeatures()}
    assert len(read_journal(result)) == 1


def test_a_filtered_layer_is_reviewed_within_its_filter(open_review, result):
    layer = load_result(result)
    layer.setSubsetString("\"damage\" = 'destroyed'")
    dock = open_review(layer)
    assert len(dock.walk) == layer.featureCount() < 78
    name = current(dock)
    press(dock, Qt.Key.Key_2)
    assert reviewed(layer) == {name: "minor-damage"}
    assert layer.subsetString() == "\"damage\" = 'destroyed'"
    assert reviewed(QgsVectorLayer(str(result), "disk", "ogr")) == {name: "minor-damage"}


def test_a_filter_that_changes_during_the_review_is_followed(open_review, iface, result):
    layer = load_result(result)
    dock = open_review(layer)
    press(dock, Qt.Key.Key_1)
    layer.setSubsetString("\"damage\" = 'destroyed'")
    assert len(dock.walk) == layer.featureCount()
    assert dock.walk.current.damage == "destroyed"
    layer.setSubsetString("\"damage\" = 'none of these'")
    assert "no building to review" in iface.messages()[-1]


def test_without_the_image_of_before_the_review_goes_on(open_review, project, result, sample):
    sidecar = Path(f"{result}.json")
    sidecar.write_text(sidecar.read_text().replace("pre.tif", "gone.tif"))
    layer = load_result(result)
    dock = open_review(layer)
    assert dock.before.shown() == []
    assert "image is gone" in dock.before.choice.currentText()
    press(dock, Qt.Key.Key_4)
    assert len(reviewed(layer)) == 1
    dock.before.choice.setCurrentIndex(dock.before.choice.findText("after: post"))
    assert [image.name() for image in dock.before.shown()] == ["after: post"]


def test_an_image_that_is_removed_during_the_review_does_no_harm(open_review, project, result):
    layer = load_result(result)
    dock = open_review(layer)
    image = dock.before.shown()[0]
    project.removeMapLayer(image.id())
    assert dock.before.shown() == []
    press(dock, Qt.Key.Key_4)
    assert len(reviewed(layer)) == 1


def test_a_layer_that_is_removed_closes_the_review(open_review, project, result):
    layer = load_result(result)
    dock = open_review(layer)
    project.removeMapLayer(layer.id())
    assert not dock.isVisible()


def test_a_result_without_sidecar_can_be_reviewed(open_review, project, result):
    Path(f"{result}.json").unlink()
    layer = QgsVectorLayer(str(result), "copy", "ogr")
    project.addMapLayer(layer)
    press(open_review(layer), Qt.Key.Key_4)
    assert len(reviewed(layer)) == 1


def test_the_main_map_follows_in_another_crs(open_review, project, iface, result):
    layer = load_result(result)
    iface.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    iface.canvas.setExtent(QgsRectangle(10, 10, 10.01, 10.01))
    dock = open_review(layer)
    centre = iface.canvas.extent().center()
    assert -88.02 < centre.x() < -88.01
    assert 30.22 < centre.y() < 30.24
    dock.panel.follow.setChecked(False)
    press(dock, Qt.Key.Key_Right)
    assert iface.canvas.extent().center() == centre


# Where the keys go.


@pytest.mark.parametrize("view", ["before", "after"])
def test_keys_work_after_a_click_on_a_view(open_review, result, view):
    layer = load_result(result)
    dock = open_review(layer)
    names = [building.building_id for building in dock.walk.buildings[:3]]
    canvas = getattr(dock, view).canvas
    click(canvas.viewport())
    press(dock, Qt.Key.Key_Right)
    assert current(dock) == names[1]
    canvas.setFocus()  # as by the tabulator key
    before = canvas.extent()
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Left):  # the second stays where it is
        press(dock, key)
    assert current(dock) == names[0]
    assert canvas.extent() != before  # of another building
    press(dock, Qt.Key.Key_3)
    assert reviewed(layer) == {names[0]: "major-damage"}


def test_keys_work_after_an_image_was_chosen(open_review, result):
    layer = load_result(result)
    dock = open_review(layer)
    name = current(dock)
    choice = dock.before.choice
    click(choice)
    choice.hidePopup()
    choice.setFocus()
    press(dock, Qt.Key.Key_2)
    assert reviewed(layer) == {name: "minor-damage"}
    assert choice.currentIndex() == 0


def test_a_name_is_typed_into_its_field_and_enter_goes_back(open_review, result):
    dock = open_review(load_result(result))
    field = dock.panel.reviewer
    click(field)
    field.selectAll()
    for key in (Qt.Key.Key_1, Qt.Key.Key_2):
        press(dock, key)
    assert field.text() == "12"
    assert dock.walk.reviewed == 0
    press(dock, Qt.Key.Key_Return)
    assert QApplication.focusWidget() is dock.widget()
    assert dock.walk.reviewed == 0
