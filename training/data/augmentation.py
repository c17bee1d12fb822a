"""Augmentation: what may happen to a labelled pair before a network sees it.

Everything random comes from the generator that is handed in; with
`numpy.random.default_rng([seed, epoch, number])` every sample is repeatable by itself. The
operations on single images are in `training.data.radiometry`, what moves them with their masks in
`training.data.placement`, the numbers of published recipes in `training.data.augmentation_presets`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from geodamage.damage import BACKGROUND, GRADES, NOT_ASSESSED
from geodamage.errors import OptionError
from training.data import distortion, radiometry
from training.data.augmentation_options import Augmentation
from training.data.labelled import Sample
from training.data.placement import place
from training.data.radiometry import Bytes


def augment(
    sample: Sample,
    augmentation: Augmentation,
    rng: np.random.Generator,
    *,
    donor: Sample | None = None,
) -> Sample:
    """Return a sample of `crop` x `crop` pixels; the one given is left as it is.

    Parameters
    ----------
    sample
        Sample of any size; where it is too small, it is mirrored.
    donor
        Another sample, whose style or rare grades are mixed in; of any size, too.

    Raises
    ------
    OptionError
        If a donor is needed and none is given.
    """
    if augmentation.needs_donor and donor is None:
        raise OptionError("augmentation: styles and cutmix need a donor, a second sample")
    made = place(sample, augmentation, rng)
    if donor is not None and augmentation.needs_donor:
        made = mix(made, place(donor, augmentation, rng), augmentation, rng)
    made = recolour(made, augmentation, rng)
    return finish_labels(made, augmentation, rng)


# What another sample lends.


def mix(
    sample: Sample, donor: Sample, augmentation: Augmentation, rng: np.random.Generator
) -> Sample:
    """Mix style and rare grades of a donor of the same size into a sample."""
    pre = _styled(sample.pre, donor.pre, augmentation, rng)
    post = sample.post
    if post is not None and donor.post is not None:
        post = _styled(post, donor.post, augmentation, rng)
    sample = replace(sample, pre=pre, post=post)
    if rng.random() < augmentation.cutmix:
        sample = paste_rare(sample, donor, augmentation, rng)
    return sample


def _styled(
    image: Bytes, other: Bytes, augmentation: Augmentation, rng: np.random.Generator
) -> Bytes:
    styled = image
    if rng.random() < augmentation.fourier_style:
        styled = radiometry.fourier_style(styled, other, rng.uniform(*augmentation.fourier_band))
    if rng.random() < augmentation.colour_style:
        styled = radiometry.colour_style(styled, other, rng.random())
    return keep_empty(image, styled)


def paste_rare(
    sample: Sample, donor: Sample, augmentation: Augmentation, rng: np.random.Generator
) -> Sample:
    """Paste a box around a rare pixel of the donor, images and masks, in the same place.

    A donor without a rare pixel leaves the sample as it is.
    """
    # Source: Yun et al. 2019, "CutMix"; BDANet (Shen et al. 2021) aims it at the hard grades.
    rare = np.flatnonzero(np.isin(donor.grades, augmentation.cutmix_grades))
    if not rare.size:
        return sample
    size = sample.grades.shape[0]
    middle = np.unravel_index(rng.choice(rare), donor.grades.shape)
    sides = np.rint(rng.uniform(*augmentation.cutmix_sides, 2) * size).astype(int).clip(1, size)
    row, column = np.clip(np.array(middle) - sides // 2, 0, size - sides)
    box = np.s_[row : row + sides[0], column : column + sides[1]]

    def pasted(below: Bytes, above: Bytes) -> Bytes:
        below = below.copy()
        below[box] = above[box]
        return below

    post = sample.post
    if post is not None and donor.post is not None:
        post = pasted(post, donor.post)
    masks = (pasted(sample.grades, donor.grades), pasted(sample.buildings, donor.buildings))
    return Sample(pasted(sample.pre, donor.pre), post, *masks)


# What colours are.


def recolour(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Change colours and sharpness of the images, but not where there is nothing."""
    before = sample
    reach = np.full(3, augmentation.channel_shift_reach)
    sample = _either(sample, radiometry.shift_channels, (augmentation.channel_shift, reach), rng)
    if sample is before or not augmentation.hsv_otherwise:
        hsv_reach = np.array(augmentation.hsv_shift_reach)
        sample = _either(sample, radiometry.shift_hsv, (augmentation.hsv_shift, hsv_reach), rng)
    sample = sample.recoloured(lambda image: photograph(image, augmentation, rng))
    post = sample.post
    if post is not None and before.post is not None:
        post = keep_empty(before.post, post)
    return replace(sample, pre=keep_empty(before.pre, sample.pre), post=post)


