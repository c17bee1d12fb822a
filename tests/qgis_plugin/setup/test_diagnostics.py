import re
import sys
from pathlib import Path

import pytest
from geodamage_qgis.program.executable import Installation
from geodamage_qgis.setup import diagnostics
from geodamage_qgis.setup.diagnostics import Fact, Report, Section, collect, to_html, to_text

from geodamage import __version__
from tests.qgis_plugin.programs import make_geodamage

HERE = Path(sys.executable).with_name("geodamage")


def value(report, name):
    return next(fact for section in report.sections for fact in section.facts if fact.name == name)


@pytest.mark.slow
@pytest.mark.skipif(not HERE.exists(), reason="geodamage is not installed beside this Python")
def test_a_program_that_works_is_reported_with_what_runs(tmp_path):
    report = collect(
        str(HERE), tmp_path / "environment", desktop=[("QGIS", "3.22")], maker=sys.executable
    )
    assert report.ready
    assert report.verdict.startswith(f"geodamage {__version__} is ready: ")
    runs_on = value(report, "inference runs on").value
    assert re.match(r"CPU, (ONNX Runtime|OpenVINO) \d", runs_on)
    assert value(report, "state").value == "not made"
    assert value(report, "QGIS").value == "3.22"
    text = to_text(report)
    assert text.startswith(report.verdict)
    assert all(fact.value in text for section in report.sections for fact in section.facts)


@pytest.mark.slow
def test_a_program_that_is_missing_is_reported_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(
        "geodamage_qgis.program.executable.usual_folders", lambda platform="linux": []
    )
    report = collect(None, tmp_path / "environment", maker=sys.executable)
    assert not report.ready
    assert "Set up" in report.verdict
    assert value(report, "geodamage").good is False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="programs are shell scripts")
def test_a_program_that_cannot_run_a_model_is_not_ready(tmp_path, monkeypatch):
    program = make_geodamage(tmp_path / "geodamage")
    broken = Installation("3.11.2", "/x/python", {"numpy": "2.4"}, None, "ImportError: libcuda")
    monkeypatch.setattr(diagnostics, "inspect", lambda path: broken)
    report = collect(str(program), tmp_path / "environment", maker=sys.executable)
    assert not report.ready
    assert "ImportError: libcuda; repair it" in report.verdict


def test_a_report_tells_neither_passwords_nor_who_somebody_is(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/erika"))
    variables = {"HTTPS_PROXY": "http://erika:secret@proxy:3128", "NO_PROXY": "intra"}
    report = collect(
        "/home/erika/bin/geodamage",
        Path("/home/erika/q"),
        variables=variables,
        maker=sys.executable,
    )
    text = to_text(report) + to_html(report)
    assert "erika" not in text
    assert "secret" not in text
    assert "http://***@proxy:3128" in text
    assert "~/bin/geodamage" in text


def test_a_page_shows_marks_and_escapes_what_it_shows():
    facts = (Fact("a", "<b>", True), Fact("c", "d", False), Fact("e", "f"))
    page = to_html(Report("fine", True, (Section("Title & more", facts),)))
    assert "&lt;b&gt;" in page
    assert "Title &amp; more" in page
    assert page.count("&#10003;") == page.count("&#10007;") == 1
