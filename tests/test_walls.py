"""Imports point one way; nobody reaches over a wall."""

import graphlib
import sys
import tomllib
from pathlib import Path

import pytest

from tests.python_files import graph_of, imports, sources_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "geodamage"

#: Top-level modules of the packages that pyproject.toml names otherwise.
MODULES = {"lazy-loader": "lazy_loader", "opencv-python-headless": "cv2"}

#: Modules that come with an extra, and where they may be imported.
EXTRAS = {
    "onnx": {"geodamage.foreign.graph", "geodamage.optimise.precision"},
    "onnxruntime": {"geodamage.model.session", "geodamage.optimise.precision"},
    "openvino": {"geodamage.model.openvino"},
    "pyarrow": {
        "geodamage.footprints.boxes",
        "geodamage.footprints.published",
        "geodamage.output.geoparquet",
        "geodamage.vector.parquet",
    },
    "bokeh": {"geodamage.report.page"},
    "distributed": {"geodamage.batch.cluster"},
    "exactextract": {"geodamage.event.population"},
    "jinja2": {"geodamage.report.page"},
    "markupsafe": {"geodamage.report.page"},
    "matplotlib": {"geodamage.report.maps"},
    "xlsxwriter": {"geodamage.exports.workbook"},
    "pystac": {"geodamage.batch.stac", "geodamage.batch.stac_items"},
    "pystac_client": {"geodamage.batch.stac"},
}


SOURCES = sources_of("geodamage")
GRAPH = graph_of(SOURCES)


#: What each room may import beside itself and the foundations. Docs: the table of rooms.
ROOMS = {
    "scene": set[str](),
    "model": set[str](),
    "output": set[str](),
    "buildings": {"scene", "model", "output"},
    "adaptation": {"scene", "model", "output", "buildings", "reviews"},
    "footprints": {"scene", "output"},
    "familiarity": {"scene", "model", "adaptation"},
    "xbd": {"output", "scene"},
    "report": {"output", "scene", "model"},
    "event": {"output", "report", "scene"},
    "exports": {"output", "report"},
    "comparison": {"exports", "output", "report", "reviews"},
    "reviews": {"buildings", "event", "output", "report", "scores"},
    "scores": {"scene", "buildings", "xbd", "model", "output"},
    "optimise": {"scores", "buildings", "xbd", "model", "output"},
    "networks": {"model", "output"},
    "foreign": {"model", "output"},
}

#: Modules of the root, from the lowest to the highest: the spine.
FOUNDATIONS = {
    "_version", "codes", "damage", "datums", "errors", "fields", "grid", "options", "schema",
    "sources", "vector", "windows", "words", "work",
}  # fmt: skip
MIDDLE = {"ahead", "plan", "asking", "roll", "prediction", "arrays"}
#: Rooms that stand on predictions.
UPPER_ROOMS = {"buildings", "scores", "optimise"}


def place(name: str) -> str:
    """Return the room of a module, or its own name where it stands in the root."""
    return name.removeprefix("geodamage.").split(".")[0]


def may_import(room: str, other: str) -> bool:
    """Say whether a module of a room may import one of another place."""
    if room in {"cli", "batch"}:
        return room == "cli" or other not in {"cli", "__main__", "networks"}
    if room in ROOMS:
        allowed = ROOMS[room] | FOUNDATIONS | (MIDDLE if room in UPPER_ROOMS else set())
        return other in allowed
    if room in FOUNDATIONS:
        return other in FOUNDATIONS
    if room in MIDDLE:
        return other in FOUNDATIONS | MIDDLE | {"scene", "model"}
    return other not in {"cli", "batch", "event", "scores", "optimise", "networks"}


def test_there_is_something_to_look_at():
    assert {"geodamage.errors", "geodamage.networks", "geodamage.cli.assess"} <= set(SOURCES)
    assert "geodamage.scene.scene" in GRAPH["geodamage.prediction"]
    assert "geodamage.assessment" in GRAPH["geodamage.cli.assess"]


def test_every_folder_is_a_room():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == {*ROOMS, "cli", "batch", "options", "vector"}


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"geodamage", "geodamage.__main__"}))
def test_nobody_reaches_over_a_wall(name):
    room = place(name)
    over = {other for other in GRAPH[name] if place(other) != room}
    assert not [other for other in over if not may_import(room, place(other))]


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_modules_come_from_where_they_are_written(name):
    # A name taken from a room itself would hide which of its modules is needed.
    rooms = {f"geodamage.{room}" for room in {*ROOMS, "options", "vector"} - {"networks"}}
    taken = {full.rpartition(".")[0] for full in imports(SOURCES[name])}
    assert not taken & rooms - {name}


def test_imports_make_no_circle():
    graphlib.TopologicalSorter(GRAPH).prepare()


def test_errors_and_windows_stand_on_nothing():
    assert GRAPH["geodamage.errors"] == GRAPH["geodamage.windows"] == set()


def test_only_the_command_line_knows_the_command_line():
    for name, found in GRAPH.items():
        if not name.startswith("geodamage.cli") and name != "geodamage.__main__":
            assert not [other for other in found if other.startswith("geodamage.cli")], name


@pytest.mark.slow
def test_torch_stays_in_networks():
    for name, path in SOURCES.items():
        if name.startswith("geodamage.networks"):
            continue
        roots = {full.split(".")[0] for full in imports(path)}
        assert not roots & {"torch", "torchvision", "timm"}, name
        reached = [other for other in GRAPH[name] if other.startswith("geodamage.networks")]
        # Importing published weights is torch's work; its command asks for it when it runs.
        assert not reached or name == "geodamage.cli.models", name


@pytest.mark.slow
@pytest.mark.parametrize("other", ["training", "qgis", "geodamage_qgis", "benchmarks", "tests"])
def test_the_package_imports_nothing_beside_it(other):
    for name, path in SOURCES.items():
        assert other not in {full.split(".")[0] for full in imports(path)}, name


@pytest.mark.slow
def test_the_package_imports_what_it_depends_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [text.split(">")[0].split("=")[0].strip() for text in project["dependencies"]]
    allowed = {MODULES.get(name, name) for name in names} | sys.stdlib_module_names | {"geodamage"}
    for name, path in SOURCES.items():
        if name.startswith("geodamage.networks"):
            continue
        foreign = {full.split(".")[0] for full in imports(path)} - allowed
        assert foreign <= {extra for extra, places in EXTRAS.items() if name in places}, name
