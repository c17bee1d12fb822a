import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("qgis.core")

sys.path.insert(0, str(Path(__file__).parents[2] / "qgis_plugin"))

from programs import make_geodamage, make_program, make_python, make_wheel


@pytest.fixture
def machine(qgis_app, tmp_path, monkeypatch):
    """Make a machine with a Python that is new enough, and without geodamage."""
    from geodamage_qgis import settings
    from geodamage_qgis.program import executable
    from geodamage_qgis.setup import makers
    from qgis.core import QgsSettings

    QgsSettings().remove("geodamage")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for module in (executable, makers):
        monkeypatch.setattr(module, "usual_folders", lambda platform="linux": [])
    make_python(tmp_path / "bin" / "python3.16")
    folder = settings.environment_folder()
    yield folder
    shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.fixture
def assistant(machine, wait):
    """Return the assistant when it has looked around."""
    from geodamage_qgis.gui.assistant import Assistant

    window = Assistant()
    window.show()
    wait(lambda: window._workers.idle)
    yield window
    window.reject()


def test_it_says_what_it_found_and_what_is_missing(assistant):
    assert "no geodamage on this computer yet" in assistant.form.verdict.text()
    assert "Python 3.12.1" in assistant.form.maker_label.text()
    assert "No NVIDIA GPU" in assistant.form.gpu_label.text()
    assert not assistant.form.make_button.isEnabled()
    assert not assistant.form.repair_button.isVisible()
    assert not assistant.form.by_name.isVisible()


def test_a_long_note_is_not_cut(assistant, qgis_app):
    label = assistant.form.maker_label
    short = label.height()
    label.setText("no Python 3.11 or newer was found, and no uv; " * 6)
    qgis_app.processEvents()
    assert label.height() >= label.heightForWidth(label.width()) > short
    label.setText("Python 3.12")
    qgis_app.processEvents()
    assert label.minimumHeight() <= short


def test_a_wheel_is_shown_with_its_hash_and_what_it_needs(assistant, tmp_path, wait):
    from geodamage_qgis import settings
    from geodamage_qgis.setup.wheels import read_package

    wheel = make_wheel(tmp_path / "größe und blank")
    assistant.choose(str(wheel))
    wait(lambda: assistant._workers.idle)
    assert read_package(wheel).sha256 in assistant.form.hash.text()
    assert "numpy" in assistant.form.needs.text()
    assert "downloaded" in assistant.form.needs.text()
    assistant.form.offline.setChecked(True)
    assert "downloaded" not in assistant.form.needs.text()
    assert assistant.form.make_button.isEnabled()
    assert settings.package() == str(wheel)


def test_a_file_that_is_no_wheel_is_refused(assistant, tmp_path, wait):
    (tmp_path / "a.whl").write_text("no")
    assistant.choose(str(tmp_path / "a.whl"))
    wait(lambda: assistant._workers.idle)
    assert "is not a wheel" in assistant.form.hash.text()
    assert not assistant.form.make_button.isEnabled()


def make(assistant, tmp_path, wait):
    assistant.choose(str(make_wheel(tmp_path / "wheels")))
    wait(lambda: assistant._workers.idle)
    assistant.form.make_button.click()


def test_one_click_makes_an_environment_that_is_used(assistant, machine, tmp_path, wait):
    from geodamage_qgis import settings

    settings.set_executable("/somewhere/else")
    changes = []
    assistant.changed.connect(lambda: changes.append(True))
    make(assistant, tmp_path, wait)
    assert not assistant.form.make_button.isEnabled()
    assert assistant.form.cancel_button.isVisible()
    wait(lambda: assistant._workers.idle)
    assert assistant.form.verdict.text().startswith("Ready: geodamage 0.1.0")
    assert "Collecting numpy" in assistant.form.log.toPlainText()
    assert assistant.form.repair_button.isVisible()
    assert not assistant.form.cancel_button.isVisible()
    assert changes
    assert settings.executable() is None
    assert settings.find().path.parent.parent == machine


def test_the_interface_goes_on_while_it_works_and_cancel_leaves_nothing(
    assistant, machine, tmp_path, wait, monkeypatch
):
    monkeypatch.setenv("FAKE_PIP", "wait")
    make(assistant, tmp_path, wait)
    wait(lambda: assistant.form.step.text().startswith("Collecting"))
    assert machine.exists()
    assistant.form.cancel_button.click()
    wait(lambda: assistant._workers.idle)
    assert assistant.form.verdict.text().startswith("Cancelled")
    assert not machine.exists()
    assert assistant.form.make_button.isEnabled()


