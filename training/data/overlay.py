"""Masks in colour over the later image of a sample."""

import numpy as np

from geodamage.damage import COLOUR_NOT_ASSESSED, COLOURS, NOT_ASSESSED, rgb
from training.data.labelled import Sample

BUILDING = (60, 120, 255)
GREY = rgb(COLOUR_NOT_ASSESSED)


def overlay(sample: Sample) -> np.ndarray:
    """Return the later image with the masks in colour, uint8 (rows, columns, 3)."""
    image = sample.pre if sample.post is None else sample.post
    colour = image.astype(np.float32)
    layers = [(sample.buildings == 1, BUILDING), (sample.buildings == NOT_ASSESSED, GREY)]
    if sample.post is not None:
        layers += [(sample.grades == NOT_ASSESSED, GREY)]
        layers += [(sample.grades == grade, rgb(code)) for grade, code in COLOURS.items()]
    painted = colour.copy()
    for where, tint in layers:
        painted[where] = 0.45 * colour[where] + 0.55 * np.array(tint, np.float32)
    return painted.astype(np.uint8)
