r"""Train a network by a recipe.

    python -m training.train training/recipes/compact.toml --data DATA
    torchrun --nproc-per-node 4 -m training.train RECIPE.toml --data DATA --split split.csv

The same command goes on with a run that was stopped, with the very samples it would have seen. A
run folder holds the resolved recipe, the commit, the split with its hash, a table of steps, a log
of validations, pictures, checkpoints, curves and what TensorBoard reads.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from geodamage.damage import GRADES, NOT_ASSESSED
from geodamage.errors import GeodamageError, LabelError, OptionError
from geodamage.networks import create_network
from geodamage.networks.checkpoints import read_checkpoint, save_checkpoint
from geodamage.xbd.folders import Pair, read_image, read_split
from geodamage.xbd.labels import read_label_file
from training.data.augmentation import Sample
from training.data.building_images import HALF, BuildingImage, in_folds, read_building_index
from training.data.crops import Chips, draw_generated, load_pair
from training.data.masked import More, add_more, more_of
from training.data.samples import (
    UNCLASSIFIED,
    ChipSamples,
    Labelled,
    PairSamples,
    Samples,
    batches,
    stack,
)
from training.data.sampling import epoch_places, sample_weights
from training.data.two_sensors import LAYOUTS, SensorPair, draw_two_sensors
from training.meta import EpisodeSamples
from training.objectives import Batch, Objective, exported, make_objective
from training.optimisers import freeze, make_optimiser, prepare_mode
from training.recipe import Recipe, as_toml, as_values
from training.runs.records import replace_text
from training.runs.tracking import Tracker
from training.schedules import learning_rate
from training.teaching.objective import projections_of, teachers_of, with_teachers
from training.teaching.semi_supervision import SoftBatches, read_soft
from training.validation import Validation, padded, validate

#: What may differ when a run goes on: how long it is, and what does not touch its numbers.
FLEXIBLE = (
    "steps", "epochs", "workers", "checkpoint_every", "validate_every", "validate_on", "patience",
    "mlflow", "group",
)  # fmt: skip
#: Parts of a network that are new when another task starts from its weights.
HEADS = ("res.", "decode_head.", "segformer_head.")
DTYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


Example = TypeVar("Example", Pair, BuildingImage, SensorPair)


class TrainingError(GeodamageError):
    """Training cannot go on."""


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


@dataclass(frozen=True)
class Report:
    """What one step came to; `row` where the network was validated after it."""

    step: int
    loss: float
    lr: float
    row: dict[str, float] | None = None
    better: bool = False


def train(work: Work, state: State) -> Iterator[Report]:
    """Train until the recipe is done; yields after every step.

    The checkpoint of a step is written when the next one is asked for: what the caller records of
    a step is there before the checkpoint that a killed run goes on from.
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


Parts = (
    tuple[list[Pair], list[Pair]]
    | tuple[list[BuildingImage], list[BuildingImage]]
    | tuple[list[SensorPair], list[SensorPair]]
)


def read_parts(recipe: Recipe, split: Path, data: Path) -> Parts:
    """Return the pairs, or prepared images, to train on and those to validate on."""
    if recipe.data == "buildings":
        learnt_images, images = in_folds(read_building_index(data), recipe.fold)
        return some_of(learnt_images, recipe), images[: recipe.validate_on or None]
    if recipe.fold < 0:
        learnt = read_split(split, data, "train")
        held_out = read_split(split, data, "validation")
    else:
        held_out = read_split(split, data, str(recipe.fold))
        names = {pair.name for pair in held_out}
        learnt = [pair for pair in read_split(split, data) if pair.name not in names]
    shared = {pair.name for pair in learnt} & {pair.name for pair in held_out}
    if shared:
        raise LabelError(f"{split}: {sorted(shared)[0]} is in two parts; make it by prepare")
    if recipe.data in LAYOUTS:
        layout = LAYOUTS[recipe.data]
        both, seen = ([layout(p.name, p.folder) for p in part] for part in (learnt, held_out))
        return some_of(both, recipe), seen[: recipe.validate_on or None]
    return some_of(learnt, recipe), held_out[: recipe.validate_on or None]


def some_of(learnt: list[Example], recipe: Recipe) -> list[Example]:
    """Return the random few that a recipe takes for a look, or all."""
    if not recipe.subset:
        return learnt
    chosen = np.random.default_rng(recipe.seed).permutation(len(learnt))[: recipe.subset]
    return [learnt[i] for i in sorted(chosen)]


