"""Touching buildings: one component in, one part per building out."""

import cv2
import numpy as np
from scipy import ndimage

#: Fewest pixels of a seed; smaller ones are ripples of the probability, not buildings.
MIN_SEED = 4


def split_touching(
    labels: np.ndarray,
    count: int,
    background: np.ndarray,
    seed_threshold: float,
    seed_depth: int = 0,
) -> tuple[np.ndarray, int]:
    """Split components that hold more than one seed of high probability.

    A seed is where localisation is above the seed threshold, and stays so `seed_depth` pixels in
    every direction; each pixel of a component goes to
    the nearest of its seeds. Whatever raster a component lies on, it is split the same way.

    Parameters
    ----------
    labels
        int32 (rows, columns): 0 nothing, 1-count components.
    count
        Number of components.
    background
        float32 (rows, columns): 1 - localisation.
    seed_threshold
        Localisation above which a pixel may be a seed, 0-1; 0 leaves everything joined.
    seed_depth
        Pixels; 0 takes every pixel above the threshold.

    Returns
    -------
    labels
        int32 (rows, columns), parts that touch by their sides only within themselves.
    count
        Number of parts.
    """
    if seed_threshold <= 0 or count == 0:
        return labels, count
    core = (labels > 0) & (background < 1 - seed_threshold)
    core = _deep(np.where(core, labels, 0), seed_depth)
    n_seeds, seeds, stats, _ = cv2.connectedComponentsWithStats(
        core.view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    large = stats[:, cv2.CC_STAT_AREA] >= MIN_SEED
    large[0] = False
    owner = np.zeros(n_seeds, np.int64)
    owner[seeds[core]] = labels[core]
    seeds_of = np.bincount(owner[large], minlength=count + 1)
    result = labels
    for number, box in _boxes(labels, seeds_of):
        if result is labels:
            result = labels.copy()
        inside = labels[box] == number
        parts = _grow(_in_order(np.where(inside & large[seeds[box]], seeds[box], 0)), inside)
        numbers = np.unique(parts[inside])
        new = np.zeros(int(numbers[-1]) + 1, np.int32)
        new[numbers] = [number, *range(count + 1, count + len(numbers))]
        result[box][inside] = new[parts[inside]]
        count += len(numbers) - 1
    return result, count


def _boxes(labels: np.ndarray, seeds_of: np.ndarray) -> list[tuple[int, tuple[slice, slice]]]:
    numbers = np.flatnonzero(seeds_of >= 2)
    if not len(numbers):
        return []
    boxes = ndimage.find_objects(labels)
    return [(int(n), (boxes[n - 1][0], boxes[n - 1][1])) for n in numbers]


def _deep(labels: np.ndarray, depth: int) -> np.ndarray:
    """Return where all pixels within a square of `depth` pixels have the same label, bool.

    Other components count as outside, so that a component does not depend on its neighbours.
    """
    square = np.ones((2 * depth + 1, 2 * depth + 1), np.uint8)
    exact = labels.astype(np.float32)  # labels of a strip stay far below 2**24
    lowest, highest = (
        operation(exact, square, borderType=cv2.BORDER_CONSTANT, borderValue=0.0)
        for operation in (cv2.erode, cv2.dilate)
    )
    return np.asarray((lowest > 0) & (lowest == highest))


def _in_order(seeds: np.ndarray) -> np.ndarray:
    """Count seeds anew by their first pixel: the labelling's own order depends on its raster."""
    numbers, first = np.unique(seeds, return_index=True)
    order = np.zeros(int(numbers[-1]) + 1, np.int32)
    seen = numbers[np.argsort(first, kind="stable")]
    seen = seen[seen > 0]
    order[seen] = np.arange(1, len(seen) + 1)
    ordered: np.ndarray = order[seeds]
    return ordered


def _grow(seeds: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Give each pixel to the seed that reaches it first from pixel to pixel, by its sides.

    Growing inside the component keeps every part in one piece; of two seeds that arrive together
    the one numbered lower, which is the upper or left one, wins.
    """
    parts = seeds.astype(np.float32)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    limit = np.float32(seeds.max() + 1)
    while True:
        empty = inside & (parts == 0)
        if not empty.any():
            return parts.astype(np.int32)
        # The least seed among the neighbours: nothing counts as a number above all others.
        lowest = cv2.erode(np.where(parts > 0, parts, limit), cross, borderValue=float(limit))
        reached = empty & (lowest < limit)
        parts[reached] = lowest[reached]
