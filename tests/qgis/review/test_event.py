"""The steps of a new event in the review, by its buttons and keys, with the real program."""

import shutil
from pathlib import Path

import pytest
from geodamage_qgis.plugin import GeodamagePlugin
from geodamage_qgis.program.learning import MODEL_END, REGRADED_END, SAMPLE_END, beside
from geodamage_qgis.results.journal import journal_path, read_journal
from geodamage_qgis.results.layers import find_layer, load_result
from geodamage_qgis.review import dock as docks
from geodamage_qgis.review.samples import load_sample
from geodamage_qgis.scale import CLASSES
from graded import reviewed
from qgis.core import QgsVectorLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QImage
from qgis.PyQt.QtWidgets import QPushButton
from reviewer import click, current, press

#: Key of each answer.
KEYS = {answer: key for key, answer in docks.KEYS.items()}
#: What someone says to whom the model has it all upside down.
TURNED = dict(zip(CLASSES, reversed(CLASSES), strict=True))


@pytest.fixture(scope="module")
def featured(sample):
    """Return a result with its features."""
    output = sample.folder / "featured.gpkg"
    if not output.exists():
        sample.assess(output.name, "--features", output.with_suffix(".npz"))
    return output


@pytest.fixture
def result(featured, tmp_path):
    for path in featured.parent.glob("featured*"):
        shutil.copy(path, tmp_path)
    return tmp_path / featured.name


@pytest.fixture
def plugin(iface, configured):
    """Return the plugin in the window, without its menus."""
    plugin = GeodamagePlugin(iface)
    iface.window.resize(1180, 780)
    iface.window.show()
    yield plugin
    plugin._close_review()


@pytest.fixture
def look(plugin, result, wait):
    """Open the review of the result, and look at a number of its buildings."""

    def begin(number):
        plugin.open_review(load_result(result))
        first = plugin.review
        first.steps.number.setValue(number)
        click(first.steps.look_button)
        wait(lambda: plugin.review is not first)
        plugin.review.panel.reviewer.setText("Ada")
        return plugin.review

    return begin


def test_a_sample_is_drawn_and_its_grades_are_hidden_until_answered(look, result):
    dock = look(12)
    assert beside(result, SAMPLE_END).is_file()
    assert len(dock.walk) == 12
    orders = [building.order for building in dock.walk.buildings]
    assert orders == list(range(1, 13))
    said, building = dock.panel.said.text(), dock.walk.current
    assert "What do you see?" in said
    assert not any(share.text() for share in dock.panel.shares.values())
    assert not any(bar.value() for _, bar in dock.panel.rows.values())
    assert not dock.panel.accept_button.isVisible()
    press(dock, Qt.Key.Key_Return)  # nobody has seen what would be accepted
    assert current(dock) == building.building_id
    press(dock, Qt.Key.Key_3)
    assert "you said <b>major damage</b>" in dock.panel.said.text()
    assert f"the model <b>{building.damage.replace('-', ' ')}</b>" in dock.panel.said.text()
    assert dock.steps.bar.text() == "1 of 12 answered"
    dock.panel.skip.setChecked(False)
    press(dock, Qt.Key.Key_Left)
    assert "Reviewed by Ada: <b>major damage</b>" in dock.panel.said.text()


def test_the_map_shows_no_grades_while_a_sample_is_looked_at(look, project, result):
    dock = look(12)
    node = project.layerTreeRoot().findLayer(find_layer(result).id())
    assert not node.itemVisibilityChecked()
    assert project.layerTreeRoot().findLayer(dock.layer.id()).itemVisibilityChecked()
    assert dock.panel.follow.isChecked()
    dock.close()
    assert node.itemVisibilityChecked()


def test_a_result_that_was_off_stays_off_after_its_sample(look, plugin, project, result):
    dock = look(12)
    dock.close()
    node = project.layerTreeRoot().findLayer(find_layer(result).id())
    node.setItemVisibilityChecked(False)
    plugin.open_review(dock.layer)
    plugin.review.close()
    assert not node.itemVisibilityChecked()


