"""Augmentation: what may happen to a labelled pair before a network sees it.

Everything random comes from the generator that is handed in; with
`numpy.random.default_rng([seed, epoch, number])` every sample is repeatable by itself. The
operations on single images are in `training.data.radiometry`, the numbers of published recipes in
`training.data.augmentation_presets`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import cv2
import numpy as np

from geodamage.damage import BACKGROUND, GRADES, NOT_ASSESSED, DamageGrade
from geodamage.errors import LabelError, OptionError
from training.data import distortion, radiometry
from training.data.radiometry import Bytes


@dataclass(frozen=True)
class Sample:
    """A pair, or one image, with its masks on the same pixels.

    Attributes
    ----------
    pre
        uint8 (rows, columns, 3), red, green, blue.
    post
        The same, or None where only `pre` is looked at.
    grades
        uint8 (rows, columns): 0 background, 1-4 `DamageGrade`, 255 unknown; 5 where a recipe makes
        un-classified a class of its own.
    buildings
        uint8 (rows, columns): 0, 1, 255 unknown.
    """

    pre: Bytes
    post: Bytes | None
    grades: Bytes
    buildings: Bytes

    def __post_init__(self) -> None:
        shape = self.grades.shape
        arrays = [self.pre, self.grades[..., None], self.buildings[..., None]]
        arrays += [] if self.post is None else [self.post]
        if any(a.dtype != np.uint8 or a.ndim != 3 or a.shape[:2] != shape for a in arrays):
            raise LabelError(
                f"sample: {', '.join(f'{a.dtype} {a.shape}' for a in arrays)}; "
                "its arrays are 8-bit and of one size"
            )

    def mapped(self, image: Callable[[Bytes], Bytes], mask: Callable[[Bytes], Bytes]) -> "Sample":
        """Return the sample with one function applied to its images and one to its masks."""
        post = None if self.post is None else image(self.post)
        return Sample(image(self.pre), post, mask(self.grades), mask(self.buildings))

    def recoloured(self, image: Callable[[Bytes], Bytes]) -> "Sample":
        """Return the sample with a function applied to each image."""
        return self.mapped(image, lambda mask: mask)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Probabilities and reaches; in a recipe every field has the prefix `augmentation_`.

    A field of which nothing else is said is the probability of being applied. Steps come in the
    order of the fields, but for the labels, which come last.
    """

    images: str = "both"
    """`both`, or `pre` for localisation: post is dropped."""
    crop: int = 512
    """Rows and columns of what comes out, pixels."""

    post_instead: float = 0.0
    """Post takes the place of pre; masks stay."""
    undamaged: float = 0.0
    """Pre takes the place of post, and every grade becomes no-damage."""

    first_crop: float = 0.0
    """A square of so many sides of the crop is cut first, so that less is bent; 0 cuts none."""
    transpose: float = 0.0
    """Rows become columns."""
    flip_vertical: float = 0.0
    """Upside down."""
    flip_horizontal: float = 0.0
    """Left to right."""
    quarter_turn: float = 0.0
    """0 to 3 quarter turns, one as likely as the other."""
    shift: float = 0.0
    """Both images and masks are moved; what is missing is mirrored (reflect-101)."""
    shift_reach: tuple[int, int] = (0, 320)
    """Least and most pixels of that, down and across, either way."""
    rotate: float = 0.0
    """Turned and scaled about a point near the middle."""
    rotate_degrees: int = 10
    """Most degrees of that, either way; whole ones."""
    rotate_scale: tuple[float, float] = (0.9, 1.1)
    """Least and greatest scale of that."""
    rotate_centre: int = 320
    """Most pixels between that point and the middle, down and across."""
    misregistration: float = 0.0
    """Post alone is moved; the masks stay with pre."""
    misregistration_reach: int = 32
    """Most pixels of that, down and across, either way."""

    grid_distortion: float = 0.0
    """Rows and columns of a grid are stretched and squeezed, images and masks."""
    optical_distortion: float = 0.0
    """Everything is bent as by a lens."""

    crop_jitter: float = 0.0
    """Another size is cut and brought to that of the crop."""
    crop_scale: tuple[float, float] = (1.0, 1.0)
    """Least and greatest side of that, as a share of the crop."""
    gsd_jitter: float = 0.0
    """The side is multiplied once more, as if the pixels were smaller or larger."""
    gsd_range: tuple[float, float] = (0.6, 1.6)
    """Least and greatest factor of that."""
    crop_tries: tuple[int, int] = (1, 1)
    """Least and most places tried; the one with the highest score is taken."""
    crop_weights: tuple[float, ...] = ()
    """Score of a pixel of each grade; empty counts building pixels."""

    fourier_style: float = 0.0
    """Each image takes low frequencies from the donor's."""
    fourier_band: tuple[float, float] = (0.0, 0.01)
    """Least and greatest half-width of the band, as a share of the crop."""
    colour_style: float = 0.0
    """Each image takes mean and spread of its colours from the donor's, by a random part."""
    cutmix: float = 0.0
    """A box of the donor with rare grades is pasted, images and masks."""
    cutmix_grades: tuple[int, ...] = (2, 3)
    """What is rare."""
    cutmix_sides: tuple[float, float] = (0.2, 0.5)
    """Least and greatest side of the box, as a share of the crop."""

    channel_shift: float = 0.0
    """A whole number is added to each channel of pre; if not, as likely to those of post."""
    channel_shift_reach: int = 5
    """Most of that, either way."""
    hsv_shift: float = 0.0
    """The same with hue, saturation, value."""
    hsv_shift_reach: tuple[int, int, int] = (5, 5, 5)
    """Most of that, either way."""
    hsv_otherwise: bool = False
    """Shift hue, saturation and value only where channels were not shifted."""

    haze: float = 0.0
    """Each image is hazed."""
    haze_range: tuple[float, float] = (0.1, 0.5)
    """Least and greatest thickness."""
    first_group: float = 0.0
    """Each image: one of CLAHE, noise and blur is tried, each if the one before was not drawn."""
    clahe: float = 0.0
    """Of the first group."""
    noise: float = 0.0
    """Of the first group."""
    noise_deviation: float = 5.5
    """Standard deviation of the noise, of 255."""
    blur: float = 0.0
    """Of the first group."""
    second_group: float = 0.0
    """Each image that the first group missed: one of saturation, brightness, contrast, likewise."""
    saturation: float = 0.0
    """Of the second group."""
    saturation_range: tuple[float, float] = (0.9, 1.1)
    """Least and greatest factor."""
    brightness: float = 0.0
    """Of the second group."""
    brightness_range: tuple[float, float] = (0.9, 1.1)
    """Least and greatest factor."""
    contrast: float = 0.0
    """Of the second group."""
    contrast_range: tuple[float, float] = (0.9, 1.1)
    """Least and greatest factor."""
    motion_blur: float = 0.0
    """Each image is smeared along a short line."""
    holes: float = 0.0
    """Each image gets black holes, up to eight of 8 x 8 pixels; the masks do not."""
    elastic: float = 0.0
    """Pixels of each image are moved a little, of the masks not."""
    elastic_alpha: tuple[float, float] = (0.25, 1.2)
    """Least and greatest step, pixels, before smoothing."""
    elastic_sigma: float = 0.2
    """Smoothing of the steps, pixels."""
    coarsen: float = 0.0
    """Each image is shown as a coarser sensor would show it."""
    coarsen_range: tuple[float, float] = (1.2, 2.0)
    """Least and greatest width of its pixels."""
    jpeg: float = 0.0
    """Each image is compressed."""
    jpeg_quality: tuple[int, int] = (40, 95)
    """Lowest and highest quality."""

    dilation: float = 0.0
    """Every grade grows by two pixels (a square of 5 x 5)."""
    precedence: tuple[int, ...] = (2, 3, 4, 1)
    """Where grades meet, the first of these wins."""
    ignore_border: int = 0
    """Pixels on either side of a border between codes that become 255."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "first_crop":
                if value != 0 and value < 1:
                    raise OptionError(f"augmentation_first_crop = {value}: 0, or 1 and more")
            elif field.type is float and field.default == 0.0 and not 0 <= value <= 1:
                raise OptionError(f"augmentation_{field.name} = {value} is no probability")
            if field.type is int and value < 0:
                raise OptionError(f"augmentation_{field.name} = {value} is less than none")
            if field.type in (tuple[int, int], tuple[float, float]) and value[0] > value[1]:
                raise OptionError(f"augmentation_{field.name} = {list(value)}: the least is first")
        if self.crop < 1:
            raise OptionError(f"augmentation_crop = {self.crop} is no size")
        if self.images not in ("both", "pre"):
            raise OptionError(f"augmentation_images = {self.images!r}; it is 'both' or 'pre'")
        if len(self.crop_weights) not in (0, len(GRADES)):
            raise OptionError("augmentation_crop_weights: one for each of four grades, or none")
        if sorted(self.precedence) != list(GRADES):
            raise OptionError("augmentation_precedence: each of the grades 1 to 4, once")

    @property
    def needs_donor(self) -> bool:
        """Whether a second sample is needed."""
        return max(self.fourier_style, self.colour_style, self.cutmix) > 0


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
        Of any size; where it is too small, it is mirrored.
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


# Where things are.


def place(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Choose images, turn and move them with their masks, and cut."""
    made = choose_images(sample, augmentation, rng)
    if augmentation.first_crop:
        side = round(augmentation.first_crop * augmentation.crop)
        made = square(at_least(made, side), side, rng)
    made = turn(made, augmentation, rng)
    made = move(made, augmentation, rng)
    made = bend(made, augmentation, rng)
    return cut(made, augmentation, rng)


