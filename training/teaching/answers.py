"""Answers of teachers: log-odds of buildings, log-probabilities of grades, and both in 8 bits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geodamage.errors import ModelError, OptionError
from geodamage.model.heads import Heads
from geodamage.networks.conventions import Convention
from training.losses.distillation import building_logit

#: Probabilities are kept from 0 and 1 by this, so that their logarithms are finite.
LEAST = 1e-6
#: Kept answers: 8 bits hold a logarithm in steps of a sixteenth, from -8 to 8; 0 is unknown.
STEP, MIDDLE = 1 / 16, 128


class TeacherError(ModelError):
    """A teacher cannot be asked what a recipe asks of it."""


@dataclass(frozen=True)
class Answer:
    """What a network says of a batch.

    Attributes
    ----------
    building
        float (n, 1, h, w): log-odds of a building.
    grades
        float (n, 4, h, w): log-probabilities of the grades, given a building; None where there
        are none.
    known
        float (n, h, w): 1 where something was said, 0 where not; None is 1 everywhere.
    joint
        Whether background and grades are one softmax, and no head says buildings alone.
    """

    building: Tensor
    grades: Tensor | None = None
    known: Tensor | None = None
    joint: bool = False

    def channels(self) -> Tensor:
        """Return log-probabilities of background and the grades, (n, 5, h, w).

        Of a network with one softmax over them, these are its logits but for a constant.
        """
        if self.grades is None:
            raise TeacherError("an answer without grades has no damage channels")
        background = -functional.softplus(self.building)
        building = -functional.softplus(-self.building)
        return torch.cat([background, building + self.grades], 1)


def read_logits(output: Any, convention: Convention) -> Answer:
    """Return what the raw output of a network says.

    Parameters
    ----------
    output
        Output of the network: one tensor, or the three of the compact network.
    convention
        Convention of the network.

    Raises
    ------
    OptionError
        If the output of such a network is not known here.
    """
    if convention.layout == "apart" and not isinstance(output, Tensor):
        located, _, damage = (tensor.float() for tensor in output)
        finer = functional.interpolate(damage.log_softmax(1), scale_factor=2.0, mode="nearest")
        return Answer(located, finer)
    if convention.layout == "heads":
        classes = functional.interpolate(output.building.float(), scale_factor=4.0, mode="bilinear")
        return Answer(classes[:, 1:] - classes[:, :1])
    if not isinstance(output, Tensor):
        raise OptionError(f"family {convention.family}: its output is not one to distil")
    logits = output.float()
    if convention.task == "localisation":
        return Answer(logits)
    if convention.layout == "paired":
        return Answer(logits[:, 1:2] - logits[:, :1], logits[:, 3:7].log_softmax(1))
    if convention.activation == "sigmoid":
        return Answer(logits[:, :1], functional.logsigmoid(logits[:, 1:]).log_softmax(1))
    return Answer(building_logit(logits), logits[:, 1:].log_softmax(1), joint=True)


def read_heads(heads: Heads) -> Answer:
    """Return what the heads of a model file say.

    Raises
    ------
    TeacherError
        If there is no localisation head.
    """
    if heads.localisation is None:
        raise TeacherError(
            "a teacher gives grades without buildings; join it with a localisation model in an "
            "ensemble file"
        )
    p = torch.from_numpy(np.ascontiguousarray(heads.localisation)).float().clamp(LEAST, 1 - LEAST)
    if heads.damage is None:
        return Answer(p.logit())
    damage = torch.from_numpy(np.ascontiguousarray(heads.damage)).float()
    share = damage / damage.sum(1, keepdim=True).clamp(min=1e-12)
    return Answer(p.logit(), share.clamp(min=LEAST).log().log_softmax(1))


def average(answers: Sequence[Answer], how: str) -> Answer:
    """Return one answer for several; each head over those that have it.

    Parameters
    ----------
    how
        `probabilities`, or `logits`: the mean of log-odds and of log-probabilities, which lets a
        teacher that is sure count for more.
    """
    # Source: building_damage_kd names an ensemble and has no code for one; probabilities are
    # averaged as the first place averages its networks.
    graded = [answer.grades for answer in answers if answer.grades is not None]
    buildings = torch.stack([answer.building for answer in answers])
    grades = torch.stack(graded) if graded else None
    if how == "logits":
        return Answer(buildings.mean(0), None if grades is None else grades.mean(0).log_softmax(1))
    p = buildings.sigmoid().mean(0).clamp(LEAST, 1 - LEAST)
    return Answer(p.logit(), None if grades is None else grades.exp().mean(0).log())


def encode(answer: Answer) -> Tensor:
    """Return an answer in 8 bits, (n, 1 or 5, h, w): building, then the grades.

    What is beyond -8 and 8 is brought there, which is a probability of 0.0003.
    """
    parts = [answer.building] if answer.grades is None else [answer.building, answer.grades]
    steps = (torch.cat(parts, 1) / STEP).round() + MIDDLE
    return steps.clamp(1, 255).to(torch.uint8)


def decode(planes: Tensor) -> Answer:
    """Return the answer that was encoded, to half a step; unknown where a plane is 0."""
    values = (planes.float() - MIDDLE) * STEP
    grades = values[:, 1:].log_softmax(1) if planes.shape[1] > 1 else None
    return Answer(values[:, :1], grades, (planes > 0).all(1).float())
