"""Touching buildings: one component in, one part per building out."""

import cv2
import numpy as np

#: Fewest pixels of a seed; smaller ones are ripples of the probability, not buildings.
MIN_SEED = 4


def split_touching(
    labels: np.ndarray,
    count: int,
    background: np.ndarray,
    seed_threshold: float,
    seed_depth: int = 0,
    *,
    within: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Split components that hold more than one seed of high probability.

    A seed is a place where localisation is above the seed threshold, for `seed_depth` pixels in
    every direction. Each pixel of a component goes to the nearest of its seeds. Whatever raster a
    component lies on, it is split the same way.

    Parameters
    ----------
    labels
        int32 (rows, columns): 0 nothing, 1-count components; two never touch by their sides.
    count
        Number of components.
    background
        float32 (rows, columns): 1 - localisation.
    seed_threshold
        Localisation above which a pixel may be a seed, 0-1; 0 leaves everything joined.
    seed_depth
        Pixels; 0 takes every pixel above the threshold.
    within
        (n,): the pixels of all components, as indices, where they are known already.

    Returns
    -------
    labels
        int32 (rows, columns), parts that touch by their sides only within themselves.
    count
        Number of parts.
    """
    if seed_threshold <= 0 or count == 0:
        return labels, count
    core = (background < 1 - seed_threshold) & (labels > 0)
    deep = _deep(core, seed_depth)
    n_seeds, seeds = cv2.connectedComponents(deep, connectivity=4, ltype=cv2.CV_32S)
    places = np.flatnonzero(deep.view(bool))  # several times as fast as of numbers
    numbers = seeds.ravel()[places]
    owner = np.zeros(n_seeds, np.int64)
    owner[numbers] = labels.ravel()[places]
    large = np.bincount(numbers, minlength=n_seeds) >= MIN_SEED
    is_split = np.bincount(owner[large], minlength=count + 1) >= 2
    kept = large & is_split[owner]
    if not kept.any():
        return labels, count
    is_seed = kept[numbers]
    places, numbers = places[is_seed], numbers[is_seed]
    part, owners = _in_order(numbers, owner)
    within = np.flatnonzero(labels != 0) if within is None else within
    within = within[is_split[labels.ravel()[within]]]
    parts = _grow(within, places, part[numbers], labels.shape)
    # The first part of a component keeps its number; the others come after all components.
    order = np.argsort(owners, kind="stable")
    is_first = np.diff(owners[order], prepend=-1) > 0
    new = np.zeros(len(owners) + 1, np.int32)
    new[1 + order[is_first]] = owners[order[is_first]]
    others = order[~is_first]
    new[1 + others] = np.arange(count + 1, count + 1 + len(others))
    result = labels.copy()
    result.ravel()[within] = new[parts]
    return result, count + len(others)


def _deep(core: np.ndarray, depth: int) -> np.ndarray:
    """Return where all pixels within a square of `depth` pixels are set, uint8.

    A full square is in one piece, so all of it is of one component.
    """
    square = np.ones((2 * depth + 1, 2 * depth + 1), np.uint8)
    return np.asarray(
        cv2.erode(core.view(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0.0)
    )


def _in_order(numbers: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count seeds again by their first pixel: the labelling's own order depends on its raster.

    Returns
    -------
    part
        New number of each old one, from 1; 0 where there is no such seed.
    owners
        Component of each new one, in their order.
    """
    seeds, first = np.unique(numbers, return_index=True)
    seeds = seeds[np.argsort(first, kind="stable")]
    part = np.zeros(len(owner), np.int32)
    part[seeds] = np.arange(1, len(seeds) + 1)
    return part, owner[seeds]


def _grow(
    within: np.ndarray, places: np.ndarray, numbers: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Give each pixel to the seed that reaches it first from pixel to pixel, by its sides.

    Growing inside the component keeps every part in one piece; of two seeds that arrive together
    the one numbered lower, which is the upper or left one, wins.

    Parameters
    ----------
    within
        (n,): the pixels of all components, as indices; each component holds a seed.
    places, numbers
        The pixels of the seeds among them, and the number of the seed there, from 1.
    shape
        Rows and columns.

    Returns
    -------
    int32 (n,): the number of the seed that each pixel went to.
    """
    columns = shape[1] + 2  # with a margin of nothing
    parts = np.zeros((shape[0] + 2) * columns, np.int32)
    visit = np.empty_like(parts)
    empty = np.iinfo(parts.dtype).max
    parts[_padded(within, shape)] = empty
    reached = _padded(places, shape)
    parts[reached] = numbers
    sides = np.array([-columns, -1, 1, columns])
    while len(reached):
        beside = (reached[:, None] + sides).ravel()
        is_empty = parts[beside] == empty
        fresh = beside[is_empty]
        np.minimum.at(parts, fresh, np.repeat(parts[reached], 4)[is_empty])
        visits = np.arange(len(fresh), dtype=np.int32)
        visit[fresh] = visits
        reached = fresh[visit[fresh] == visits]  # each once
    found: np.ndarray = parts[_padded(within, shape)]
    return found


def _padded(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return indices of pixels as those of a raster with a margin of one pixel."""
    result: np.ndarray = places + shape[1] + 3 + 2 * (places // shape[1])
    return result