def make_samples(
    recipe: Recipe, pairs: Sequence[Labelled], pixels: np.ndarray, more: More | None = None
) -> Samples:
    """Return what is drawn from the training pairs, and for the compact network from `more`."""
    if recipe.sampling == "chips":
        loaded = [load_pair(pair) for pair in pairs if isinstance(pair, Pair)]
        loaded += [pair.labelled() for pair in pairs if isinstance(pair, SensorPair)]
        draw = draw_two_sensors if recipe.data in LAYOUTS else draw_generated
        drawn = [draw(number) for number in range(recipe.chips.generated)]
        count = sum(len(pair.centres) for pair in loaded) or len(loaded)
        chips = Chips(loaded, drawn, recipe.chips, **(more or More()).load(recipe.chips))
        return ChipSamples(chips, count, seed=recipe.seed)
    samples = PairSamples(
        pairs,
        epoch_places(pixels[:, :5], recipe.sampling),
        recipe.augmentation,
        weights=sample_weights(pixels[:, :5]) if recipe.sampling == "weighted" else None,
        unclassified=recipe.unclassified,
        seed=recipe.seed,
    )
    if recipe.algorithm == "maml":
        return EpisodeSamples(samples, [pair.event for pair in pairs], recipe.meta, recipe.seed)
    return samples


def soft_batches(
    recipe: Recipe, place: Place, data: Path, held_out: Sequence[Labelled]
) -> SoftBatches | None:
    """Return what is drawn from images with soft labels, where the recipe names some."""
    if not recipe.soft.folder:
        return None
    images = [image for image in held_out if isinstance(image, BuildingImage)]
    names = {name for image in images for name in (image.place, image.tile)}
    return SoftBatches(
        read_soft(recipe.soft, (data, Path()), names),
        recipe.augmentation,
        recipe.soft,
        size=recipe.batch // place.world,
        seed=recipe.seed,
        first=place.rank,
        stride=place.world,
    )


def count_pixels(recipe: Recipe, pairs: Sequence[Labelled]) -> np.ndarray:
    """Return int (n, 6): pixels of background, the grades and un-classified, by the labels alone.

    Labels say enough for sampling and class weights, and are read in a hundredth of the time.
    """
    counts = np.zeros((len(pairs), 6), np.int64)
    for row, pair in zip(counts, pairs, strict=True):
        if isinstance(pair, BuildingImage):
            _, mask = pair.load()
            row[:2] = (mask < HALF).sum(), (mask >= HALF).sum()
            continue
        if isinstance(pair, SensorPair):
            continue  # chips are weighed by their buildings, and nothing asks for the pixels
        file = read_label_file(pair.label_file("post"))
        # Of those that do not say how large their image is, the image must be read.
        rows, columns = file.shape or read_image(pair.image("post")).shape[:2]
        row[0] = rows * columns
        for label in file.labels:
            code = UNCLASSIFIED[recipe.unclassified] if label.grade is None else int(label.grade)
            area = round(label.polygon.area)
            row[0] -= 0 if code is None else area
            if code not in (None, NOT_ASSESSED):
                row[code] += area
    return np.maximum(counts, 0)


def open_run(run: Path, recipe: Recipe, split: Path) -> None:
    """Write recipe, commit and split into a run folder, or check that they are those of the run.

    Raises
    ------
    OptionError
        If the folder holds a run of another recipe or split.
    """
    run.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(split.read_bytes()).hexdigest()
    if (run / "last.pt").exists():
        before = as_values(Recipe.read(run / "recipe.toml"))
        now = as_values(recipe)
        changed = [key for key in now if now[key] != before[key] and key not in FLEXIBLE]
        if changed:
            key = changed[0]
            raise OptionError(
                f"{run}: was begun with {key} = {before[key]!r}, not {now[key]!r}; give the run "
                "another name, or remove the folder"
            )
        if (run / "split.sha256").read_text(encoding="utf-8").strip() != digest:
            raise OptionError(f"{run}: was begun with another split than {split}")
    replace_text(run / "recipe.toml", as_toml(recipe))
    replace_text(run / "commit.txt", commit())
    if split.resolve() != (run / "split.csv").resolve():
        shutil.copyfile(split, run / "split.csv.partial")
        (run / "split.csv.partial").replace(run / "split.csv")
    replace_text(run / "split.sha256", digest + "\n")


