import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from geodamage.errors import OptionError
from geodamage.networks import create_network
from geodamage.networks.checkpoints import load_checkpoint
from tests.training.small_runs import (
    arguments_of,
    equal,
    losses,
    options_of,
    rows_of,
    run_cases,
    write_set,
)
from training.recipe import Recipe
from training.runs.reports import TrainingError
from training.state import Place
from training.steps import train
from training.train import main

pytestmark = pytest.mark.usefixtures("tiny")

ROOT = Path(__file__).parents[2]


# A run that was killed.

COMPACT = """
name = "killed"
network = "compact"
task = "assess"
sampling = "chips"
chips_crop = 32
chips_generated = 0
batch = 2
steps = 24
schedule = "trapezoid"
warmup = 5
clip = 1
ema = 0.9
lr = 1e-3
checkpoint_every = 3
validate_every = 5.0
metric = "f1_building"
"""


def start_command(options):
    command = [sys.executable, "-m", "training.train", *arguments_of(options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def kill_at(process, steps, step):
    """Kill a training as soon as its table has a step."""
    while process.poll() is None:
        rows = rows_of(steps)
        if rows and rows[-1]["step"].isdigit() and int(rows[-1]["step"]) >= step:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    output = process.communicate()[0].decode()
    assert process.returncode == -signal.SIGKILL, output


@pytest.mark.slow
def test_a_run_that_is_killed_three_times_goes_on_to_the_last_bit(tmp_path, monkeypatch):
    folder = write_set(tmp_path, ("train", "train", "validation"))
    killed = options_of(folder, tmp_path / "killed", text=COMPACT)
    run = killed.runs / "killed"
    steps = sorted(random.Random(4).sample(range(4, 22), 3))
    for step in steps:
        kill_at(start_command(killed), run / "steps.csv", step)
    process = start_command(killed)
    output = process.communicate()[0].decode()
    assert process.returncode == 0, output
    assert "going on after step" in output
    monkeypatch.setattr("training.state.create_network", create_network)
    main(arguments_of(options_of(folder, tmp_path / "whole", text=COMPACT)))

    wanted, found = (rows_of(path / "steps.csv") for path in (tmp_path / "whole" / "killed", run))
    assert [row["step"] for row in wanted] == [str(step) for step in range(1, 25)]
    assert found == wanted  # each number is written with all its bits
    validations = [rows_of(path / "log.csv") for path in (tmp_path / "whole" / "killed", run)]
    assert validations[0] == validations[1]
    assert [row["step"] for row in validations[0]] == ["10", "20", "24"]
    last = [
        torch.load(path / "last.pt", weights_only=True)
        for path in (tmp_path / "whole" / "killed", run)
    ]
    assert equal(*last)
    assert not equal(last[0]["network"], last[0]["average"])

    best = load_checkpoint(run / "best")
    assert not best.training


@pytest.mark.slow
def test_a_job_that_is_ended_politely_is_recorded_so(tmp_path):
    folder = write_set(tmp_path, ("train", "train", "validation"))
    options = options_of(folder, tmp_path / "runs", "steps=100000", text=COMPACT)
    process = start_command(options)
    run = options.runs / "killed"
    while process.poll() is None and not rows_of(run / "steps.csv"):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0].decode()
    assert process.returncode == 130, output
    assert "interrupted; the same command goes on" in output
    assert "Traceback" not in output
    assert json.loads((run / "status.json").read_text())["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "amp"), [(1, "none"), (4, "none"), (7, "none"), (7, "fp16")])
def test_a_run_goes_on_from_its_last_checkpoint(begin, stop, amp):
    changes = ("steps=9", "checkpoint_every=2", "validate_every=2", "ema=0.9", "clip=0.1")
    changes += (f'amp="{amp}"', 'schedule="onecycle"')
    work, state = begin('name="whole"', *changes)
    whole = losses(work, state)
    wanted = torch.load(work.run / "last.pt", weights_only=True)
    reports = train(*begin(*changes))
    before = [next(reports).loss for _ in range(stop)]
    reports.close()  # the checkpoint of the last of these steps is not written
    work, state = begin(*changes)
    step = state.step
    assert step == (stop - 1) // 2 * 2
    assert before == whole[:stop]
    assert losses(work, state) == whole[step:]
    assert equal(torch.load(work.run / "last.pt", weights_only=True), wanted)


def test_the_checkpoint_of_a_step_comes_after_its_report(begin):
    work, state = begin("checkpoint_every=1")
    reports = train(work, state)
    next(reports)
    assert not (work.run / "last.pt").exists()
    next(reports)
    assert torch.load(work.run / "last.pt", weights_only=True)["step"] == 1


@pytest.mark.slow
def test_a_run_that_is_done_does_nothing_more(begin):
    assert len(losses(*begin())) == 2
    assert losses(*begin()) == []
    assert len(losses(*begin("steps=5"))) == 3


# Several processes.


@pytest.mark.slow
def test_two_processes_learn_like_one_with_the_whole_batch(small_set):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    script = [str(ROOT / "tests" / "training" / "small_runs.py"), str(small_set)]
    done = subprocess.run(
        [*command, *script], cwd=ROOT, env=environment, capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr.decode()
    ranks = [torch.load(small_set / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    alone = run_cases(small_set, small_set / "alone")

    def gap(case, what="gradients"):
        """Return the largest difference to one process, over all steps."""
        values = zip(alone[case][what], ranks[0][case][what], strict=True)
        if what != "gradients":
            return max(abs(a - b) for a, b in values)
        return max(float((a - b).abs().max()) for x, y in values for a, b in zip(x, y, strict=True))

    for case in ("entropy", "dice_together", "accumulated"):
        assert gap(case) < 1e-6, case
        assert gap(case, "losses") < 1e-6, case
        assert max(float(g.abs().max()) for g in alone[case]["gradients"][0]) > 1e-3
        # Three validation pairs over two processes: counts and losses add up.
        for a, b in zip(alone[case]["rows"], ranks[0][case]["rows"], strict=True):
            assert b == pytest.approx(a, abs=1e-5)
    assert "loss" in alone["dice_together"]["rows"][0]
    # Dice of each half is not Dice of the whole: the comparison above could have failed.
    assert gap("dice") > 1e-4
    # Both processes end with the same network, also where each saw other statistics.
    for case in alone:
        assert equal(ranks[0][case]["gradients"], ranks[1][case]["gradients"])
        assert equal(ranks[0][case]["rows"], ranks[1][case]["rows"])
    assert equal(ranks[0]["statistics"]["buffers"], ranks[1]["statistics"]["buffers"])


def test_a_batch_that_processes_cannot_share_is_refused(begin, monkeypatch):
    place = Place(torch.device("cpu"), rank=0, world=3)
    monkeypatch.setattr("training.train.join_processes", lambda device: place)
    with pytest.raises(OptionError, match="batch = 4 cannot be shared evenly by 3"):
        begin()
    with pytest.raises(OptionError, match="'maml' runs in one process"):
        begin("batch=3", 'algorithm="maml"')


# Validation, and the end.


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run_in_one_line(small_set, tmp_path, capsys):
    options = options_of(small_set, tmp_path, "lr=1e30", 'optimiser="sgd"', "steps=20")
    with pytest.raises(SystemExit) as ended:
        main(arguments_of(options))
    assert ended.value.code == TrainingError.exit_code == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("training.train: error: ")
    assert "lower lr" in error
    assert json.loads((tmp_path / "small" / "status.json").read_text())["status"] == "failed"


# The run folder.


@pytest.mark.slow
def test_the_command_leaves_a_whole_folder(small_set, tmp_path, capsys):
    options = options_of(small_set, tmp_path, "checkpoint_every=1", "steps=3")
    main(arguments_of(options))
    run = tmp_path / "small"
    assert {path.name for path in run.iterdir()} >= {
        "best", "commit.txt", "curve.png", "last.pt", "log.csv", "recipe.toml", "samples",
        "split.csv", "split.sha256", "status.json", "steps.csv", "tensorboard",
    }  # fmt: skip
    assert not list(run.glob("*.partial"))
    assert "5 pairs to train on, 3 to validate" in capsys.readouterr().out
    assert [row["step"] for row in rows_of(run / "steps.csv")] == ["1", "2", "3"]
    assert Recipe.read(run / "recipe.toml") == Recipe.read(options.recipe, options.set)
    split = (small_set / "split.csv").read_bytes()
    assert (run / "split.csv").read_bytes() == split
    assert (run / "split.sha256").read_text().strip() == hashlib.sha256(split).hexdigest()
    # A run can be repeated from what it left.
    main(
        [str(run / "recipe.toml"), "--data", str(small_set / "xbd"), "--runs", str(tmp_path / "b")]
    )
    assert rows_of(tmp_path / "b" / "small" / "steps.csv") == rows_of(run / "steps.csv")
