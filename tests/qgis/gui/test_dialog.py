"""The dialog: it fills, runs, reports, cancels, and never waits."""

import shutil
import time
from pathlib import Path

import pytest
from features import read_features
from geodamage_qgis.results.results import output_path
from reviewer import click


@pytest.fixture
def plugin(iface):
    """Return the plugin, loaded; it is unloaded with the test."""
    from geodamage_qgis import classFactory

    loaded = classFactory(iface)
    loaded.initGui()
    yield loaded
    loaded.unload()


@pytest.fixture
def images(small_pair, project):
    """Return the layers of the corner of the pair, after before before."""
    from qgis.core import QgsRasterLayer

    found = {path.stem: QgsRasterLayer(str(path), path.stem) for path in small_pair}
    project.addMapLayers([found["post"], found["pre"]])
    return found


@pytest.fixture
def dialog(plugin, configured, images, wait):
    """Return the dialog, open, when it has heard of the models."""
    plugin.open_dialog()
    wait(lambda: plugin.dialog._lookers.idle)
    return plugin.dialog


def messages(bar):
    return [item.property("text") or item.text() for item in bar.items()]


def finish(dialog, wait):
    wait(lambda: dialog._task is None, 120)


def test_it_fills_with_the_layers_and_the_models(dialog, images):
    assert dialog.form.pre.value() == [images["pre"]]
    assert dialog.form.post.value() == [images["post"]]
    models = dialog.form.model.models
    assert [models.itemData(row) for row in range(models.count())][:2] == [None, "fast"]
    assert "CC BY-NC-SA" in models.itemText(1)
    assert messages(dialog.bar) == []


def test_without_a_program_it_offers_to_set_one_up(plugin, images, wait):
    from geodamage_qgis import settings
    from qgis.PyQt.QtWidgets import QPushButton

    settings.set_executable("/nowhere/geodamage")
    plugin.open_dialog()
    wait(lambda: messages(plugin.dialog.bar))
    assert "/nowhere/geodamage: no such file" in messages(plugin.dialog.bar)[0]
    buttons = plugin.dialog.bar.findChildren(QPushButton)
    assert any(button.text() == "Set up…" for button in buttons)


def test_what_is_missing_is_said_in_the_message_bar(dialog, tmp_path):
    dialog.form.output.setFilePath(str(tmp_path / "b.kml"))
    click(dialog.run_button)
    assert messages(dialog.bar)[0].endswith("name it b.gpkg")
    (tmp_path / "there.shp").touch()
    dialog.form.output.setFilePath(str(tmp_path / "there.shp"))
    click(dialog.run_button)
    assert "there.shp: is there already" in messages(dialog.bar)[0]
    (tmp_path / "there.shp").unlink()
    dialog.form.output.setFilePath(str(tmp_path / "no folder" / "b.gpkg"))
    click(dialog.run_button)
    assert "no such folder" in messages(dialog.bar)[0]
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    dialog.form.pre.layers.setCurrentIndex(0)
    click(dialog.run_button)
    assert "No image from before the disaster" in messages(dialog.bar)[0]
    dialog.form.guess()
    dialog.form.bands.setText("red")
    click(dialog.run_button)
    assert "write numbers separated by commas" in messages(dialog.bar)[0]
    assert dialog._task is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_loads_its_result_and_never_blocks(
    dialog, iface, project, wait, command_line, small_pair, tmp_path
):
    from qgis.PyQt.QtCore import QTimer, QUrl

    iface.canvas.setDestinationCrs(project.mapLayersByName("pre")[0].crs())
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    output = tmp_path / "buildings.gpkg"
    dialog.form.output.setFilePath(str(output))
    for box in dialog.form.beside.values():
        box.setChecked(True)
    timer.start(20)
    click(dialog.run_button)
    assert dialog.cancel_button.isEnabled()
    assert not dialog.run_button.isEnabled()
    finish(dialog, wait)
    timer.stop()
    # Opening the result takes its time at the end; the run itself takes none of the interface's.
    gaps = sorted(ticks[k] - ticks[k - 1] for k in range(1, len(ticks)))
    assert len(ticks) > 20
    assert gaps[-3] < 0.5

    command_line("assess", *small_pair, "-o", tmp_path / "command.gpkg", "-q")
    assert read_features(output) == read_features(tmp_path / "command.gpkg")
    assert (tmp_path / "buildings.html").stat().st_size
    assert (tmp_path / "buildings.npz").stat().st_size
    assert ".npz" not in dialog.summary.toHtml()
    names = [layer.name() for layer in project.mapLayers().values()]
    assert names.count("buildings") == 1
    assert iface.activeLayer().name() == "buildings"
    assert project.layerTreeRoot().findGroup("buildings") is not None
    assert "damaged" in messages(dialog.bar)[0]
    assert dialog.progress.value() == dialog.progress.maximum()
    assert "preliminary" in dialog.summary.toPlainText()
    layer = iface.activeLayer()
    assert iface.canvas.extent().contains(layer.extent())
    assert iface.canvas.extent().center().distance(layer.extent().center()) < 1
    for name in ("buildings.html", "buildings_grades.tif", "buildings_probabilities.tif"):
        assert name in dialog.summary.toPlainText()
    dialog.open_link(QUrl.fromLocalFile(str(tmp_path / "buildings_grades.tif")))
    assert project.mapLayersByName("buildings_grades")[0].isValid()
    assert "geodamage assess --progress json" in dialog.log.toPlainText().replace("-- ", " ")


