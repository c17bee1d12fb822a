"""A validated pair, and the recipe of a run of nothing."""

import numpy as np

from training.data.labelled import Sample
from training.recipe import Recipe


def make_answer(*, graded=True, rows=64):
    """Return a sample destroyed in its upper half, and an answer that finds its left half."""
    sample = Sample(
        np.full((rows, 64, 3), 200, np.uint8),
        np.full((rows, 64, 3), 100, np.uint8),
        np.zeros((rows, 64), np.uint8),
        np.zeros((rows, 64), np.uint8),
    )
    sample.grades[:32] = 4
    sample.buildings[:32] = 1
    found = np.zeros((rows, 64), bool)
    found[:, :32] = True
    return sample, found, np.ones((rows, 64), np.uint8) if graded else None


RECIPE = Recipe(name="tiny", network="res34_unet", task="damage", steps=9, batch=2)
