"""Batches: what is missing is done, once, whatever happened before."""

import random
import time
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine

from geodamage.assessment import Job
from geodamage.batch.job import BatchJob, scene_job
from geodamage.batch.manifest import BatchScene
from geodamage.batch.plan import plan_batch
from geodamage.batch.running import run_batch
from geodamage.batch.shard import Shard
from geodamage.batch.story import read_history, read_story
from geodamage.errors import (
    FootprintError,
    ManifestError,
    ModelNotFoundError,
    OptionError,
    OutputError,
    SceneError,
    SceneReadError,
)
from geodamage.output.publication import read_sidecar
from tests.batches import (
    batch_of,
    begin_command,
    contents,
    kill_group,
    make_scenes,
    rows,
    run,
    write_list,
)
from tests.conftest import CORNER, listing, make_model, make_raster


def touch(scene: BatchScene) -> None:
    Path(scene.post[0]).touch()


def attempts(folder: Path) -> dict[str, int]:
    return {record.name: record.attempts for record in read_story(folder)}


@pytest.mark.slow
def test_every_scene_is_assessed_and_merged(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 3)
    summary, steps = run(batch_of(scenes, tmp_path / "out", model, raster=True, workers=2))
    assert summary.exit_code == 0
    assert summary.done == ["s0", "s1", "s2"]
    assert sum(summary.counts.values()) == 15
    assert summary.km2 == pytest.approx(3 * 128 * 160 / 4e6, rel=0.01)
    assert listing(tmp_path / "out" / "scenes" / "s1") == [
        "buildings.gpkg",
        "buildings.gpkg.json",
        "grades.tif",
        "grades.tif.json",
    ]
    assert len(gpd.read_file(tmp_path / "out" / "event.gpkg", layer="buildings")) == 15
    assert read_sidecar(summary.event)["statement"].startswith("preliminary")
    last = steps[-1]
    assert (last.stage, last.done, last.failed, last.share) == ("done", 3, 0, 1.0)
    shares = [step.share for step in steps]
    assert shares == sorted(shares)


@pytest.mark.slow
def test_an_event_is_counted_anew_by_people(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 1)
    job = batch_of(scenes, tmp_path / "out", model)
    assert read_sidecar(run(job)[0].event)["people"] is None
    transform = Affine(1000, 0, CORNER[0] - 500, 0, -1000, CORNER[1] + 500)
    people = make_raster(tmp_path / "p.tif", np.full((1, 1, 1), 9.0), transform=transform)
    summary, _ = run(replace(job, population=people))
    assert summary.assessed == 0
    facts = read_sidecar(summary.event)["people"]
    assert facts["in_cells"] == 9
    assert facts["in_buildings"] > 0