def keep_empty(before: Bytes, after: Bytes) -> Bytes:
    """Return an image that stays black where it was empty: black over 9 x 9 pixels and more.

    Beyond the edge of a strip the engine shows a network zeros, so that is what it has to learn.
    """
    if after is before:
        return after
    black = (before.max(2) == 0).view(np.uint8)
    empty = cv2.morphologyEx(black, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8)) > 0
    if not empty.any():
        return after
    return np.where(empty[..., None], np.uint8(0), after)


def _either(
    sample: Sample,
    operation: Callable[[Bytes, np.ndarray], Bytes],
    chance: tuple[float, np.ndarray],
    rng: np.random.Generator,
) -> Sample:
    """Apply an operation with three random offsets to pre, or, if not that, to post, or to none."""
    # Source: xView2 first place, train34_cls.py: `if` for pre and `elif` for post, each with a
    # random number of its own.
    p, reach = chance
    for date in ("pre", "post"):
        image = getattr(sample, date)
        if rng.random() < p and image is not None:
            return replace(sample, **{date: operation(image, rng.integers(-reach, reach + 1))})
    return sample


def photograph(image: Bytes, augmentation: Augmentation, rng: np.random.Generator) -> Bytes:
    """Take the picture again: other air, light, sharpness, compression."""
    a = augmentation
    if rng.random() < a.haze:
        image = radiometry.haze(image, rng.uniform(*a.haze_range), rng)
    image = _grouped(image, a, rng)
    if a.motion_blur and rng.random() < a.motion_blur:
        image = distortion.motion_blur(image, rng)
    if a.holes and rng.random() < a.holes:
        image = distortion.punched(image, rng)
    if rng.random() < a.elastic:
        image = radiometry.elastic(image, rng.uniform(*a.elastic_alpha), a.elastic_sigma, rng)
    if rng.random() < a.coarsen:
        image = radiometry.coarsen(image, rng.uniform(*a.coarsen_range))
    if rng.random() < a.jpeg:
        image = radiometry.recompress(image, int(rng.integers(*a.jpeg_quality, endpoint=True)))
    return image


def _grouped(image: Bytes, a: Augmentation, rng: np.random.Generator) -> Bytes:
    """Apply at most one operation of one group."""
    # Source: xView2 first place, train34_loc.py:126-155: if and elif, on both levels, and each
    # condition draws its own number: an elif of p has p times what those before left.
    if rng.random() < a.first_group:
        if rng.random() < a.clahe:
            return radiometry.clahe(image)
        if rng.random() < a.noise:
            return radiometry.noise(image, a.noise_deviation, rng)
        if rng.random() < a.blur:
            return radiometry.blur(image)
    elif rng.random() < a.second_group:
        if rng.random() < a.saturation:
            return radiometry.saturate(image, rng.uniform(*a.saturation_range))
        if rng.random() < a.brightness:
            return radiometry.brighten(image, rng.uniform(*a.brightness_range))
        if rng.random() < a.contrast:
            return radiometry.contrast(image, rng.uniform(*a.contrast_range))
    return image


# What the labels say.


def finish_labels(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Let grades grow, and make borders unknown."""
    grades, buildings = sample.grades, sample.buildings
    if rng.random() < augmentation.dilation:
        grades = dilate_grades(grades, augmentation.precedence)
    if augmentation.ignore_border:
        grades = ignore_borders(grades, augmentation.ignore_border)
        buildings = ignore_borders(buildings, augmentation.ignore_border)
    return replace(sample, grades=grades, buildings=buildings)


def dilate_grades(grades: Bytes, precedence: Sequence[int] = (2, 3, 4, 1)) -> Bytes:
    """Grow every grade by a square of 5 x 5 pixels; where they meet, the first of these wins.

    What is unknown, or un-classified, stays as it is.
    """
    # Source: xView2 first place, train34_cls.py:225-240: minor > major > destroyed > no-damage.
    # MetaDamageNet takes the grey-level maximum of its label map: the higher grade wins.
    grown = grades.copy()
    free = (grades == BACKGROUND) | np.isin(grades, GRADES)
    for grade in reversed(precedence):
        mask = cv2.dilate((grades == grade).view(np.uint8), np.ones((5, 5), np.uint8))
        grown[(mask > 0) & free] = grade
    return grown


def ignore_borders(codes: Bytes, width: int) -> Bytes:
    """Return codes with 255 up to `width` pixels from every border between two of them."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    mixed = cv2.dilate(codes, kernel) != cv2.erode(codes, kernel)
    return np.where(mixed, np.uint8(NOT_ASSESSED), codes)