def choose_images(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Replace or drop images."""
    pre, post, grades = sample.pre, sample.post, sample.grades
    # Published (MetaDamageNet, dataset.py:79): the condition is inverted there.
    if rng.random() < augmentation.post_instead and post is not None:
        pre = post
    if rng.random() < augmentation.undamaged and post is not None:
        post = pre
        # What nobody could grade is still unknown: it may not be a building at all.
        grades = np.where(np.isin(grades, GRADES), np.uint8(DamageGrade.NO_DAMAGE), grades)
    return Sample(pre, post if augmentation.images == "both" else None, grades, sample.buildings)


def turn(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Transpose, flip, and turn by quarters."""
    # What few recipes have draws no number in the others: their samples stay as they were.
    if augmentation.transpose and rng.random() < augmentation.transpose:
        sample = sample.mapped(lambda i: i.swapaxes(0, 1), lambda m: m.T)
    if rng.random() < augmentation.flip_vertical:
        sample = sample.mapped(lambda i: i[::-1], lambda m: m[::-1])
    if rng.random() < augmentation.flip_horizontal:
        sample = sample.mapped(lambda i: i[:, ::-1], lambda m: m[:, ::-1])
    if rng.random() < augmentation.quarter_turn:
        quarters = int(rng.integers(4))
        sample = sample.mapped(lambda i: np.rot90(i, quarters), lambda m: np.rot90(m, quarters))
    return sample


def move(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Shift, rotate and scale; then shift post alone."""
    rows, columns = sample.grades.shape
    if rng.random() < augmentation.shift:
        least, most = augmentation.shift_reach
        down, across = rng.integers(least, most + 1, 2) * rng.choice((-1, 1), 2)
        sample = warped(sample, translation(int(down), int(across)))
    if rng.random() < augmentation.rotate:
        reach = augmentation.rotate_centre
        y, x = np.array([rows // 2, columns // 2]) + rng.integers(-reach, reach + 1, 2)
        angle = rng.integers(-augmentation.rotate_degrees, augmentation.rotate_degrees + 1)
        scale = rng.uniform(*augmentation.rotate_scale)
        centre = float(x), float(y)
        sample = warped(sample, cv2.getRotationMatrix2D(centre, float(angle), float(scale)))
    if rng.random() < augmentation.misregistration and sample.post is not None:
        reach = augmentation.misregistration_reach
        down, across = rng.integers(-reach, reach + 1, 2)
        matrix = translation(int(down), int(across))
        sample = replace(sample, post=_warped(sample.post, matrix, (rows, columns), smooth=True))
    return sample


def square(sample: Sample, side: int, rng: np.random.Generator) -> Sample:
    """Return a random square of a sample that is large enough."""
    rows, columns = sample.grades.shape
    row, column = rng.integers(0, rows - side + 1), rng.integers(0, columns - side + 1)
    window = np.s_[row : row + side, column : column + side]
    return sample.mapped(lambda i: i[window], lambda m: m[window])


def bend(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Distort images and masks alike."""
    shape = sample.grades.shape[0], sample.grades.shape[1]
    for chance, maps_of in (
        (augmentation.grid_distortion, distortion.grid_maps),
        (augmentation.optical_distortion, distortion.optical_maps),
    ):
        if chance and rng.random() < chance:
            maps = maps_of(shape, rng)
            sample = sample.mapped(
                partial(distortion.remapped, maps=maps, smooth=True),
                partial(distortion.remapped, maps=maps, smooth=False),
            )
    return sample


def translation(down: int, across: int) -> np.ndarray:
    """Return the affine matrix (2, 3) of a move by pixels."""
    return np.array([[1, 0, across], [0, 1, down]], np.float64)


def warped(sample: Sample, matrix: np.ndarray, shape: tuple[int, int] | None = None) -> Sample:
    """Return the sample under an affine matrix; what is missing is mirrored (reflect-101).

    Masks are read at the nearest pixel: a mean of codes is no code.
    """
    # Published (xView2 first place, utils.py:5-14): bilinear masks, one for each class, with a
    # threshold at the end; MetaDamageNet: bilinear codes divided by 4, which makes up classes.
    shape = shape or (sample.grades.shape[0], sample.grades.shape[1])
    return sample.mapped(
        lambda image: _warped(image, matrix, shape, smooth=True),
        lambda mask: _warped(mask, matrix, shape, smooth=False),
    )


def _warped(array: Bytes, matrix: np.ndarray, shape: tuple[int, int], *, smooth: bool) -> Bytes:
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    # OpenCV does not take what is turned or flipped in place.
    return np.asarray(
        cv2.warpAffine(
            np.ascontiguousarray(array),
            matrix,
            shape[::-1],
            flags=how,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    )


def cut(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Cut a square, at the best of some places, and bring it to the size of the crop."""
    side = _side(augmentation, rng)
    sample = at_least(sample, side)
    least, most = augmentation.crop_tries
    tries = int(rng.integers(least, most + 1))
    rows, columns = sample.grades.shape
    down = rng.integers(0, rows - side + 1, tries)
    across = rng.integers(0, columns - side + 1, tries)
    best = 0
    if tries > 1:
        scores = _scores(sample, augmentation)
        best = int(
            np.argmax([_total(scores, y, x, side) for y, x in zip(down, across, strict=True)])
        )
    window = np.s_[down[best] : down[best] + side, across[best] : across[best] + side]
    return resized(sample.mapped(lambda i: i[window], lambda m: m[window]), augmentation.crop)


def _side(augmentation: Augmentation, rng: np.random.Generator) -> int:
    """Return the rows and columns to cut."""
    side = augmentation.crop
    if rng.random() < augmentation.crop_jitter:
        least, greatest = (round(side * scale) for scale in augmentation.crop_scale)
        side = int(rng.integers(least, greatest + 1))
    if rng.random() < augmentation.gsd_jitter:
        # Evenly on a logarithmic scale: half as often as twice.
        low, high = np.log(augmentation.gsd_range)
        side = round(side * float(np.exp(rng.uniform(low, high))))
    return max(side, 1)


def at_least(sample: Sample, side: int) -> Sample:
    """Return the sample mirrored about its edges to at least `side` rows and columns."""
    rows, columns = sample.grades.shape
    if min(rows, columns) >= side:
        return sample
    down, across = (max(side - length, 0) // 2 for length in (rows, columns))
    return warped(sample, translation(down, across), (max(rows, side), max(columns, side)))


def _scores(sample: Sample, augmentation: Augmentation) -> np.ndarray:
    """Return the summed-area table, float64 (rows + 1, columns + 1), of the score of pixels."""
    if not augmentation.crop_weights:
        return np.asarray(
            cv2.integral(
                np.ascontiguousarray(sample.buildings == 1).view(np.uint8), sdepth=cv2.CV_64F
            )
        )
    table = np.zeros(256)
    table[list(GRADES)] = augmentation.crop_weights
    scores = cv2.LUT(np.ascontiguousarray(sample.grades), table)
    return np.asarray(cv2.integral(scores, sdepth=cv2.CV_64F))


def _total(table: np.ndarray, row: int, column: int, side: int) -> float:
    bottom, right = row + side, column + side
    corners = table[bottom, right] - table[row, right] - table[bottom, column] + table[row, column]
    return float(corners)


def resized(sample: Sample, side: int) -> Sample:
    """Return the sample with `side` rows and columns."""
    rows = sample.grades.shape[0]
    # From 1.5 on a bilinear sample would skip pixels.
    how = cv2.INTER_AREA if rows > 1.5 * side else cv2.INTER_LINEAR

    def resize(array: Bytes, interpolation: int) -> Bytes:
        array = np.ascontiguousarray(array)
        if rows == side:
            return array
        return np.asarray(cv2.resize(array, (side, side), interpolation=interpolation))

    # Exact: the plain nearest of OpenCV is half a pixel off its bilinear.
    return sample.mapped(lambda i: resize(i, how), lambda m: resize(m, cv2.INTER_NEAREST_EXACT))


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
