"""Objectives: from a network and a batch to the number that training makes smaller."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.damage import NOT_ASSESSED
from geodamage.errors import OptionError
from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.registry import find
from training.losses.networks import OpenCitiesLoss, build_loss, damage_loss, localisation_loss
from training.losses.options import LossOptions
from training.meta import MetaObjective
from training.recipe import COMPACT, Recipe
from training.teaching.semi_supervision import SoftObjective

Batch = Mapping[str, Tensor]
#: Takes the network, perhaps spread over processes, and a batch on its device; returns a scalar.
Objective = Callable[[nn.Module, Batch], Tensor]


class PublishedObjective(nn.Module):
    """The loss of a recipe on the output of a network of one of the published families.

    Parameters
    ----------
    scaling
        Scales uint8 images as the network's family does.
    task
        `localisation`, `damage` or `assess`.
    loss
        Loss that `build_loss` makes.
    """

    def __init__(self, scaling: Exported, task: str, loss: nn.Module) -> None:
        super().__init__()
        # The module, not its method: its numbers must come along to the device.
        self.scaling, self.task, self.loss = scaling, task, loss

    def forward(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch as `training.data.samples.stack` makes it."""
        images = [self.scaling.scaled(batch["pre"])]
        if self.task != "localisation":
            images.append(self.scaling.scaled(batch["post"]))
        logits = network(torch.cat(images, 1))
        # Outside of autocast: sums over a batch lose too much in 16 bits.
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            if self.task == "assess":
                value: Tensor = self.loss(logits, batch["buildings"], batch["grades"])
            else:
                codes = batch["buildings" if self.task == "localisation" else "grades"]
                value = self.loss(logits, codes)
        return value


class CompactObjective(nn.Module):
    """The losses of the compact network: buildings before, buildings after, grades."""

    def __init__(self, scaling: Exported, recipe: Recipe) -> None:
        super().__init__()
        self.scaling, self.options = scaling, recipe.chips

    def forward(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch of chips."""
        images = [self.scaling.scaled(batch[date]) for date in ("pre", "post")]
        in_pre, in_post, grades = network(*images)
        standing = batch["buildings_post"]
        asked = (standing <= 1).float()
        before = localisation_loss(in_pre, batch["buildings"], batch["weights"])
        after = localisation_loss(in_post, standing * (standing <= 1), asked)
        weights = torch.tensor(self.options.grade_weights, device=grades.device)
        damage = damage_loss(grades, batch["damage"], batch["vote"], weights)
        options = self.options
        return (
            options.localisation_weight * before
            + options.post_weight * after
            + options.damage_weight * damage
        )


class OpenCitiesObjective(nn.Module):
    """The loss of the feature pyramids with four heads, and the divergence from soft labels."""

    def __init__(self, scaling: Exported, recipe: Recipe, *, all_reduce: bool) -> None:
        super().__init__()
        self.scaling = scaling
        self.loss = OpenCitiesLoss(all_reduce=all_reduce)
        self.soft = SoftObjective(recipe.soft, all_reduce=all_reduce)

    def forward(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch; images with soft labels go through the network with it."""
        images = [batch[name] for name in ("pre", "soft_pre") if name in batch]
        count = len(images[0])
        outputs = network(self.scaling.scaled(torch.cat(images)))
        with torch.autocast(images[0].device.type, enabled=False):
            building, overlap, presence = (head.float() for head in outputs[:3])
            codes = reduced(batch["buildings"], (building.shape[2], building.shape[3]))
            value: Tensor = self.loss(building[:count], overlap[:count], presence[:count], codes)
            if "soft" in batch:
                value = value + self.soft(building[count:], batch["soft"])
        return value


def reduced(codes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return masks at another size: building where at least half of what is known is.

    Parameters
    ----------
    codes
        uint8 (n, H, W): 0, 1, 255.

    Returns
    -------
    uint8 (n, h, w)
        255 where less than half is known.
    """
    # Published (Open Cities' third place, train.py:226, 241): the cast of a bilinear mean, which
    # made every cell that is not all building a background.
    known = (codes != NOT_ASSESSED).float()
    means = torch.stack([(codes == 1).float(), known], 1)
    building, seen = functional.adaptive_avg_pool2d(means, shape).unbind(1)
    result = (building >= 0.5 * seen).to(torch.uint8)
    return torch.where(seen < 0.5, result.new_tensor(NOT_ASSESSED), result)


def exported(network: nn.Module, recipe: Recipe) -> Exported:
    """Return a network that takes uint8 and gives heads, by the convention of its family."""
    family = find(recipe.network).family
    return Exported(network, convention_of(family, recipe.network, recipe.task))


def make_objective(recipe: Recipe, pixels: np.ndarray, *, world: int = 1) -> nn.Module:
    """Make what a recipe trains by, an `Objective`.

    Parameters
    ----------
    pixels
        int (6,): pixels of background, the four grades and un-classified in the training part;
        used where the recipe weighs classes by them.
    world
        Number of processes.
    """
    scaling = exported(nn.Identity(), recipe)
    if recipe.network in COMPACT:
        return CompactObjective(scaling, recipe)
    if find(recipe.network).family == "open_cities":
        return open_cities_objective(recipe, scaling, all_reduce=recipe.all_reduce and world > 1)
    loss = build_loss(
        recipe.loss,
        task=recipe.task,
        pixel_counts=_counts(pixels, recipe.task),
        all_reduce=recipe.all_reduce and world > 1,
    )
    objective = PublishedObjective(scaling, recipe.task, loss)
    if recipe.algorithm == "maml":
        return MetaObjective(objective, recipe.meta)
    return objective


def open_cities_objective(recipe: Recipe, scaling: Exported, *, all_reduce: bool) -> nn.Module:
    """Make the objective of a feature pyramid with four heads.

    Raises
    ------
    OptionError
        If the recipe asks for what these heads do not have.
    """
    if recipe.loss != LossOptions() or recipe.algorithm == "maml":
        raise OptionError(
            f"network = {recipe.network!r} has a loss for each of its heads, and no algorithm "
            "'maml'; leave out loss... and algorithm"
        )
    return OpenCitiesObjective(scaling, recipe, all_reduce=all_reduce)


def _counts(pixels: np.ndarray, task: str) -> Sequence[Sequence[int]]:
    """Return pixels of the classes of each output, as `build_loss` wants them."""
    counts = [int(count) for count in pixels]
    buildings = [counts[0], sum(counts[1:])]
    if task == "assess":
        return [buildings, counts]
    return [buildings] if task == "localisation" else [counts[:5]]
