"""Clouds of another make than those that the detector has learnt from: heaps of puffs.

`sample_data.clouds` draws fractal fields. Here a cloud is a heap of round puffs with optical depths
that add up, lit from one side, with a hard-edged shadow.
"""

import numpy as np


def puffs(
    rng: np.random.Generator, shape: tuple[int, int], share: float, *, depth: float = 4.0
) -> np.ndarray:
    """Return the optical depth of clouds that cover about a share of an image, float (shape)."""
    rows, columns = shape
    total = np.zeros(shape)
    y, x = np.ogrid[:rows, :columns]
    while (total > 1).mean() < share:
        middle = rng.uniform(0, rows), rng.uniform(0, columns)
        size = rng.uniform(40, 160)
        for _ in range(int(rng.integers(6, 14))):
            row, column = (centre + rng.normal(0, size) for centre in middle)
            radius = rng.uniform(0.35, 0.9) * size
            high, low = (np.clip([p - radius, p + radius + 1], 0, side).astype(int)
                         for p, side in ((row, rows), (column, columns)))  # fmt: skip
            box = slice(*high), slice(*low)
            near = 1 - ((y[box[0]] - row) ** 2 + (x[:, box[1]] - column) ** 2) / radius**2
            total[box] += depth * np.sqrt(np.maximum(near, 0))
    return total


def clouded(
    rng: np.random.Generator, image: np.ndarray, share: float, *, depth: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw clouds over an image.

    Parameters
    ----------
    image
        uint8 (rows, columns, 3).
    share
        Of the image that they cover, 0-1.

    Returns
    -------
    uint8 (rows, columns, 3), float (rows, columns)
        The image, and the opacity, 0-1.
    """
    thick = puffs(rng, image.shape[:2], share, depth=depth)
    opacity = 1 - np.exp(-thick)
    down, right = (int(step) for step in rng.integers(-200, 200, 2))
    shadow = 1 - 0.5 * (np.roll(opacity, (down, right), (0, 1)) > 0.5)
    slope = np.gradient(thick)
    lit = rng.uniform(205, 245) + 12 * np.tanh(slope[0] + slope[1])
    lit = lit[..., None] * np.array([1.0, 1.0, rng.uniform(0.98, 1.03)])
    ground = image * shadow[..., None]
    seen = ground * (1 - opacity[..., None]) + lit * opacity[..., None]
    seen += rng.normal(0, 2, seen.shape)
    return np.rint(seen).clip(0, 255).astype(np.uint8), opacity
