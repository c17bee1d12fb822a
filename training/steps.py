"""The steps of a training: gradients, validations and checkpoints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from geodamage.damage import NOT_ASSESSED
from geodamage.networks.checkpoints import save_checkpoint
from training.data.labelled import Sample
from training.data.samples import (
    UNCLASSIFIED,
    Labelled,
    Samples,
    batches,
    stack,
)
from training.objectives import Batch, Objective, exported
from training.optimisers import prepare_mode
from training.recipe import Recipe
from training.runs.reports import Report, TrainingError
from training.schedules import learning_rate
from training.state import Place, State
from training.teaching.semi_supervision import SoftBatches
from training.validation import Validation, padded, validate

DTYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Work:
    """A training: what is learnt, from what, and where it is kept."""

    recipe: Recipe
    run: Path
    place: Place
    samples: Samples
    held_out: Sequence[Labelled]
    objective: Objective
    judge: Objective
    """The same loss of one process alone: validation pairs are not shared out evenly."""
    soft: SoftBatches | None = None
    """Images with soft labels, where the recipe names some."""

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch; samples that fill no batch are left to the next shuffle."""
        return max(len(self.samples) // self.recipe.batch, 1)

    def numbers(self, step: int) -> Iterator[list[int]]:
        """Yield the numbers of this process's share of every batch, from a step on."""
        batch, rank = self.recipe.batch, self.place.rank
        share = batch // self.place.world
        # Where a batch is more than an epoch, the next one begins after it: nothing comes twice.
        stretch = max(len(self.samples), batch)
        for later in range(step, self.steps):
            epoch, within = divmod(later, self.per_epoch)
            first = epoch * stretch + within * batch + rank * share
            yield list(range(first, first + share))

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.recipe.steps or max(round(self.recipe.epochs * self.per_epoch), 1)

    @property
    def between_validations(self) -> int:
        """Steps between two validations."""
        return max(round(self.recipe.validate_every * self.per_epoch), 1)


def train(work: Work, state: State) -> Iterator[Report]:
    """Train until the recipe is done; yields after every step.

    The checkpoint of a step is written when the next step is asked for. So the caller's record of a
    step exists before the checkpoint from which a killed run continues.
    """
    recipe, place = work.recipe, work.place
    if recipe.patience and state.waited >= recipe.patience:
        return
    network = state.network
    if place.world > 1:
        ids = [place.device.index] if place.device.type == "cuda" else None
        network = DistributedDataParallel(network, device_ids=ids)
    numbers = partial(work.numbers, state.step)
    pin = place.device.type == "cuda"
    drawn = batches(work.samples, numbers, workers=recipe.workers, pin_memory=pin)
    for batch in drawn if work.soft is None else work.soft.added_to(drawn, state.step):
        lr = learning_rate(recipe, state.step, work.steps, work.per_epoch)
        state.running.append(take_step(work, state, network=network, batch=batch, lr=lr))
        if not np.isfinite(state.running[-1]):
            raise TrainingError(
                f"{work.run}: the loss of step {state.step} is {state.running[-1]}; lower lr, clip "
                "gradients, or use amp = 'bf16'"
            )
        report = finish_step(work, state, lr)
        yield report
        due = recipe.checkpoint_every and state.step % recipe.checkpoint_every == 0
        if due or report.row is not None:
            write_checkpoint(work, state)
        if recipe.patience and state.waited >= recipe.patience:
            break


def take_step(work: Work, state: State, *, network: nn.Module, batch: Batch, lr: float) -> float:
    """Move the weights by one batch and return its loss.

    Parameters
    ----------
    network
        That of the state, or what spreads it over processes.
    """
    recipe, place = work.recipe, work.place
    for group in state.optimiser.param_groups:
        group["lr"] = lr * group.get("share", 1.0)
    # Dropout depends on the step alone, so that a run that was killed draws the same.
    torch.manual_seed(recipe.seed * 1_000_003 + state.step * place.world + place.rank)
    prepare_mode(state.network, freeze=recipe.freeze_batch_norm, frozen=recipe.frozen)
    loss = add_gradients(work, state, network=network, batch=batch)
    state.scaler.unscale_(state.optimiser)
    if recipe.clip:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    state.optimiser.zero_grad(set_to_none=True)
    state.step += 1
    if recipe.ema:
        decay = min(recipe.ema, state.step / (state.step + 10))
        update_average(state.average, state.network, decay)
    return mean_over_processes(loss, place)


def add_gradients(work: Work, state: State, *, network: nn.Module, batch: Batch) -> Tensor:
    """Work off a batch in parts; returns this process's loss."""
    recipe, place = work.recipe, work.place
    dtype = DTYPES[recipe.amp]
    loss = torch.zeros((), device=place.device)
    parts = split_batch(batch, recipe.accumulate, place.device)
    for number, part in enumerate(parts):
        if isinstance(network, DistributedDataParallel):
            # Gradients meet once a step, with the last part.
            network.require_backward_grad_sync = number == len(parts) - 1
        with torch.autocast(place.device.type, dtype, enabled=dtype != torch.float32):
            value = work.objective(network, part) / len(parts)
        state.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        loss += value.detach()
    return loss


def finish_step(work: Work, state: State, lr: float) -> Report:
    """Validate where it is due, and keep the best network."""
    recipe, last = work.recipe, state.running[-1]
    if state.step % work.between_validations and state.step != work.steps:
        return Report(state.step, last, lr)
    row = {"train_loss": float(np.mean(state.running)), **score(work, state)}
    value = -row["loss"] if recipe.metric == "loss" else row[recipe.metric]
    better = value > state.best + (recipe.min_delta if np.isfinite(state.best) else 0)
    state.waited = 0 if better else state.waited + 1
    state.best = value if better else state.best
    state.running = []
    if better and work.place.first:
        epoch = -(-state.step // work.per_epoch)
        save_checkpoint(judged(work, state), work.run / "best", epoch=epoch, best_score=value)
    return Report(state.step, last, lr, row, better)


def judged(work: Work, state: State) -> nn.Module:
    """Return the network that is validated and kept."""
    return state.average if work.recipe.ema else state.network


def score(work: Work, state: State) -> dict[str, float]:
    """Validate on this process's share of the pairs and add up."""
    place, recipe = work.place, work.recipe
    if place.world > 1:
        share_buffers(judged(work, state))
    model = exported(judged(work, state), recipe).to(place.device)
    graded = recipe.task != "localisation"
    with_loss = recipe.metric == "loss"
    total = Validation()
    pairs = work.held_out[place.rank :: place.world]
    dtype = DTYPES[recipe.amp]
    for sample, found, grades in validate(model, pairs, device=place.device, dtype=dtype):
        total.add(sample, found, grades)
        if with_loss:
            total.loss += whole_loss(work, model.network, sample)
    return total.gathered(place.device).row(graded=graded, with_loss=with_loss)


def share_buffers(network: nn.Module) -> None:
    """Take the statistics of batch normalisation from the first process, whose network is kept."""
    for buffer in network.buffers():
        distributed.broadcast(buffer, 0)


def whole_loss(work: Work, network: nn.Module, sample: Sample) -> float:
    """Return the training's loss on a whole validation pair."""
    code = UNCLASSIFIED[work.recipe.unclassified] or 0
    grades = np.where(sample.grades == NOT_ASSESSED, np.uint8(code), sample.grades)
    arrays = {"pre": sample.pre, "post": sample.post, "grades": grades}
    drawn = {"buildings": sample.buildings} | {k: v for k, v in arrays.items() if v is not None}
    batch = padded({k: v.to(work.place.device) for k, v in stack([drawn]).items()})
    with torch.no_grad():
        return float(work.judge(network, batch))


def split_batch(batch: Batch, count: int, device: torch.device) -> list[dict[str, Tensor]]:
    """Cut a batch into equal parts on the device."""
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    size = len(next(iter(moved.values()))) // count
    return [
        {name: tensor[n * size : (n + 1) * size] for name, tensor in moved.items()}
        for n in range(count)
    ]


def mean_over_processes(loss: Tensor, place: Place) -> float:
    """Return the loss of the whole batch."""
    if place.world > 1:
        loss = loss.clone()
        distributed.all_reduce(loss)
        loss = loss / place.world
    return float(loss)


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights a little towards the network's."""
    with torch.no_grad():
        values = network.state_dict()
        for name, mean in average.state_dict().items():
            value = values[name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def write_checkpoint(work: Work, state: State) -> None:
    """Write everything beside the last checkpoint, then replace it."""
    if work.place.first:
        partial = work.run / "last.pt.partial"
        torch.save(state.as_dict(), partial)
        partial.replace(work.run / "last.pt")
