"""Run folders as training writes them, with weights that nobody trained."""

from pathlib import Path

import torch
from torch import nn

from geodamage.networks.checkpoints import save_checkpoint
from geodamage.networks.registry import create_network
from training.recipe import Recipe, as_toml

SPLIT = "pair,part\nflood_9,train\nstorm_1,validation\nstorm_2,test\nflood_3,test\n"


def write_weights(path: Path, network: str, task: str, seed: int = 0, *, prefix: str = "") -> Path:
    """Write random weights that let little of the surroundings through, so that a halo settles."""
    torch.manual_seed(seed)
    module = create_network(network, task=task)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.weight *= 0.1
    save_checkpoint(module, path, epoch=7, best_score=0.5, prefix=prefix)
    return path


def write_run(
    folder: Path, network: str = "compact", task: str = "assess", *, seed: int = 0, **keys: object
) -> Path:
    """Write a run that was validated once."""
    folder.mkdir(parents=True)
    values = {"name": folder.name, "network": network, "task": task, "steps": 2, "metric": "dice"}
    sampling = {"sampling": "chips"} if network == "compact" else {}
    recipe = Recipe.from_values(values | sampling | keys)
    (folder / "recipe.toml").write_text(as_toml(recipe))
    (folder / "split.csv").write_text(SPLIT)
    (folder / "split.sha256").write_text("5" * 64 + "\n")
    (folder / "commit.txt").write_text("c" * 40 + "\n")
    write_weights(folder / "best", network, task, seed)
    return folder
