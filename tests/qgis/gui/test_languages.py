"""The windows speak the language of QGIS."""

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