@pytest.mark.slow
def test_a_second_run_does_nothing(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 2)
    job = batch_of(scenes, tmp_path / "out", model)
    run(job)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.gpkg")}
    summary, _ = run(job)
    assert summary.assessed == 0
    assert summary.done == ["s0", "s1"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert attempts(tmp_path / "out") == {"s0": 1, "s1": 1}


@pytest.mark.slow
def test_exactly_what_changed_is_done_again(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 3)
    own = make_model(tmp_path / "own.onnx", version="1")
    scenes[1] = replace(scenes[1], options={"model": own})
    job = batch_of(scenes, tmp_path / "out", model)
    run(job)
    touch(scenes[0])
    assert run(job)[0].assessed == 1
    assert attempts(tmp_path / "out") == {"s0": 2, "s1": 1, "s2": 1}
    make_model(own, version="2")
    assert run(job)[0].assessed == 1
    assert attempts(tmp_path / "out") == {"s0": 2, "s1": 2, "s2": 1}
    scenes[2] = replace(scenes[2], options={"min_area": 50.0})
    assert run(replace(job, scenes=scenes))[0].assessed == 1
    assert attempts(tmp_path / "out") == {"s0": 2, "s1": 2, "s2": 2}
    resets = [line.note for line in read_history(tmp_path / "out") if line.event == "reset"]
    assert resets == ["changed: inputs", "changed: model", "changed: options"]


@pytest.mark.slow
def test_a_result_that_is_gone_or_altered_is_made_again(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 2)
    job = batch_of(scenes, tmp_path / "out", model, raster=True)
    run(job)
    undisturbed = contents(tmp_path / "out")
    (tmp_path / "out" / "scenes" / "s0" / "buildings.gpkg.json").unlink()
    (tmp_path / "out" / "scenes" / "s1" / "grades.tif").write_bytes(b"altered")
    summary, steps = run(job)
    assert summary.assessed == 2
    told = [step.message for step in steps if step.warning]
    assert told == [
        "again, scenes/s0/buildings.gpkg.json is missing",
        "again, scenes/s1/grades.tif was altered",
    ]
    assert contents(tmp_path / "out") == undisturbed


@pytest.mark.slow
def test_a_failed_scene_does_not_stop_the_others(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 3, damaged=[1])
    job = batch_of(scenes, tmp_path / "out", model)
    summary, _ = run(job)
    assert summary.exit_code == 3
    assert summary.done == ["s0", "s2"]
    assert list(summary.failed) == ["s1"]
    assert "post.tif" in summary.failed["s1"]
    assert listing(tmp_path / "out" / "scenes" / "s1") == []
    assert run(job)[0].assessed == 0
    assert attempts(tmp_path / "out")["s1"] == 1, "not tried again"
    summary, _ = run(replace(job, retry_failed=True))
    assert attempts(tmp_path / "out")["s1"] == 2
    assert summary.exit_code == 3
    make_scenes(tmp_path / "in", 3)
    summary, _ = run(replace(job, scenes=scenes))
    assert summary.exit_code == 0, "a file that was mended is an input that changed"


@pytest.mark.slow
def test_scenes_of_other_ledgers_are_not_done_again(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 4)
    job = batch_of(scenes, tmp_path / "out", model)
    shares = [Shard(k, 2) for k in (1, 2)]
    first, steps = run(replace(job, shard=shares[0]))
    assert 0 < len(first.done) < 4
    assert first.event is None
    assert any("the last of them merges" in (step.message or "") for step in steps)
    second, _ = run(replace(job, shard=shares[1]))
    assert sorted(first.done + second.done) == ["s0", "s1", "s2", "s3"]
    assert second.event is not None
    assert len(gpd.read_file(second.event, layer="scenes")) == 4
    whole, _ = run(job)
    assert whole.assessed == 0
    assert len(whole.done) == 4
    # What changed is done again, although this ledger did not make it.
    touch(scenes[3])
    (tmp_path / "out" / "ledger.sqlite").unlink()
    assert run(job)[0].assessed == 1


@pytest.mark.slow
def test_results_that_no_ledger_knows_are_not_replaced(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 1)
    job = batch_of(scenes, tmp_path / "out", model)
    run(job)
    for path in (tmp_path / "out").glob("ledger*"):
        path.unlink()
    summary, _ = run(job)
    assert "--overwrite" in summary.failed["s0"]
    assert run(replace(job, overwrite=True, retry_failed=True))[0].exit_code == 0


@pytest.mark.slow
def test_closing_a_batch_lets_its_scenes_wait_and_leaves_no_half_file(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 2, shape=(1024, 1280))
    defaults = Job(pre=(), post=(), output=Path("b.gpkg"), model=model, tile=64)
    job = batch_of(scenes, tmp_path / "out", model, defaults=defaults, probabilities=True)
    work = run_batch(job)
    while next(work).share == 0:
        pass
    work.close()
    assert listing(tmp_path / "out" / "scenes" / "s0") == []
    assert {record.state for record in read_story(tmp_path / "out")} == {"waiting"}
    assert run(job)[0].exit_code == 0
    assert attempts(tmp_path / "out") == {"s0": 2, "s1": 1}


@pytest.mark.slow
def test_inputs_that_change_while_they_are_read_are_noticed(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 1, shape=(1024, 1280))
    defaults = Job(pre=(), post=(), output=Path("b.gpkg"), model=model, tile=64)
    job = batch_of(scenes, tmp_path / "out", model, defaults=defaults)
    work = run_batch(job)
    while next(work).share == 0:
        pass
    touch(scenes[0])
    for _ in work:
        pass
    (record,) = read_story(tmp_path / "out")
    assert record.state == "failed"
    assert "changed while" in record.error
    assert run(job)[0].exit_code == 0


def test_a_batch_that_makes_no_sense_is_refused_before_any_work(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 1)
    for bad, error in (
        (batch_of([], tmp_path / "out", model), ManifestError),
        (batch_of(scenes * 2, tmp_path / "out", model), ManifestError),
        (batch_of([replace(scenes[0], name="../x")], tmp_path / "out", model), ManifestError),
        (batch_of(scenes, tmp_path / "out", Path("no_such")), ModelNotFoundError),
        (batch_of(scenes, Path(scenes[0].pre[0]) / "out", model), OutputError),
    ):
        with pytest.raises(error):
            next(run_batch(bad))
    with pytest.raises(OptionError, match="--split-scenes needs a cluster"):
        batch_of(scenes, tmp_path / "out", model, split=0)
    with pytest.raises(OptionError, match="give one of them"):
        batch_of(scenes, tmp_path / "out", model, dask="a", dask_local=2)


def test_files_that_all_scenes_share_are_checked_before_the_first(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 1)
    areas = tmp_path / "areas.gpkg"
    shapes = [shapely.box(0, 0, 1, 1)]
    gpd.GeoDataFrame({"label": ["a"]}, geometry=shapes, crs=4326).to_file(areas)
    gone, bad_json = tmp_path / "gone.geojson", tmp_path / "bad.geojson"
    bad_json.write_text('{"type": "FeatureCollection", "features": [')
    points = tmp_path / "points.geojson"
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=4326).to_file(points)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(Path(scenes[0].pre[0]).read_bytes()[:200])
    job = batch_of(scenes, tmp_path / "out", model)
    for bad, error, words in (
        (replace(job, admin=areas), OptionError, "--admin-name: label"),
        (replace(job, admin=areas, admin_name="x"), OptionError, "no such field"),
        (replace(job, admin=gone), SceneReadError, "gone.geojson"),
        (replace(job, population=tmp_path / "gone.tif"), SceneReadError, "gone.tif"),
        (replace(job, population=areas), SceneReadError, "not a GeoTIFF"),
        (_with(job, aoi=gone), SceneReadError, "gone.geojson"),
        (_with(job, aoi=bad_json), SceneError, "bad.geojson: not readable"),
        (_with(job, aoi=points), SceneError, "points.geojson: no polygon"),
        (_with(job, post_unusable=gone), SceneReadError, "gone.geojson"),
        (_with(job, pre_unusable=cut), SceneReadError, "cut.tif"),
        (_with(job, pre_unusable=points), SceneError, "points.geojson: no polygon"),
        (_by(job, footprints=gone), SceneReadError, "gone"),
        (_by(job, footprints=bad_json), FootprintError, "bad.geojson: not readable"),
        (_by(job, footprints=points), FootprintError, "holds no polygon"),
        (_by(job, footprints=areas, id_field="x"), FootprintError, "no field 'x'; it has label"),
        (_by(job, footprints=areas, keep="x"), FootprintError, "no such field; it has label"),
    ):
        for begin in (lambda job=bad: next(run_batch(job)), lambda job=bad: plan_batch(job)):
            with pytest.raises(error, match=words):
                begin()
    assert not (tmp_path / "out").exists()
    with pytest.raises(OptionError, match="--admin-name needs --admin"):
        batch_of(scenes, tmp_path / "out", model, admin_name="label")


