"""The pickers: what they show is what is graded, whatever happens to the project."""

import pytest
from qgis.core import QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest


@pytest.fixture
def images(small_pair, project):
    """Return the layers of the corner of the pair."""
    found = {path.stem: QgsRasterLayer(str(path), path.stem) for path in small_pair}
    project.addMapLayers([found["pre"], found["post"]])
    return found


@pytest.fixture
def form(iface, images):
    """Return the form, shown, with the pair guessed."""
    from geodamage_qgis.gui.form import AssessForm

    form = AssessForm(iface.canvas)
    form.show()
    form.guess()
    assert form.post.value() == [images["post"]]
    yield form
    form.close()
    form.deleteLater()


def test_a_layer_that_goes_leaves_its_picker_empty(form, images, project):
    project.removeMapLayer(images["post"].id())
    assert form.post.value() == []
    assert form.post.layers.currentLayer() is None
    assert form.pre.value() == [images["pre"]]


def test_a_layer_that_goes_is_guessed_anew(form, images, project, small_pair):
    other = QgsRasterLayer(str(small_pair[1]), "after, second pass")
    project.addMapLayer(other)
    project.removeMapLayer(images["post"].id())
    assert form.post.value() == [other]
    project.removeMapLayers([images["pre"].id(), other.id()])
    assert form.pre.value() == form.post.value() == []


def test_layers_that_go_leave_a_mosaic_of_them_empty(form, images, project):
    form.pre.set_layers([images["pre"], images["post"]])
    project.removeMapLayer(images["pre"].id())
    assert form.pre.value() == []


def test_other_layers_may_go(form, images, project, small_pair):
    other = QgsRasterLayer(str(small_pair[1]), "a map")
    project.addMapLayer(other)
    project.removeMapLayer(other.id())
    assert form.pre.value() == [images["pre"]]
    assert form.post.value() == [images["post"]]


@pytest.mark.parametrize("which", ["footprints", "area"])
def test_polygons_that_go_are_not_replaced_by_others(form, project, which):
    layers = [QgsVectorLayer("Polygon?crs=EPSG:4326", name, "memory") for name in ("one", "two")]
    project.addMapLayers(layers)
    box = form.footprints if which == "footprints" else form.area.layers
    assert box.currentLayer() is None  # nothing by itself
    box.setFocus()
    QTest.keyClicks(box, "one")
    assert box.currentLayer() is layers[0]
    project.removeMapLayer(layers[0].id())
    assert box.currentLayer() is None


def test_a_new_project_forgets_the_files_of_the_old(form, project):
    form.pre.set_files(["/a/pre.tif"])
    form.post.set_files(["/a/one.tif", "/a/two.tif"])
    form.output.setFilePath("/a/buildings.gpkg")
    project.clear()
    assert form.pre.value() == form.post.value() == []
    assert form.pre.layers.additionalItems() == []
    assert form.output.filePath() == ""


@pytest.mark.parametrize(
    ("name", "picked"),
    [
        ("joplin_pre_disaster", "pre"), ("PRE", "pre"), ("predisaster 3", "pre"), ("vorher", "pre"),
        ("expressway", None), ("preview", None), ("image-post.tif", "post"), ("postcodes", None),
        ("after", "post"), ("rafters", None),
    ],
)  # fmt: skip
def test_words_of_names_are_whole(iface, project, small_pair, name, picked):
    from geodamage_qgis.gui.form import AssessForm

    layer = QgsRasterLayer(str(small_pair[0]), name)
    project.addMapLayer(layer)
    form = AssessForm(iface.canvas)
    form.guess()
    assert form.pre.value() == ([layer] if picked == "pre" else [])
    assert form.post.value() == ([layer] if picked == "post" else [])
    form.deleteLater()


def test_one_layer_is_not_guessed_for_both_dates(iface, project, small_pair):
    from geodamage_qgis.gui.form import AssessForm

    project.addMapLayer(QgsRasterLayer(str(small_pair[0]), "pre and post"))
    form = AssessForm(iface.canvas)
    form.guess()
    assert len(form.pre.value() + form.post.value()) == 1
    form.deleteLater()


def test_keys_pick_a_layer(form, images):
    form.post.layers.setFocus()
    QTest.keyClick(form.post.layers, Qt.Key.Key_Home)
    assert form.post.value() == []
    QTest.keyClick(form.post.layers, Qt.Key.Key_End)
    assert form.post.value() != []