def commit() -> str:
    """Return the commit of this code; empty where it is not in a clone, or there is no git."""
    git = shutil.which("git")
    if git is None:
        return ""
    head = [git, "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    return subprocess.run(head, capture_output=True, text=True, check=False).stdout


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


def set_up(options: argparse.Namespace) -> tuple[Work, State]:
    """Make everything that a training needs, and go back to where it was."""
    recipe = Recipe.read(options.recipe, options.set)
    place = join_processes(options.device)
    if recipe.batch % (place.world * recipe.accumulate):
        raise OptionError(
            f"batch = {recipe.batch} cannot be shared evenly by {place.world} processes in "
            f"{recipe.accumulate} parts"
        )
    if recipe.algorithm == "maml" and place.world > 1:
        raise OptionError("algorithm = 'maml' runs in one process; start it without torchrun")
    own = options.recipe.parent / recipe.split
    split = options.split or (options.data / "index.csv" if recipe.data == "buildings" else own)
    learnt, held_out = read_parts(recipe, split, options.data)
    run = options.runs / recipe.run_name
    if place.first:
        open_run(run, recipe, split)
    if place.world > 1:
        distributed.barrier()
    state = start(recipe, options.runs, place)
    pixels = count_pixels(recipe, learnt)
    objective, judge = (
        make_objective(recipe, pixels.sum(0), world=world).to(place.device)
        for world in (place.world, 1)
    )
    panel = teachers_of(recipe, options.runs)  # first: what is not there is named within seconds
    samples = make_samples(recipe, learnt, pixels, more_of(options))
    objective = with_teachers(objective, recipe, state.network, samples, panel)
    layers = projections_of(objective.to(place.device))
    if layers is not None:
        if place.world > 1:
            raise OptionError(
                "distil_feature between widths that differ runs in one process; start it without "
                "torchrun"
            )
        state.adopt(layers)
    if (run / "last.pt").exists():
        # Through the CPU: optimisers keep their step counts there, and fetch each from elsewhere.
        state.load(torch.load(run / "last.pt", map_location="cpu", weights_only=True))
        if place.first:
            print(f"{run}: going on after step {state.step}", flush=True)
    if place.first:
        print(f"{len(learnt)} pairs to train on, {len(held_out)} to validate", flush=True)
    soft = soft_batches(recipe, place, options.data, held_out)
    return Work(recipe, run, place, samples, held_out, objective, judge, soft), state


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the split speaks of")
    parser.add_argument("--split", type=Path, help="split file, instead of the recipe's")
    add_more(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        follow(*set_up(options))
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.train: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "training.train: interrupted; the same command goes on\n")
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


@contextlib.contextmanager
def stop_between_steps(reports: Iterator[Report]) -> Iterator[Iterator[Report]]:
    """Let Ctrl-C and SIGTERM end a training when a step is done and recorded; the second at once.

    An interrupt anywhere would leave the queues of TensorBoard's writer waiting for two minutes.
    """
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    def watched() -> Iterator[Report]:
        for report in reports:
            yield report
            if asked.is_set():
                raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield watched()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(work: Work, state: State) -> None:
    """Train, and show and record how it goes."""
    with stop_between_steps(train(work, state)) as reports:
        record(reports, work, state)


def record(reports: Iterator[Report], work: Work, state: State) -> None:
    """Show and record a training; only the first of several processes does."""
    if not work.place.first:
        for _ in reports:
            pass
        return
    names = [grade.label for grade in GRADES]
    with Tracker(work.run, work.recipe, resumed_at=state.step, total=work.steps) as tracker:
        tracker.say(f"{work.steps} steps, {work.per_epoch} an epoch; grades: {', '.join(names)}")
        started = time.monotonic()
        for report in reports:
            tracker.add_step(report.step, report.loss, report.lr)
            if report.row is not None:
                lr_row = {"epoch": report.step / work.per_epoch, "lr": report.lr}
                tracker.add_validation(report.step, lr_row | report.row, better=report.better)
                tracker.add_pictures(report.step, pictures(work, state))
        tracker.say(f"done in {(time.monotonic() - started) / 60:.1f} min")


def pictures(work: Work, state: State, count: int = 3) -> Iterator[tuple[Any, Any, Any]]:
    """Yield a few validation pairs with what the network says of them."""
    model = exported(judged(work, state), work.recipe).to(work.place.device)
    dtype = DTYPES[work.recipe.amp]
    yield from validate(model, work.held_out[:count], device=work.place.device, dtype=dtype)


if __name__ == "__main__":
    # Clusters end a job politely: the record of the run is closed as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(sys.argv[1:])
