"""Executors: tasks run beside each other, and the death of one harms no other."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from geodamage.assessment import Job
from geodamage.batch import executors
from geodamage.batch.executors import (
    LocalExecutor,
    Outcome,
    Task,
    Update,
    clear_partials,
    find_devices,
    follow_task,
    free_memory,
    plan_workers,
    run_task,
)
from geodamage.errors import OptionError, ResourceError
from geodamage.model import loading
from geodamage.model.onnx import Model
from geodamage.work import long_work
from tests.conftest import listing, make_scene


@pytest.fixture
def task(tmp_path: Path, pair, model) -> Task:
    folder = tmp_path / "out"
    folder.mkdir()
    return Task("a", Job(pre=pair.pre, post=pair.post, output=folder / "b.gpkg", model=model))


def slow_task(folder: Path, model: Path, name: str = "slow") -> Task:
    """Return a task of many strips."""
    pair = make_scene(folder / f"{name}_images", (2048, 2048))
    (folder / name).mkdir()
    output = folder / name / "b.gpkg"
    job = Job(pre=pair.pre, post=pair.post, output=output, model=model, tile=64, threads=1)
    return Task(name, replace(job, probabilities=folder / name / "p.tif"))


def outcomes(executor: LocalExecutor, count: int) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    until = time.monotonic() + 180
    while len(found) < count and time.monotonic() < until:
        found |= {e.name: e for e in executor.events(0.2) if isinstance(e, Outcome)}
    return found


def wait_for_update(executor: LocalExecutor) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        if any(isinstance(event, Update) and event.share > 0 for event in executor.events(0.2)):
            return
    raise AssertionError("no progress")


@pytest.mark.slow
def test_a_task_tells_what_came_of_it(task):
    outcome = run_task(task)
    assert outcome.error is None
    assert outcome.facts["buildings"] == 5
    assert task.job.output.is_file()


@pytest.mark.slow
def test_a_worker_loads_a_model_once_for_its_scenes(task, monkeypatch):
    loaded = []
    begin = Model.__init__

    def noted(model, *given, **how):
        loaded.append(given)
        begin(model, *given, **how)

    monkeypatch.setattr(Model, "__init__", noted)
    monkeypatch.setattr(loading, "_shared", None)
    monkeypatch.setattr(signal, "signal", lambda *given: None)
    other = replace(task, name="b", job=replace(task.job, overwrite=True))
    copied = task.job.output.with_name("other.onnx")
    copied.write_bytes(Path(task.job.model).read_bytes())
    third = replace(other, name="c", job=replace(other.job, model=copied))
    ours, theirs = multiprocessing.Pipe()
    for order in (task, other, third, None):
        ours.send(order)
    # As in a process of its own, but for the orders that are there already.
    monkeypatch.setattr(executors, "_run", lambda task, channel: channel.send(run_task(task)) or 1)
    executors._serve(theirs)
    first, again, last = (ours.recv() for _ in range(3))
    assert [outcome.error for outcome in (first, again, last)] == [None, None, None]
    assert len(loaded) == 2
    assert first.facts["buildings"] == again.facts["buildings"]


def test_an_error_is_a_line_with_its_code(task):
    bad = replace(task, job=replace(task.job, pre="/not/there.tif"))
    outcome = run_task(bad)
    assert outcome.facts is None
    assert outcome.error_code == 4
    assert "/not/there.tif" in outcome.error
    assert "\n" not in outcome.error


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [(MemoryError("20 GB"), "out of memory", 7), (KeyError("x"), "internal error, KeyError", 1)],
)
def test_our_own_mistakes_stay_within_a_scene(task, error, text, code):
    @long_work
    def work(job):
        raise error
        yield

    outcome = follow_task(task, work).result()
    assert text in outcome.error
    assert outcome.error_code == code


@pytest.mark.slow
def test_closing_a_task_leaves_no_file(tmp_path, model):
    task = slow_task(tmp_path, model)
    steps = follow_task(task)
    while next(steps).share == 0:
        pass
    assert any("partial" in name for name in listing(task.job.output.parent))
    steps.close()
    assert listing(task.job.output.parent) == []


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    names = (".b.gpkg.12-abcdef.partial", ".b.gpkg.12-abcdef.partial-journal", ".hidden", "b.gpkg")
    for name in names:
        (tmp_path / name).touch()
    clear_partials(tmp_path)
    assert listing(tmp_path) == [".hidden", "b.gpkg"]
    clear_partials(tmp_path / "none")


def test_what_a_living_process_writes_stays_where_asked(tmp_path):
    mine = tmp_path / f".b.gpkg.{os.getpid()}-abcdef.partial"
    dead = tmp_path / ".b.gpkg.999999999-abcdef.partial"
    no_number = tmp_path / f".b.gpkg.{'9' * 40}-abcdef.partial"
    for path in (mine, dead, no_number):
        path.touch()
    clear_partials(tmp_path, dead_only=True)
    assert listing(tmp_path) == [mine.name]


def test_as_many_workers_as_fit(monkeypatch):
    monkeypatch.setattr("geodamage.batch.executors.default_threads", lambda: 8)
    assert plan_workers(6e9, scene_memory=1.5e9) == 4
    assert plan_workers(60e9, scene_memory=1.5e9) == 8
    assert plan_workers(60e9, scene_memory=1.5e9, devices=2) == 2
    assert plan_workers(None, scene_memory=1e300, workers=3) == 3
    with pytest.raises(OptionError, match=r"--workers 5: they need 7\.5 GB"):
        plan_workers(6e9, scene_memory=1.5e9, workers=5)
    with pytest.raises(ResourceError, match="raise --memory"):
        plan_workers(1e9, scene_memory=1.5e9)
    assert 1e8 < free_memory() < 1e14


def test_gpus_are_dealt_out_where_there_are_some(monkeypatch):
    monkeypatch.setattr("geodamage.batch.executors._has_gpu_runtime", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert find_devices("auto") == ["cuda:0", "cuda:1"]
    assert find_devices("cpu") == find_devices("cuda:1") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_devices("cuda") == []


@pytest.mark.slow
def test_tasks_run_beside_each_other(tmp_path, task):
    executor = LocalExecutor(2)
    try:
        # A folder each, as a batch gives them: a task clears its own of what a kill has left.
        (tmp_path / "other").mkdir()
        elsewhere = replace(task.job, output=tmp_path / "other" / "c.gpkg")
        other = replace(task, name="b", job=elsewhere)
        bad = replace(task, name="c", job=replace(task.job, post="/not/there.tif"))
        executor.submit(task)
        executor.submit(other)
        found = outcomes(executor, 2)
        executor.submit(bad)
        found |= outcomes(executor, 1)
    finally:
        executor.close()
    assert {name: found[name].error_code for name in found} == {"a": None, "b": None, "c": 4}
    assert found["a"].facts["buildings"] == found["b"].facts["buildings"] == 5


@pytest.mark.slow
def test_a_worker_that_is_killed_fails_its_scene_only_and_is_replaced(tmp_path, task, model):
    executor = LocalExecutor(1)
    try:
        slow = slow_task(tmp_path, model)
        executor.submit(slow)
        wait_for_update(executor)
        (worker,) = executor._busy
        os.kill(worker.process.pid, signal.SIGKILL)
        found = outcomes(executor, 1)
        assert "ended by signal SIGKILL (often for lack of memory" in found["slow"].error
        assert found["slow"].error_code == 7
        assert listing(slow.job.output.parent) == []
        executor.submit(task)
        assert outcomes(executor, 1)["a"].error is None
    finally:
        executor.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_closing_stops_what_runs_and_leaves_no_file(tmp_path, model):
    executor = LocalExecutor(1)
    slow = slow_task(tmp_path, model)
    executor.submit(slow)
    wait_for_update(executor)
    (worker,) = executor._busy
    executor.close()
    assert not worker.process.is_alive()
    assert worker.process.exitcode == 0  # it ended by itself: nobody had to kill it
    assert listing(slow.job.output.parent) == []