def test_no_building_and_unclear_are_answers(look, result):
    dock = look(12)
    names = [building.building_id for building in dock.walk.buildings[:2]]
    press(dock, Qt.Key.Key_X)
    press(dock, Qt.Key.Key_U)
    expected = dict(zip(names, ("no building", "unclear"), strict=True))
    assert reviewed(dock.layer) == expected
    held = read_journal(beside(result, SAMPLE_END))
    assert {name: review.reviewed_damage for name, review in held.items()} == expected


def test_both_dates_of_the_result_are_behind_its_sample(look):
    dock = look(12)
    assert [Path(image.source()).stem for image in dock.before.shown()] == ["pre"]
    assert [Path(image.source()).stem for image in dock.after.shown()] == ["post"]


def test_a_sample_that_was_drawn_is_gone_on_with(look, plugin, result):
    dock = look(12)
    press(dock, Qt.Key.Key_1)
    plugin.open_review(find_layer(result))
    assert plugin.review.steps.look_button.text() == "Go on with the sample"
    click(plugin.review.steps.look_button)
    assert len(plugin.review.walk) == 12
    assert plugin.review.walk.reviewed == 1


def test_totals_are_estimated_once_ten_are_answered(look, wait):
    dock = look(12)
    assert not dock.steps.estimate_button.isEnabled()
    for number in range(12):
        press(dock, Qt.Key.Key_4 if number % 3 else Qt.Key.Key_1)
    click(dock.steps.estimate_button)
    wait(lambda: "Estimating" not in dock.steps.told.toPlainText())
    told = dock.steps.told.toPlainText()
    assert "12 of 78 buildings were reviewed" in told
    assert "destroyed" in told
    assert "–" in told
    assert not dock.layer.isEditable()


def test_what_was_learnt_grades_the_result_anew(look, plugin, result, project, wait):
    dock = look(70)
    while dock.walk.reviewed < len(dock.walk):
        press(dock, KEYS[TURNED[dock.walk.current.damage]])
    click(dock.steps.learn_button)
    wait(lambda: "Learning" not in dock.steps.told.toPlainText())
    told = dock.steps.told.toPlainText()
    assert "It helps" in told, told
    assert "AUC" in told
    assert beside(result, MODEL_END).is_file()
    click(dock.steps.regrade_button)
    made = beside(result, REGRADED_END)
    wait(lambda: find_layer(made) is not None)
    assert "learnt" in dock.steps.told.toPlainText()
    layer = find_layer(made)
    sources = {feature["source"] for feature in layer.getFeatures()}
    assert any("reviewed" in source for source in sources)
    assert plugin.review is dock


def test_answers_that_teach_nothing_are_said_and_nothing_is_written(look, result, wait):
    dock = look(20)
    while dock.walk.reviewed < len(dock.walk):
        press(dock, Qt.Key.Key_1)
    click(dock.steps.learn_button)
    wait(lambda: "Learning" not in dock.steps.told.toPlainText())
    assert "Not taken:" in dock.steps.told.toPlainText()
    assert not beside(result, MODEL_END).exists()
    assert not dock.steps.regrade_button.isEnabled()


def test_a_result_without_features_is_said_in_one_line(open_review, sample, tmp_path, wait,
                                                       configured):  # fmt: skip
    plain = sample.copy_result("buildings.gpkg", tmp_path)
    dock = open_review(load_result(plain))
    for _ in range(10):
        press(dock, Qt.Key.Key_1)
    click(dock.steps.learn_button)
    wait(lambda: "Learning" not in dock.steps.told.toPlainText())
    assert "has no features" in dock.steps.told.toPlainText()
    assert journal_path(plain).is_file()


def test_a_sample_is_drawn_as_outlines(look, result, project):
    look(12)
    layer = load_sample(beside(result, SAMPLE_END))
    assert isinstance(layer, QgsVectorLayer)
    assert layer.renderer().type() == "singleSymbol"


def test_the_steps_fit_into_the_dock(look, wait, tmp_path):
    dock = look(12)
    wait(lambda: not dock.before.canvas.isDrawing())
    assert isinstance(dock.grab().toImage(), QImage)
    dock.tabs.setCurrentWidget(dock.steps)
    wait(dock.steps.isVisible)
    shown = [button for button in dock.steps.findChildren(QPushButton) if button.isVisible()]
    assert len(shown) == 3
    for button in shown:
        assert button.width() >= button.minimumSizeHint().width()
        assert dock.steps.rect().contains(button.geometry())
