"""Registration: how far the image after lies off the image before; pure arithmetic, no files.

Spectra of blocks are multiplied, half whitened and added up before a peak is looked for: what
one block says by chance (change, cloud, season) does not add up, and the shift does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

#: Shortest side of a block that is measured, pixels, and the share of it with data in both images.
SHORTEST, LEAST_VALID = 128, 0.5
#: Deviation of grey values, without their slow part, under which a block shows nothing.
LEAST_DETAIL = 1.5
#: Share of a block's side that a shift may have.
REACH = 0.42
#: A peak counts if it is so many deviations of the surface high, and the next one so much lower;
#: under the first it is not looked at, under the second two images have nothing in common. Of 150
#: pairs of unlike places (2026-11-29, xBD, training and validation) the highest had 7.6 deviations,
#: 99 of 100 under 6.7; half under 5.1.
CANDIDATE, UNLIKE, CERTAIN, RATIO = 5.0, 6.7, 9.0, 1.15
#: The same where few blocks can vote.
ALONE = 14.0
#: How far a block's own peak may lie from that of all and agree with it, pixels.
AGREES = 4.0
#: How far from the middle a block is asked for its own peak, once post was moved there, pixels.
NEAR = 24
#: Blocks, share of all, that must agree, and how widely at most, pixels. Shadows of trees that fall
#: another way may agree, too: of 100 pairs of xBD (training, validation) one flooded wood had a
#: third of its blocks 13 m off, and every shift on which 0.4 agreed was plausible.
FEW, LEAST_AGREE, WIDEST = 3, 0.4, 4.0
#: A field is taken where half of what it leaves is less than this share of what one shift leaves.
BETTER = 0.4
#: Blocks, and the share of them, that a field without one shift for most must fit.
MANY, MOST = 12, 0.6
#: Pixels around a peak that belong to it.
_PEAK = 6
#: Slow parts of an image are taken away, and fast ones weighed down: deviation in pixels, and in
#: cycles per pixel.
_SLOW, _FAST = 8.0, 0.2

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
    """How far the image after lies off.

    Attributes
    ----------
    row, column
        Pixels, down and to the right; None where it cannot be known.
    spread
        Pixels: deviation of the blocks that agree, by their median.
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


def measure(corners: npt.NDArray[np.float64], read: Read) -> Registration:
    """Measure the shift of a scene.

    Parameters
    ----------
    corners
        float64 (blocks, 2): row and column of each block.
    read
        Reads one of them.
    """
    count = len(corners)
    first = _products(count, read, (0, 0))
    if not first:
        return Registration(reason="nothing with enough detail is seen in both images")
    found = peak_of(_sum(first))
    if found is None or found.height < CANDIDATE:
        return _unknown(len(first), found)
    away = round(found.row), round(found.column)
    near = max(map(abs, away)) <= _PEAK
    products = first if near else _products(count, read, away)
    away = (0, 0) if near else away
    # What was found has to be found again where it should be: at the middle.
    again = peak_of(_sum(products)) if products else None
    is_there = again is not None and max(abs(again.row), abs(again.column)) <= 2 * _PEAK
    certain = CERTAIN if len(products) >= FEW else ALONE
    if again is None or not is_there or again.height < certain or again.ratio < RATIO:
        return _unknown(len(first), found)
    return _judged(products, again, away, corners)


def _unknown(blocks: int, found: Peak | None) -> Registration:
    is_unlike = found is None or found.height < UNLIKE
    amount = "nothing" if is_unlike else "too little"
    reason = f"{amount} in post looks like pre"
    return Registration(blocks=blocks, reason=reason, is_unlike=is_unlike)


def _judged(
    products: dict[int, npt.NDArray[np.complex64]],
    total: Peak,
    away: tuple[int, int],
    corners: npt.NDArray[np.float64],
) -> Registration:
    peaks = [
        (number, peak.row, peak.column)
        for number, product in products.items()
        if (peak := peak_of(product, NEAR)) is not None
    ]
    near = np.array([total.row, total.column])
    agreeing = [one for one in peaks if np.abs(np.array(one[1:]) - near).max() <= AGREES]
    if len(agreeing) < LEAST_AGREE * len(products):
        agreeing = _along_field(peaks, corners) or agreeing
    share = len(agreeing) / len(products)
    if share < LEAST_AGREE or len(agreeing) < min(FEW, len(products)):
        reason = "parts of post lie off in different ways"
        return Registration(blocks=len(products), agree=share, reason=reason)
    places = np.array(agreeing)[:, 1:]
    middle = np.median(places, axis=0)
    spread = float(1.4826 * np.median(np.hypot(*(places - middle).T)))
    if spread > WIDEST and len(agreeing) < MANY * MOST:
        reason = "parts of post lie off in different ways"
        return Registration(None, None, spread, len(products), share, reason)
    return Registration(
        float(middle[0] + away[0]),
        float(middle[1] + away[1]),
        spread,
        len(products),
        share,
        shifts=tuple((n, row + away[0], column + away[1]) for n, row, column in agreeing),
    )