def test_a_shapefile_is_written_of_the_result_that_is_shown(dialog, iface, wait, tmp_path):
    from qgis.core import QgsVectorLayer

    dialog.form.output.setFilePath(str(tmp_path / "b.shp"))
    click(dialog.run_button)
    finish(dialog, wait)
    wait(lambda: (tmp_path / "b.shp.json").exists() and dialog._lookers.idle)
    assert output_path(iface.activeLayer()) == tmp_path / "b.gpkg"
    shapes = QgsVectorLayer(str(tmp_path / "b.shp"), "shapes", "ogr")
    assert shapes.featureCount() == len(read_features(tmp_path / "b.gpkg"))
    assert "bldg_id" in shapes.fields().names()
    assert dialog.status.text().startswith("b.shp is written; the map shows b.gpkg")
    (said,) = messages(dialog.bar)
    assert "damaged" in said


def test_one_image_as_both_dates_is_refused(dialog, images, project, small_pair, tmp_path):
    from qgis.core import QgsRasterLayer

    twin = QgsRasterLayer(str(small_pair[0]), "another name")
    project.addMapLayer(twin)
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    for after in ([twin], [images["pre"]]):
        dialog.form.post.set_layers(after)
        click(dialog.run_button)
        assert "given as the image before and as the image after" in messages(dialog.bar)[0]
    dialog.form.post.set_files([str(small_pair[0])])
    click(dialog.run_button)
    assert "given as the image before and as the image after" in messages(dialog.bar)[0]
    assert dialog._task is None
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_goes_stops_the_run_before_it_begins(dialog, images, project, tmp_path):
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    project.removeMapLayer(images["post"].id())
    click(dialog.run_button)
    assert "No image from after the disaster" in messages(dialog.bar)[0]
    assert list(tmp_path.iterdir()) == []


def test_a_refused_input_is_the_tools_line_in_the_message_bar(
    dialog, wait, raster_elsewhere, tmp_path
):
    dialog.form.post.set_files([str(raster_elsewhere)])
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    finish(dialog, wait)
    (said,) = messages(dialog.bar)
    assert said.startswith("The images do not overlap: pre covers")
    assert "model fast" in dialog.log.toPlainText()
    assert dialog.run_button.isEnabled()
    assert list(tmp_path.iterdir()) == []


def test_cancelling_ends_the_run_and_leaves_no_half_file(dialog, wait, big_pair, tmp_path):
    dialog.form.pre.set_files([str(big_pair[0])])
    dialog.form.post.set_files([str(big_pair[1])])
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    wait(lambda: list(tmp_path.glob(".b.gpkg.*partial*")))
    click(dialog.cancel_button)
    finish(dialog, wait)
    wait(lambda: not list(tmp_path.iterdir()))
    assert dialog.status.text() == "Cancelled; nothing was written"
    assert messages(dialog.bar) == []
    assert dialog.run_button.isEnabled()


def test_unloading_ends_the_run_and_qgis_goes_on(plugin, dialog, wait, big_pair, tmp_path):
    from qgis.PyQt.QtCore import QTimer

    dialog.form.pre.set_files([str(big_pair[0])])
    dialog.form.post.set_files([str(big_pair[1])])
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    task = dialog._task
    wait(lambda: list(tmp_path.glob(".b.gpkg.*partial*")))
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(True))
    timer.start(5)
    plugin.unload()
    timer.stop()
    assert ticks  # Qt was not kept from its events
    assert task._over.is_set()  # and the thread of the run has ended
    assert list(tmp_path.iterdir()) == []


