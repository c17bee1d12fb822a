"""The plugin as QGIS loads it: it comes and goes without a trace."""

import configparser
import sys

import pytest


@pytest.fixture
def plugin(iface):
    """Return the plugin, loaded; it is unloaded with the test."""
    from geodamage_qgis import classFactory

    loaded = classFactory(iface)
    loaded.initGui()
    yield loaded
    loaded.unload()


def provider():
    from qgis.core import QgsApplication

    return QgsApplication.processingRegistry().providerById("geodamage")


def test_it_loads_and_unloads_cleanly(iface):
    from geodamage_qgis import classFactory

    for _ in range(2):
        loaded = classFactory(iface)
        assert provider() is None
        loaded.initGui()
        assert provider() is not None
        assert len(iface.tool_bar_icons) == 1
        assert {name for name, _ in iface.menu} == {"GeoDamage"}
        loaded.unload()
        assert provider() is None
        assert (iface.tool_bar_icons, iface.menu, iface.docks) == ([], [], [])


def test_it_unloads_with_its_windows_open(iface, configured):
    from geodamage_qgis import classFactory

    loaded = classFactory(iface)
    loaded.initGui()
    loaded.open_dialog()
    loaded.unload()
    assert loaded.dialog is None


def test_without_a_desktop_there_is_the_provider_only(qgis_app):
    from geodamage_qgis import classFactory

    loaded = classFactory(None)
    loaded.initProcessing()
    assert provider() is not None
    loaded.unload()
    assert provider() is None


def test_every_entry_of_the_menu_has_something_behind_it(plugin, iface, configured):
    titles = [action.text() for _, action in iface.menu]
    assert titles == [
        "Assess building damage…", "Open a result…", "Review the active layer", "Export a result…",
        "Compare with an official layer…", "Merge results into an event…", "Import a model…",
        "Set up…", "Diagnostics…",
    ]  # fmt: skip
    assert not iface.tool_bar_icons[0].icon().isNull()


@pytest.mark.parametrize(
    ("title", "name", "takes"),
    [
        ("Export a result…", "geodamage:export", "RESULT"),
        ("Compare with an official layer…", "geodamage:compare", "RESULT"),
        ("Merge results into an event…", "geodamage:event", "RESULTS"),
        ("Import a model…", "geodamage:import", None),
    ],
)
def test_the_menu_opens_algorithms_with_the_active_result(
    plugin, iface, sample_result, layer_of_sample, monkeypatch, title, name, takes
):
    import processing
    from geodamage_qgis.results.layers import load_result
    from qgis.core import QgsApplication
    from qgis.PyQt.QtWidgets import QDialog

    asked = []

    def make(*arguments):
        asked.append(arguments)
        return QDialog(iface.window)

    # The window itself wants a whole desktop.
    monkeypatch.setattr(processing, "createAlgorithmDialog", make, raising=False)
    (action,) = (action for _, action in iface.menu if action.text() == title)
    result = load_result(sample_result)
    for layer in (result, layer_of_sample):
        iface.active = layer
        action.trigger()
        assert plugin.algorithm.isVisible()
        plugin.algorithm.close()
    given = {takes: [result] if takes == "RESULTS" else result} if takes else {}
    assert asked == [(name, given), (name, {})]
    assert QgsApplication.processingRegistry().algorithmById(name) is not None


def test_without_processing_the_menu_says_so(plugin, iface, monkeypatch):
    monkeypatch.setitem(sys.modules, "processing", None)
    (action,) = (action for _, action in iface.menu if action.text() == "Import a model…")
    action.trigger()
    assert plugin.algorithm is None
    assert "Processing is off" in iface.messages()[0]


def test_the_button_opens_the_dialog_and_finds_it_again(plugin, iface, configured):
    iface.tool_bar_icons[0].trigger()
    first = plugin.dialog
    assert first.isVisible()
    first.close()
    iface.tool_bar_icons[0].trigger()
    assert plugin.dialog is first


