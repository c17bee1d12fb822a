"""Distortions: bent geometry, holes and motion blur, as the Open Cities recipes have them.

Images are uint8 (rows, columns, 3), masks uint8 (rows, columns); every function returns new ones.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
#: Column and row that each pixel is taken from, float32 (rows, columns) each.
Maps = tuple[NDArray[np.float32], NDArray[np.float32]]

#: Cells of a grid distortion along a side, and the most that one is stretched or squeezed by.
# Source: albumentations 0.4, GridDistortion: num_steps 5, distort_limit 0.3.
CELLS, STRETCH = 5, 0.3
#: Largest coefficient of an optical distortion, and the most pixels its centre is moved by.
# Source: Open Cities' third place, dataset.py:41-77: distort 2, shift 0.5.
BEND, SHIFT = 2.0, 0.5
#: Holes of a coarse dropout, and their side in pixels.
# Source: albumentations 0.4, CoarseDropout: max_holes 8 of 8 x 8 pixels, filled with 0.
HOLES, HOLE = 8, 8


def grid_maps(shape: tuple[int, int], rng: np.random.Generator) -> Maps:
    """Return maps that stretch and squeeze the columns and rows of a grid."""
    row, column = (_stretched(length, rng) for length in shape)
    across, down = np.meshgrid(column, row)
    return across.astype(np.float32), down.astype(np.float32)


def _stretched(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return where each of `length` pixels comes from; the ends stay where they are."""
    steps = 1 + rng.uniform(-STRETCH, STRETCH, CELLS)
    knots = np.concatenate([[0], steps.cumsum()])
    # albumentations lets the last cell run out of the image; here all of it stays in.
    knots *= (length - 1) / knots[-1]
    even = np.linspace(0, length - 1, CELLS + 1)
    places: NDArray[np.float64] = np.interp(np.arange(length), even, knots)
    return places


def optical_maps(shape: tuple[int, int], rng: np.random.Generator) -> Maps:
    """Return maps of a lens that bends straight lines about a point near the middle.

    Source: OpenCV, initUndistortRectifyMap with k1 = k2 = k and a focal length of the image's
    width: x' = x (1 + k r² + k r⁴).
    """
    rows, columns = shape
    k = rng.uniform(-BEND, BEND)
    centre = np.array([columns, rows]) / 2 + rng.uniform(-SHIFT, SHIFT, 2)
    across, down = np.meshgrid(np.arange(columns), np.arange(rows))
    x, y = (across - centre[0]) / columns, (down - centre[1]) / columns
    squared = x * x + y * y
    bend = 1 + k * squared + k * squared * squared
    maps = x * bend * columns + centre[0], y * bend * columns + centre[1]
    return maps[0].astype(np.float32), maps[1].astype(np.float32)


def remapped(array: Bytes, maps: Maps, *, smooth: bool) -> Bytes:
    """Take every pixel from where the maps say; what is missing is mirrored (reflect-101)."""
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    border = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.remap(np.ascontiguousarray(array), *maps, how, borderMode=border))


def punched(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Return an image with a few black holes."""
    rows, columns = image.shape[:2]
    image = image.copy()
    for _ in range(int(rng.integers(1, HOLES + 1))):
        row, column = rng.integers(0, max(rows - HOLE, 1)), rng.integers(0, max(columns - HOLE, 1))
        image[row : row + HOLE, column : column + HOLE] = 0
    return image


def motion_blur(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Smear an image along a random line of 3, 5 or 7 pixels."""
    # Source: albumentations 0.4, MotionBlur: blur_limit 7, a line between two random points.
    side = int(rng.choice((3, 5, 7)))
    kernel = np.zeros((side, side), np.uint8)
    first, last = rng.integers(0, side, (2, 2))
    cv2.line(kernel, first.tolist(), last.tolist(), 1)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(dtype=np.float32)))
