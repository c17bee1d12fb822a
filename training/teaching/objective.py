"""The loss of a student: its own, and what its teachers add.

The recipe's own loss is taken as it would be without a teacher. To it come, for every teacher, the
terms that the recipe gives a weight:

    own L_labels + (1 - m) T(teacher of the same task) + m T(teacher of the other task)

with m = 0 for one teacher, or an ensemble that is averaged into one. Between two networks that give
grades the terms go over background and the four grades; where one of them gives none, over
building and background.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from geodamage.damage import GRADES, NOT_ASSESSED
from geodamage.errors import OptionError
from geodamage.networks.conventions import Exported
from training.data.crops import Chips, LabelledPair, by_grade
from training.data.masked import parts
from training.data.samples import ChipSamples, Samples
from training.losses.distillation import (
    building_logit,
    feature,
    forward_kl,
    response,
    reverse_kl,
    two_classes,
)
from training.objectives import Batch, Objective, exported
from training.recipe import Recipe
from training.teaching.answers import Answer, read_logits
from training.teaching.panel import Panel, as_batch, unfold
from training.teaching.semi_supervision import Guard
from training.teaching.soft_labels import DistilOptions
from training.teaching.teachers import feature_width, watched


@dataclass(frozen=True)
class Asked:
    """What is asked of each pixel of a batch.

    Attributes
    ----------
    codes
        int64 (n, h, w): 0 background, 1-4 grades; 1 of any building where no grade is learnt.
    labelled
        float (n, h, w): weight where the label is known, 0 elsewhere.
    seen
        float (n, h, w): weight inside the image, 0 elsewhere; a teacher needs no label.
    """

    codes: Tensor
    labelled: Tensor
    seen: Tensor


def asked_of(
    batch: Batch, task: str, building_weight: float, taught: Answer | None = None
) -> Asked:
    """Return what a batch of `training.data.samples.stack` asks of each pixel.

    Parameters
    ----------
    taught
        Answer of the first teacher: what it takes for a building weighs as one where no label is
        known.
    """
    if task == "localisation":
        drawn = batch["buildings"]
        known = drawn <= 1
    else:
        drawn = batch["damage"] if "damage" in batch else batch["grades"]
        known = drawn <= max(GRADES)
    codes = torch.where(known, drawn, torch.zeros_like(drawn)).long()
    building = codes > 0
    if taught is not None:
        building = building | (~known & (taught.building[:, 0] > 0))
    weight = 1 + (building_weight - 1) * building.float()
    # Of chips, what lies beyond the pair has no weight; answers that were cut with them say so.
    asked = "weights" in batch and "teacher" not in batch
    inside = (batch["weights"] > 0).float() if asked else torch.ones_like(weight)
    return Asked(codes, known.float() * inside * weight, inside * weight)


class _Kept:
    """A network that keeps its last output."""

    output: Any = None

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, *images: Tensor) -> Any:
        self.output = self.network(*images)
        return self.output


def projection(width: int, theirs: int) -> nn.Module:
    """Return what brings features of the student to the width of a teacher's.

    Where the widths are equal it is nothing, as published. Elsewhere a 1 x 1 convolution learns
    with the student and is thrown away with the teacher.
    """
    # Source of the idea: Romero et al. 2015, "FitNets", section 2.2: a regressor for the hint.
    return nn.Identity() if theirs == width else nn.Conv2d(width, theirs, 1, bias=False)


class DistilObjective(nn.Module):
    """The loss of a student with its teachers.

    Parameters
    ----------
    own
        Loss of the labels.
    scaling
        Scales images as the student's family does.
    options
        The terms.
    panel
        The teachers; None where their answers come with the samples.
    student
        The network that is trained, for the width of its features; needed for `feature` alone.
    guard
        Watches what the student makes of chips without labels; None where there are none.
    """

    def __init__(
        self,
        own: Objective,
        scaling: Exported,
        options: DistilOptions,
        *,
        panel: Panel | None = None,
        student: nn.Module | None = None,
        guard: Guard | None = None,
    ) -> None:
        super().__init__()
        self.guard = guard
        localises = scaling.convention.task == "localisation"
        if localises and options.kind == "dual" and not options.feature:
            raise OptionError(
                "distil_kind = 'dual' with task = 'localisation' takes the features of the damage "
                "teacher, and nothing else; give distil_feature a weight"
            )
        self.own, self.scaling, self.options, self.panel = own, scaling, options, panel
        self.projections = nn.ModuleList()
        if options.feature and panel is not None and student is not None:
            width = feature_width(student, scaling)
            self.projections.extend(projection(width, theirs) for theirs in panel.widths())

    def forward(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch as `training.data.samples.stack` makes it."""
        kept = _Kept(network)
        plain = network.module if isinstance(network, DistributedDataParallel) else network
        with contextlib.ExitStack() as stack:
            features = stack.enter_context(watched(plain)) if self.options.feature else []
            own = self.own(kept, batch)  # type: ignore[arg-type]  # called, and no more
        # Outside of autocast, as the own loss.
        with torch.autocast(own.device.type, enabled=False):
            student = read_logits(kept.output, self.scaling.convention)
            return self.options.own * own.float() + self.taught(student, features, batch)

    def taught(self, student: Answer, features: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return what the teachers add."""
        options, task = self.options, self.scaling.convention.task
        answers, theirs = self.answers(batch)
        asked = asked_of(batch, task, options.building_weight, answers[0])
        if self.guard is not None:
            watch(self.guard, batch, student, answers[0])
        total = torch.zeros((), device=student.building.device)
        for place, share in enumerate(shares(options, task)):
            # A damage teacher answers about pairs: of it a localisation student takes the features
            # alone. Source: building_damage_kd, train_student_building.py:425-449.
            if task != "localisation" or place == 0:
                total = total + share * self.said(student, answers[place], asked)
            if options.feature:
                total = total + share * options.feature * self.felt(place, features, theirs[place])
        return total

    def answers(self, batch: Batch) -> tuple[list[Answer], list[list[Tensor]]]:
        """Return the answers of the teachers, and their features by date where they are wanted."""
        if self.panel is None:
            return unfold(batch["teacher"], self.options.kind), []
        pre, post = batch["pre"], batch.get("post")
        if self.options.cache:
            return self.panel.cached(pre, post), []
        if not self.options.feature:
            return self.panel(pre, post), []
        with contextlib.ExitStack() as stack:
            seen = [stack.enter_context(watched(network)) for network in self.panel.networks()]
            answers = self.panel(pre, post)
        return answers, [[date.float() for date in dates] for dates in seen]

    def said(self, student: Answer, teacher: Answer, asked: Asked) -> Tensor:
        """Return the terms of what a teacher says."""
        options = self.options
        graded = student.grades is not None and teacher.grades is not None
        said = 1.0 if teacher.known is None else teacher.known
        total = torch.zeros((), device=asked.codes.device)
        if graded:
            codes, weight, t = asked.codes, options.response, options.response_temperature
        else:
            codes, weight = (asked.codes > 0).long(), options.building_response
            t = options.building_temperature
        if weight:
            ours, theirs = choices(student, teacher, t)
            total = total + weight * response(
                ours, theirs, codes, asked.labelled * said, temperature=t
            )
        if options.kl:
            t = options.temperature
            ours, theirs = choices(student, teacher, t)
            divergence = reverse_kl if options.reverse else forward_kl
            total = total + options.kl * divergence(ours, theirs, asked.seen * said, temperature=t)
        return total

    def felt(self, place: int, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Return the distance of features over the dates that both encoders saw."""
        dates = range(min(len(student), len(teacher)))
        ours = torch.cat([self.projections[place](student[date].float()) for date in dates], 1)
        theirs = torch.cat([teacher[date] for date in dates], 1)
        if theirs.shape[2:] != ours.shape[2:]:  # encoders of other strides
            theirs = functional.adaptive_avg_pool2d(theirs, (ours.shape[2], ours.shape[3]))
        return feature(ours, theirs, over=self.options.feature_norm)


def watch(guard: Guard, batch: Batch, student: Answer, teacher: Answer) -> None:
    """Compare how many buildings both find where nothing is labelled."""
    pixels = batch["buildings"] == NOT_ASSESSED
    if teacher.known is not None:
        pixels &= teacher.known > 0
    if pixels.any():
        found, said = (
            float((answer.building.detach()[:, 0] > 0)[pixels].float().mean())
            for answer in (student, teacher)
        )
        guard.watch(found, said, "lower chips_unlabelled_share, or take a better teacher")


def shares(options: DistilOptions, task: str) -> tuple[float, ...]:
    """Return the weight of each teacher's terms; of a dual pair the building teacher's first.

    Source: building_damage_kd, train_student_building.py:425-449 and train_student.py:532-555: the
    teacher of the student's own task counts 1 - m, the other one m, with m = .2.
    """
    if options.kind != "dual":
        return (1.0,)
    own, other = 1 - options.mix, options.mix
    return (own, other) if task == "localisation" else (other, own)


def choices(student: Answer, teacher: Answer, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the logits of both over the finest question that both answer.

    Returns
    -------
    tuple of float (n, 5, h, w) or (n, 2, h, w)
        Logits of student and teacher: background and grades, or background and building.
    """
    if student.grades is not None and teacher.grades is not None:
        return student.channels(), teacher.channels()
    building = student.building
    if student.joint:
        # Source: building_damage_kd, train_student.py:532-555: q_s of e^(z / T), background against
        # the sum of the grades. Published, (n, h, w) met (n, 5, h, w), so that it ran for batches
        # of 5 or 1 alone, and held sample b against channel b.
        building = building_logit(student.channels(), temperature=temperature)
    return two_classes(building), two_classes(teacher.building)


def teachers_of(recipe: Recipe, runs: Path) -> Panel | None:
    """Return the teachers of a recipe; None where it names none.

    Parameters
    ----------
    runs
        Folder of the runs that may be among them.

    Raises
    ------
    GeodamageError
        If one is not there or cannot be read; which kind is raised, `geodamage.errors` says.
    """
    return Panel(recipe.distil, runs) if recipe.distil.teachers else None


def with_teachers(
    objective: nn.Module, recipe: Recipe, student: nn.Module, samples: Samples, panel: Panel | None
) -> nn.Module:
    """Return what a recipe trains by, with its teachers where it names any.

    Parameters
    ----------
    objective
        Objective that `make_objective` makes.
    student
        The network that is trained.
    samples
        What it is trained on; chips are given what the teachers say of their pairs where the
        recipe names a cache.
    panel
        Panel that `teachers_of` makes.
    """
    if panel is None:
        return objective
    options, scaling = recipe.distil, exported(nn.Identity(), recipe)
    if options.cache and isinstance(samples, ChipSamples):
        add_answers(samples.chips, panel)
        guard = Guard(recipe.soft) if recipe.chips.unlabelled_share else None
        # They have said everything; their memory is wanted elsewhere.
        return DistilObjective(objective, scaling, options, panel=None, guard=guard)
    return DistilObjective(objective, scaling, options, panel=panel, student=student)


def projections_of(objective: nn.Module) -> nn.Module | None:
    """Return the layers of an objective that learn with the student; None where there are none."""
    layers = getattr(objective, "projections", None)
    return layers if isinstance(layers, nn.Module) and [*layers.parameters()] else None


def add_answers(chips: Chips, panel: Panel) -> None:
    """Ask the teachers about every pair that chips are cut from, each once.

    Of half-size pairs and single images with labels nothing is asked. Chips of pairs without labels
    are cut around what the teachers take for buildings.
    """
    pairs, generated, half, masked, unlabelled = chips.pools
    asked = [
        ([_answered(pair, panel) for pair in pool], places) for pool, places in (pairs, generated)
    ]
    others = (half, masked)
    seen = [_with_centres(_answered(pair, panel), panel.options.kind) for pair in unlabelled[0]]
    channels = max(
        (pair.teacher.shape[2] for pool, _ in asked for pair in pool if pair.teacher is not None),
        default=1,
    )
    asked = [([_filled(pair, channels) for pair in pool], places) for pool, places in asked]
    unasked = [
        ([replace(pair, teacher=_unknown(pair, channels)) for pair in pool], places)
        for pool, places in others
    ]
    chips.pools = [*asked, *unasked, (seen, by_grade(seen))]


def _answered(pair: LabelledPair, panel: Panel) -> LabelledPair:
    """Ask about one pair; what it kept for that alone is let go."""
    post = pair.post if pair.shown is None else pair.shown
    if post.shape[2] != pair.pre.shape[2]:  # a radar's, and there is no optical one
        return pair
    return replace(pair, teacher=panel.planes(pair.pre, post), shown=None)


def _with_centres(pair: LabelledPair, kind: str) -> LabelledPair:
    """Mark the middles of what a teacher takes for buildings, each with its likeliest grade."""
    assert pair.teacher is not None
    answers = unfold(as_batch(pair.teacher), kind)
    building = answers[0].building[0, 0].numpy() > 0
    graded = answers[-1].grades
    grades = np.ones(building.shape, int) if graded is None else graded[0].argmax(0).numpy() + 1
    _, centres = parts(np.where(building, grades, 0).astype(np.uint8))
    return replace(pair, centres=np.array(centres, int).reshape(-1, 3))


def _filled(pair: LabelledPair, channels: int) -> LabelledPair:
    return pair if pair.teacher is not None else replace(pair, teacher=_unknown(pair, channels))


def _unknown(pair: LabelledPair, channels: int) -> np.ndarray:
    return np.zeros((*pair.damage.shape, channels), np.uint8)
