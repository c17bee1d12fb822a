import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

import training.train
from geodamage.errors import CheckpointError, LabelError, OptionError
from geodamage.networks import create_network
from geodamage.networks.checkpoints import load_checkpoint, save_checkpoint
from geodamage.xbd.folders import Pair, find_pairs, read_split
from tests.training.small_runs import (
    Tiny,
    arguments_of,
    create_tiny,
    follow_gradients,
    options_of,
    run_cases,
    write_set,
)
from training.optimisers import prepare_mode
from training.recipe import Recipe
from training.train import (
    TrainingError,
    count_pixels,
    main,
    open_run,
    read_parts,
    set_up,
    split_batch,
    take_weights,
    train,
    update_average,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(training.train, "create_network", create_tiny)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def begin(folder, tmp_path):
    """Return what starts, or goes on with, a small training."""
    return lambda *changes: set_up(options_of(folder, tmp_path / "runs", *changes))


def losses(work, state):
    return [report.loss for report in train(work, state)]


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


def rows_of(path):
    return list(csv.DictReader(path.open(newline=""))) if path.exists() else []


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


def equal(one, other):
    """Return whether two checkpoints hold the very same bits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


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
    monkeypatch.setattr(training.train, "create_network", create_network)
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


def test_a_run_that_is_done_does_nothing_more(begin):
    assert len(losses(*begin())) == 2
    assert losses(*begin()) == []
    assert len(losses(*begin("steps=5"))) == 3


# Several processes.


@pytest.mark.slow
def test_two_processes_learn_like_one_with_the_whole_batch(folder):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    script = [str(ROOT / "tests" / "training" / "small_runs.py"), str(folder)]
    done = subprocess.run(
        [*command, *script], cwd=ROOT, env=environment, capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr.decode()
    ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    alone = run_cases(folder, folder / "alone")

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
    place = training.train.Place(torch.device("cpu"), rank=0, world=3)
    monkeypatch.setattr(training.train, "join_processes", lambda device: place)
    with pytest.raises(OptionError, match="batch = 4 cannot be shared evenly by 3"):
        begin()
    with pytest.raises(OptionError, match="'maml' runs in one process"):
        begin("batch=3", 'algorithm="maml"')


@pytest.mark.parametrize(("length", "batch"), [(10, 4), (4, 4), (3, 4), (8, 2)])
@pytest.mark.parametrize("world", [1, 2])
def test_no_sample_comes_twice_and_processes_share_each_batch(length, batch, world):
    recipe = Recipe(name="a", network="res34_unet", task="damage", steps=12, batch=batch)

    def numbers(rank, step=0):
        place = training.train.Place(torch.device("cpu"), rank, world)
        work = training.train.Work(recipe, Path(), place, range(length), [], None, None)
        return list(work.numbers(step))

    shares = [numbers(rank) for rank in range(world)]
    batches = [list(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert [len(numbers) for numbers in batches] == [batch] * 12
    seen = list(chain(*batches))
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    if length >= batch:  # a batch never holds the end of one epoch and the start of the next
        assert all(len({number // length for number in batch}) == 1 for batch in batches)
    assert numbers(0, step=5) == shares[0][5:]


# What a step does.


@pytest.mark.parametrize("task", ["localisation", "damage", "assess"])
def test_the_loss_of_a_batch_learnt_by_heart_falls(begin, task):
    network = "siamese_resnet50" if task == "assess" else "seresnext50_unet"
    terms = "bce" if task == "localisation" else "cross_entropy"
    still = ("augmentation_flip_horizontal=0", "augmentation_brightness=0")
    work, state = begin(
        f'task="{task}"', f'network="{network}"', f'loss_terms=["{terms}:1"]', 'metric="dice"',
        "subset=2", "batch=2", "steps=60", "lr=0.05", *still,
    )  # fmt: skip
    found = losses(work, state)
    assert np.mean(found[-5:]) < 0.5 * found[0]


def gradients(folder, runs, *changes):
    return follow_gradients(options_of(folder, runs, *changes))["gradients"]


def test_a_batch_in_parts_has_the_gradients_of_the_whole(folder, tmp_path):
    found = [
        gradients(folder, tmp_path / str(parts), f"accumulate={parts}", "freeze_batch_norm=true")
        for parts in (1, 2, 4)
    ]
    for other in found[1:]:
        for step, wanted in zip(other, found[0], strict=True):
            for a, b in zip(step, wanted, strict=True):
                assert torch.allclose(a, b, atol=1e-6, rtol=0)


def test_gradients_are_clipped(folder, tmp_path):
    free, clipped = (
        torch.cat([g.ravel() for g in gradients(folder, tmp_path / str(n), f"clip={n}")[0]])
        for n in (0, 0.01)
    )
    assert free.norm() > 0.02
    assert clipped.norm() == pytest.approx(0.01, rel=1e-3)
    assert torch.allclose(clipped / clipped.norm(), free / free.norm(), atol=1e-4)


def test_an_average_moves_a_little():
    average, network = Tiny("damage"), Tiny("damage")
    before = average.res.weight.clone()
    network.norm.num_batches_tracked += 5
    network.norm.running_mean += 1
    update_average(average, network, 0.75)
    assert torch.allclose(average.res.weight, 0.75 * before + 0.25 * network.res.weight)
    assert average.norm.num_batches_tracked == 5
    assert average.norm.running_mean.tolist() == pytest.approx([0.25] * 4)


def test_the_average_is_what_is_judged_and_kept(begin):
    work, state = begin("ema=0.99", "steps=6")
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    losses(work, state)
    kept = torch.load(work.run / "best", weights_only=False)["state_dict"]
    assert equal(dict(kept), dict(state.average.state_dict()))
    assert not torch.equal(kept["res.weight"], state.network.res.weight)
    assert not torch.equal(kept["res.weight"], before["res.weight"])


def test_frozen_batch_norm_keeps_its_statistics(begin):
    work, state = begin("freeze_batch_norm=true")
    losses(work, state)
    assert state.network.norm.running_mean.tolist() == [0] * 4
    assert state.network.res.weight.grad is None
    prepare_mode(state.network, freeze=False)
    assert state.network.norm.training


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_half_precision_trains(begin, amp):
    work, state = begin(f'amp="{amp}"', "steps=3")
    assert np.isfinite(losses(work, state)).all()
    assert state.network.res.weight.dtype == torch.float32


def test_the_scale_of_half_precision_is_kept(begin):
    work, state = begin('amp="fp16"', "checkpoint_every=1")
    reports = train(work, state)
    next(reports)
    state.scaler.update(128.0)
    next(reports)
    assert begin('amp="fp16"', "checkpoint_every=1")[1].scaler.get_scale() == 128


def test_a_step_is_taken_at_the_rate_of_its_schedule(begin):
    work, state = begin(
        'schedule="multistep"', "milestones=[0]", "gamma=0", 'optimiser="sgd"', "weight_decay=0",
        "steps=3", "freeze_batch_norm=true",
    )  # fmt: skip
    weights = [state.network.res.weight.clone()]
    rates = []
    for report in train(work, state):
        rates.append(report.lr)
        weights.append(state.network.res.weight.clone())
    assert rates == [1e-2, 0, 0]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[3])


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_each_optimiser_gets_its_numbers(begin, optimiser):
    work, state = begin(f'optimiser="{optimiser}"', "weight_decay=0.5", "momentum=0.7")
    group = state.optimiser.param_groups[0]
    assert group["weight_decay"] == 0.5
    assert group.get("momentum", 0.7) == 0.7
    assert len(losses(work, state)) == 2
    assert group["lr"] == 1e-2


def test_a_batch_is_cut_into_equal_parts():
    parts = split_batch({"a": torch.arange(6), "b": torch.arange(6) * 2}, 3, torch.device("cpu"))
    assert [part["a"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert parts[2]["b"].tolist() == [8, 10]


# Validation, and the end.


def test_validation_comes_when_it_is_due_and_keeps_the_best(begin, monkeypatch):
    values = iter([0.5, 0.4, 0.6])
    monkeypatch.setattr(training.train, "score", lambda work, state: {"score": next(values)})
    work, state = begin("validate_every=2", "steps=5")  # an epoch of 5 pairs is a step
    reports = list(train(work, state))
    assert [report.step for report in reports if report.row] == [2, 4, 5]
    assert [report.better for report in reports if report.row] == [True, False, True]
    wanted = np.mean([report.loss for report in reports[2:4]])
    assert reports[3].row["train_loss"] == pytest.approx(wanted)
    assert state.best == 0.6
    kept = torch.load(work.run / "best", weights_only=False)
    assert kept["epoch"] == 5
    assert kept["best_score"] == 0.6


def test_patience_ends_a_run_that_gains_nothing(begin, monkeypatch):
    values = iter([0.5, 0.505, 0.6, 0.605, 0.4, 0.9])
    monkeypatch.setattr(training.train, "score", lambda work, state: {"score": next(values)})
    changes = ("validate_every=1", "steps=50", "patience=2", "min_delta=0.01")
    work, state = begin(*changes)
    assert len(losses(work, state)) == 5
    assert state.best == 0.6
    # It stays at its end; more patience lets it go on.
    assert losses(*begin(*changes)) == []
    monkeypatch.setattr(training.train, "score", lambda work, state: {"score": 0.0})
    assert len(losses(*begin(*changes, "patience=4"))) == 2


def test_the_loss_can_choose_the_best(begin):
    work, state = begin('metric="loss"', "steps=8", "validate_every=1", "lr=0.05")
    rows = [report.row for report in train(work, state)]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert state.best == -min(row["loss"] for row in rows)


@pytest.mark.parametrize(("size", "whole"), [(50, 64), (96, 96)])
def test_the_loss_of_whole_pairs_is_that_of_their_pixels(tmp_path, size, whole):
    folder = write_set(tmp_path, ("train", "validation"), size)
    changes = ('metric="loss"', "batch=1", 'unclassified="own"', "augmentation_crop=32")
    options = options_of(folder, tmp_path / "runs", *changes)
    for part in ("pre", "post"):  # a building without a grade is unknown to it, or class 5
        path = next((folder / "xbd" / "labels").glob(f"*01_{part}_disaster.json"))
        document = json.loads(path.read_text())
        document["features"]["xy"][0]["properties"]["subtype"] = "un-classified"
        path.write_text(json.dumps(document))
    work, state = set_up(options)
    codes = []

    def judge(network, batch):
        codes.append(batch["grades"])
        assert batch["pre"].shape[-1] == batch["grades"].shape[-1] == whole
        return torch.tensor(0.25)

    object.__setattr__(work, "judge", judge)
    row = list(train(work, state))[-1].row
    assert row["loss"] == 0.25
    assert (codes[0] == 5).any()
    assert (codes[0] == 255).sum() == whole * whole - size * size


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(folder, tmp_path, capsys):
    options = options_of(folder, tmp_path, "lr=1e30", 'optimiser="sgd"', "steps=20")
    with pytest.raises(SystemExit) as ended:
        main(arguments_of(options))
    assert ended.value.code == TrainingError.exit_code == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("training.train: error: ")
    assert "lower lr" in error
    assert json.loads((tmp_path / "small" / "status.json").read_text())["status"] == "failed"


# The run folder.


def test_the_command_leaves_a_whole_folder(folder, tmp_path, capsys):
    options = options_of(folder, tmp_path, "checkpoint_every=1", "steps=3")
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
    split = (folder / "split.csv").read_bytes()
    assert (run / "split.csv").read_bytes() == split
    assert (run / "split.sha256").read_text().strip() == hashlib.sha256(split).hexdigest()
    # A run can be repeated from what it left.
    main([str(run / "recipe.toml"), "--data", str(folder / "xbd"), "--runs", str(tmp_path / "b")])
    assert rows_of(tmp_path / "b" / "small" / "steps.csv") == rows_of(run / "steps.csv")


@pytest.fixture
def opened(folder, tmp_path):
    """Return a run that has a checkpoint, its recipe, and its split."""
    split = tmp_path / "split.csv"
    split.write_bytes((folder / "split.csv").read_bytes())
    recipe = Recipe.from_values({"name": "a", "network": "compact", "task": "assess",
                                 "sampling": "chips", "steps": 3})  # fmt: skip
    open_run(tmp_path / "run", recipe, split)
    (tmp_path / "run" / "last.pt").touch()
    return tmp_path / "run", recipe, split


def test_a_run_notes_the_commit_wherever_it_is_started(opened, tmp_path, monkeypatch):
    run, recipe, split = opened
    noted = (run / "commit.txt").read_text()
    assert noted == "" or len(noted.strip()) == 40
    monkeypatch.chdir(tmp_path)
    open_run(run, recipe, split)
    assert (run / "commit.txt").read_text() == noted
    monkeypatch.setattr(training.train.shutil, "which", lambda name: None)
    open_run(run, recipe, split)
    assert (run / "commit.txt").read_text() == ""


def test_another_recipe_in_the_folder_of_a_run_is_refused(opened):
    run, recipe, split = opened
    with pytest.raises(OptionError, match=r"was begun with lr = 0\.0001, not 0\.1"):
        open_run(run, replace(recipe, lr=0.1), split)
    with pytest.raises(OptionError, match="was begun with chips_crop = 320, not 64"):
        open_run(run, replace(recipe, chips=replace(recipe.chips, crop=64)), split)
    assert Recipe.read(run / "recipe.toml") == recipe


def test_another_split_in_the_folder_of_a_run_is_refused(opened):
    run, recipe, split = opened
    before = (run / "split.csv").read_bytes()
    split.write_bytes(before + b"more,train\n")
    with pytest.raises(OptionError, match="another split"):
        open_run(run, recipe, split)
    assert (run / "split.csv").read_bytes() == before


def test_a_run_can_be_made_longer_and_read_its_own_split(opened):
    run, recipe, split = opened
    longer = replace(recipe, steps=9, workers=2, validate_every=3.0, patience=4)
    open_run(run, longer, run / "split.csv")
    assert Recipe.read(run / "recipe.toml") == longer
    assert (run / "split.csv").read_bytes() == split.read_bytes()


def test_a_folder_without_a_checkpoint_begins_anew(opened):
    run, recipe, split = opened
    (run / "last.pt").unlink()
    open_run(run, replace(recipe, lr=0.1), split)
    assert Recipe.read(run / "recipe.toml").lr == 0.1


# What is learnt from.


def recipe_of(**values):
    return Recipe(**({"name": "a", "network": "res34_unet", "task": "damage", "steps": 1} | values))


def test_parts_are_taken_by_their_names(folder):
    learnt, held_out = read_parts(recipe_of(), folder / "split.csv", folder / "xbd")
    assert (len(learnt), len(held_out)) == (5, 3)
    few = read_parts(recipe_of(subset=2, validate_on=1), folder / "split.csv", folder / "xbd")
    assert set(few[0]) < set(learnt)
    assert len(few[0]) == 2
    assert few[1] == held_out[:1]
    assert few == read_parts(
        recipe_of(subset=2, validate_on=1), folder / "split.csv", folder / "xbd"
    )
    others = {
        tuple(read_parts(recipe_of(subset=2, seed=s), folder / "split.csv", folder / "xbd")[0])
        for s in range(9)
    }
    assert len(others) > 1


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_fold_validates_and_the_others_train(tmp_path, fold):
    folder = write_set(tmp_path, ("0", "1", "2", "0", "1", "2", "2"))
    split = folder / "split.csv"
    learnt, held_out = read_parts(recipe_of(fold=fold), split, folder / "xbd")
    assert held_out == read_split(split, folder / "xbd", str(fold))
    assert sorted(learnt + held_out) == sorted(read_split(split, folder / "xbd"))
    options = options_of(folder, tmp_path / "runs", f"fold={fold}", "batch=2")
    work, state = set_up(options)
    assert len(losses(work, state)) == 2
    assert work.run.name == f"small-fold{fold}"


def test_a_fold_that_there_is_not_and_a_leaking_split_are_refused(folder, tmp_path):
    with pytest.raises(LabelError, match="its parts are train, validation"):
        read_parts(recipe_of(fold=0), folder / "split.csv", folder / "xbd")
    leaking = tmp_path / "split.csv"
    leaking.write_text("pair,part\na_1,train\nb_1,validation\na_1,validation\n")
    with pytest.raises(LabelError, match="a_1 is in two parts"):
        read_parts(recipe_of(), leaking, tmp_path)


def test_pixels_are_counted_by_the_size_of_the_image(tmp_path):
    folder = write_set(tmp_path, ("train", "train"), 96)
    counts = count_pixels(recipe_of(), find_pairs(folder / "xbd"))
    assert counts.shape == (2, 6)
    assert (counts.sum(1) == 96 * 96).all()
    for pair, row in zip(find_pairs(folder / "xbd"), counts, strict=True):
        grades = training.data.samples.sample_of(pair, "ignore").grades
        drawn = np.bincount(grades.ravel(), minlength=6)
        # Drawn masks hold the vertices, so each building has a rim more than its area.
        assert (abs(drawn - row) <= 0.35 * drawn + 60).all()


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        ("ignore", [800, 100, 0, 0, 0, 0]),
        ("undrawn", [900, 100, 0, 0, 0, 0]),
        ("no-damage", [800, 200, 0, 0, 0, 0]),
        ("own", [800, 100, 0, 0, 0, 100]),
    ],
)
def test_pixels_without_a_grade_are_counted_as_the_recipe_says(tmp_path, rule, counts):
    features = [
        {"properties": {"uid": str(n), "subtype": subtype},
         "wkt": f"POLYGON (({n} 0, {n + 10} 0, {n + 10} 10, {n} 10, {n} 0))"}
        for n, subtype in ((0, "no-damage"), (10, "un-classified"))
    ]  # fmt: skip
    (tmp_path / "labels").mkdir()
    pair = Pair("a_1", tmp_path)
    document = {"features": {"xy": features}, "metadata": {"height": 20, "width": 50}}
    pair.label_file("post").write_text(json.dumps(document))
    assert count_pixels(recipe_of(unclassified=rule), [pair]).tolist() == [counts]


def test_an_image_is_read_where_its_labels_do_not_say_its_size(tmp_path):
    folder = write_set(tmp_path, ("train",), 64)
    pair = find_pairs(folder / "xbd")[0]
    before = count_pixels(recipe_of(), [pair])
    document = json.loads(pair.label_file("post").read_text())
    del document["metadata"]
    pair.label_file("post").write_text(json.dumps(document))
    assert np.array_equal(count_pixels(recipe_of(), [pair]), before)


@pytest.mark.parametrize("sampling", ["once", "oversample", "oversample_any", "weighted"])
def test_each_way_of_sampling_trains(begin, sampling):
    work, state = begin(f'sampling="{sampling}"')
    assert len(losses(work, state)) == 2
    assert (len(work.samples) > 5) == sampling.startswith("oversample")


def test_disasters_are_learnt_as_tasks(begin):
    work, state = begin('algorithm="maml"', "batch=6", "meta_inner_lr=0.01")
    before = state.network.res.weight.clone()
    assert len(losses(work, state)) == 2
    assert not torch.equal(before, state.network.res.weight)


# What a network starts from.


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with a run whose best network locates buildings."""
    runs = tmp_path_factory.mktemp("runs")
    (runs / "located").mkdir()
    torch.manual_seed(3)
    network = create_network("res34_unet", task="localisation")
    save_checkpoint(network, runs / "located" / "best", epoch=1, best_score=0.5)
    return runs


@pytest.mark.slow
def test_damage_starts_from_localisation_but_for_its_head(runs):
    network = create_network("res34_unet", task="damage")
    head = network.res.weight.detach().clone()
    said = take_weights(network, "located", runs)
    count = len(network.state_dict())
    assert said == (
        f"{runs / 'located' / 'best'}: {count - 2} of {count} weights taken; "
        "new: res.bias, res.weight"
    )
    located = load_checkpoint(runs / "located" / "best").state_dict()
    for name, value in network.state_dict().items():
        assert name.startswith("res.") or torch.equal(value, located[name]), name
    assert torch.equal(network.res.weight, head)
    tuned = create_network("res34_unet", task="localisation")
    assert "new: none" in take_weights(tuned, str(runs / "located" / "best"), runs)
    assert "new: none" in take_weights(tuned, str(runs / "located"), runs / "elsewhere")
    assert torch.equal(tuned.res.weight, located["res.weight"])


@pytest.mark.slow
def test_weights_of_another_network_are_refused(runs):
    with torch.device("meta"):
        other = create_network("metadamagenet_resnet34_unet", task="damage")
    with pytest.raises(OptionError, match="weights beside the head do not fit"):
        take_weights(other, "located", runs)


def test_a_start_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"init = 'nobody': .* train that recipe first"):
        take_weights(Tiny("damage"), "nobody", tmp_path)
    (tmp_path / "some.pt").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"some\.pt"):
        take_weights(Tiny("damage"), str(tmp_path / "some.pt"), tmp_path)


def test_a_seed_decides_the_weights(begin):
    one, other, elsewhere = (
        begin(f'name="{name}"', f"seed={seed}")[1].network.state_dict()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert equal(dict(one), dict(other))
    assert not equal(dict(one), dict(elsewhere))
