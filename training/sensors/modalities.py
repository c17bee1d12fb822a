"""One sensor teaches another: the methods of CMKD on pairs of chips.

    alone       a network of one sensor, without a teacher: the baseline, and the SAR teacher
    teacher     method 1: the frozen network of the other sensor teaches
    iterative   method 2: EO learns from SAR, then SAR from EO, and again

CMKD is Cross-Modality Knowledge Distillation (Yang and Xu, CVPRW 2021, pp. 382-387).

Some published scripts do not do what they were written for. This module does what was meant. Mixup
mixes the images that the networks see; there it mixed only the labels, after the forward pass. In
method 2 a phase reads its teacher from the file that the phase before it wrote; there an outdated
global variable taught all along.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.errors import OptionError
from training.data.samples import batches
from training.runs.reports import Report, TrainingError
from training.sensors.chip_folders import SENSORS, Bytes, Numbers
from training.sensors.chip_networks import (
    ChipFacts,
    Trained,
    create_classifier,
    find_trained,
    fit_weights,
    read_trained_chips,
    save_trained,
)
from training.sensors.chip_recipe import ChipRecipe
from training.sensors.chip_samples import ChipSamples, LoadedChips
from training.sensors.chip_scores import ChipScores


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one student."""

    number: int
    """From 0."""
    iteration: int
    """From 1; method 2 has two phases in each."""
    student: str
    """Sensor that learns."""
    taught: bool
    """Whether the other sensor's network teaches it."""
    alpha: float
    """Share of the teacher's term."""
    lr: float
    """Learning rate at the start."""

    @property
    def teacher(self) -> str:
        """Sensor of the teacher."""
        return other(self.student)


def other(sensor: str) -> str:
    """Return `sar` for `eo`, and `eo` for `sar`."""
    return SENSORS[1 - SENSORS.index(sensor)]


def phases_of(recipe: ChipRecipe) -> list[Phase]:
    """Return what a recipe does, in order."""
    alphas = {"eo": recipe.alpha, "sar": recipe.sar_alpha}
    if recipe.method != "iterative":
        taught = recipe.method == "teacher"
        return [Phase(0, 1, recipe.sensor, taught, alphas[recipe.sensor], recipe.lr)]
    order = (recipe.sensor, other(recipe.sensor))
    return [
        # Source: CMKD, KD2 cell 30: lr .01 * .5 ** iteration.
        Phase(
            2 * turn + n,
            turn + 1,
            sensor,
            True,
            alphas[sensor],
            recipe.lr * recipe.iteration_gamma**turn,
        )
        for turn in range(recipe.iterations)
        for n, sensor in enumerate(order)
    ]


def inverse_counts(labels: Numbers, classes: int) -> Tensor:
    """Return float32 (classes,): weights inverse to the counts, with the sum 1; 0 without chips."""
    # Source: CMKD, KD1 cell 25.
    counts = np.bincount(labels, minlength=classes)
    inverse = np.divide(1.0, counts, out=np.zeros(classes), where=counts > 0)
    return torch.from_numpy(inverse / inverse.sum()).float()


