"""A publication that was killed amid its moves is finished by whoever finds its record."""

import json
import os

import pytest

from geodamage.output.commitment import Moves, commit, finish, record_of, retract
from geodamage.output.locks import Lock
from geodamage.output.publication import OutputError, check_output, read_sidecar
from tests.conftest import listing

NAMES = ("a.geojson", "b.tif")


def planned(folder):
    """Write old files and new partial ones, sidecars too; return what is to be done."""
    moves = []
    for name in (*NAMES, *(f"{name}.json" for name in NAMES)):
        partial = folder / f".{name}.1-abcdef.partial"
        partial.write_text('{"text": "new"}')
        (folder / name).write_text('{"text": "old"}')
        moves.append((partial, folder / name))
    outputs = [folder / name for name in NAMES]
    return Moves(outputs, [folder / f"{name}.json" for name in NAMES], moves)


def texts(folder):
    return {json.loads((folder / name).read_text())["text"] for name in listing(folder)}


@pytest.mark.parametrize("reader", NAMES)
@pytest.mark.parametrize("step", range(7))
def test_what_is_left_is_done_whoever_asks(tmp_path, reader, step):
    plan = planned(tmp_path)
    commit(plan)
    steps = [lambda file=file: file.unlink() for file in plan.old]
    steps += [lambda move=move: move[0].replace(move[1]) for move in plan.moves]
    for do in steps[:step]:
        do()
    assert read_sidecar(tmp_path / reader) == {"text": "new"}
    assert listing(tmp_path) == sorted([*NAMES, *(f"{name}.json" for name in NAMES)])
    assert texts(tmp_path) == {"new"}


def test_before_the_last_record_nothing_is_done(tmp_path):
    plan = planned(tmp_path)
    commit(plan)
    record_of(plan.outputs[0]).unlink()
    for output in plan.outputs:
        assert read_sidecar(output) == {"text": "old"}
    retract(plan.outputs)
    assert not [name for name in listing(tmp_path) if name.endswith(".publishing")]


def test_a_living_run_is_not_interfered_with(tmp_path):
    plan = planned(tmp_path)
    commit(plan)
    lock = Lock(plan.outputs[1])
    finish(plan.outputs[0])
    assert plan.moves[0][0].exists()
    with pytest.raises(OutputError, match="another run"):
        check_output(plan.outputs[1], extensions=(".tif",))
    lock.release()
    finish(plan.outputs[0])
    assert texts(tmp_path) == {"new"}


def test_a_folder_may_be_moved_meanwhile(tmp_path):
    (tmp_path / "a").mkdir()
    commit(planned(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_sidecar(tmp_path / "b" / NAMES[1]) == {"text": "new"}
    assert texts(tmp_path / "b") == {"new"}


def test_where_a_file_is_gone_nothing_is_done(tmp_path):
    plan = planned(tmp_path)
    commit(plan)
    plan.moves[0][0].unlink()
    plan.moves[0][1].unlink()
    finish(plan.outputs[0])
    assert read_sidecar(plan.outputs[1]) == {"text": "old"}


@pytest.mark.parametrize(
    "change",
    [
        {"moves": [[".x.1-abcdef.partial", "../other/victim"]]},
        {"moves": [["../other/.x.1-abcdef.partial", "../other/victim"]]},
        {"moves": [["mine", "a.geojson"]]},
        {"old": ["../other/victim"]},
        {"outputs": ["a.geojson", "../other/victim"]},
        {"moves": 7},
        {"outputs": ["b.tif"]},
    ],
)
def test_a_record_of_somebody_else_moves_nothing(tmp_path, change):
    folder, other = tmp_path / "given", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "victim").write_text("mine")
    (other / ".x.1-abcdef.partial").write_text("theirs")
    (folder / ".x.1-abcdef.partial").write_text("theirs")
    (folder / "mine").write_text("mine")
    plan = planned(folder)
    commit(plan)
    record = record_of(plan.outputs[0])
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    finish(plan.outputs[0])
    assert (other / "victim").read_text() == "mine"
    assert (folder / "mine").read_text() == "mine"
    assert read_sidecar(plan.outputs[0]) == {"text": "old"}


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, "{}", '{"first": 3}'])
def test_a_record_that_is_none_is_left_alone(tmp_path, content):
    plan = planned(tmp_path)
    record_of(plan.outputs[0]).write_text(content)
    assert read_sidecar(plan.outputs[0]) == {"text": "old"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_record_that_is_a_pipe_is_left_alone(tmp_path):
    plan = planned(tmp_path)
    os.mkfifo(record_of(plan.outputs[0]))
    assert read_sidecar(plan.outputs[0]) == {"text": "old"}
