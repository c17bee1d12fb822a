import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import distillation
from benchmarks.distillation import (
    ARMS,
    BOOTSTRAPS,
    SPLIT,
    STUDENT,
    TEACHER,
    Bench,
    Cost,
    Counted,
    chosen,
    command,
    cost,
    differences,
    gains,
    is_done,
    line,
    places,
    read_counts,
    resampled,
    savings,
    train_all,
)
from geodamage.errors import InputError, OptionError
from geodamage.xbd.folders import read_split
from training.recipe import Recipe

ROOT = Path(distillation.__file__).parents[1]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "xbd", tmp_path / "runs", "fast", steps=10, seeds=2)


def counted(found, seed=0, pairs=4):
    """Return counts of pairs in which `found` of 10 pixels are right."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((pairs, 5, 3), int)
    pixels[..., 0] = found + rng.integers(0, 2, (pairs, 5))
    pixels[..., 1] = 10 - found
    footprints = np.zeros((pairs, 6, 6), int)
    footprints[:, 1:5, 1:5] = found * np.eye(4, dtype=int) + 1
    return Counted(pixels, footprints)


def finish(run):
    run.mkdir(parents=True)
    (run / "best").write_bytes(b"weights")
    (run / "status.json").write_text(json.dumps({"name": run.name, "status": "finished"}))


def test_the_arms_differ_in_their_teachers_and_in_nothing_else(bench):
    recipes = {}
    for arm in ARMS:
        arguments = command(bench, arm, 1)
        changes = [b for a, b in itertools.pairwise(arguments) if a == "--set"]
        recipes[arm.name] = Recipe.read(Path(arguments[0]), changes)
    taught = [recipes[name].distil for name in ("alone", "single", "dual")]
    assert [len(options.teachers) for options in taught] == [0, 1, 2]
    assert [options.kind for options in taught] == ["single", "single", "dual"]
    plain = {
        name: [
            getattr(recipe, key)
            for key in Recipe.__dataclass_fields__
            if key not in ("name", "distil")
        ]
        for name, recipe in recipes.items()
    }
    assert plain["alone"] == plain["single"] == plain["dual"]
    assert recipes["alone"].network == STUDENT


def test_what_is_trained_is_not_trained_again(bench, monkeypatch):
    trained = []
    monkeypatch.setattr(distillation.train, "main", trained.append)
    finish(bench.run(ARMS[0], 1))
    assert len([*train_all(bench, ARMS[:2])]) == 4
    names = [text for arguments in trained for text in arguments if text.startswith("name=")]
    assert names == ['name="single-10-seed1"', 'name="alone-10-seed2"', 'name="single-10-seed2"']
    assert bench.done(ARMS[0]) == [1]


def test_a_run_that_was_stopped_is_not_done(bench):
    run = bench.run(ARMS[0], 1)
    assert not is_done(run)
    finish(run)
    assert is_done(run)
    (run / "status.json").write_text(json.dumps({"name": run.name, "status": "interrupted"}))
    assert not is_done(run)


def test_every_pair_held_out_has_its_place():
    names = [pair.name for pair in read_split(SPLIT, "", "test")]
    place = places()
    assert len(place) == len(names) == 23
    assert 1 < place.max() + 1 < len(names)


def test_whole_places_are_drawn():
    place = np.array([0, 0, 1, 2, 2, 2])
    drawn = [*resampled(place)]
    assert len(drawn) == BOOTSTRAPS
    for rows in drawn[:50]:
        times = np.bincount(rows, minlength=6)
        assert times[0] == times[1]
        assert times[3] == times[4] == times[5]
        assert times[0] + times[2] + times[3] == 3
    assert len({tuple(np.bincount(rows, minlength=6)) for rows in drawn}) > 5


def test_figures_are_those_of_the_official_metric_by_hand():
    pixels = np.zeros((2, 5, 3), int)
    pixels[:, 0] = 8, 2, 2  # F1 0.8
    pixels[:, 1:] = 5, 5, 5  # F1 0.5
    footprints = np.zeros((2, 6, 6), int)
    footprints[:, 1, 1] = footprints[:, 4, 4] = 3
    figures = Counted(pixels, footprints).figures(np.arange(2))
    assert figures["building F1"] == pytest.approx(0.8)
    assert figures["mean grade F1"] == pytest.approx(0.5)
    assert figures["score"] == pytest.approx(0.3 * 0.8 + 0.7 * 0.5, abs=1e-5)
    assert figures["kappa"] == pytest.approx(1)


@pytest.mark.slow
def test_a_gain_has_an_interval_around_it_and_of_equals_none():
    place = np.array([0, 1, 2, 2])
    better, worse = [counted(8), counted(8, 1)], [counted(5, 2), counted(5, 3)]
    value, low, high = differences(better, worse, place)["score"]
    assert 0.1 < low <= value <= high
    for value, low, high in differences(better, better, place).values():
        assert (value, low, high) == (0, 0, 0)
    ahead = differences(better, worse, place)["score"]
    behind = differences(worse, better, place)["score"]
    assert behind == pytest.approx((-ahead[0], -ahead[2], -ahead[1]))


@pytest.mark.slow
def test_only_seeds_that_both_arms_have_are_compared():
    place = np.array([0, 1, 2, 2])
    trained = {
        "alone": {1: counted(5), 2: counted(1)},
        "single": {1: counted(5)},
        "dual": {},
    }
    (told,) = gains(trained, place)
    assert told.startswith("- single against alone, 1 seeds: score +0.000 (+0.000 to +0.000)")


def test_kept_counts_are_read_or_named(tmp_path):
    path = tmp_path / "held_out.json"
    assert read_counts(path) == {}
    path.write_text('{"digest": "a"}')
    assert read_counts(path) == {"digest": "a"}
    path.write_text("{")
    with pytest.raises(InputError, match=r"held_out\.json: no kept counts .*; remove it"):
        read_counts(path)


def test_a_row_says_what_was_measured():
    figures = {"score": 0.5, "building F1": 0.75, "mean grade F1": 0.25, "kappa": 0.125}
    costs = Cost(parameters=1_748_800, gflop=132.9, torch=100.4, fp32=50.2, int8=25.0)
    assert line("x", costs, figures) == (
        "| x | 1.75 | 133 | 100 | 50 | 25 | 0.500 | 0.750 | 0.250 | 0.125 |"
    )
    assert line("x", None, figures).startswith("| x |  |  |  |  |  | 0.500 |")


def test_what_is_saved_is_said_as_the_paper_says_it():
    small, large = Cost(25, 50.0, 10.0, 5.0, 4.0), Cost(100, 100.0, 40.0, 10.0, 4.0)
    assert savings(small, large) == (
        "The student here has 75% fewer parameters and 50% fewer operations than its teacher, and "
        "is 4.0 times as fast in torch, 2.0 times as fast in ONNX Runtime, 1.0 times as fast in "
        "its int8."
    )


def test_arms_are_chosen_by_name():
    assert chosen("dual, alone") == [ARMS[0], ARMS[2]]
    with pytest.raises(OptionError, match="--arms both: none of alone, single, dual"):
        chosen("both")


@pytest.mark.slow
def test_the_student_is_smaller_and_all_engines_run_both():
    threads = torch.get_num_threads()
    small, large = (cost(name, tile=64, repeat=1, threads=1) for name in (STUDENT, TEACHER))
    torch.set_num_threads(threads)
    assert small.parameters < 0.3 * large.parameters
    assert small.gflop < 0.3 * large.gflop
    assert min(small.torch, small.fp32, small.int8) > 0


@pytest.mark.slow
def test_a_wrong_arm_and_a_wrong_folder_are_refused_in_one_line(tmp_path):
    for arguments, said in (
        (("--data", str(tmp_path), "--arms", "both"), "Error: --arms both: none of"),
        (("--data", str(tmp_path / "none")), "error: "),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.distillation", "train", *arguments,
             "--runs", str(tmp_path / "runs")],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
