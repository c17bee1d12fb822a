"""Trees: crowns with their shade, light and colour."""

from __future__ import annotations

import cv2
import numpy as np

from sample_data.painting import FRACTION_BITS, Canvas, darken, lit, sun_direction, to_fixed
from sample_data.styles import Colour, Floats, Shot


def paint_trees(
    rng: np.random.Generator,
    canvas: Canvas,
    trees: list[tuple[float, float, float]],
    shot: Shot,
    burned: list[bool],
) -> None:
    """Paint crowns with their shadows.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance; seeded alike on both dates it gives the same crowns.
    canvas : numpy.ndarray
        The canvas, changed in place.
    trees : list of (float, float, float)
        x, y and radius.
    shot : Shot
        The acquisition.
    burned : list of bool
        Whether a crown has been scorched, one per tree.
    """
    if not trees:
        return
    places = np.array(trees)
    radii, middles = places[:, 2, None, None], places[:, None, :2]
    angles = np.linspace(0, 2 * np.pi, 11, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    crowns = ring * rng.uniform(0.68, 1.22, (len(trees), 11, 1)) * radii
    shades = np.clip(rng.normal(1, 0.12, len(trees)), 0.7, 1.4).tolist()
    sun = sun_direction(shot)
    _shade_trees(canvas, crowns + middles, radii, sun)
    toward = radii * sun[:2]
    layers = np.stack(
        [
            to_fixed(middles + crowns),
            to_fixed(middles + crowns * 0.72 + toward * 0.2),
            to_fixed(middles + crowns * 0.4 + toward * 0.36),
        ],
        axis=1,
    )
    for outlines, shade, scorched in zip(layers, shades, burned, strict=True):
        colour = _foliage(shot.greenness, shade, scorched)
        for outline, light, rough in zip(
            outlines, (0.8, 1.0, 1.15), (0.22, 0.25, 0.22), strict=True
        ):
            cv2.fillPoly(
                canvas, [outline], (*lit(colour, light * shade), rough), shift=FRACTION_BITS
            )


def _shade_trees(canvas: Canvas, crowns: Floats, radii: Floats, sun: Floats) -> None:
    """Darken below crowns; they are round, so three copies along the light do."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    away = -radii * 1.2 * sun[:2] / sun[2]
    for step in (0.35, 0.7, 1.0):
        for outline in to_fixed(crowns + away * step):
            cv2.fillPoly(mask, [outline], 1, shift=FRACTION_BITS)
    darken(canvas, mask, 0.55)


def _foliage(greenness: float, shade: float, scorched: bool) -> Colour:
    """Choose a crown colour: leaves in season, bare twigs out of it, charred wood after a fire."""
    if scorched:
        return (70.0, 62.0, 55.0)
    lush, bare = (60.0, 77.0, 47.0), (94.0, 88.0, 70.0)
    green = float(np.clip(greenness * 0.7 + 0.45 * shade, 0, 1))
    red, grn, blu = (green * a + (1 - green) * b for a, b in zip(lush, bare, strict=True))
    return red, grn, blu
