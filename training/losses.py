"""Losses of the compact network."""

import torch
from torch import Tensor
from torch.nn import functional

from geodamage.damage import NOT_ASSESSED


def localisation_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice, both weighted by pixel.

    Parameters
    ----------
    logits
        float (n, 1, h, w).
    target
        uint8 (n, h, w): 0, 1.
    weights
        float (n, h, w); 0 leaves a pixel out.
    """
    logits, truth = logits[:, 0].float(), target.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, weights)
    p = torch.sigmoid(logits)
    # Source: Milletari et al. 2016 (V-Net), Dice loss; over the batch, so empty chips are harmless.
    shared = (weights * p * truth).sum()
    dice = 1 - (2 * shared + 1) / ((weights * (p + truth)).sum() + 1)
    return entropy + 0.5 * dice


def damage_loss(logits: Tensor, target: Tensor, vote: Tensor, grade_weights: Tensor) -> Tensor:
    """Cross-entropy plus squared earth mover's distance over building pixels.

    Parameters
    ----------
    logits
        float (n, 4, h / 2, w / 2).
    target
        uint8 (n, h, w): 0 background, 1-4, 255 no grade.
    vote
        float (n, h, w): weight of each pixel.
    grade_weights
        float (4,).
    """
    target, vote = target[:, ::2, ::2], vote[:, ::2, ::2]
    graded = (target > 0) & (target != NOT_ASSESSED)
    if not graded.any():
        return logits.sum() * 0
    grades = target[graded].long() - 1  # (k,)
    scores = logits.float().permute(0, 2, 3, 1)[graded]  # (k, 4)
    weights = vote[graded] * grade_weights[grades]
    entropy = functional.cross_entropy(scores, grades, reduction="none", label_smoothing=0.05)
    truth = functional.one_hot(grades, 4).float()
    # Source: Hou et al. 2016, "Squared Earth Mover's Distance-based Loss for ordered classes".
    distance = (scores.softmax(1).cumsum(1) - truth.cumsum(1)).square().sum(1)
    return (weights * (entropy + distance)).sum() / weights.sum().clamp(min=1)