def test_unloading_before_a_run_has_begun_waits_for_nothing(plugin, dialog, tmp_path):
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    plugin.unload()
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_is_of_this_run(dialog, wait, raster_elsewhere, small_pair, tmp_path):
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    finish(dialog, wait)
    assert "damaged" in messages(dialog.bar)[0]
    assert dialog.tabs.isTabEnabled(2)

    dialog.form.post.set_files([str(raster_elsewhere)])
    dialog.form.overwrite.setChecked(True)
    click(dialog.run_button)
    assert messages(dialog.bar) == []
    assert not dialog.tabs.isTabEnabled(2)
    assert dialog.summary.toPlainText() == ""
    finish(dialog, wait)
    assert len(messages(dialog.bar)) == 1
    assert dialog.status.text() == "Failed"
    assert dialog.progress.value() == 0
    assert not dialog.tabs.isTabEnabled(2)


def test_a_run_takes_back_what_the_last_one_told_in_qgis_own_bar(dialog, iface, wait, tmp_path):
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    dialog.close()
    finish(dialog, wait)
    assert len(iface.bar.items()) == 1
    dialog.show()
    dialog.form.overwrite.setChecked(True)
    click(dialog.run_button)
    assert iface.bar.items() == []
    click(dialog.cancel_button)
    finish(dialog, wait)


def test_review_after_the_project_was_closed_loads_the_result(
    plugin, dialog, iface, project, wait, tmp_path
):
    from qgis.PyQt.QtWidgets import QPushButton

    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    dialog.close()
    finish(dialog, wait)
    (button,) = (b for b in iface.bar.findChildren(QPushButton) if b.text() == "Review")
    project.removeAllMapLayers()
    iface.active = None
    click(button)
    assert plugin.review.layer.name() == "b"
    assert project.mapLayersByName("b") == [plugin.review.layer]


def test_a_new_project_forgets_the_run_before(dialog, project, wait, tmp_path):
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    finish(dialog, wait)
    project.clear()
    assert messages(dialog.bar) == []
    assert dialog.status.text() == ""
    assert not dialog.tabs.isTabEnabled(2)


def test_a_closed_dialog_tells_the_end_in_qgis_own_bar(dialog, iface, wait, tmp_path):
    dialog.form.output.setFilePath(str(tmp_path / "b.gpkg"))
    click(dialog.run_button)
    dialog.close()
    finish(dialog, wait)
    assert "damaged" in messages(iface.bar)[0]


def test_a_result_has_a_name_by_default(dialog, images, small_pair, tmp_path):
    folder = small_pair[1].parent
    assert dialog.form.output.filePath() == str(folder / "post_damage.gpkg")
    other = shutil.copy(small_pair[1], tmp_path / "second.tif")
    (tmp_path / "second_damage.gpkg").touch()
    dialog.form.post.set_files([str(other)])
    assert dialog.form.output.filePath() == str(tmp_path / "second_damage_2.gpkg")
    dialog.form.output.setFilePath("/mine/b.gpkg")
    dialog.form.post.set_layers([images["post"]])
    assert dialog.form.output.filePath() == "/mine/b.gpkg"


def test_a_result_may_be_temporary(dialog, iface, project, wait):
    from qgis.PyQt.QtCore import Qt
    from qgis.PyQt.QtTest import QTest

    line = dialog.form.output.lineEdit()
    line.setFocus()
    line.selectAll()
    QTest.keyClick(line, Qt.Key.Key_Backspace)
    dialog.form.beside["REPORT"].setChecked(True)
    click(dialog.run_button)
    finish(dialog, wait)
    assert iface.activeLayer().name() == "buildings (temporary)"
    assert output_path(iface.activeLayer()).is_file()
    assert ".html" in dialog.summary.toPlainText()


def test_the_area_is_what_the_map_shows(dialog, iface, images):
    from geodamage_qgis.gui.pickers import AreaPicker

    iface.canvas.setDestinationCrs(images["pre"].crs())
    iface.canvas.setExtent(images["pre"].extent())
    assert dialog.form.area.extent() is None
    dialog.form.area.kind.setCurrentIndex(AreaPicker.MAP)
    extent = dialog.form.area.extent()
    assert extent.contains(images["pre"].extent())
    assert extent.crs() == images["pre"].crs()


