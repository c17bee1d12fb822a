import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.small_runs import (
    Tiny,
    equal,
    follow_gradients,
    losses,
    options_of,
    write_set,
)
from training.optimisers import prepare_mode
from training.recipe import Recipe
from training.state import Place
from training.steps import Work, split_batch, train, update_average
from training.train import set_up

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.mark.parametrize(("length", "batch"), [(10, 4), (4, 4), (3, 4), (8, 2)])
@pytest.mark.parametrize("world", [1, 2])
def test_no_sample_comes_twice_and_processes_share_each_batch(length, batch, world):
    recipe = Recipe(name="a", network="res34_unet", task="damage", steps=12, batch=batch)

    def numbers(rank, step=0):
        place = Place(torch.device("cpu"), rank, world)
        work = Work(recipe, Path(), place, range(length), [], None, None)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_batch_in_parts_has_the_gradients_of_the_whole(small_set, tmp_path):
    found = [
        gradients(small_set, tmp_path / str(parts), f"accumulate={parts}", "freeze_batch_norm=true")
        for parts in (1, 2, 4)
    ]
    for other in found[1:]:
        for step, wanted in zip(other, found[0], strict=True):
            for a, b in zip(step, wanted, strict=True):
                assert torch.allclose(a, b, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_gradients_are_clipped(small_set, tmp_path):
    free, clipped = (
        torch.cat([g.ravel() for g in gradients(small_set, tmp_path / str(n), f"clip={n}")[0]])
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


def test_a_batch_is_cut_into_equal_parts():
    parts = split_batch({"a": torch.arange(6), "b": torch.arange(6) * 2}, 3, torch.device("cpu"))
    assert [part["a"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert parts[2]["b"].tolist() == [8, 10]


def test_validation_comes_when_it_is_due_and_keeps_the_best(begin, monkeypatch):
    values = iter([0.5, 0.4, 0.6])
    monkeypatch.setattr("training.steps.score", lambda work, state: {"score": next(values)})
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


@pytest.mark.slow
def test_patience_ends_a_run_that_gains_nothing(begin, monkeypatch):
    values = iter([0.5, 0.505, 0.6, 0.605, 0.4, 0.9])
    monkeypatch.setattr("training.steps.score", lambda work, state: {"score": next(values)})
    changes = ("validate_every=1", "steps=50", "patience=2", "min_delta=0.01")
    work, state = begin(*changes)
    assert len(losses(work, state)) == 5
    assert state.best == 0.6
    # It stays at its end; more patience lets it go on.
    assert losses(*begin(*changes)) == []
    monkeypatch.setattr("training.steps.score", lambda work, state: {"score": 0.0})
    assert len(losses(*begin(*changes, "patience=4"))) == 2


@pytest.mark.slow
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
