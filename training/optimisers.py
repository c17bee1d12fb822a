"""What of a network learns, how fast, and what stays as it is."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from geodamage.errors import OptionError
from training.extras import optional
from training.recipe import Recipe


def freeze(network: nn.Module, frozen: Sequence[str]) -> None:
    """Let modules stay as they are.

    Raises
    ------
    OptionError
        If the network has no such module.
    """
    for name in frozen:
        try:
            module = network.get_submodule(name)
        except AttributeError as error:
            known = ", ".join(child for child, _ in network.named_children())
            raise OptionError(
                f"frozen = {name!r}: this network has no such module; it has {known}"
            ) from error
        module.requires_grad_(False)


def parameter_groups(recipe: Recipe, network: nn.Module) -> list[dict[str, Any]]:
    """Return what learns, the encoder apart where it learns at a rate of its own.

    Raises
    ------
    OptionError
        If the encoder is to have its own rate, and the network has no module of that name.
    """
    learning = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if recipe.encoder_rate == 1:
        return [{"params": [p for _, p in learning]}]
    encoder = [p for name, p in learning if name.startswith("encoder.")]
    if not encoder:
        raise OptionError(
            f"encoder_rate = {recipe.encoder_rate}: nothing below `encoder` of network = "
            f"{recipe.network!r} learns; leave it out"
        )
    others = [p for name, p in learning if not name.startswith("encoder.")]
    return [{"params": others}, {"params": encoder, "share": recipe.encoder_rate}]


def make_optimiser(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe."""
    groups = parameter_groups(recipe, network)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            groups,
            recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    if recipe.optimiser.startswith("lookahead_"):
        timm = optional("timm.optim", "train")  # a second to import, and few recipes need it
        made: torch.optim.Optimizer = timm.create_optimizer_v2(
            groups, recipe.optimiser, recipe.lr, recipe.weight_decay
        )
        return made
    return torch.optim.AdamW(groups, recipe.lr, weight_decay=recipe.weight_decay)


def prepare_mode(network: nn.Module, *, freeze: bool, frozen: Sequence[str] = ()) -> None:
    """Put a network into training mode, what of it is frozen not."""
    network.train()
    for name in frozen:
        network.get_submodule(name).eval()
    if freeze:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
