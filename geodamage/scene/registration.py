"""Registration: how far the post image lies off the pre image; pure arithmetic, no files.

Spectra of blocks are multiplied, half whitened and turned into correlation surfaces. The surfaces
are summed before the peak is located. Accidental peaks of single blocks (change, cloud, season) do
not add up, and the shift does. Halves of the blocks, drawn again and again, then have to say the
same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

#: Shortest side of a block that is measured, pixels, and the share of it with data in both images.
SHORTEST, LEAST_VALID = 128, 0.5
#: Deviation of grey values, without their slow part, under which a block shows nothing.
LEAST_DETAIL = 1.5
#: Share of a block's side that a shift may have.
REACH = 0.42
#: Pixels over which a sum of surfaces is blurred: ground that is not flat, and what stands on it,
#: lies off by a few pixels more or less from block to block, and shall add up all the same.
BLUR = 2.5
#: Pixels around a peak that belong to it; roofs and crowns of trees seen from another side do.
PEAK = 12
#: A peak counts if it is so many deviations of the surface high, and the next one so much lower;
#: under the first it is not looked at, under the second two images have nothing in common. Of 100
#: pairs of unlike places (2026-11-30, xBD, training and validation) the highest had 5.8 deviations,
#: 9 of 10 under 5.2.
CANDIDATE, UNLIKE, CERTAIN, RATIO = 3.5, 5.8, 6.5, 1.25
#: The same where few blocks can vote, and how many are few.
ALONE, FEW = 9.0, 4
#: Halves of the blocks that are asked, and how near to the peak of all two thirds of theirs must
#: lie, pixels. Of the pairs of `training/recipes/compact.csv` for training, none that passes has
#: another shift (by more than 2 pixels) once a shift of 5 or 10 is added (2026-11-30).
HALVES, TWO_THIRDS, SETTLED = 32, 0.68, 6.0
#: How far a block's own peak may lie from that of all and agree with it, pixels.
AGREES = 4.0
#: How far from the middle a block is asked for its own peak, once post was moved there, pixels.
NEAR = 24
#: A field is taken where half of what it leaves is less than this share of what one shift leaves.
BETTER = 0.4
#: Blocks, and the share of them, that a field without one shift for most must fit.
MANY, MOST = 12, 0.6
#: Slow parts of an image are taken away, and fast ones weighed down: deviation in pixels, and in
#: cycles per pixel.
_SLOW, _FAST = 8.0, 0.2
#: Pixels along a side of which one is made for the slow part.
_FEW = 4
#: Columns of a product that are worked on at once: they stay in the cache.
_COLUMNS = 4096

Floats = npt.NDArray[np.float32]


class Sight(NamedTuple):
    """One block of both images.

    Attributes
    ----------
    pre, post
        float32 (rows, columns): grey values.
    valid
        bool (rows, columns): where both have data.
    """

    pre: Floats
    post: Floats
    valid: npt.NDArray[np.bool_]


class Peak(NamedTuple):
    """The highest point of a surface.

    Attributes
    ----------
    row, column
        How far post lies off, pixels, down and to the right; to a fraction of one.
    height
        In deviations of the surface.
    ratio
        To the next highest point that is not part of it.
    """

    row: float
    column: float
    height: float
    ratio: float


@dataclass(frozen=True)
class Registration:
    """How far the post image lies off.

    Attributes
    ----------
    row, column
        Pixels, down and to the right; None where it cannot be known.
    spread
        Pixels: deviation of the blocks that agree, by their median.
    error
        Pixels: two thirds of the halves of the blocks lie as near to the shift, or nearer.
    blocks, agree
        Blocks that show enough, and the share of them that agree.
    reason
        Why it cannot be known, or None.
    is_unlike
        Whether nothing at all in one image is found in the other.
    shifts
        Shifts of the blocks that agree: number of the block, rows, columns.
    """

    row: float | None = None
    column: float | None = None
    spread: float | None = None
    error: float | None = None
    blocks: int = 0
    agree: float = 0.0
    reason: str | None = None
    is_unlike: bool = False
    shifts: tuple[tuple[int, float, float], ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether there is a shift."""
        return self.row is not None


