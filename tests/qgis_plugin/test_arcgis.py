"""The toolbox for ArcGIS, with a stand-in for arcpy: ArcGIS itself has not run it."""

import importlib.util
import re
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from geodamage_qgis import scale

from tests.qgis_plugin.programs import make_program

DOCS = Path(__file__).parents[2] / "docs"
TOOLBOX = DOCS / "arcgis" / "GeoDamage.pyt"


class Parameter(SimpleNamespace):
    valueAsText: str | None = None
    said: str | None = None

    def setErrorMessage(self, text: str) -> None:
        self.said = text


class Messages:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda text: self.said.append((name, text))


@pytest.fixture
def toolbox(monkeypatch: pytest.MonkeyPatch) -> Any:
    arcpy: Any = ModuleType("arcpy")
    arcpy.Parameter, arcpy.ExecuteError = Parameter, type("ExecuteError", (Exception,), {})
    arcpy.env = SimpleNamespace(isCancelled=False)
    arcpy.positions = []
    arcpy.SetProgressor = lambda *_: None
    arcpy.SetProgressorPosition = arcpy.positions.append
    monkeypatch.setitem(sys.modules, "arcpy", arcpy)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("geodamage_toolbox", str(TOOLBOX))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def filled(tool: Any, **values: str) -> list[Parameter]:
    parameters = tool.getParameterInfo()
    for parameter in parameters:
        parameter.valueAsText = values.get(parameter.name)
    return list(parameters)


def test_it_is_short() -> None:
    assert len(TOOLBOX.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_command_is_one_that_the_program_takes(toolbox: Any) -> None:
    from geodamage.cli import main

    values = {
        "before": "-odd.tif", "after": "post.tif", "output": "b.gpkg", "footprints": "f.shp",
        "id_field": "id", "raster": "g.tif", "report": "r.html", "overwrite": "true",
        "program": "geodamage",
    }  # fmt: skip
    words = toolbox.command(values)
    assert words[-3:] == ["--", "-odd.tif", "post.tif"]
    command = main.get_command(None, "assess")  # type: ignore[arg-type]
    context = command.make_context("assess", words[2:])
    assert str(context.params["output"]) == "b.gpkg"
    assert context.params["overwrite"] is True


def test_it_tells_progress_warnings_and_the_error(toolbox: Any, tmp_path: Path) -> None:
    lines = [
        '{"stage": "open", "message": "model fast", "level": "info"}',
        '{"stage": "predict", "done": 5, "total": 10}',
        '{"stage": "predict", "message": "dark", "level": "warning"}',
        '{"stage": "error", "message": "the images do not overlap"}',
    ]
    code = f"import sys\nfor line in {lines!r}: print(line, file=sys.stderr)\nsys.exit(4)"
    program = make_program(tmp_path / "geodamage", code)
    tool, messages = toolbox.AssessDamage(), Messages()
    values = {"before": "a.tif", "after": "b.tif", "output": "b.gpkg", "program": str(program)}
    with pytest.raises(toolbox.arcpy.ExecuteError):
        tool.execute(filled(tool, **values), messages)
    assert toolbox.arcpy.positions == [50]
    assert messages.said == [
        ("addMessage", "model fast"),
        ("addWarningMessage", "dark"),
        ("addErrorMessage", "the images do not overlap"),
    ]


def test_a_geodatabase_and_one_image_twice_are_refused(toolbox: Any) -> None:
    tool = toolbox.AssessDamage()
    parameters = filled(tool, before="a.tif", after="a.tif", output="C:/event.gdb/buildings")
    tool.updateMessages(parameters)
    said = {parameter.name: parameter.said for parameter in parameters if parameter.said}
    assert "the image before" in said["after"]
    assert ".gpkg or .geojson" in said["output"]


def test_the_page_has_the_colours_of_the_scale_and_says_that_it_is_untested() -> None:
    page = (DOCS / "arcgis.md").read_text(encoding="utf-8")
    for grade, colour in scale.COLOURS.items():
        assert re.search(rf"^\| {grade} \| \w+, `{colour}` \|$", page, re.MULTILINE), grade
    assert "Nobody has tried this page in ArcGIS" in page