def test_closing_the_window_cancels(assistant, machine, tmp_path, wait, monkeypatch):
    from geodamage_qgis.gui import background

    monkeypatch.setenv("FAKE_PIP", "wait")
    make(assistant, tmp_path, wait)
    wait(lambda: assistant.form.step.text().startswith("Collecting"))
    assistant.reject()
    background.end_all()
    assert not machine.exists()


def test_a_failure_is_one_line_and_its_details_are_in_the_log(
    assistant, machine, tmp_path, wait, monkeypatch, qgis_app
):
    logged = []
    qgis_app.messageLog().messageReceived.connect(lambda *given: logged.append(given))
    monkeypatch.setenv("FAKE_PIP", "fail")
    make(assistant, tmp_path, wait)
    wait(lambda: assistant._workers.idle)
    assert "numpy was not found" in assistant.form.verdict.text()
    assert "\n" not in assistant.form.verdict.text()
    assert not machine.exists()
    wait(lambda: logged)
    assert any("No matching distribution" in str(given[0]) for given in logged)


def test_a_damaged_environment_is_repaired_and_removed(assistant, machine, tmp_path, wait):
    make(assistant, tmp_path, wait)
    wait(lambda: assistant._workers.idle)
    (machine / "bin" / "geodamage").unlink()
    assistant.look()
    wait(lambda: assistant._workers.idle)
    assert "damaged" in assistant.form.verdict.text()
    assistant.form.repair_button.click()
    wait(lambda: assistant._workers.idle)
    assert assistant.form.verdict.text().startswith("Ready")
    assistant.form.remove_button.click()
    wait(lambda: assistant._workers.idle)
    assert not machine.exists()
    assert "no geodamage" in assistant.form.verdict.text()


def test_a_program_that_is_named_is_asked_before_it_is_used(assistant, tmp_path, wait):
    from geodamage_qgis import settings

    other = make_program(tmp_path / "other", "print('hello')")
    assistant.form.program.setText(str(other))
    assistant.form.use_button.click()
    wait(lambda: assistant._workers.idle)
    assert "is not geodamage" in assistant.form.verdict.text()
    assert settings.executable() is None

    real = make_geodamage(tmp_path / "geodamage", "0.2.0")
    assistant.form.program.setText(str(real))
    assistant.form.use_button.click()
    wait(lambda: assistant._workers.idle)
    assert settings.executable() == str(real)
    assert "geodamage 0.2.0, named in the settings" in assistant.form.verdict.text()


def test_by_name_is_offered_only_where_the_setting_allows_it(machine, wait):
    from geodamage_qgis import settings
    from geodamage_qgis.gui.assistant import Assistant

    settings.set_allow_registry(True)
    window = Assistant()
    window.show()
    wait(lambda: window._workers.idle)
    assert window.form.by_name.isVisible()
    window.form.by_name.setChecked(True)
    assert window.form.make_button.isEnabled()
    window.reject()


def test_the_proxy_of_qgis_reaches_the_programs(qgis_app):
    from geodamage_qgis import settings
    from qgis.core import QgsNetworkAccessManager
    from qgis.PyQt.QtNetwork import QNetworkProxy

    manager = QgsNetworkAccessManager.instance()
    kind = QNetworkProxy.ProxyType.HttpProxy
    try:
        proxy = QNetworkProxy(kind, "proxy.example", 3128, "me", "secret")
        manager.setFallbackProxyAndExcludes(proxy, ["https://intra.example"], ["localhost"])
        given = settings.network_variables()
    finally:
        manager.setFallbackProxyAndExcludes(QNetworkProxy(), [], [])
    assert given["HTTPS_PROXY"] == "http://me:secret@proxy.example:3128"
    assert set(given["NO_PROXY"].split(",")) == {"intra.example", "localhost"}
    assert settings.network_variables() == {}


def test_work_that_fails_by_our_own_mistake_is_told_and_does_not_end_qgis(qgis_app, wait):
    from geodamage_qgis.gui.background import Workers
    from qgis.PyQt.QtCore import QThread

    workers, heard = Workers(), []

    def listen(error):
        heard.append((str(error), QThread.currentThread() is qgis_app.thread()))

    workers.begin(lambda: 1 / 0, succeeded=heard.append, failed=listen)
    wait(lambda: workers.idle)
    ((text, in_main_thread),) = heard
    assert text.startswith("internal error, ZeroDivisionError")
    assert in_main_thread
