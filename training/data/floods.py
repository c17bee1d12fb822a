"""Floods and mud drawn over post images: water around buildings, and what grade it gives them."""

from typing import NamedTuple

import cv2
import numpy as np

from geodamage.damage import NOT_ASSESSED, DamageGrade
from sample_data.clouds import fractal
from training.data.radiometry import to_bytes

#: Pixels around a building in which water is looked for, about four metres.
RING = 8
#: Share of the ring, less its trees, from which water surrounds a building; between which it
#: reaches the building on one side; and up to which the building is dry. Between those nothing is
#: said.
# Source: Joint Damage Scale of xBD (Gupta et al. 2019, table 1): "surrounded by water or mud" is
# major damage, "water surrounding structure" nearby minor, "covered with water or mud" destroyed.
SURROUNDED, REACHED, DRY = 0.8, (0.3, 0.6), 0.05
#: Share of the ring that must not lie under trees.
LEAST_OPEN = 0.15
#: How often a surrounded building is covered to the roof.
COVERED = 0.1
#: Grey of the water, least and most: still water is dark, mud is light.
GREY = (35.0, 120.0)
#: How much redder than grey the lightest water is, least and most; and how much greener any is.
WARM, GREEN = (-0.05, 0.35), (-0.05, 0.08)


class Flood(NamedTuple):
    """A chip under water.

    Attributes
    ----------
    post
        uint8 (size, size, 3).
    damage
        uint8 (size, size): grades as the water makes them; 255 where it does not say.
    wet
        bool (size, size): what is not as it was, on the grid of `damage`.
    covered
        bool (size, size): roofs under water.
    """

    post: np.ndarray
    damage: np.ndarray
    wet: np.ndarray
    covered: np.ndarray


def flooded(
    post: np.ndarray, damage: np.ndarray, shift: tuple[float, float], rng: np.random.Generator
) -> Flood:
    """Draw a flood over a post image, and grade what it surrounds.

    Buildings without damage and with minor damage get the grade that the water gives; worse ones
    keep theirs. Trees stand above the water in most floods.

    Parameters
    ----------
    post
        uint8 (size, size, 3); pixels without data, all 0, stay so.
    damage
        uint8 (size, size): 0 none, 1-4 grades, 255 unknown.
    shift
        Columns and rows that `post` is moved by against `damage`, pixels.
    """
    depth = _depth(len(post), rng)
    trees = _canopy(post) if rng.random() < 0.75 else np.zeros(post.shape[:2], np.float32)
    back = (-shift[0], -shift[1])
    graded, covered = _graded(depth > 0.5, _moved(trees, back) > 0.5, damage, rng)
    stay = cv2.GaussianBlur(((damage > 0) & ~covered).astype(np.float32), (0, 0), 0.8)
    water = depth * (1 - np.clip(stay * 1.3, 0, 1))
    water = _moved(water, shift) * (1 - trees)
    seen = post + (_surface(len(post), rng) - post) * water[..., None]
    seen = np.where(post.any(2, keepdims=True), to_bytes(seen), 0)
    wet = (depth > DRY) | (graded != damage)
    return Flood(seen, graded, wet, covered)


def _depth(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return what share of the ground is seen no more, float32 (size, size)."""
    low = fractal(rng, size, rng.uniform(0.5, 2) * size, rng.uniform(1.8, 2.6))
    low = low + np.float32(0.05) * fractal(rng, size, 24, 1.2)
    level = np.quantile(low, min(rng.uniform(0.3, 1.3), 1.0))
    return np.asarray(
        rng.uniform(0.85, 1) * np.clip((level - low) / rng.uniform(0.03, 0.2), 0, 1), np.float32
    )


def _surface(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the water from above, float32 (size, size, 3): colour, drift and ripples."""
    grey = rng.uniform(*GREY)
    warm = rng.uniform(*WARM) * min(2 * grey / sum(GREY), 1)  # dark water has no colour
    colour = grey * (1 + np.array([warm, rng.uniform(*GREEN), -warm])) + rng.normal(0, 3, 3)
    drift = fractal(rng, size, size, 2.0) * rng.uniform(1, 7)
    ripples = fractal(rng, size, rng.uniform(4, 14), 1.0) * rng.uniform(0.5, 6)
    return np.asarray(colour + (drift + ripples)[..., None], np.float32)


def _canopy(image: np.ndarray) -> np.ndarray:
    """Return how surely a pixel shows the crown of a tree, float32 (size, size), 0-1.

    Crowns are green, and rougher than grass.
    """
    pixels = image.astype(np.float32)
    green = cv2.blur(2 * pixels[..., 1] - pixels[..., 0] - pixels[..., 2], (5, 5))
    grey = pixels.mean(2)
    rough = np.sqrt(np.maximum(cv2.blur(grey**2, (9, 9)) - cv2.blur(grey, (9, 9)) ** 2, 0))
    sure = np.clip((green - 4) / 8, 0, 1) * np.clip((rough - 7) / 5, 0, 1)
    # Narrow strips are edges of lawns; a crown is some four metres wide.
    crowns = cv2.morphologyEx(
        sure, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
    )
    return np.asarray(cv2.GaussianBlur(crowns, (0, 0), 1.2), np.float32)


def _moved(layer: np.ndarray, by: tuple[float, float]) -> np.ndarray:
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], float)
    size = layer.shape[::-1]
    return np.asarray(
        cv2.warpAffine(layer, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    )


def _graded(
    water: np.ndarray, trees: np.ndarray, damage: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return grades by the water around each building, and bool where roofs are under water."""
    graded, covered = damage.copy(), np.zeros(damage.shape, bool)
    here = ((damage == DamageGrade.NO_DAMAGE) | (damage == DamageGrade.MINOR)).astype(np.uint8)
    number, labels, boxes, _ = cv2.connectedComponentsWithStats(here, connectivity=4)
    for building in range(1, number):
        x, y, width, height = boxes[building][:4]
        part = np.s_[max(y - RING, 0) : y + height + RING, max(x - RING, 0) : x + width + RING]
        inside = (labels[part] == building).astype(np.uint8)
        around = cv2.dilate(inside, np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0
        around &= damage[part] == 0
        ground = around & ~trees[part]
        pixels = inside > 0
        if ground.sum() < LEAST_OPEN * around.sum() + 1:
            graded[part][pixels] = NOT_ASSESSED
            continue
        share = float(water[part][ground].mean())
        if share >= SURROUNDED:
            is_covered = rng.random() < COVERED
            graded[part][pixels] = DamageGrade.DESTROYED if is_covered else DamageGrade.MAJOR
            covered[part][pixels] = is_covered
        elif REACHED[0] <= share <= REACHED[1]:
            graded[part][pixels] = DamageGrade.MINOR
        elif share > DRY:
            graded[part][pixels] = NOT_ASSESSED
    return graded, covered