#: Reads a block, its post image so many pixels (rows, columns) further on; None out of reach.
Read = Callable[[int, tuple[int, int]], Sight | None]


class Likeness(NamedTuple):
    """How alike blocks of both images are, by how far one is moved.

    Attributes
    ----------
    numbers
        Numbers of the blocks that show enough.
    surfaces
        float32 (blocks, rows, columns), with no shift in the middle; each block weighs the same.
    blurred
        The same, blurred.
    """

    numbers: list[int]
    surfaces: Floats
    blurred: Floats


def measure(
    corners: npt.NDArray[np.float64], read: Read, what: str = "post", against: str = "pre"
) -> Registration:
    """Measure the shift of a scene.

    Parameters
    ----------
    corners
        float64 (blocks, 2): row and column of each block.
    read
        Reads one of them.
    what, against
        What lies off, and off what, in words.
    """
    first = likeness(len(corners), read, (0, 0))
    if first is None:
        return Registration(reason=f"{against} and {what} show nothing with enough detail")
    found = peak_of(first.blurred.sum(0))
    if found is None or found.height < CANDIDATE:
        return _unknown(first, found, f"in {what} looks like {against}")
    away = round(found.row), round(found.column)
    near = max(map(abs, away)) <= PEAK / 2
    second = first if near else likeness(len(corners), read, away)
    away = (0, 0) if near else away
    # What was found has to be found again where it should be: at the middle.
    again = None if second is None else peak_of(second.blurred.sum(0))
    is_there = again is not None and max(abs(again.row), abs(again.column)) <= PEAK
    certain = CERTAIN if second is not None and len(second.numbers) >= FEW else ALONE
    if second is None or again is None or not is_there or again.height < certain:
        return _unknown(first, found, f"in {what} looks like {against}")
    judged = _judged(second, again, away, corners)
    if judged is None:
        reason = f"parts of {what} are shifted in different ways"
        return Registration(blocks=len(second.numbers), reason=reason)
    return judged


def _unknown(seen: Likeness, found: Peak | None, looks: str) -> Registration:
    is_unlike = found is None or found.height < UNLIKE
    amount = "nothing" if is_unlike else "too little"
    return Registration(blocks=len(seen.numbers), reason=f"{amount} {looks}", is_unlike=is_unlike)


def _judged(
    seen: Likeness, total: Peak, away: tuple[int, int], corners: npt.NDArray[np.float64]
) -> Registration | None:
    """Return the one shift or the field that the blocks say; None where they say neither."""
    place, blocks = np.array([total.row, total.column]), len(seen.numbers)
    error = float(np.quantile(np.hypot(*(halves(seen.blurred) - place).T), TWO_THIRDS))
    is_one = total.ratio >= RATIO and error <= SETTLED
    peaks = _own_peaks(seen)
    agreeing = [one for one in peaks if np.abs(np.array(one[1:]) - place).max() <= AGREES]
    if not is_one:
        agreeing = _along_field(peaks, corners)
    places = np.array(agreeing, np.float64).reshape(-1, 3)[:, 1:]
    spread = None
    if len(places):
        spread = float(1.4826 * np.median(np.hypot(*(places - np.median(places, axis=0)).T)))
    if not is_one and not agreeing:
        return None
    row, column = place if is_one else np.median(places, axis=0)
    return Registration(
        float(row + away[0]),
        float(column + away[1]),
        spread,
        error if is_one else None,
        blocks,
        len(agreeing) / blocks,
        shifts=tuple((n, row + away[0], column + away[1]) for n, row, column in agreeing),
    )


