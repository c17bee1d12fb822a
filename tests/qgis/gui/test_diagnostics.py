from pathlib import Path

import pytest

pytest.importorskip("qgis.core")


@pytest.fixture
def page(qgis_app, wait):
    """Return the page when it has looked."""
    from geodamage_qgis.gui.diagnostics_page import DiagnosticsPage

    window = DiagnosticsPage()
    window.show()
    wait(lambda: window._workers.idle)
    yield window
    window.reject()


def test_the_page_says_what_was_found_and_what_runs(configured, page):
    assert page.report.ready
    shown = page.page.toPlainText()
    # The name of a person is left out.
    assert str(configured).replace(str(Path.home()), "~") in shown
    assert "ONNX Runtime" in shown or "OpenVINO" in shown
    assert "QGIS" in shown
    assert "is ready" in page.verdict.text()


def test_copy_puts_the_report_into_the_clipboard(configured, page, qgis_app):
    from geodamage_qgis.setup.diagnostics import to_text

    qgis_app.clipboard().setText("before")
    page.copy_button.click()
    assert qgis_app.clipboard().text() == to_text(page.report)
    assert "Copied" in page.copied.text()


def test_a_missing_executable_is_said_in_one_line(qgis_app, wait, tmp_path):
    from geodamage_qgis import settings
    from geodamage_qgis.gui.diagnostics_page import DiagnosticsPage

    settings.set_executable(str(tmp_path / "gone"))
    window = DiagnosticsPage()
    wait(lambda: window._workers.idle)
    assert "no such file" in window.verdict.text()
    assert not window.report.ready
    window.look_button.click()
    assert not window.copy_button.isEnabled()
    wait(lambda: window._workers.idle)
    assert window.copy_button.isEnabled()
    window.reject()


def test_closing_the_page_while_it_looks_is_safe(configured, wait):
    from geodamage_qgis.gui import background
    from geodamage_qgis.gui.diagnostics_page import DiagnosticsPage

    window = DiagnosticsPage()
    window.show()
    window.reject()
    background.end_all()
    wait(lambda: True)
