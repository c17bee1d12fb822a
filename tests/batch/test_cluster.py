"""Dask: a cluster of real processes finds what one process finds, and survives the death of one."""

import importlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geodamage.assessment import Job
from geodamage.batch.cluster import (
    DaskExecutor,
    _open,
    _View,
    connect,
    predict_on_cluster,
    run_on_worker,
    strip_plan,
)
from geodamage.batch.executors import Outcome, Task
from geodamage.batch.story import read_story
from geodamage.errors import InputError, MissingExtraError, OptionError
from geodamage.model.loading import load_model
from geodamage.plan import Plan, make_plan
from geodamage.prediction import run_plan
from geodamage.scene.options import scene_options
from geodamage.scene.scene import Scene
from geodamage.windows import Window
from tests.batches import batch_of, contents, make_scenes, roofs, run
from tests.conftest import Pair, listing, make_scene

pytest.importorskip("distributed")

# What Dask says of its own housekeeping is no concern of ours.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:distributed")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Three worker processes; two of them may be killed by a test."""
    with ExitStack() as stack:
        yield connect(stack, workers=3)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return a pair of many strips, buildings across their borders."""
    shape = 640, 800
    return make_scene(tmp_path_factory.mktemp("large"), shape, roofs(shape))


def job_of(pair: Pair, model: Path, output: Path, **options: object) -> Job:
    options = {"tile": 64, "threads": 1} | options
    return Job(pre=pair.pre, post=pair.post, output=output, model=model, **options)


def outcomes(executor: DaskExecutor, count: int) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    until = time.monotonic() + 180
    while len(found) < count and time.monotonic() < until:
        found |= {event.name: event for event in executor.events(0.2)}
    return found


def kill_a_busy_worker(client: Any, executor_is_busy: threading.Event) -> None:
    """Kill one worker as soon as it computes something."""
    until = time.monotonic() + 180
    while time.monotonic() < until:
        busy = {address for address, keys in client.processing().items() if keys}
        if busy:
            time.sleep(0.3)
            pids = client.run(os.getpid, workers=[busy.pop()])
            os.kill(next(iter(pids.values())), signal.SIGKILL)
            executor_is_busy.set()
            return
        time.sleep(0.02)


@pytest.mark.parametrize("columns", [1, 3, 100])
def test_the_plan_of_a_strip_is_that_strip(columns):
    plan = Plan(Window(5, 70, 200, 300), (0, 64), (48, 64), 8, columns, 2)
    strips = list(plan.strips())
    for strip in strips:
        part = strip_plan(plan, strip)
        assert list(part.strips()) == [strip]
        assert list(part.cores(strip)) == list(plan.cores(strip))
        assert part.window == plan.window
    assert sum((strip & plan.region).size for strip in strips) == plan.region.size


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0.625e9, 1.5e9])
def test_strips_from_a_cluster_are_those_of_one_process(client, large, model, memory, tmp_path):
    job = job_of(large, model, tmp_path / "b.gpkg")
    loaded = load_model(model, threads=1)
    options = scene_options(job.scene, loaded.card)
    with Scene.open(*large, gsd=loaded.card.gsd, options=options) as scene:
        plan = make_plan(scene.region, loaded.card, tile=64, memory=memory)
        alone = list(run_plan(scene, loaded, plan, with_grades=True))
        there = list(predict_on_cluster(client, job, scene, loaded, plan, with_grades=True))
    assert len(alone) == len(there) > 5
    for one, other in zip(alone, there, strict=True):
        assert one.window == other.window
        assert np.array_equal(one.probabilities, other.probabilities)
        assert np.array_equal(one.missing, other.missing)
        assert np.array_equal(one.grades, other.grades)


@pytest.mark.slow
def test_stopping_the_strips_takes_back_what_is_left(client, large, model, tmp_path):
    job = job_of(large, model, tmp_path / "b.gpkg")
    loaded = load_model(model, threads=1)
    options = scene_options(job.scene, loaded.card)
    with Scene.open(*large, gsd=loaded.card.gsd, options=options) as scene:
        plan = make_plan(scene.region, loaded.card, tile=64)
        strips = predict_on_cluster(client, job, scene, loaded, plan)
        next(strips)
        strips.close()
    until = time.monotonic() + 180
    while any(client.processing().values()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(client.processing().values())


@pytest.mark.slow
def test_a_worker_that_sees_another_grid_is_refused(client, large, model, tmp_path):
    job = job_of(large, model, tmp_path / "b.gpkg")
    loaded = load_model(model, threads=1)
    options = scene_options(job.scene, loaded.card)
    with Scene.open(*large, gsd=loaded.card.gsd, options=options) as scene:
        plan = make_plan(scene.region, loaded.card, tile=64)
        scene.grid = scene.grid.crop(Window(0, 0, 64, 64))
        strips = predict_on_cluster(client, job, scene, loaded, plan)
        with pytest.raises(InputError, match="another grid"):
            next(strips)


@pytest.mark.slow
def test_a_worker_does_not_look_at_the_scene_again(large, model, tmp_path, monkeypatch):
    loaded = load_model(model, threads=1)
    job = job_of(large, model, tmp_path / "out.geojson")
    with Scene.open(job.pre, job.post, model=loaded, options=job.scene) as scene:
        view = _View(job, scene.grid, scene.region, scene.reading)
    monkeypatch.setattr("geodamage.scene.scene.examine", None)
    monkeypatch.setattr("geodamage.scene.scene.exposed", None)
    opened, _ = _open(view)
    with opened:
        assert opened.grid == view.grid


def test_tasks_run_on_a_cluster(client, pair, model, tmp_path):
    executor = DaskExecutor(client, threads=1)
    assert executor.slots >= 3
    task = Task("a", job_of(pair, model, tmp_path / "b.gpkg"))
    executor.submit(task)
    executor.submit(Task("b", replace(task.job, post="/not/there.tif")))
    found = outcomes(executor, 2)
    assert found["a"].facts["buildings"] == 5
    assert found["b"].error_code == 4
    executor.close()


@pytest.mark.slow
def test_closing_stops_what_runs_on_a_cluster(client, model, tmp_path):
    shape = 2048, 2560
    slow = make_scene(tmp_path / "in", shape, roofs(shape))
    (tmp_path / "out").mkdir()
    executor = DaskExecutor(client)
    executor.submit(Task("a", job_of(slow, model, tmp_path / "out" / "b.gpkg")))
    until = time.monotonic() + 180
    while not listing(tmp_path / "out") and time.monotonic() < until:
        time.sleep(0.02)
    assert listing(tmp_path / "out")
    executor.close()
    while listing(tmp_path / "out") and time.monotonic() < until:
        time.sleep(0.05)
    assert listing(tmp_path / "out") == []


def test_a_worker_of_another_version_is_refused(pair, model, tmp_path):
    outcome = run_on_worker(Task("a", job_of(pair, model, tmp_path / "b.gpkg")), "0.0.0")
    assert "install the same on both" in outcome.error


@pytest.mark.slow
def test_where_dask_is_missing_the_extra_is_named(monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with ExitStack() as stack, pytest.raises(MissingExtraError, match=r"\.\[cluster\]"):
        connect(stack, workers=1)


@pytest.mark.slow
def test_an_address_where_nobody_answers_is_refused(monkeypatch):
    monkeypatch.setattr("geodamage.batch.cluster.ANSWER", 0.5)
    with ExitStack() as stack, pytest.raises(OptionError, match="no scheduler answers"):
        connect(stack, address="tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_makes_what_one_process_makes(tmp_path, model, client):
    scenes = make_scenes(tmp_path / "in", 6, shape=(768, 960), damaged=[2])
    defaults = Job(pre=(), post=(), output=Path("b.gpkg"), model=model, tile=64, threads=1)
    options = {"defaults": defaults, "raster": True, "probabilities": True}
    out = tmp_path / "out"
    alone, _ = run(batch_of(scenes, out, model, **options))
    undisturbed = contents(out)
    out.rename(tmp_path / "undisturbed")

    address = client.scheduler.address
    killed = threading.Event()
    killer = threading.Thread(target=kill_a_busy_worker, args=(client, killed))
    killer.start()
    summary, _ = run(batch_of(scenes, out, model, dask=address, **options))
    killer.join()
    assert killed.is_set()
    assert summary.done == alone.done == ["s0", "s1", "s3", "s4", "s5"]
    assert list(summary.failed) == ["s2"]
    assert contents(out) == undisturbed
    assert {record.attempts for record in read_story(out)} == {1}, "the cluster tried again"


@pytest.mark.slow
def test_a_split_scene_is_what_one_process_makes_also_when_a_worker_dies(tmp_path, model, client):
    scenes = make_scenes(tmp_path / "in", 2, shape=(1024, 1280))
    defaults = Job(pre=(), post=(), output=Path("b.gpkg"), model=model, tile=64, threads=1)
    options = {"defaults": defaults, "raster": True, "probabilities": True}
    out = tmp_path / "out"
    run(batch_of(scenes, out, model, **options))
    undisturbed = contents(out)
    out.rename(tmp_path / "undisturbed")

    killed = threading.Event()
    killer = threading.Thread(target=kill_a_busy_worker, args=(client, killed))
    killer.start()
    job = batch_of(scenes, out, model, dask=client.scheduler.address, split=1e6, **options)
    summary, steps = run(job)
    killer.join()
    assert killed.is_set()
    assert summary.done == ["s0", "s1"], summary.failed
    assert any(step.message == "its strips are the tasks" for step in steps)
    assert contents(out) == undisturbed
