"""Trainings of a network so small that a step takes milliseconds."""

import argparse
import csv
import os
import sys
from pathlib import Path

import torch
from torch import distributed, nn

import training.state
import training.train
from sample_data.pairs import make_pairs
from training.steps import train
from training.train import set_up

CHANNELS = {"localisation": (3, 1), "damage": (6, 5), "assess": (6, 8)}
RECIPE = """
name = "small"
network = "seresnext50_unet"
task = "damage"
loss_terms = ["cross_entropy:1"]
augmentation_crop = 64
augmentation_flip_horizontal = 0.5
augmentation_brightness = 0.5
batch = 4
steps = 2
lr = 1e-2
validate_every = 100
"""
PARTS = ("train", "train", "train", "train", "train", "validation", "validation", "validation")


class Tiny(nn.Module):
    """Two convolutions with the inputs and outputs of a published network."""

    stride = 1

    def __init__(self, task):
        super().__init__()
        inputs, outputs = CHANNELS[task]
        self.first = nn.Conv2d(inputs, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.res = nn.Conv2d(4, outputs, 1)

    def forward(self, images):
        return self.res(torch.relu(self.norm(self.first(images))))


def create_tiny(name, *, task, pretrained=False):
    return Tiny(task)


def write_set(folder, parts=PARTS, size=64):
    """Write as many pairs as there are parts, and a split of them."""
    names = make_pairs(folder / "xbd", len(parts), size)
    rows = [f"{name},{part}\n" for name, part in zip(names, parts, strict=True)]
    (folder / "split.csv").write_text("pair,part\n" + "".join(rows), encoding="utf-8")
    return folder


def options_of(folder, runs, *changes, text=RECIPE):
    """Return what the command would hand to `set_up`."""
    runs.mkdir(exist_ok=True, parents=True)
    recipe = runs / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    return argparse.Namespace(
        recipe=recipe,
        data=folder / "xbd",
        split=folder / "split.csv",
        runs=runs,
        device="cpu",
        set=list(changes),
        half=None,
        masked=None,
        unlabelled=None,
    )


def arguments_of(options):
    """Return the same for the command line."""
    paths = ("data", "split", "runs", "device")
    told = [text for name in paths for text in (f"--{name}", str(getattr(options, name)))]
    return [str(options.recipe), *told, *(t for change in options.set for t in ("--set", change))]


def follow_gradients(options):
    """Train, and return reports and gradients of every step, and the judged network's buffers."""
    work, state = set_up(options)
    gradients = []

    def keep(optimiser, *_):
        gradients.append([p.grad.clone() for g in optimiser.param_groups for p in g["params"]])

    state.optimiser.register_step_pre_hook(keep)
    reports = list(train(work, state))
    return {
        "losses": [report.loss for report in reports],
        "rows": [report.row for report in reports if report.row],
        "gradients": gradients,
        "buffers": dict(state.average.named_buffers()),
    }


#: What two processes must do like one, or must not.
CASES = {
    "entropy": ("freeze_batch_norm=true",),
    "dice": ("freeze_batch_norm=true", 'loss_terms=["dice:1"]'),
    "dice_together": (
        "freeze_batch_norm=true",
        'loss_terms=["dice:1"]',
        "all_reduce=true",
        'metric="loss"',
    ),
    "accumulated": ("freeze_batch_norm=true", "accumulate=2"),
    "statistics": ("ema=0.5",),
}


def run_cases(folder, runs):
    """Return `follow_gradients` of every case."""
    return {
        name: follow_gradients(options_of(folder, runs / name, f'name="{name}"', *changes))
        for name, changes in CASES.items()
    }


def losses(work, state):
    return [report.loss for report in train(work, state)]


def rows_of(path):
    return list(csv.DictReader(path.open(newline=""))) if path.exists() else []


def equal(one, other):
    """Return whether two checkpoints hold the very same bits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


if __name__ == "__main__":
    torch.set_num_threads(1)
    training.state.create_network = create_tiny
    place = training.state.join_processes("cpu")
    # The store of torchrun brings the processes together once.
    training.train.join_processes = lambda device: place
    folder = Path(sys.argv[1])
    # Each process writes into a folder that the first one makes; the recipes are the same.
    found = run_cases(folder, folder / f"rank{place.rank}")
    torch.save(found, folder / f"rank{place.rank}.pt")
    distributed.barrier()
    # Not through the interpreter's exit: there gloo sometimes aborts, after all is done and saved.
    os._exit(0)
