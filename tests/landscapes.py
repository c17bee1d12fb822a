"""Ground that looks like ground: smooth colours, small things on them, two dates of it."""

import cv2
import numpy as np


def landscape(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Return an image of a place, uint8 (3, rows, columns)."""
    generator = np.random.default_rng(seed)
    planes = []
    things = cv2.GaussianBlur(generator.normal(size=(rows, columns)), (0, 0), 1.5) * 60
    for level in (110, 120, 90):
        slow = cv2.GaussianBlur(generator.normal(size=(rows, columns)), (0, 0), 12) * 300
        planes.append(level + slow + things)
    return np.stack(planes).clip(1, 254).astype(np.uint8)


def later(image: np.ndarray, down: int = 0, right: int = 0, seed: int = 1) -> np.ndarray:
    """Return the place at another date: brighter, noisier, a part changed, its content moved."""
    generator = np.random.default_rng(seed)
    rows, columns = image.shape[1:]
    other = landscape(rows, columns, seed + 1000)
    changed = image.copy()
    changed[:, : rows // 4] = other[:, : rows // 4]
    moved = np.roll(changed, (down, right), (1, 2))
    noise = generator.normal(0, 6, moved.shape)
    return (0.8 * moved + 35 + noise).clip(1, 254).astype(np.uint8)