@dataclass(frozen=True)
class Mixing:
    """How a batch is mixed with itself."""

    partners: Tensor
    """int64 (n,): which chip each one is mixed with."""
    share: float
    """Share of the chip itself."""

    @classmethod
    def draw(cls, size: int, beta: float, seed: tuple[int, ...]) -> "Mixing":
        """Draw partners and share of a batch; nothing is mixed where `beta` is 0."""
        if beta == 0:
            return cls(torch.arange(size), 1.0)
        rng = np.random.default_rng([*seed])
        return cls(torch.from_numpy(rng.permutation(size)), float(rng.beta(beta, beta)))

    def images(self, chips: Tensor) -> Tensor:
        """Return mixed images, of (n, 1, h, w)."""
        return self.share * chips + (1 - self.share) * chips[self.partners.to(chips.device)]

    def cross_entropy(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Return the loss of mixed labels, as much of each as of its image."""
        partners = self.partners.to(labels.device)
        first = functional.cross_entropy(logits, labels, weights)
        second = functional.cross_entropy(logits, labels[partners], weights)
        return self.share * first + (1 - self.share) * second


def divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float,
    mean: str = "elements",
    weights: Tensor | None = None,
) -> Tensor:
    """Return T² times KL(teacher, student), both softened by the temperature T.

    With `mean = "chips"` and no weights it is `distillation.forward_kl` of one pixel.

    Parameters
    ----------
    student, teacher
        Logits, float (n, classes).
    mean
        `elements`: over chips and classes; `chips`: the sum over classes, its mean over chips.
    weights
        float (classes,): of each class's part of the divergence.
    """
    # Source: CMKD, KD1 cell 27: KLDivLoss with its default mean, over all elements; KD2
    # multiplies each class's part by the weight of the class.
    said = (student / temperature).log_softmax(1)
    taught = (teacher.detach() / temperature).log_softmax(1)
    each = taught.exp() * (taught - said)
    if weights is not None:
        each = each * weights
    return temperature**2 * (each.mean() if mean == "elements" else each.sum(1).mean())


@dataclass(frozen=True)
class ChipWork:
    """A training: what is learnt, from what, and where it is kept."""

    recipe: ChipRecipe
    run: Path
    device: torch.device
    chips: LoadedChips
    held_out: LoadedChips
    weights: Tensor
    """float32 (classes,): of the labels."""

    @property
    def phases(self) -> list[Phase]:
        """What is done, in order."""
        return phases_of(self.recipe)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch; chips that fill no batch are left to the next shuffle."""
        return max(len(self.chips) // self.recipe.batch, 1)

    @property
    def phase_steps(self) -> int:
        """Steps of a phase."""
        return self.recipe.epochs * self.per_epoch

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return len(self.phases) * self.phase_steps

    def numbers(self, step: int) -> Iterator[list[int]]:
        """Yield the samples' numbers of every batch of a phase, from a step on."""
        batch, stretch = self.recipe.batch, max(len(self.chips), self.recipe.batch)
        for later in range(step, self.phase_steps):
            epoch, within = divmod(later, self.per_epoch)
            first = epoch * stretch + within * batch
            yield list(range(first, first + batch))

    def kept(self, phase: Phase) -> Path:
        """Return the file of a phase's best network."""
        return self.run / f"iteration_{phase.iteration}_{phase.student}"

    def learning_rate(self, phase: Phase, step: int) -> float:
        """Return the rate of a phase's step."""
        falls = step // self.per_epoch // self.recipe.step_epochs
        return phase.lr * self.recipe.gamma**falls


@dataclass
class ChipState:
    """Everything that decides how a training goes on."""

    phase: Phase
    network: nn.Module
    teacher: Trained | None
    optimiser: torch.optim.Optimizer
    step: int = 0
    """Step of the phase."""
    phase_best: float = float("-inf")
    """Best figure of this phase."""
    best: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SENSORS, float("-inf")))
    """Best figure of each sensor over all phases."""
    running: list[float] = field(default_factory=list)
    """Losses since the last validation."""

    def as_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "phase": self.phase.number,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "phase_best": self.phase_best,
            "best": self.best,
            "running": self.running,
        }

    def load(self, content: Mapping[str, Any]) -> None:
        """Take everything from a checkpoint of the same phase."""
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.step, self.phase_best = content["step"], content["phase_best"]
        self.best, self.running = content["best"], content["running"]