def test_a_review_without_a_result_is_refused_in_the_message_bar(plugin, iface, layer_of_sample):
    for layer in (None, layer_of_sample):
        iface.active = layer
        plugin.open_review()
    assert "there is no result to review in the project" in iface.messages()[0]
    assert iface.docks == []


def test_the_review_of_a_result_opens(plugin, iface, sample_result):
    from geodamage_qgis.results.layers import load_result

    iface.active = load_result(sample_result)
    plugin.open_review()
    assert len(iface.docks) == 1


def test_the_only_result_is_reviewed_whatever_is_active(plugin, iface, sample_result):
    from geodamage_qgis.results.layers import load_result

    layer = load_result(sample_result)
    iface.active = None
    plugin.open_review()
    assert plugin.review.layer is layer


def test_the_dialog_gives_way_to_the_review(plugin, iface, configured, sample_result, wait):
    from geodamage_qgis.results.layers import load_result
    from qgis.PyQt.QtCore import Qt
    from qgis.PyQt.QtTest import QTest
    from qgis.PyQt.QtWidgets import QApplication

    iface.active = load_result(sample_result)
    iface.window.show()
    plugin.open_dialog()
    plugin.open_review()
    assert not plugin.dialog.isVisible()
    QTest.qWaitForWindowActive(iface.window)
    first = plugin.review.walk.current.building_id
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Right)
    assert plugin.review.walk.current.building_id != first


def test_the_dialog_hears_of_a_program_that_was_set_up(plugin, iface, configured, wait):
    from geodamage_qgis import settings
    from qgis.PyQt.QtCore import Qt
    from qgis.PyQt.QtTest import QTest
    from qgis.PyQt.QtWidgets import QPushButton

    settings.set_executable("/nowhere/geodamage")
    plugin.open_dialog()
    dialog = plugin.dialog
    wait(lambda: dialog.bar.items())
    models = dialog.form.model.models
    assert models.count() == 1
    offer = next(b for b in dialog.bar.findChildren(QPushButton) if b.text() == "Set up…")
    QTest.mouseClick(offer, Qt.MouseButton.LeftButton)
    form = plugin.assistant.form
    wait(lambda: plugin.assistant._workers.idle)
    form.program.setFocus()
    form.program.selectAll()
    QTest.keyClicks(form.program, str(configured))
    QTest.mouseClick(form.use_button, Qt.MouseButton.LeftButton)
    wait(lambda: models.count() > 1)
    assert settings.executable() == str(configured)
    assert dialog.bar.items() == []
    plugin.assistant.close()
    assert plugin.assistant is None


def test_setup_is_one_window_that_goes_with_the_plugin(plugin, iface, configured, qgis_app):
    plugin.open_assistant()
    first = plugin.assistant
    plugin.open_assistant()
    assert plugin.assistant is first
    plugin.open_diagnostics()
    plugin.unload()
    assert plugin.assistant is None
    assert plugin.diagnostics is None


def test_setup_and_diagnostics_open(plugin, iface, configured):
    from qgis.PyQt.QtWidgets import QDialog

    plugin.open_assistant()
    plugin.open_diagnostics()
    shown = [w for w in iface.window.findChildren(QDialog) if w.isVisible()]
    assert len(shown) == 2
    for window in shown:
        window.close()


def test_the_metadata_names_a_provider():
    from folders import PLUGIN

    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(PLUGIN / "metadata.txt", encoding="utf-8")
    assert metadata["general"]["hasProcessingProvider"] == "yes"
    assert metadata["general"]["qgisMinimumVersion"] == "3.22"


@pytest.fixture
def layer_of_sample(project):
    from folders import SAMPLE
    from qgis.core import QgsVectorLayer

    return QgsVectorLayer(str(SAMPLE / "footprints.geojson"), "footprints", "ogr")
