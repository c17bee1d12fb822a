"""Learning rates: a factor for every step, from nothing but the step's number."""

import math

from training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int, per_epoch: int) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    step
        Counted from 0.
    steps
        Steps of the whole training.
    per_epoch
        Steps of an epoch.
    """
    epoch = step // per_epoch
    if recipe.schedule == "multistep":
        # Source: xView2 first place: `scheduler.step(epoch)` after the epoch, so a milestone m
        # acts from the epoch of index m + 1.
        return recipe.lr * recipe.gamma ** sum(epoch > m for m in recipe.milestones)
    if recipe.schedule == "cosine_restarts":
        return _cosine_restarts(recipe, epoch)
    if recipe.schedule == "onecycle":
        return recipe.lr * one_cycle(step, steps)
    if recipe.schedule == "trapezoid":
        # It can be made longer while it is still high.
        rising = (step + 1) / max(recipe.warmup, 1)
        falling = (steps - step) / max(recipe.decay * steps, 1)
        return recipe.lr * min(1.0, rising, falling)
    return recipe.lr


def _cosine_restarts(recipe: Recipe, epoch: int) -> float:
    """Fall along a cosine, then begin again.

    Source: Loshchilov and Hutter 2017 (SGDR), equation 5; stepped by epoch, as xView2SiameseUNet
    does.
    """
    length, since = recipe.restart_epochs, epoch
    while since >= length:
        since -= length
        length *= recipe.restart_factor
    swing = (1 + math.cos(math.pi * since / length)) / 2
    return recipe.lr_min + (recipe.lr - recipe.lr_min) * swing


def one_cycle(step: int, steps: int, *, rise: float = 0.3, start: float = 25.0) -> float:
    """Return the share of the highest rate: up along a cosine, down along another.

    Source: Smith and Topin 2018, with the numbers and the form of torch's OneCycleLR. It starts at
    1 / 25, has risen after 30 % of the steps, and ends at 1e-4 of the start.
    """
    low, last = 1 / start, 1 / start / 1e4
    turn = rise * steps - 1
    if step <= turn:
        return _between(low, 1.0, step / max(turn, 1))
    return _between(1.0, last, (step - turn) / (steps - 1 - turn))


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(share, 1))) / 2