def _by(job, **options):
    return replace(job, defaults=replace(job.defaults, **options))


def _with(job, **reading):
    return _by(job, scene=replace(job.defaults.scene, **reading))


def test_options_of_a_scene_go_where_they_belong(tmp_path):
    options = {
        "model": tmp_path / "m.onnx",
        "bands": (3, 2, 1),
        "scale": (0.0, 100.0),
        "min_area": 5.0,
        "vote": "pixels",
        "aoi": Path("area.geojson"),
    }
    scene = BatchScene("a", ("pre.tif",), ("https://x.org/post.tif", "@list.txt"), None, options)
    batch = BatchJob(scenes=[scene], output=tmp_path, raster=True)
    job = scene_job(scene, batch)
    assert job.pre == (str(Path("pre.tif").absolute()),)
    assert job.post == ("https://x.org/post.tif", f"@{Path('list.txt').absolute()}")
    assert job.model == str(tmp_path / "m.onnx")
    assert job.scene.pre_bands == job.scene.post_bands == (3, 2, 1)
    assert job.scene.scale == (0.0, 100.0)
    assert job.scene.aoi == Path("area.geojson").absolute()
    assert job.buildings.min_area == 5.0
    assert job.vote == "pixels"
    assert job.output == tmp_path / "scenes" / "a" / "buildings.gpkg"
    assert job.raster == tmp_path / "scenes" / "a" / "grades.tif"
    assert job.probabilities is None
    with pytest.raises(ManifestError, match="unknown options"):
        scene_job(replace(scene, options={"colour": 1}), batch)


