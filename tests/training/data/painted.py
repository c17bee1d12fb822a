"""Samples whose images show their masks."""

from dataclasses import replace

import cv2
import numpy as np
from hypothesis import strategies as st

from training.data.augmentation_options import Augmentation
from training.data.labelled import Sample

#: Brightness of each code in a painted image: far apart, so that a mask can be read off again.
PAINT = np.zeros(256, np.uint8)
PAINT[[0, 1, 2, 3, 4, 255]] = (20, 60, 100, 140, 180, 240)
SHAPES = st.tuples(st.integers(20, 130), st.integers(20, 130))


def paint(grades):
    """Return an image that shows the mask."""
    return np.dstack([PAINT[grades]] * 3)


def make_sample(rows=96, columns=80, *, seed=0):
    """Return a sample of rectangles whose images show the grades."""
    rng = np.random.default_rng(seed)
    grades = np.zeros((rows, columns), np.uint8)
    for code in (1, 1, 1, 2, 3, 4, 255):
        y, x = rng.integers(0, rows - 16), rng.integers(0, columns - 16)
        grades[y : y + rng.integers(6, 16), x : x + rng.integers(6, 16)] = code
    return Sample(paint(grades), paint(grades), grades, (grades > 0).astype(np.uint8))


def codes(sample):
    return set(np.unique(sample.grades).tolist())


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("pre", "post", "grades", "buildings")
    )


def inner(grades):
    """Return where no other code is within four pixels: two samplings blur over that many."""
    kernel = np.ones((9, 9), np.uint8)
    return cv2.dilate(grades, kernel) == cv2.erode(grades, kernel)


GEOMETRY = Augmentation(
    crop=48, flip_vertical=0.5, flip_horizontal=0.5, quarter_turn=1.0, shift=0.5,
    shift_reach=(0, 40), rotate=0.7, rotate_centre=30, crop_jitter=0.7, crop_scale=(0.8, 1.25),
    gsd_jitter=0.3, crop_tries=(1, 4), crop_weights=(1, 5, 5, 2),
)  # fmt: skip


EVERYTHING = replace(
    GEOMETRY, post_instead=0.5, undamaged=0.0, misregistration=0.5, fourier_style=0.5,
    colour_style=0.5, cutmix=0.5, channel_shift=0.5, hsv_shift=0.5, haze=0.5, first_group=0.5,
    clahe=0.3, noise=0.5, blur=1.0, second_group=1.0, saturation=0.3, brightness=0.5, contrast=1.0,
    elastic=0.5, coarsen=0.5, jpeg=0.5, dilation=0.5, ignore_border=1,
)  # fmt: skip
