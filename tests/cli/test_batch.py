"""`geodamage batch`, run as a user runs it."""

import json
import signal
import time

import geopandas as gpd
import pytest

from geodamage.batch.story import read_story
from tests.batches import begin_command, contents, kill_group, make_scenes, write_list
from tests.conftest import listing, run_command


@pytest.fixture
def listed(tmp_path):
    return write_list(tmp_path / "scenes.csv", make_scenes(tmp_path / "in", 3, damaged=[1]))


@pytest.mark.slow
def test_a_list_is_assessed_and_the_failed_are_named_at_the_end(listed, tmp_path, model):
    out = tmp_path / "out"
    result = run_command("batch", listed, "-o", out, "--model", model, "--workers", 1, "--raster")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "2 scenes done, 2 of them now" in result.stderr
    assert "1 scene failed:\n  s1: " in result.stderr
    assert result.stderr.rstrip().endswith("--retry-failed")
    assert listing(out) == ["event.gpkg", "event.gpkg.json", "ledger.sqlite", "scenes"]
    assert len(gpd.read_file(out / "scenes" / "s0" / "buildings.gpkg", layer=0)) == 5
    assert (out / "scenes" / "s2" / "grades.tif").is_file()


@pytest.mark.slow
def test_programs_get_an_object_a_line(listed, tmp_path, model):
    options = ("--model", model, "--workers", 1, "--progress", "json", "--no-merge")
    result = run_command("batch", listed, "-o", tmp_path / "out", *options)
    assert result.exit_code == 3
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert lines[-1]["stage"] == "result"
    assert lines[-1]["done"] == 2
    assert list(lines[-1]["failed"]) == ["s1"]
    assert lines[-1]["event"] is None
    steps = [line for line in lines if line["stage"] == "assess"]
    assert {"done", "failed", "total", "share", "km2"} <= steps[-1].keys()
    assert any(line.get("scene") == "s1" and line["level"] == "warning" for line in steps)
    assert not (tmp_path / "out" / "event.gpkg").exists()


@pytest.mark.slow
def test_a_dry_run_prints_the_plan_and_writes_nothing(listed, tmp_path, model):
    command = ("batch", listed, "-o", tmp_path / "out", "--model", model, "--dry-run")
    result = run_command(*command, "--workers", 2)
    assert result.exit_code == 0, result.stderr
    first, *_, last = result.stdout.splitlines()
    assert first.startswith("s0: ")
    assert "overlap 100 %, 0.005 km², 0.0 MP" in first
    assert last.startswith("3 of 3 scenes can be used: 0.015 km², about ")
    assert not (tmp_path / "out").exists()
    result = run_command(*command, "--progress", "json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row.get("scene") for row in rows] == ["s0", "s1", "s2", None]
    assert rows[-1]["usable"] == 3


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--shard", "3/2"), 2, "--shard 3/2"),
        (("--memory", "lots"), 2, "not a size"),
        (("--bands", "red"), 2, "--bands red"),
        (("--model", "none"), 5, "no model of that name"),
        (("--dask", "tcp://a:1", "--dask-local", 2), 2, "give one of them"),
        (("--memory", "1MB"), 7, "raise --memory"),
    ],
)
def test_options_that_make_no_sense_are_refused(listed, tmp_path, model, options, code, text):
    chosen = options if "--model" in options else (*options, "--model", model)
    result = run_command("batch", listed, "-o", tmp_path / "out", *chosen)
    assert result.exit_code == code, result.stderr
    assert text in result.stderr


@pytest.mark.slow
def test_ctrl_c_cleans_up_and_the_same_command_goes_on(tmp_path, model):
    scenes = make_scenes(tmp_path / "in", 2, shape=(1024, 1280))
    listed = write_list(tmp_path / "scenes.csv", scenes)
    out = tmp_path / "out"
    command = ("batch", listed, "-o", out, "--model", model, "--workers", 1, "--tile", 64)
    process = begin_command(*command)
    try:
        until = time.monotonic() + 180
        while not list(out.glob("scenes/*/.*.partial")) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        kill_group(process)
    assert process.returncode == 130, said.decode()
    assert "the same command does the rest" in said.decode()
    assert listing(out / "scenes" / "s0") == []
    assert {record.state for record in read_story(out)} == {"waiting"}
    assert run_command(*command).exit_code == 0
    assert len([name for name in contents(out) if name.endswith("buildings.gpkg")]) == 2
