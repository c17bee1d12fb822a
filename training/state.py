"""The state of a training: its network, average and optimiser, and where its process stands."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from geodamage.errors import OptionError
from geodamage.networks import create_network
from geodamage.networks.checkpoints import read_checkpoint
from training.optimisers import freeze, make_optimiser
from training.recipe import Recipe

#: Parts of a network that are new when another task starts from its weights.
HEADS = ("res.", "decode_head.", "segformer_head.")


@dataclass(frozen=True)
class Place:
    """Where one process of a training stands."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0


@dataclass
class State:
    """Everything that decides how a training goes on."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    best: float = float("-inf")
    waited: int = 0
    running: list[float] = field(default_factory=list)
    """Losses since the last validation."""
    beside: nn.Module | None = None
    """What learns with the network and is thrown away after training."""

    def as_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        beside = {} if self.beside is None else {"beside": self.beside.state_dict()}
        return beside | {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "best": self.best,
            "waited": self.waited,
            "running": self.running,
        }

    def load(self, content: dict[str, Any]) -> None:
        """Take everything from a checkpoint."""
        self.network.load_state_dict(content["network"])
        self.average.load_state_dict(content["average"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.scaler.load_state_dict(content["scaler"])
        self.step, self.best = content["step"], content["best"]
        self.waited, self.running = content["waited"], content["running"]
        if self.beside is not None:
            self.beside.load_state_dict(content["beside"])

    def adopt(self, layers: nn.Module) -> None:
        """Let more layers learn with the network."""
        self.beside = layers
        self.optimiser.add_param_group({"params": [*layers.parameters()]})


def start(recipe: Recipe, runs: Path, place: Place) -> State:
    """Make network and optimiser, with the weights that the recipe starts from."""
    torch.manual_seed(recipe.seed)
    network = create_network(
        recipe.network, task=recipe.task, pretrained=recipe.pretrained, **recipe.options
    )
    if recipe.init:
        taken = take_weights(network, recipe.init, runs)
        if place.first:
            print(taken, flush=True)
    freeze(network, recipe.frozen)
    layout = torch.channels_last
    network = network.to(place.device).to(memory_format=layout)
    average = network
    if recipe.ema:
        average = create_network(recipe.network, task=recipe.task, **recipe.options)
        average = average.to(place.device).to(memory_format=layout)
        average.load_state_dict(network.state_dict())
        average.requires_grad_(False)
    scaler = torch.amp.GradScaler(place.device.type, enabled=recipe.amp == "fp16")
    return State(network, average, make_optimiser(recipe, network), scaler)


def take_weights(network: nn.Module, source: str, runs: Path) -> str:
    """Start a network from a run or a checkpoint; only its head may differ.

    Returns
    -------
    str
        What was taken and what is new, in one line.

    Raises
    ------
    OptionError
        If there is no such run or file, or anything but a head does not fit.
    """
    named = (runs / source / "best", Path(source) / "best", Path(source))
    path = next((path for path in named if path.exists()), Path(source))
    if not path.exists():
        raise OptionError(
            f"init = {source!r}: no run of that name with a best checkpoint in {runs}, and no such "
            "file; train that recipe first"
        )
    state = read_checkpoint(path).state
    own = network.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    new = sorted(own.keys() - fitting.keys())
    odd = [key for key in {*new, *(state.keys() - fitting.keys())} if not key.startswith(HEADS)]
    if odd:
        raise OptionError(
            f"init = {source!r}: {len(odd)} weights beside the head do not fit this network, such "
            f"as {sorted(odd)[0]}; start from a checkpoint of the same network"
        )
    network.load_state_dict(fitting, strict=False)
    return f"{path}: {len(fitting)} of {len(own)} weights taken; new: {', '.join(new) or 'none'}"


def join_processes(device: str) -> Place:
    """Return the place of this process; under torchrun, after meeting the others."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Place(torch.device(device))
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device.startswith("cuda"):
        torch.cuda.set_device(local)
        distributed.init_process_group("nccl")
        return Place(torch.device("cuda", local), rank, world)
    distributed.init_process_group("gloo")
    return Place(torch.device("cpu"), rank, world)
