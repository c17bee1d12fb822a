"""The windows speak the language of QGIS."""

import json

import pytest


@pytest.fixture
def german():
    from geodamage_qgis.translation import use

    use("de")
    yield
    use("en")


def test_the_form_is_in_german(qgis_app, project, german):
    from geodamage_qgis.gui.form import BESIDE, VOTE_TITLES, AssessForm
    from geodamage_qgis.translation import tr
    from qgis.gui import QgsMapCanvas
    from qgis.PyQt.QtWidgets import QGroupBox, QLabel

    form = AssessForm(QgsMapCanvas())
    assert {"Vorher", "Nachher", "Modell"} <= {label.text() for label in form.findChildren(QLabel)}
    assert {"Bilder", "Ergebnis"} <= {group.title() for group in form.findChildren(QGroupBox)}
    assert form.vote.itemText(0) in map(tr, VOTE_TITLES.values())
    titles = [box.text() for box in form.beside.values()]
    assert titles == [tr(title) for _, title, _ in BESIDE]
    assert titles[0] == "Bericht (.html)"


@pytest.fixture
def german_provider(qgis_app, german):
    """Return the provider as it is loaded where QGIS is in German."""
    from geodamage_qgis.processing.provider import GeodamageProvider

    provider = GeodamageProvider()
    provider.refreshAlgorithms()
    return provider


def test_the_algorithms_are_in_german(german_provider):
    from geodamage_qgis.translation import FOLDER

    words = json.loads((FOLDER / "de.json").read_text(encoding="utf-8"))
    translated = set(words.values())
    assert len(german_provider.algorithms()) == 13
    for algorithm in german_provider.algorithms():
        assert {algorithm.displayName(), algorithm.shortHelpString()} <= translated
        for parameter in algorithm.parameterDefinitions():
            said = {parameter.description(), parameter.help()} - {""}
            assert said <= translated, (algorithm.name(), parameter.name(), said - translated)
        for output in algorithm.outputDefinitions():
            assert output.description() in translated, (algorithm.name(), output.name())


def test_the_review_is_in_german(qgis_app, german):
    from geodamage_qgis.review.event import EventPanel
    from geodamage_qgis.review.panel import ReviewPanel
    from qgis.PyQt.QtWidgets import QCheckBox, QPushButton

    panel = ReviewPanel()
    texts = {button.text() for button in panel.findChildren(QPushButton)}
    assert {"1  kein Schaden", "4  zerstört", "X  kein Gebäude", "Zurück"} <= texts
    assert "Karte folgt" in {box.text() for box in panel.findChildren(QCheckBox)}
    steps = EventPanel([], None, in_sample=False)
    assert steps.estimate_button.text() == "Summen schätzen"
    assert "der Zufall" in steps.told.toPlainText()


def test_the_checks_are_in_german(qgis_app, project, german):
    from geodamage_qgis.gui.checks import REGISTRATION_TITLES, Checks
    from geodamage_qgis.translation import tr

    checks = Checks()  # lives as long as its boxes are looked at
    box = checks.registration
    shown = [box.itemText(row) for row in range(box.count())]
    assert shown == [tr(title) for title in REGISTRATION_TITLES.values()]
    assert not set(shown) & set(REGISTRATION_TITLES.values())


def test_the_plugin_takes_the_language_of_qgis(iface, monkeypatch):
    from geodamage_qgis import classFactory
    from geodamage_qgis.translation import tr, use
    from qgis.core import QgsApplication

    monkeypatch.setattr(QgsApplication, "locale", staticmethod(lambda: "de_AT"))
    classFactory(iface)
    assert tr("Before") == "Vorher"
    use("en")
    assert tr("Before") == "Before"


@pytest.mark.parametrize("language", ["en", "de"])
def test_nothing_of_the_form_is_cut_at_the_right(qgis_app, project, language):
    from geodamage_qgis.gui.form import AssessForm
    from geodamage_qgis.translation import use
    from qgis.gui import QgsMapCanvas

    use(language)
    form = AssessForm(QgsMapCanvas())
    form.resize(100, 300)
    form.show()
    qgis_app.processEvents()
    assert form.widget().minimumSizeHint().width() <= form.viewport().width()
    form.close()
    use("en")