def _own_peaks(seen: Likeness) -> list[tuple[int, float, float]]:
    """Return the peak of each block near the middle: its number, rows, columns."""
    rows, columns = (side // 2 for side in seen.surfaces.shape[1:])
    part = seen.surfaces[:, rows - NEAR : rows + NEAR + 1, columns - NEAR : columns + NEAR + 1]
    peaks = [peak_of(surface) for surface in part]
    return [
        (number, peak.row, peak.column)
        for number, peak in zip(seen.numbers, peaks, strict=True)
        if peak is not None
    ]


def halves(surfaces: Floats) -> npt.NDArray[np.int64]:
    """Return where halves of the blocks, drawn at random, have their peak.

    Parameters
    ----------
    surfaces
        float32 (blocks, rows, columns).

    Returns
    -------
    int64 (`HALVES`, 2)
        Pixels, down and to the right of the middle. The draw is the same each time.
    """
    count = len(surfaces)
    generator, half = np.random.default_rng(0), max(count // 2, 1)
    weights = np.zeros((HALVES, count), np.float32)
    for first, second in zip(weights[::2], weights[1::2], strict=True):
        order = generator.permutation(count)
        first[order[:half]] = 1
        second[order[-half:]] = 1
    highest = highest_columns(weights, surfaces.reshape(count, -1))
    shape = surfaces.shape[1:]
    return np.asarray(np.column_stack(np.unravel_index(highest, shape)) - np.array(shape) // 2)


def highest_columns(weights: Floats, values: Floats) -> npt.NDArray[np.int64]:
    """Return the column of the highest value of each row of a product; a part at once is fast.

    Parameters
    ----------
    weights, values
        float32 (rows, n) and (n, columns), which are multiplied.

    Returns
    -------
    int64 (rows,)
        The first, where there are several.
    """
    rows = np.arange(len(weights))
    best, place = np.full(len(weights), -np.inf, np.float32), np.zeros(len(weights), np.int64)
    for first in range(0, values.shape[1], _COLUMNS):
        part = weights @ values[:, first : first + _COLUMNS]
        highest = part.argmax(1)
        is_higher = part[rows, highest] > best
        place[is_higher] = first + highest[is_higher]
        best[is_higher] = part[rows, highest][is_higher]
    return place


def _along_field(
    peaks: list[tuple[int, float, float]], corners: npt.NDArray[np.float64]
) -> list[tuple[int, float, float]]:
    """Return the blocks that one field fits, if these are most; else none."""
    if len(peaks) < MANY:
        return []
    places = corners[[number for number, _, _ in peaks]]
    shifts = np.array([one[1:] for one in peaks])
    field = affine_field(places, shifts)
    if field is None:
        return []
    off = np.abs(shifts - np.column_stack([np.ones(len(places)), places]) @ field).max(1)
    fitting = [one for one, is_near in zip(peaks, off <= AGREES / 2, strict=True) if is_near]
    return fitting if len(fitting) >= MOST * len(peaks) else []


def likeness(count: int, read: Read, away: tuple[int, int]) -> Likeness | None:
    """Return how alike both images are in each block that shows enough; None where none does.

    Parameters
    ----------
    count
        Number of blocks.
    read
        Reads one of them.
    away
        Pixels, rows and columns, by which post is read further on.
    """
    found: dict[int, Floats] = {}
    for number in range(count):
        sight = read(number, away)
        product = None if sight is None else product_of(sight)
        if product is not None:
            found[number] = surface_of(product)
    if not found:
        return None
    surfaces = np.stack(list(found.values()))
    blurred = np.stack([cv2.GaussianBlur(surface, (0, 0), BLUR) for surface in surfaces])
    return Likeness(list(found), surfaces, blurred)


def product_of(sight: Sight) -> npt.NDArray[np.complex64] | None:
    """Return the half-whitened product of both spectra of a block; None where it shows little."""
    shape = sight.valid.shape
    if min(shape) < SHORTEST or sight.valid.mean() < LEAST_VALID:
        return None
    weight, is_whole = _window(shape), sight.valid.all()
    if not is_whole:
        size = int(2 * _SLOW) + 1
        inside = cv2.erode(sight.valid.view(np.uint8), np.ones((size, size), np.uint8))
        weight = weight * cv2.GaussianBlur(inside.astype(np.float32), (0, 0), _SLOW / 2)
    spectra = []
    for image in (sight.pre, sight.post):
        filled = image
        if not is_whole:
            middle = image[sight.valid].mean()
            filled = np.where(sight.valid, image, middle).astype(np.float32)
        detail = filled - slow_part(filled)
        if (detail if is_whole else detail[sight.valid]).std() < LEAST_DETAIL:
            return None
        spectra.append(np.fft.rfft2(detail * weight))
    product = np.conj(spectra[0]) * spectra[1]
    amount = np.sqrt(np.maximum(np.abs(product), 1e-6))
    return np.asarray(product / amount * _damping(shape), np.complex64)


def slow_part(image: Floats) -> Floats:
    """Return the slow part of an image; of averaged pixels, which takes a tenth of the time.

    Parameters
    ----------
    image
        float32 (rows, columns).

    Returns
    -------
    float32 (rows, columns)
        What a Gaussian of `_SLOW` pixels leaves, nearly.
    """
    rows, columns = image.shape
    few = cv2.resize(image, (columns // _FEW, rows // _FEW), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(few, (0, 0), _SLOW / _FEW)
    return np.asarray(cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_LINEAR))


def surface_of(product: npt.NDArray[np.complex64]) -> Floats:
    """Return the likeness that a product of spectra stands for, as far as a shift may be.

    Parameters
    ----------
    product
        complex64 (rows, columns / 2 + 1); of an even number of columns.
    """
    rows, columns = product.shape[0], 2 * (product.shape[1] - 1)
    surface = np.fft.fftshift(np.fft.irfft2(product / np.linalg.norm(product), (rows, columns)))
    down, across = int(REACH * rows), int(REACH * columns)
    part = surface[
        rows // 2 - down : rows // 2 + down + 1, columns // 2 - across : columns // 2 + across + 1
    ]
    return np.asarray(part, np.float32)


def peak_of(surface: Floats) -> Peak | None:
    """Return the highest point of a surface; None of one that is flat.

    Parameters
    ----------
    surface
        float32 (rows, columns), with no shift in the middle.
    """
    deviation = float(surface.std())
    if not np.isfinite(deviation) or deviation == 0:
        return None
    row, column = (int(index) for index in np.unravel_index(surface.argmax(), surface.shape))
    highest = float(surface[row, column])
    rest = surface.copy()
    rest[max(row - PEAK, 0) : row + PEAK + 1, max(column - PEAK, 0) : column + PEAK + 1] = 0
    return Peak(
        row - surface.shape[0] // 2 + _vertex(surface[:, column], row),
        column - surface.shape[1] // 2 + _vertex(surface[row], column),
        highest / deviation,
        highest / max(float(rest.max()), 1e-12),
    )


def _vertex(line: Floats, index: int) -> float:
    """Return where between samples the top of a parabola through three of them is, -0.5 to 0.5."""
    if not 0 < index < len(line) - 1:
        return 0.0
    before, top, after = (float(value) for value in line[index - 1 : index + 2])
    bend = before - 2 * top + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


@lru_cache(maxsize=4)
def _window(shape: tuple[int, int]) -> Floats:
    return np.outer(np.hanning(shape[0]), np.hanning(shape[1])).astype(np.float32)


@lru_cache(maxsize=4)
def _damping(shape: tuple[int, int]) -> Floats:
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    return np.asarray(np.exp(-((frequency / _FAST) ** 2)), np.float32)


def affine_field(
    places: npt.NDArray[np.float64], shifts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | None:
    """Return a field that is linear in place, where it says more than one shift for all.

    Parameters
    ----------
    places, shifts
        float64 (n, 2), in any unit.

    Returns
    -------
    float64 (3, 2): by (1, x, y); or None
        None of fewer than `MANY` blocks, or where it fits hardly better.
    """
    if len(places) < MANY:
        return None
    terms = np.column_stack([np.ones(len(places)), places])
    weights = np.ones(len(places))
    for _ in range(10):  # iteratively reweighted: an outlier ends up with next to nothing
        root = np.sqrt(weights)[:, None]
        field, *_ = np.linalg.lstsq(terms * root, shifts * root, rcond=None)
        off = np.hypot(*(shifts - terms @ field).T)
        scale = max(1.4826 * float(np.median(off)), 1e-6)
        weights = 1 / (1 + (off / (2 * scale)) ** 2) ** 2
    one = np.hypot(*(shifts - np.median(shifts, axis=0)).T)
    return np.asarray(field) if np.median(off) < BETTER * np.median(one) else None