def test_several_images_are_picked_in_order(dialog, images):
    dialog.form.pre.set_layers([images["post"], images["pre"]])
    assert dialog.form.pre.value() == [images["post"], images["pre"]]
    assert dialog.form.pre.layers.currentText().startswith("2 images: post, pre")
    dialog.form.pre.set_files(["/a/one.tif", "/a/two.tif"])
    assert dialog.form.pre.value() == ["/a/one.tif", "/a/two.tif"]
    dialog.form.pre.layers.setLayer(images["pre"])
    assert dialog.form.pre.value() == [images["pre"]]


def test_every_option_is_handed_on(dialog, tmp_path):
    form = dialog.form
    form.output.setFilePath(str(tmp_path / "b"))
    form.overwrite.setChecked(True)
    form.looks.setCurrentIndex(form.looks.findData("enlarged"))
    form.vote.setCurrentIndex(form.vote.findData("pixels"))
    form.bands.setText("3,2,1")
    form.scale.setText("0,3000")
    form.min_area.setValue(0)
    form.tile.setValue(512)
    form.memory.setText("800MB")
    form.allow_remote.setChecked(True)
    form.checks.registration.setCurrentIndex(form.checks.registration.findData("apply"))
    click(form.checks.obscured)
    form.checks.after.set_file("/a/udm2.tif")
    form.checks.band.setValue(8)
    form.checks.share.setValue(80)
    for box in form.beside.values():
        box.setChecked(True)
    values = form.values()
    expected = {
        "OUTPUT": str(tmp_path / "b.gpkg"), "OVERWRITE": True, "TTA": "enlarged", "VOTE": "pixels",
        "BANDS": "3,2,1", "SCALE": "0,3000", "MIN_AREA": 0.0, "TILE": 512, "MEMORY": "800MB",
        "REGISTRATION": "apply", "OBSCURED": "off", "POST_UNUSABLE": "/a/udm2.tif",
        "UNUSABLE_BAND": 8, "SEEN_SHARE": 0.8, "FEATURES": str(tmp_path / "b.npz"),
        "ALLOW_REMOTE": True, "REPORT": str(tmp_path / "b.html"),
        "RASTER": str(tmp_path / "b_grades.tif"),
        "PROBABILITIES": str(tmp_path / "b_probabilities.tif"),
    }  # fmt: skip
    assert {name: values.get(name) for name in expected} == expected
    assert not {"SIMPLIFY", "BATCH_SIZE", "THREADS", "AOI", "FOOTPRINTS", "PRE_UNUSABLE"} & set(
        values
    )


def test_features_are_kept_beside_a_result_that_has_a_name(dialog):
    from geodamage_qgis.errors import PluginError

    dialog.form.output.setFilePath("")
    dialog.form.beside["FEATURES"].setChecked(True)
    with pytest.raises(PluginError, match="Save to"):
        dialog.form.values()


def test_footprints_bring_their_fields(dialog, project):
    from folders import SAMPLE
    from qgis.core import QgsProcessingFeatureSourceDefinition, QgsVectorLayer

    layer = QgsVectorLayer(str(SAMPLE / "footprints.geojson"), "footprints", "ogr")
    project.addMapLayer(layer)
    assert not dialog.form.id_field.isEnabled()
    dialog.form.footprints.setLayer(layer)
    assert dialog.form.id_field.isEnabled()
    dialog.form.output.setFilePath(str(Path("/tmp/b.gpkg")))
    assert dialog.form.values()["FOOTPRINTS"] is layer
    dialog.form.selected_only.setChecked(True)
    source = dialog.form.values()["FOOTPRINTS"]
    assert isinstance(source, QgsProcessingFeatureSourceDefinition)
    assert source.selectedFeaturesOnly


def test_unusable_ground_is_a_layer_or_a_file(dialog, images, project):
    from geodamage_qgis.errors import PluginError
    from qgis.core import QgsVectorLayer

    picker = dialog.form.checks.before
    assert picker.value() is None
    picker.layers.setLayer(images["post"])
    assert picker.value() == images["post"].source()
    picker.set_file("/a/clouds.gpkg")
    assert picker.value() == "/a/clouds.gpkg"
    scratch = QgsVectorLayer("Polygon?crs=EPSG:4326", "scratch", "memory")
    project.addMapLayer(scratch)
    picker.layers.setLayer(scratch)
    with pytest.raises(PluginError, match="scratch: is no file"):
        dialog.form.values()
    project.removeMapLayer(scratch.id())
    assert picker.value() is None
