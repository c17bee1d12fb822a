"""Classifiers of one-channel chips, and the files that hold them."""

from collections import OrderedDict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geodamage.errors import CheckpointError, OptionError
from training.extras import optional
from training.sensors.chip_folders import Bytes
from training.sensors.chip_recipe import ChipRecipe

#: What tells our files from others.
FORMAT = "geodamage chip classifier 1"


@dataclass(frozen=True)
class ChipFacts:
    """What a classifier is and how its chips are prepared."""

    network: str
    """Name in timm."""
    sensor: str
    """`eo` or `sar`."""
    classes: int
    """Number of classes."""
    size: int
    """Pixels of a side of its chips."""
    mean: float
    """Mean of its chips, from 0 to 1."""
    deviation: float
    """Standard deviation of its chips, from 0 to 1."""
    widths: tuple[int, ...] = ()
    """Channels of the stages, where they are not the network's own."""

    @classmethod
    def of(cls, recipe: ChipRecipe, sensor: str) -> "ChipFacts":
        """Return those of the network that a recipe trains for a sensor."""
        return cls(
            recipe.network, sensor, recipe.classes, recipe.size(sensor), *recipe.scale(sensor),
            recipe.widths,
        )  # fmt: skip

    def normalised(self, chips: Bytes) -> Tensor:
        """Return float32 (n, 1, rows, columns) of uint8 (n, rows, columns)."""
        scaled = torch.from_numpy(np.ascontiguousarray(chips)).float() / 255
        return (scaled[:, None] - self.mean) / self.deviation


def create_classifier(facts: ChipFacts, *, pretrained: bool = False) -> nn.Module:
    """Return a classifier of timm for chips of one channel.

    Raises
    ------
    OptionError
        If timm has no such network, or it cannot be made so.
    """
    import timm  # a second to import

    more: dict[str, Any] = {"channels": facts.widths} if facts.widths else {}
    try:
        network: nn.Module = timm.create_model(
            facts.network, pretrained=pretrained, in_chans=1, num_classes=facts.classes, **more
        )
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"network = {facts.network!r}: timm cannot make it ({reason})") from error
    return network


@dataclass(frozen=True)
class Trained:
    """A classifier with its weights, in evaluation mode."""

    facts: ChipFacts
    network: nn.Module
    note: str = ""
    """Where it comes from and what it scored, in words."""

    @torch.no_grad()
    def logits(self, chips: Bytes, *, batch: int = 256) -> Tensor:
        """Return float32 (n, classes) of uint8 (n, size, size)."""
        device = next(self.network.parameters()).device
        parts = [
            self.network(self.facts.normalised(chips[first : first + batch]).to(device)).cpu()
            for first in range(0, len(chips), batch)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.facts.classes)


def save_trained(trained: Trained, path: Path) -> None:
    """Write or replace a file of tensors and plain values, beside it first."""
    facts = {field.name: getattr(trained.facts, field.name) for field in fields(ChipFacts)}
    content = {
        "format": FORMAT,
        "facts": facts,
        "note": trained.note,
        "state_dict": trained.network.state_dict(),
    }
    partial = path.with_name(path.name + ".partial")
    torch.save(content, partial)
    partial.replace(path)


def read_trained_chips(path: Path) -> Trained:
    """Read a file of `save_trained`; nothing of it is executed.

    Raises
    ------
    CheckpointError
        If it is none, or its weights do not fit its network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint; train that recipe first") from error
    # Damaged files and pickles of all kinds: torch gives no class of its own for them.
    except Exception as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of training.chips; whole pickled modules go through "
            "`python -m training.chips convert`"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: not a checkpoint of training.chips; give a run's best_eo or best_sar"
        )
    facts = ChipFacts(**{**content["facts"], "widths": tuple(content["facts"]["widths"])})
    network = create_classifier(facts)
    fit_weights(network, content["state_dict"], path)
    return Trained(facts, network.eval(), content["note"])


def fit_weights(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load weights whole, or not at all.

    Raises
    ------
    CheckpointError
        If a weight is missing, of another shape, or too many.
    """
    own = network.state_dict()
    odd = sorted(own.keys() ^ state.keys())
    odd += [k for k in own if k in state and own[k].shape != state[k].shape]
    if odd:
        raise CheckpointError(
            f"{path}: {len(odd)} weights do not fit the network, such as {odd[0]}; give the "
            "network that it was made with"
        )
    network.load_state_dict(state)


def find_trained(source: str, runs: Path, sensor: str) -> Path:
    """Return the file of a run's best network for a sensor, or the checkpoint of that path.

    Raises
    ------
    OptionError
        If there is neither.
    """
    for path in (runs / source / f"best_{sensor}", Path(source)):
        if path.is_file():
            return path
    raise OptionError(
        f"{source!r}: no run of that name in {runs} with best_{sensor}, and no such file; train "
        "that recipe first, or name a checkpoint"
    )


def layers_of_published() -> list[Any]:
    """Return what a pickled ResNet of torchvision is made of: layers and plain containers."""
    resnet = optional("torchvision.models.resnet", "train")

    layers = (
        nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear,
        nn.Sequential,
    )  # fmt: skip
    return [resnet.ResNet, resnet.BasicBlock, *layers, OrderedDict, set]


def read_pickled(path: Path, *, trusted: bool = False) -> dict[str, Tensor]:
    """Return the weights of a network that was pickled whole.

    Only the layers of torchvision's ResNet are allowed; nothing else of the file is looked
    up or run.

    Parameters
    ----------
    trusted
        Unpickle whatever is in it: code of the file runs with the rights of the user.

    Raises
    ------
    CheckpointError
        If it is damaged, is no network, or holds something beside those layers.
    """
    try:
        if trusted:
            content = torch.load(path, map_location="cpu", weights_only=False)
        else:
            with torch.serialization.safe_globals(layers_of_published()):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    # Unpickling raises whatever the content makes it raise.
    except Exception as error:
        raise CheckpointError(_refusal(path, error, trusted=trusted)) from error
    if not isinstance(content, nn.Module):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}, no pickled network; files of "
            "training.chips need no conversion"
        )
    return dict(content.state_dict())


def _refusal(path: Path, error: Exception, *, trusted: bool) -> str:
    if trusted:
        return (
            f"{path}: cannot be unpickled ({type(error).__name__}); it is damaged, or its code "
            "is not installed"
        )
    lines = [line for line in str(error).splitlines() if "GLOBAL" in line or "nsupported" in line]
    found = lines[0].strip()[:160] if lines else type(error).__name__
    return (
        f"{path}: more than the layers of a ResNet is in it, or it is damaged ({found}); if you "
        "trust whoever made it, --i-trust-this-file unpickles it, which runs its code as you"
    )


def convert_pickled(path: Path, facts: ChipFacts, *, trusted: bool = False) -> Trained:
    """Return the classifier of a file that CMKD pickled whole.

    Raises
    ------
    CheckpointError
        Where `read_pickled` does, and if its weights are not those of the network that is named.
    """
    # torchvision's and timm's ResNets name their weights alike.
    network = create_classifier(facts)
    fit_weights(network, read_pickled(path, trusted=trusted), path)
    return Trained(facts, network.eval(), f"converted from {path.name}")


def describe(trained: Trained) -> str:
    """Say in one line what a classifier is."""
    count = sum(parameter.numel() for parameter in trained.network.parameters())
    facts = trained.facts
    return f"{facts.network}, {facts.sensor}, {facts.classes} classes, {count:,} parameters"