def begin(work: ChipWork, number: int, runs: Path) -> ChipState:
    """Make student, teacher and optimiser of a phase, from the files that it builds on."""
    phase, recipe = work.phases[number], work.recipe
    torch.manual_seed(recipe.seed + number)
    facts = ChipFacts.of(recipe, phase.student)
    source = _student_source(work, phase, runs)
    network = create_classifier(facts, pretrained=recipe.pretrained and source is None)
    if source is not None:
        before = read_trained_chips(source)
        _check_sensor(source, before, phase.student)
        fit_weights(network, dict(before.network.state_dict()), source)
    network.to(work.device)
    optimiser = torch.optim.SGD(
        network.parameters(), phase.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    return ChipState(phase, network, _read_teacher(work, phase, runs), optimiser)


def _student_source(work: ChipWork, phase: Phase, runs: Path) -> Path | None:
    """Return the file that a student goes on from; None where it is new."""
    if phase.number >= 2:
        return work.kept(work.phases[phase.number - 2])
    if phase.number == 1:
        # The first teacher is the first that learns from its student.
        return find_trained(work.recipe.teacher, runs, phase.student)
    return find_trained(work.recipe.init, runs, phase.student) if work.recipe.init else None


def _read_teacher(work: ChipWork, phase: Phase, runs: Path) -> Trained | None:
    """Read a phase's teacher, frozen; after the first phase the student of the one before."""
    if not phase.taught:
        return None
    if phase.number:
        path = work.kept(work.phases[phase.number - 1])
    else:
        path = find_trained(work.recipe.teacher, runs, phase.teacher)
    teacher = read_trained_chips(path)
    _check_sensor(path, teacher, phase.teacher)
    recipe, facts = work.recipe, teacher.facts
    if (facts.classes, facts.size) != (recipe.classes, recipe.size(phase.teacher)):
        raise OptionError(
            f"{path}: has {facts.classes} classes and chips of {facts.size} pixels, the recipe "
            f"{recipe.classes} and {recipe.size(phase.teacher)}; set classes and "
            f"{phase.teacher}_size to the teacher's"
        )
    teacher.network.to(work.device).eval().requires_grad_(False)
    return teacher


def _check_sensor(path: Path, trained: Trained, sensor: str) -> None:
    if trained.facts.sensor != sensor:
        raise OptionError(
            f"{path}: is a network for {trained.facts.sensor}, and one for {sensor} is needed"
        )


def train_chips(work: ChipWork, state: ChipState, runs: Path) -> Iterator[Report]:
    """Train until the recipe is done; yields after every step, counted over all phases.

    A checkpoint is written after every validation, once the caller has recorded it.
    """
    yield from train_phase(work, state)
    for number in range(state.phase.number + 1, len(work.phases)):
        best = state.best
        state = begin(work, number, runs)
        state.best = best
        yield from train_phase(work, state)


def train_phase(work: ChipWork, state: ChipState) -> Iterator[Report]:
    """Train one phase to its end."""
    recipe, phase = work.recipe, state.phase
    seed = (recipe.seed, phase.number)
    samples = ChipSamples(work.chips, phase.student, recipe.augmentation(phase.student), seed=seed)
    drawn = batches(samples, partial(work.numbers, state.step), workers=recipe.workers)
    for batch in drawn:
        lr = work.learning_rate(phase, state.step)
        state.running.append(take_step(work, state, batch, lr))
        done = phase.number * work.phase_steps + state.step
        if not np.isfinite(state.running[-1]):
            raise TrainingError(f"{work.run}: the loss of step {done} is not finite; lower lr")
        if state.step % work.per_epoch:
            yield Report(done, state.running[-1], lr)
            continue
        yield finish_epoch(work, state, Report(done, state.running[-1], lr))
        write_checkpoint(work, state)


def take_step(work: ChipWork, state: ChipState, batch: Mapping[str, Tensor], lr: float) -> float:
    """Move the weights by one batch and return its loss."""
    for group in state.optimiser.param_groups:
        group["lr"] = lr
    # Dropout depends on the step alone, so that a run that was killed draws the same.
    torch.manual_seed(work.recipe.seed * 1_000_003 + state.phase.number * 500_009 + state.step)
    state.network.train()
    loss = loss_of(work, state, batch)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    state.step += 1
    return float(loss.detach())


def loss_of(work: ChipWork, state: ChipState, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of a batch: labels, and what the teacher says of the same mixture."""
    recipe, phase, device = work.recipe, state.phase, work.device
    seed = (recipe.seed, phase.number, 2, state.step)
    mixing = Mixing.draw(len(batch["label"]), recipe.mixup, seed)
    weights = work.weights if recipe.class_weights else None
    facts = ChipFacts.of(recipe, phase.student)
    images = facts.normalised(batch["student"].numpy()).to(device)
    logits = state.network(mixing.images(images))
    own = mixing.cross_entropy(logits, batch["label"].to(device), weights)
    if state.teacher is None:
        return own
    seen = state.teacher.facts.normalised(batch["teacher"].numpy()).to(device)
    with torch.no_grad():
        taught = state.teacher.network(mixing.images(seen))
    term = divergence(
        logits,
        taught,
        temperature=recipe.temperature,
        mean=recipe.kl_mean,
        weights=work.weights if recipe.kl_class_weights else None,
    )
    return (1 - phase.alpha) * own + phase.alpha * term


def finish_epoch(work: ChipWork, state: ChipState, report: Report) -> Report:
    """Validate, and keep the best network of the phase and of the sensor."""
    sensor = state.phase.student
    facts = ChipFacts.of(work.recipe, sensor)
    trained = Trained(facts, state.network.eval())
    scores = score_chips(trained, work.held_out.of(sensor), work.held_out.labels)
    row = {"train_loss": float(np.mean(state.running)), "phase": state.phase.number + 1.0}
    row |= scores.row()
    value = row[work.recipe.metric]
    state.running = []
    note = f"{work.recipe.name}, step {report.step}, {work.recipe.metric} {value:.4f}"
    noted = Trained(facts, state.network, note)
    if value > state.phase_best:
        state.phase_best = value
        if work.recipe.method == "iterative":
            save_trained(noted, work.kept(state.phase))
    better = value > state.best[sensor]
    if better:
        state.best[sensor] = value
        save_trained(noted, work.run / f"best_{sensor}")
    return Report(report.step, report.loss, report.lr, row, better)


def score_chips(trained: Trained, chips: Bytes, labels: Numbers) -> ChipScores:
    """Return how a classifier does on labelled chips."""
    answers = trained.logits(chips).argmax(1).numpy().astype(np.int64)
    return ChipScores.of(labels, answers, trained.facts.classes)


def write_checkpoint(work: ChipWork, state: ChipState) -> None:
    """Write everything beside the last checkpoint, then replace it."""
    part = work.run / "last.pt.partial"
    torch.save(state.as_dict(), part)
    part.replace(work.run / "last.pt")


def resume(work: ChipWork, runs: Path) -> ChipState:
    """Begin, or go back to where the run's last checkpoint stands."""
    last = work.run / "last.pt"
    if not last.exists():
        return begin(work, 0, runs)
    content = torch.load(last, map_location="cpu", weights_only=True)
    state = begin(work, content["phase"], runs)
    state.load(content)
    return state
