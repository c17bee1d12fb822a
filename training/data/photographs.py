"""Images taken again by another camera: lean, light, haze, pixels, blur, noise; radar, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from geodamage.damage import NOT_ASSESSED

if TYPE_CHECKING:
    from training.data.crops import ChipOptions

#: Native pixels of 0.47 m are as large as 1.2 m then.
COARSEST = 2.6


def lean(
    image: np.ndarray, standing: np.ndarray, roofs: np.ndarray, towards: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Move roofs against the ground, as a camera does that looks from another side.

    Parameters
    ----------
    image
        uint8 (rows, columns) or (rows, columns, channels).
    standing
        uint8 (rows, columns): as `buildings_post` of a chip.
    roofs
        bool (rows, columns).
    towards
        Columns and rows that a roof moves by, pixels.

    Returns
    -------
    tuple
        Image and `standing` with the roofs moved. What a roof has left is unknown: a wall is there,
        or the edge of the roof still.
    """
    matrix = np.array([[1, 0, towards[0]], [0, 1, towards[1]]], float)
    size = (roofs.shape[1], roofs.shape[0])
    now = cv2.warpAffine(roofs.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
    there = cv2.warpAffine(standing, matrix, size, flags=cv2.INTER_NEAREST)
    image, standing = image.copy(), standing.copy()
    image[now] = moved[now]
    standing[roofs & ~now] = NOT_ASSESSED
    standing[now] = there[now]
    return image, standing


def taken_again(image: np.ndarray, rng: np.random.Generator, options: ChipOptions) -> np.ndarray:
    """Take the post image again, uint8 (rows, columns, channels); a radar's has lost its axis."""
    return photographed(image, rng, options) if image.ndim == 3 else _measure(image, rng)[..., None]


def _measure(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Measure by radar again, uint8 (rows, columns): other scale, curve, resolution, speckle."""
    grey: Any = image.astype(np.float32)
    if rng.random() < 0.85:
        grey = grey * np.float32(rng.uniform(0.75, 1.3)) + np.float32(rng.uniform(-20, 20))
    if rng.random() < 0.4:  # between the root of the intensity and its logarithm
        grey = 255 * (np.clip(grey, 0, 255) / 255) ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.3:
        grey = cv2.GaussianBlur(grey, (0, 0), float(rng.uniform(0.4, 1.3)))
    if rng.random() < 0.3:
        looks = rng.uniform(4, 20)
        grey = grey * rng.gamma(looks, 1 / looks, grey.shape).astype(np.float32)
    result: Any = np.clip(grey, 0, 255).astype(np.uint8)
    result[image == 0] = 0
    return np.asarray(result)


def photographed(image: np.ndarray, rng: np.random.Generator, options: ChipOptions) -> np.ndarray:
    """Take the picture again: other light, haze, pixels, blur, noise, compression."""
    collar = (image == 0).all(2)
    colour: Any = image.astype(np.float32)
    if rng.random() < 0.85:
        gain = rng.uniform(0.7, 1.35) * rng.uniform(0.9, 1.1, 3)
        offset = rng.uniform(-22, 22) + rng.uniform(-8, 8, 3)
        colour = colour * gain.astype(np.float32) + offset.astype(np.float32)
    if rng.random() < 0.3:
        grey = colour.mean(2, keepdims=True)
        colour = grey + (colour - grey) * rng.uniform(0.3, 1.5)
    if rng.random() < 0.3:
        colour = 255 * (np.clip(colour, 0, 255) / 255) ** rng.uniform(0.7, 1.4)
    if options.haze and rng.random() < options.haze:
        colour = _hazy(colour, rng)
    if options.coarse and rng.random() < options.coarse:
        colour = _coarse(colour, float(rng.uniform(1, COARSEST)))
    if rng.random() < 0.25:
        colour = cv2.GaussianBlur(colour, (0, 0), float(rng.uniform(0.4, 1.3)))
    if rng.random() < 0.2:
        colour = colour + rng.normal(0, rng.uniform(1, 7), colour.shape).astype(np.float32)
    result: Any = np.clip(colour, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        result = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
    result[collar] = 0
    return np.asarray(result)


def _hazy(colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay haze over an image, float32 (rows, columns, 3)."""
    # Source: Koschmieder 1924: what is seen is t J + (1 - t) A, of the scene J and the airlight A.
    rows, columns = colour.shape[:2]
    field = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
    dense = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
    veil = np.clip(rng.uniform(0.1, 0.45) + 0.15 * dense, 0, 0.7)[..., None].astype(np.float32)
    airlight = rng.uniform(170, 240) + rng.uniform(-10, 10, 3)
    return np.asarray((1 - veil) * colour + veil * airlight.astype(np.float32))


def _coarse(colour: np.ndarray, factor: float) -> np.ndarray:
    """Return an image as larger pixels show it, upsampled to its own size again."""
    rows, columns = colour.shape[:2]
    size = (max(round(columns / factor), 1), max(round(rows / factor), 1))
    small = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)
