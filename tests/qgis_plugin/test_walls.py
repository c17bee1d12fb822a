"""The rooms of the plugin: imports point one way, and nobody reaches over a wall."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "qgis_plugin" / "geodamage_qgis"

#: What the modules of a room, or a module at the root, may import of the others.
SPINE = {"errors", "scale", "translation", "version"}
ROOMS: dict[str, set[str]] = {
    "errors": {"translation"},
    "scale": set(),
    "translation": set(),
    "version": set(),
    "program": SPINE,
    "settings": SPINE | {"program"},
    "setup": SPINE | {"program"},
    "results": SPINE | {"program"},
    "processing": SPINE | {"program", "settings", "results"},
    "gui": SPINE | {"program", "settings", "setup", "results", "processing"},
    # The steps of an event run beside the windows, as those of `gui` do.
    "review": SPINE | {"program", "settings", "results", "gui"},
    "plugin": SPINE | {"program", "settings", "results", "processing", "review", "gui"},
    "__init__": {"plugin"},
}
#: These run, and are tested, without QGIS; so do the single modules of `PLAIN`.
PLAIN_ROOMS = {"errors", "scale", "translation", "version", "program", "setup"}
PLAIN = {"results.journal", "review.walk"}
QGIS = {"qgis", "processing", "osgeo"}

LONGEST_MODULE, LONGEST_FUNCTION = 500, 50


def name_of(path: Path) -> str:
    parts = path.relative_to(PLUGIN).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(PLUGIN.rglob("*.py"))}


def room_of(name: str) -> str:
    return name.partition(".")[0]


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of all that a file imports: inside functions and for types, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path: Path) -> set[str]:
    """Return the modules of the plugin that a file imports."""
    found = set()
    for full in imports(path):
        name = full.removeprefix("geodamage_qgis.")
        while name and name not in SOURCES:
            name = name.rpartition(".")[0]
        if full.startswith("geodamage_qgis.") and name:
            found.add(name)
    return found


GRAPH = {name: own(path) - {name} for name, path in SOURCES.items()}


def test_there_is_something_to_look_at() -> None:
    assert {"program.runner", "setup.environment", "processing.assess", "plugin"} <= set(SOURCES)
    assert "program.runner" in GRAPH["processing.tool"]
    assert {room_of(name) for name in SOURCES} == set(ROOMS)


def test_imports_make_no_circle() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()
    graphlib.TopologicalSorter(ROOMS).prepare()


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_keeps_to_its_walls(name: str) -> None:
    room = room_of(name)
    assert {room_of(other) for other in GRAPH[name]} - {room} <= ROOMS[room]


def test_nothing_imports_the_plugin() -> None:
    assert [name for name, found in GRAPH.items() if "plugin" in found] == ["__init__"]


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_imports_no_more_than_qgis_has(name: str) -> None:
    allowed = set(sys.stdlib_module_names) | {"geodamage_qgis"}
    if room_of(name) not in PLAIN_ROOMS and name not in PLAIN:
        allowed |= QGIS
    assert {full.partition(".")[0] for full in imports(SOURCES[name])} <= allowed


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_long(name: str) -> None:
    text = SOURCES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            documented = ast.get_docstring(node) is not None
            body = node.body[1:] if documented else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
            assert length <= LONGEST_FUNCTION, f"{name}.{node.name}"
