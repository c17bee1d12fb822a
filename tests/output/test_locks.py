"""One run per output; whoever stops a publication finds the old result or the new one."""

import os
import signal
import threading

import pytest

from benchmarks.kills import SIGNALS, found, publish, stopped_at
from geodamage.errors import OptionError, OutputError, OutputExistsError
from geodamage.output.disk import file_state
from geodamage.output.locks import Lock, refuse_locked, signals_held
from geodamage.output.publication import (
    Publication,
    check_distinct,
    check_output,
    is_incomplete,
)
from tests.conftest import listing


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_publication_that_is_stopped_leaves_the_old_or_the_new_result(tmp_path, number):
    names, states = ("b.geojson", "s.shp"), []
    for step in range(1, 200):
        folder = tmp_path / str(step)
        folder.mkdir()
        publish(folder, "old", overwrite=False, names=names)

        def replaced(to=folder):
            publish(to, "new", overwrite=True, names=names)

        stopped = stopped_at(step, number, replaced)
        states.append(found(folder, names))
        assert len([name for name in listing(folder) if name[0] != "."]) == 9
        if not stopped:
            break
        if number != signal.SIGKILL:
            assert len(listing(folder)) == 9
    # The old result up to one step, and the new one from it on.
    assert set(states) == {"old", "new"}
    assert states == sorted(states, reverse=True)
    assert states.count("new") > 5


def test_a_file_without_its_sidecar_is_replaced_without_being_asked(tmp_path):
    path = tmp_path / "b.geojson"
    path.write_text("of a run that was killed, on a drive that lost its record")
    (tmp_path / ".b.geojson.json.1-abcdef.partial").touch()
    assert is_incomplete(path)
    publish(tmp_path, "again", overwrite=False, names=("b.geojson",))
    assert found(tmp_path, ("b.geojson",)) == "again"
    assert listing(tmp_path) == ["b.geojson", "b.geojson.json"]


@pytest.mark.slow
def test_a_killed_run_is_nothing_or_done_for_the_same_command(tmp_path):
    one = ("b.geojson",)
    states = []
    for step in range(1, 50):
        folder = tmp_path / str(step)
        folder.mkdir()
        if not stopped_at(
            step, signal.SIGKILL, lambda to=folder: publish(to, "new", overwrite=False, names=one)
        ):
            break
        states.append(found(folder, one))
        if states[-1] == "incomplete":
            assert not (folder / "b.geojson").exists()
            publish(folder, "again", overwrite=False, names=one)
            assert found(folder, one) == "again"
            assert listing(folder) == ["b.geojson", "b.geojson.json"]
    assert set(states) == {"incomplete", "new"}


def test_what_a_killed_run_has_left_is_cleared_by_the_next(tmp_path):
    left = tmp_path / ".b.geojson.999999-abcdef.partial"
    (tmp_path / f"{left.name}.spool").touch()
    left.touch()
    (tmp_path / ".other.geojson.999999-abcdef.partial").touch()
    (tmp_path / ".b.geojson.lock").touch()
    publish(tmp_path, "new", overwrite=False)
    assert [name for name in listing(tmp_path) if name.startswith(".")] == [
        ".other.geojson.999999-abcdef.partial"
    ]


def test_a_file_of_somebody_else_is_not_taken_for_an_incomplete_result(tmp_path):
    path = tmp_path / "b.geojson"
    path.write_text("mine")
    (tmp_path / ".b.geojson.1-abcdef.partial").touch()
    assert not is_incomplete(path)
    with pytest.raises(OutputExistsError):
        check_output(path)


def test_a_second_run_on_one_output_is_refused_at_once(tmp_path):
    path = tmp_path / "b.geojson"
    with Publication() as first:
        first.partial(path).write_text("first")
        for attempt in (lambda: check_output(path), lambda: Publication().partial(path)):
            with pytest.raises(OutputError, match="another run is writing it"):
                attempt()
    assert path.read_text() == "first"
    refuse_locked(path)
    assert listing(tmp_path) == ["b.geojson"]


def test_a_lock_is_let_go_of_once(tmp_path):
    lock = Lock(tmp_path / "b.gpkg")
    assert listing(tmp_path) == [".b.gpkg.lock"]
    lock.release()
    lock.release()
    assert listing(tmp_path) == []


def test_signals_wait_for_the_end():
    done = []
    former = signal.getsignal(signal.SIGINT)

    def interrupted():
        with signals_held():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("inside")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["inside"]
    assert signal.getsignal(signal.SIGINT) is former
    thread = threading.Thread(target=lambda: [done.append("thread") for _ in [0] if _held()])
    thread.start()
    thread.join()
    assert done[-1] == "thread"


def _held():
    with signals_held():
        return True


def test_outputs_are_different_files_behind_links_too(tmp_path):
    (tmp_path / "link.tif").symlink_to(tmp_path / "a.tif")
    check_distinct([tmp_path / "a.tif", None, tmp_path / "b.tif"])
    for other in ("link.tif", "a.tif", "../" + tmp_path.name + "/a.tif"):
        with pytest.raises(OptionError, match="are one file"):
            check_distinct([tmp_path / "a.tif", tmp_path / other])


def test_an_output_that_changed_since_it_was_read_is_not_replaced(tmp_path):
    path = tmp_path / "e.gpkg"
    path.write_text("old")
    state = file_state(path)
    publication = Publication(overwrite=True)
    publication.partial(path).write_text("new")
    publication.expect(path, state)
    path.write_text("edited")
    with pytest.raises(OutputError, match="changed while it was read"), publication:
        pass
    assert path.read_text() == "edited"
    assert listing(tmp_path) == ["e.gpkg"]