@pytest.mark.slow
def test_the_plan_says_what_a_batch_will_take_and_writes_nothing(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 2)
    scenes.append(BatchScene("gone", ("/not/there.tif",), scenes[0].post))
    plan = plan_batch(batch_of(scenes, tmp_path / "out", model, workers=2))
    assert [row.is_usable for row in plan.scenes] == [True, True, False]
    assert plan.workers == 2
    assert plan.speed > 0
    assert plan.seconds > 0
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_processes_do_no_scene_twice(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 8, shape=(256, 320))
    listed = write_list(tmp_path / "scenes.csv", scenes)
    command = ("batch", listed, "-o", tmp_path / "out", "--model", model, "--workers", 1)
    both = [begin_command(*command) for _ in range(2)]
    said = [process.communicate(timeout=60)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert set(attempts(tmp_path / "out").values()) == {1}
    done = [line for line in read_history(tmp_path / "out") if line.event == "done"]
    assert len(done) == 8
    assert len({line.pid for line in done}) == 2, "both had some"
    assert len(gpd.read_file(tmp_path / "out" / "event.gpkg", layer="scenes")) == 8


@pytest.mark.slow
def test_killed_at_ten_moments_the_result_is_that_of_an_undisturbed_run(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 8, shape=(896, 1120), damaged=[3])
    listed = write_list(tmp_path / "scenes.csv", scenes)
    command = ["batch", listed, "--model", model, "--workers", 2, "--tile", 64, "--raster"]
    command += ["--probabilities", "-o"]

    out = tmp_path / "out"  # one name for both: the event says where its scenes are
    started = time.monotonic()
    alone = begin_command(*command, out)
    _, said = alone.communicate(timeout=120)
    assert alone.returncode == 3, said.decode()
    whole = time.monotonic() - started
    undisturbed = contents(out)
    out.rename(tmp_path / "undisturbed")

    chance = random.Random(7)
    for _ in range(10):
        process = begin_command(*command, out)
        time.sleep(chance.uniform(0.1, 0.6) * whole)
        kill_group(process)
    last = begin_command(*command, out)
    _, said = last.communicate(timeout=120)
    assert last.returncode == 3, said.decode()

    assert contents(out) == undisturbed
    _check_story(out)


def _check_story(out: Path) -> None:
    """Check that what was done was done once, and what was cut off was begun again."""
    states = {record.name: record.state for record in read_story(out)}
    assert states == {f"s{n}": "failed" if n == 3 else "done" for n in range(8)}
    lines = read_history(out)
    for name, state in states.items():
        events = [line.event for line in lines if line.name == name]
        assert events[0] == "added"
        assert events[-1] == state
        assert events.count(state) == 1
        assert set(events[1:-1]) <= {"claimed", "taken over"}
        assert events.count("claimed") == 1
    assert any(line.event == "taken over" for line in lines), "no kill hit a scene"
    (total,) = rows(out / "ledger.sqlite", "SELECT sum(attempts) FROM scenes")[0]
    assert total == sum(line.event in ("claimed", "taken over") for line in lines)
