"""Distillation: what a student network learns from a teacher, beside what it learns from labels.

Every loss takes logits of one choice, float (n, c, h, w); the one channel of a localisation network
becomes two by `two_classes`. The building teacher helps the damage student through
`building_logit`. With two teachers the published total is (1 - m) L + m L', with m = .2. L' has the
terms of the second teacher.
"""

import torch
from torch import Tensor

from training.losses.sums import Total, alone, weighted_mean


def two_classes(logits: Tensor) -> Tensor:
    """Return the logits of background and building, (n, 2, h, w), of (n, 1, h, w)."""
    return torch.cat([torch.zeros_like(logits), logits], 1)


def building_logit(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return the logit of any building, (n, 1, h, w), of background and grades.

    At the same temperature its sigmoid is the sum of the softmax over the grades.
    """
    # Source: building_damage_kd, train_student.py:532-555: e = exp(z / 2), background against the
    # sum.
    building = torch.logsumexp(logits[:, 1:] / temperature, 1, keepdim=True)
    return temperature * building - logits[:, :1]


def response(
    student: Tensor,
    teacher: Tensor,
    codes: Tensor,
    known: Tensor,
    *,
    temperature: float = 1.0,
    total: Total = alone,
) -> Tensor:
    """Return the cross-entropy of the student, each pixel by the teacher's trust in the label.

    Parameters
    ----------
    student, teacher
        Logits, float (n, c, h, w).
    codes
        int64 (n, h, w): the true channel; anything in range where unknown.
    known
        float (n, h, w): weight of each pixel.
    """
    # Source: building_damage_kd, train_student_building.py:400-407 (LWF, temperature 2) and
    # train_student.py:523-525 (temperature 1, there a fifth: its mean goes over five channels).
    # Published, (n, h, w) met (n, 1, h, w), so that every sample was held against every mask.
    right = (teacher.detach() / temperature).softmax(1).gather(1, codes[:, None])[:, 0]
    said = (student / temperature).log_softmax(1).gather(1, codes[:, None])[:, 0]
    return weighted_mean(-right * said, known, total)


def reverse_kl(
    student: Tensor,
    teacher: Tensor,
    known: Tensor,
    *,
    temperature: float = 1.0,
    total: Total = alone,
) -> Tensor:
    """Return T² times the mean over pixels of KL(student, teacher); arguments as in `response`."""
    # Source: building_damage_kd, train_student_building.py:411-424, train_student.py:529-531:
    # p_s (log p_s - log p_t) at temperature 1; there a mean over channels, too.
    log_s = (student / temperature).log_softmax(1)
    log_t = (teacher.detach() / temperature).log_softmax(1)
    each = (log_s.exp() * (log_s - log_t)).sum(1)
    return temperature**2 * weighted_mean(each, known, total)


def forward_kl(
    student: Tensor,
    teacher: Tensor,
    known: Tensor,
    *,
    temperature: float = 1.0,
    total: Total = alone,
) -> Tensor:
    """Return T² times the mean over pixels of KL(teacher, student); arguments as in `response`.

    It asks the student to cover whatever the teacher takes for possible, where the reverse form
    lets it settle for the likeliest.
    """
    # Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network",
    # section 2: gradients shrink by 1 / T², so that the term is multiplied by T².
    log_s = (student / temperature).log_softmax(1)
    log_t = (teacher.detach() / temperature).log_softmax(1)
    each = (log_t.exp() * (log_t - log_s)).sum(1)
    return temperature**2 * weighted_mean(each, known, total)


def feature(student: Tensor, teacher: Tensor, *, over: str = "channels") -> Tensor:
    """Return the mean distance between features, float (n, c, h, w).

    Parameters
    ----------
    over
        "channels" takes the norm of each place of each image. "batch" is as published: the norm
        goes over the images of the batch, so that the loss depends on its size.
    """
    # Source: building_damage_kd, train_student_building.py:408-410 (LFL).
    axis = {"channels": 1, "batch": 0}[over]
    norms: Tensor = torch.linalg.vector_norm(teacher.detach() - student, dim=axis)
    return norms.mean()
