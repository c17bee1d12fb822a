"""The rooms of training: imports point one way; nobody but a command knows a command."""

import ast
import graphlib
from pathlib import Path

import pytest

from tests.python_files import graph_of, imports, sources_of

#: What each room may import beside itself and the foundations, of rooms and of the middle.
ROOMS = {
    "data": set[str](),
    "losses": {"data"},
    "runs": {"data", "recipe"},
    "sensors": {"data", "runs"},
    "teaching": {"data", "losses", "recipe", "predictor", "objectives"},
}
#: Modules of the root that are no commands. The first stand on nothing of ours.
FOUNDATIONS = {"presets", "extras"}
MIDDLE = {
    "meta",
    "recipe",
    "schedules",
    "objectives",
    "optimisers",
    "predictor",
    "building_predictor",
    "validation",
    "examples",
    "state",
    "steps",
}


SOURCES = sources_of("training")
GRAPH = graph_of(SOURCES)


def place(name: str) -> str:
    """Return the room of a module, or its own name where it stands in the root."""
    return name.removeprefix("training.").split(".")[0]


def is_command(path: Path) -> bool:
    """Say whether a file does something when it is run."""
    ends = [node for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.If)]  # fmt: skip
    return any("__main__" in ast.dump(node.test) for node in ends)


COMMANDS = {place(name) for name, path in SOURCES.items() if is_command(path)}


def test_there_is_something_to_look_at():
    assert {"train", "chips", "prepare"} <= COMMANDS
    assert "training.steps" in GRAPH["training.train"]
    assert "training.losses.sums" in GRAPH["training.losses.terms"]


def test_every_folder_is_a_room_and_every_module_of_the_root_has_its_place():
    folders = {path.parent.name for path in SOURCES.values() if path.parent.name != "training"}
    assert folders == {*ROOMS}
    root = {place(name) for name in SOURCES} - {*ROOMS, "training"}
    assert root == COMMANDS | FOUNDATIONS | MIDDLE


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_nobody_reaches_over_a_wall(name):
    room = place(name)
    over = {place(other) for other in GRAPH[name] if other != "training"} - {room}
    if room in ROOMS:
        assert over <= ROOMS[room] | FOUNDATIONS
    elif room in FOUNDATIONS:
        assert not over
    elif room in MIDDLE:
        assert not over & COMMANDS


def test_imports_make_no_circle():
    graphlib.TopologicalSorter(GRAPH).prepare()
    rooms = {room: others & ROOMS.keys() for room, others in ROOMS.items()}
    graphlib.TopologicalSorter(rooms).prepare()


def test_torch_is_not_needed_to_look_at_runs_and_to_prepare_data():
    for name in ("training.prepare", "training.results", "training.data.splits"):
        seen, waiting = set(), [name]
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += GRAPH[module]
        roots = {full.split(".")[0] for module in seen for full in imports(SOURCES[module])}
        assert not roots & {"torch", "timm"}, name
