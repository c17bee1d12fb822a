"""Where things are: images and masks are turned, moved, bent and cut together."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from geodamage.damage import GRADES, DamageGrade
from training.data import distortion
from training.data.augmentation_options import Augmentation
from training.data.labelled import Sample
from training.data.radiometry import Bytes


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
