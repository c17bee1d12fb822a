import json
import shutil
from pathlib import Path

import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.processing.sources import vector_path
from geodamage_qgis.results.journal import Review, append_reviews, read_journal
from geodamage_qgis.results.layers import (
    STYLE_FILES,
    dress,
    find_layer,
    is_result,
    load_result,
    output_path,
    summary_html,
)
from graded import make_sample, reopen, reviewed
from qgis.core import QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import Qt


@pytest.fixture(scope="module")
def sample(command_line, pair, tmp_path_factory):
    return make_sample(command_line, pair, tmp_path_factory)


@pytest.fixture
def result(sample, tmp_path):
    return sample.copy_result("buildings.gpkg", tmp_path)


def review(name, damage="destroyed"):
    return Review(name, damage, "Ada", "2026-11-21T10:00:00Z")


def children(group):
    return [node.name() for node in group.children()]


def test_a_result_is_loaded_in_a_group_over_both_images(project, result):
    layer = load_result(result, name="Town")
    group = project.layerTreeRoot().children()[0]
    assert group.name() == "Town"
    assert children(group) == ["Town", "after: post", "before: pre"]
    assert layer.featureCount() == 87
    assert is_result(layer)


def test_images_that_the_project_has_are_not_loaded_twice(project, sample, result):
    mine = QgsRasterLayer(str(sample.post), "mine")
    project.addMapLayer(mine)
    load_result(result)
    assert children(project.layerTreeRoot()) == ["buildings", "mine"]
    assert children(project.layerTreeRoot().children()[0]) == ["buildings", "before: pre"]


def test_images_that_are_gone_are_left_out(project, sample, result):
    sidecar = Path(f"{result}.json")
    sidecar.write_text(sidecar.read_text().replace("pre.tif", "gone.tif"))
    load_result(result)
    assert children(project.layerTreeRoot().children()[0]) == ["buildings", "after: post"]


def test_without_a_group_the_layer_comes_alone(project, result):
    load_result(result, group=False)
    assert children(project.layerTreeRoot()) == ["buildings"]


def test_several_images_of_a_date_have_a_group_of_their_own(project, sample, result):
    facts = json.loads(Path(f"{result}.json").read_text())
    second = Path(shutil.copy(sample.post, result.parent / "second.tif"))
    facts["scene"]["post"]["files"].append({"path": str(second)})
    Path(f"{result}.json").write_text(json.dumps(facts))
    load_result(result)
    group = project.layerTreeRoot().children()[0]
    assert children(group) == ["buildings", "after", "before: pre"]
    assert children(group.children()[1]) == ["after: post", "after: second"]


def test_both_styles_are_there_and_switch(project, result):
    layer = load_result(result)
    manager = layer.styleManager()
    assert set(manager.styles()) == set(STYLE_FILES)
    assert manager.currentStyle() == "damage"

    def destroyed():
        rules = layer.renderer().rootRule().children()
        symbol = next(rule.symbol() for rule in rules if rule.label() == "destroyed")
        return symbol.symbolLayers()[-1].color().name()

    assert destroyed() == "#d7191c"
    assert manager.setCurrentStyle("colour-blind safe")
    assert destroyed() == "#225ea8"
    assert layer.labelsEnabled()
    assert "p_major" in layer.mapTipTemplate()
    assert manager.setCurrentStyle("damage")
    assert destroyed() == "#d7191c"


def test_a_geopackage_is_drawn_so_without_the_plugin(project, result):
    from qgis.core import QgsWkbTypes

    before = result.read_bytes()
    plain = QgsVectorLayer(str(result), "plain", "ogr")
    titles = [rule.label() for rule in plain.renderer().rootRule().children()]
    assert titles[:4] == ["no damage", "minor damage", "major damage", "destroyed"]
    assert plain.labelsEnabled()
    assert "p_major" in plain.mapTipTemplate()
    assert plain.wkbType() in (QgsWkbTypes.Type.Polygon, QgsWkbTypes.Type.MultiPolygon)
    assert set(plain.listStylesInDatabase()[2]) >= set(STYLE_FILES)
    # The plugin has the same and writes nothing. QGIS has the stored style first.
    layer = load_result(result)
    assert layer.styleManager().setCurrentStyle("colour-blind safe")
    symbol = layer.renderer().rootRule().children()[3].symbol()
    assert symbol.symbolLayers()[-1].color().name() == "#225ea8"
    assert result.read_bytes() == before
    # What is stored is no layer of the file.
    assert vector_path(plain) == str(result)
    # The program would read the buildings of that file.
    area = QgsVectorLayer(f"{result}|layername=assessed_area", "area", "ogr")
    assert area.isValid()
    assert vector_path(area) is None
    assert area.renderer().symbol().symbolLayer(0).brushStyle() == Qt.BrushStyle.NoBrush


def test_an_event_is_drawn_so_without_the_plugin(project, sample, command_line, tmp_path):
    result = sample.copy_result("buildings.gpkg", tmp_path)
    event = tmp_path / "event.gpkg"
    command_line("event", result, "-o", event, "-q")
    plain = QgsVectorLayer(f"{event}|layername=buildings", "plain", "ogr")
    titles = [rule.label() for rule in plain.renderer().rootRule().children()]
    assert titles[:4] == ["no damage", "minor damage", "major damage", "destroyed"]