def _along_field(
    peaks: list[tuple[int, float, float]], corners: npt.NDArray[np.float64]
) -> list[tuple[int, float, float]] | None:
    """Return the blocks that one field fits, if these are most; else None."""
    if len(peaks) < MANY:
        return None
    places = corners[[number for number, _, _ in peaks]]
    shifts = np.array([one[1:] for one in peaks])
    field = affine_field(places, shifts)
    if field is None:
        return None
    off = np.abs(shifts - np.column_stack([np.ones(len(places)), places]) @ field).max(1)
    fitting = [one for one, is_near in zip(peaks, off <= AGREES / 2, strict=True) if is_near]
    return fitting if len(fitting) >= MOST * len(peaks) else None


def _products(
    count: int, read: Read, away: tuple[int, int]
) -> dict[int, npt.NDArray[np.complex64]]:
    """Return the product of the spectra of each block that shows enough, by its number."""
    found: dict[int, npt.NDArray[np.complex64]] = {}
    for number in range(count):
        sight = read(number, away)
        product = None if sight is None else product_of(sight)
        if product is not None:
            found[number] = product
    return found


def product_of(sight: Sight) -> npt.NDArray[np.complex64] | None:
    """Return the half-whitened product of both spectra of a block; None where it shows little."""
    shape = sight.valid.shape
    if min(shape) < SHORTEST or sight.valid.mean() < LEAST_VALID:
        return None
    weight = _window(shape)
    if not sight.valid.all():
        size = int(2 * _SLOW) + 1
        inside = cv2.erode(sight.valid.view(np.uint8), np.ones((size, size), np.uint8))
        weight = weight * cv2.GaussianBlur(inside.astype(np.float32), (0, 0), _SLOW / 2)
    spectra = []
    for image in (sight.pre, sight.post):
        middle = image[sight.valid].mean()
        filled = np.where(sight.valid, image, middle).astype(np.float32)
        detail = filled - cv2.GaussianBlur(filled, (0, 0), _SLOW)
        if detail[sight.valid].std() < LEAST_DETAIL:
            return None
        spectra.append(scipy.fft.rfft2(detail * weight))
    product = np.conj(spectra[0]) * spectra[1]
    amount = np.sqrt(np.maximum(np.abs(product), 1e-6))
    return np.asarray(product / amount * _damping(shape), np.complex64)


def _sum(products: dict[int, npt.NDArray[np.complex64]]) -> npt.NDArray[np.complex64]:
    """Return the sum of products, each block with the same weight."""
    parts = [product / np.linalg.norm(product) for product in products.values()]
    return np.asarray(np.sum(parts, axis=0), np.complex64)


def peak_of(product: npt.NDArray[np.complex64], reach: int | None = None) -> Peak | None:
    """Return the highest point of the surface that a product of spectra stands for.

    Parameters
    ----------
    product
        complex64 (rows, columns / 2 + 1); of an even number of columns.
    reach
        Pixels around the middle to look at; None looks as far as a shift may be.
    """
    rows, columns = product.shape[0], 2 * (product.shape[1] - 1)
    surface = np.fft.fftshift(scipy.fft.irfft2(product, s=(rows, columns)))
    down, across = (int(REACH * side) if reach is None else reach for side in (rows, columns))
    part = surface[
        rows // 2 - down : rows // 2 + down + 1, columns // 2 - across : columns // 2 + across + 1
    ]
    deviation = float(part.std())
    if not np.isfinite(deviation) or deviation == 0:
        return None
    row, column = np.unravel_index(int(part.argmax()), part.shape)
    highest = float(part[row, column])
    rest = part.copy()
    rest[max(row - _PEAK, 0) : row + _PEAK + 1, max(column - _PEAK, 0) : column + _PEAK + 1] = 0
    return Peak(
        float(row - down + _vertex(part[:, column], int(row))),
        float(column - across + _vertex(part[row], int(column))),
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
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None])
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
