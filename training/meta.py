"""Meta-learning: weights that learn a new disaster from a few examples (MAML).

Source: Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning". A task is a disaster. In each
task, some samples (support) move a copy of the weights by a few steps of gradient descent. Training
minimises the loss of the moved weights on others (query), through those steps (second order).
MetaDamageNet cleared the gradients of that loss just before the optimiser used them
(meta/trainer.py:221-222). So its published figures come from networks that learnt nothing by it.
Here the gradients arrive.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from geodamage.errors import OptionError

Batch = Mapping[str, Tensor]
Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class MetaOptions:
    """How tasks are drawn and learnt; in a recipe every field has the prefix `meta_`."""

    support: int = 1
    """Samples of a task that the weights are moved by."""
    query: int = 2
    """Samples of a task that the moved weights are judged by."""
    inner_steps: int = 5
    """Steps of gradient descent on the support."""
    inner_lr: float = 1e-4
    """Their rate."""
    second_order: bool = True
    """Go back through those steps; without, their gradients are taken as constants (FOMAML)."""

    def __post_init__(self) -> None:
        if min(self.support, self.query, self.inner_steps) < 1 or self.inner_lr <= 0:
            raise OptionError(
                "meta_support, meta_query, meta_inner_steps and meta_inner_lr are more than none"
            )

    @property
    def size(self) -> int:
        """Samples of a task."""
        return self.support + self.query


class Drawable(Protocol):
    """Samples of which a certain one can be asked for."""

    def __len__(self) -> int:
        """Return the number of samples of an epoch."""
        ...

    def at(self, place: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return a sample of the pair at a place."""
        ...


class EpisodeSamples:
    """Tasks one after the other: each some samples of support, then of query, of one event.

    Parameters
    ----------
    samples
        Samples of all events.
    events
        Event of each of their pairs.
    """

    def __init__(
        self, samples: Drawable, events: Sequence[str], options: MetaOptions, seed: int
    ) -> None:
        self.samples, self.options, self.seed = samples, options, seed
        self.places = [
            np.array([place for place, other in enumerate(events) if other == event])
            for event in sorted(set(events))
        ]
        if len(self.places) < 2:
            raise OptionError("algorithm = 'maml': its tasks are events, and it needs two or more")

    def __len__(self) -> int:
        """Return the samples of as many tasks as use every pair about once."""
        return max(len(self.samples) // self.options.size, 1) * self.options.size

    def draw(self, number: int) -> dict[str, np.ndarray]:
        """Return sample `number`: of task `number // size`, the support first."""
        task, within = divmod(number, self.options.size)
        rng = np.random.default_rng([self.seed, 2, task])
        places = self.places[rng.integers(len(self.places))]
        # Support and query are other pairs where the event has enough of them.
        chosen = rng.choice(places, self.options.size, replace=len(places) < self.options.size)
        return self.samples.at(int(chosen[within]), np.random.default_rng([self.seed, 1, number]))


class MetaObjective(nn.Module):
    """The loss on the query of weights that were moved by the support.

    Parameters
    ----------
    objective
        Loss of a network on a batch.
    options
        How the weights are moved.
    """

    def __init__(
        self, objective: Callable[[Callable[[Tensor], Tensor], Batch], Tensor], options: MetaOptions
    ) -> None:
        super().__init__()
        self.objective, self.options = objective, options

    def forward(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss over the tasks of a batch, which come one after the other."""
        if not torch.is_grad_enabled():
            return self.objective(network, batch)  # a validation pair: no task to learn
        count = len(next(iter(batch.values())))
        size = self.options.size
        if count % size:
            raise OptionError(
                f"a batch of {count} samples holds no whole number of tasks of {size} (support and "
                "query); make batch a multiple of it"
            )
        tasks = [
            {name: tensor[start : start + size] for name, tensor in batch.items()}
            for start in range(0, count, size)
        ]
        losses = [self._query_loss(network, task) for task in tasks]
        self._update_statistics(network, batch)
        return torch.stack(losses).mean()

    def _query_loss(self, network: nn.Module, task: Batch) -> Tensor:
        support = {name: tensor[: self.options.support] for name, tensor in task.items()}
        query = {name: tensor[self.options.support :] for name, tensor in task.items()}
        weights: Weights = dict(network.named_parameters())

        def loss(moved: Weights, batch: Batch) -> Tensor:
            return self.objective(lambda x: call(network, moved, x), batch)

        for _ in range(self.options.inner_steps):
            slopes = grad(loss)(weights, support)
            if not self.options.second_order:
                slopes = {name: slope.detach() for name, slope in slopes.items()}
            weights = {
                name: weight - self.options.inner_lr * slopes[name]
                for name, weight in weights.items()
            }
        return loss(weights, query)

    def _update_statistics(self, network: nn.Module, batch: Batch) -> None:
        """Let batch normalisation see the batch: in the steps above it wrote into copies."""
        if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
            with torch.no_grad():
                self.objective(network, batch)


def call(network: nn.Module, weights: Weights, x: Tensor) -> Tensor:
    """Run a network with other weights; its running statistics stay as they are."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    result: Tensor = functional_call(network, (weights, buffers), (x,))
    return result