def test_a_legend_is_in_the_language_of_qgis(project, result):
    from geodamage_qgis.translation import use

    use("de")
    try:
        layer = load_result(result)
    finally:
        use("en")
    titles = [rule.label() for rule in layer.renderer().rootRule().children()]
    assert titles[:5] == [
        "kein Schaden", "leichter Schaden", "schwerer Schaden", "zerstört", "nicht bewertet",
    ]  # fmt: skip
    assert layer.styleManager().styles() == ["Schaden", "für Farbenblinde"]
    assert layer.styleManager().currentStyle() == "Schaden"
    assert layer.editFormConfig().tabs()[0].name() == "Grad"


def test_metadata_holds_the_facts_of_the_sidecar(project, result):
    metadata = load_result(result).metadata()
    assert metadata.identifier() == str(result)
    assert "not validated in the field" in metadata.abstract()
    assert metadata.constraints()[0].constraint.endswith("not validated in the field")
    assert "Model: fast" in "\n".join(metadata.history())
    assert metadata.licenses() == ["of the model: CC BY-NC-SA 4.0"]


def test_the_summary_counts_what_the_layer_holds(project, result):
    layer = load_result(result)
    page = summary_html(result)
    destroyed = sum(feature["damage"] == "destroyed" for feature in layer.getFeatures())
    assert f'<td>destroyed</td><td align="right">{destroyed}</td>' in page
    assert '<td>not assessed</td><td align="right">9</td>' in page


@pytest.mark.parametrize("name", ["buildings.geojson", "buildings.fgb", "buildings.geojsonl"])
def test_other_formats_load_too(project, sample, tmp_path, name):
    layer = load_result(sample.copy_result(name, tmp_path))
    assert layer.featureCount() == 87
    assert output_path(layer) == tmp_path / name
    assert layer.styleManager().currentStyle() == "damage"


def test_corrections_of_the_journal_come_with_the_result(project, result):
    append_reviews(result, [review("1"), review("2", "no-damage"), review("from another run")])
    layer = load_result(result)
    assert reviewed(layer) == {"1": "destroyed", "2": "no-damage"}
    assert not layer.isEditable()


def test_a_correction_survives_a_run_with_overwrite(project, sample):
    output = sample.assess("again.gpkg")
    layer = load_result(output)
    append_reviews(output, [review("1"), review("7", "major-damage")])
    load_result(output)
    assert reviewed(layer) == {"1": "destroyed", "7": "major-damage"}
    sample.assess("again.gpkg", "--overwrite")
    on_disk = QgsVectorLayer(str(output), "new", "ogr")
    assert reviewed(on_disk) == {}, "the tool has written a new file"
    assert load_result(output) is layer, "the layer of the earlier run shows the new one"
    assert reviewed(layer) == {"1": "destroyed", "7": "major-damage"}
    assert reviewed(reopen(project, output)) == {"1": "destroyed", "7": "major-damage"}


def test_a_correction_that_only_the_layer_has_is_written_to_the_journal(project, result):
    append_reviews(result, [review("1")])
    layer = load_result(result)
    Path(f"{result}.reviews.jsonl").unlink()
    load_result(result)
    assert read_journal(result) == {"1": review("1")}
    assert reviewed(layer) == {"1": "destroyed"}


def test_a_layer_that_is_edited_is_not_read_again(project, result):
    layer = load_result(result)
    layer.startEditing()
    with pytest.raises(PluginError, match="being edited"):
        load_result(result)
    layer.rollBack()


def test_a_layer_that_processing_has_loaded_is_dressed(project, sample, result):
    append_reviews(result, [review("3")])
    layer = QgsVectorLayer(str(result), "Buildings", "ogr")
    dress(layer)
    assert layer.styleManager().currentStyle() == "damage"
    assert reviewed(layer) == {"3": "destroyed"}
    assert "geodamage" in "".join(layer.metadata().history())


def test_a_copy_without_its_sidecar_can_be_dressed_but_not_loaded(project, result):
    Path(f"{result}.json").unlink()
    layer = QgsVectorLayer(str(result), "copy", "ogr")
    dress(layer)
    assert layer.styleManager().currentStyle() == "damage"
    with pytest.raises(PluginError, match="no sidecar"):
        load_result(result)


def test_other_layers_are_refused(project, sample, tmp_path):
    layer = QgsVectorLayer(str(sample.folder / "footprints.geojson"), "footprints", "ogr")
    assert not is_result(layer)
    with pytest.raises(PluginError, match="lacks damage, confidence"):
        dress(layer)
    bad = tmp_path / "bad.gpkg"
    bad.write_bytes(b"not a GeoPackage")
    Path(f"{bad}.json").write_text("{}")
    with pytest.raises(PluginError, match="cannot open"):
        load_result(bad)
    assert find_layer(bad) is None
    assert project.mapLayers() == {}


def test_a_journal_that_makes_no_sense_is_said_and_the_layer_is_there(project, result):
    Path(f"{result}.reviews.jsonl").write_text("nonsense\n")
    with pytest.raises(PluginError, match="line 1"):
        load_result(result)
    assert find_layer(result) is not None
