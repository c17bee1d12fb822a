"""What an event leaves of a building: lost roof cover, holes, rubble, ash, bare slabs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sample_data.layout import Building, RoofPart
from sample_data.painting import (
    FRACTION_BITS,
    Canvas,
    blob,
    clipped,
    fill,
    lit,
    stroke,
    to_fixed,
)
from sample_data.styles import Colour, Floats

RUBBLE: tuple[Colour, ...] = (
    (196, 184, 166),
    (160, 144, 122),
    (120, 106, 92),
    (226, 222, 214),
    (82, 72, 64),
    (142, 136, 132),
)
ASH: tuple[Colour, ...] = (
    (150, 148, 146),
    (98, 96, 96),
    (186, 184, 182),
    (60, 58, 58),
    (122, 112, 104),
)
TARP: Colour = (56, 104, 176)


@dataclass(frozen=True)
class Harm:
    """What the event did to one building."""

    grade: int
    cause: str
    seed: int


def scatter(
    rng: np.random.Generator,
    canvas: Canvas,
    spots: Floats,
    palette: tuple[Colour, ...],
    size: float,
) -> None:
    """Strew splinters and slabs.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    canvas : numpy.ndarray
        The canvas, changed in place.
    spots : numpy.ndarray
        Where each piece lies, shape (n, 2).
    palette : tuple of tuple of float
        Colours to choose from.
    size : float
        Typical half length of a piece in pixels.
    """
    count = len(spots)
    angles = rng.uniform(0, 2 * np.pi, count)
    along = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.gamma(2, size / 2, count)[:, None]
    across = along[:, ::-1] * (1, -1) * rng.uniform(0.15, 0.8, (count, 1))
    pieces = to_fixed(np.stack([spots - along, spots + across, spots + along, spots - across], 1))
    shades = rng.uniform(0.7, 1.15, count)
    picks = rng.integers(len(palette), size=count)
    for piece, shade, pick in zip(pieces, shades.tolist(), picks.tolist(), strict=True):
        paint = (*lit(palette[pick], shade), 0.12)
        cv2.fillConvexPoly(canvas, piece, paint, cv2.LINE_8, FRACTION_BITS)


def _inside(rng: np.random.Generator, building: Building, count: int, spread: float) -> Floats:
    """Choose spots on the roof bodies; a spread above 1 reaches beyond the walls."""
    areas = np.array([p.length * p.width for p in building.parts])
    picks = rng.choice(len(areas), count, p=areas / areas.sum())
    spots = np.empty((count, 2))
    for i, pick in enumerate(picks):
        part = building.parts[pick]
        across = np.array([-part.along[1], part.along[0]])
        a = part.length * (0.5 + rng.uniform(-0.5, 0.5) * spread)
        spots[i] = (
            part.start + part.along * a + across * part.width * rng.uniform(-0.5, 0.5) * spread
        )
    return spots


def _reach(building: Building) -> float:
    """Measure half the typical width of a building in pixels."""
    return float(np.sqrt(sum(p.length * p.width for p in building.parts))) / 2


def paint_minor(
    rng: np.random.Generator, canvas: Canvas, building: Building, shift: Floats
) -> None:
    """Paint some of the roof cover lost: bare patches, missing tiles, tarps.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    canvas : numpy.ndarray
        The canvas with the intact building, changed in place.
    building : Building
        What to damage.
    shift : numpy.ndarray
        How far the roof stands from the footprint.
    """
    reach = _reach(building)
    tarped = rng.random() < 0.38
    with clipped(canvas, building.corners + shift):
        for spot in _inside(rng, building, int(rng.integers(1, 4)), 0.85) + shift:
            radius = reach * float(rng.uniform(0.2, 0.42))
            bare = lit((118, 96, 76), float(rng.uniform(0.6, 1.35)))
            if tarped and rng.random() < 0.75:
                part = building.parts[0]
                across = np.array([-part.along[1], part.along[0]])
                axes = np.array([part.along * radius * 1.2, across * radius * 0.8])
                sheet = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ axes + spot
                fill(canvas, sheet, lit(TARP, float(rng.uniform(0.75, 1.2))), 0.06)
            else:
                fill(canvas, blob(rng, spot, radius), bare, 0.16)
        lost = _inside(rng, building, int(reach), 1.0) + shift
        scatter(rng, canvas, lost, ((96, 78, 64), (64, 54, 48), (172, 150, 122)), 1.4)


def paint_major(
    rng: np.random.Generator, canvas: Canvas, building: Building, shift: Floats
) -> None:
    """Paint a large part of the roof gone: dark rooms, rafters, pieces of the cover.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    canvas : numpy.ndarray
        The canvas with the intact building, changed in place.
    building : Building
        What to damage.
    shift : numpy.ndarray
        How far the roof stands from the footprint.
    """
    reach = _reach(building)
    with clipped(canvas, building.corners + shift):
        for spot in _inside(rng, building, int(rng.integers(2, 5)), 0.9) + shift:
            radius = reach * float(rng.uniform(0.42, 0.72))
            fill(canvas, blob(rng, spot, radius * 1.2), (126, 104, 84), 0.22)
            fill(
                canvas,
                blob(rng, spot, radius),
                lit((58, 50, 46), float(rng.uniform(0.7, 1.4))),
                0.3,
            )
            _paint_rafters(rng, canvas, building.parts[0], spot, radius)
        scatter(rng, canvas, _inside(rng, building, int(reach * 2.2), 1.0) + shift, RUBBLE, 1.7)


def _paint_rafters(
    rng: np.random.Generator, canvas: Canvas, part: RoofPart, spot: Floats, radius: float
) -> None:
    """Paint beams left over a hole."""
    across = np.array([-part.along[1], part.along[0]])
    for offset in np.arange(-radius, radius, 2.6):
        if rng.random() < 0.5:
            middle = spot + part.along * offset
            ends = np.array([middle - across * radius * 0.8, middle + across * radius * 0.8])
            stroke(canvas, ends, 0.5, (156, 134, 108), 0.1)


def paint_destroyed(
    rng: np.random.Generator, canvas: Canvas, building: Building, cause: str
) -> None:
    """Paint what is left of a building: rubble, a burned shell, or a bare slab.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    canvas : numpy.ndarray
        The canvas without the building, changed in place.
    building : Building
        What has been destroyed.
    cause : str
        The event.
    """
    palette = ASH if cause == "fire" else RUBBLE
    reach = _reach(building)
    spread = float(rng.uniform(1.1, 1.7)) if cause != "fire" else 1.0
    swept = rng.random() < (0.15 if cause == "fire" else 0.3)
    floor = lit(palette[0 if swept else int(rng.integers(1, 3))], float(rng.uniform(0.75, 1.1)))
    if swept or cause == "fire":
        fill(canvas, building.corners, floor, 0.1 if swept else 0.24)
    else:
        middle = building.corners.mean(axis=0)
        fill(canvas, blob(rng, middle, reach * spread), lit(floor, 0.85), 0.26)
        fill(canvas, building.corners, floor, 0.3)
    density = 0.012 if swept else 0.055
    count = int(np.clip((2 * reach) ** 2 * density * spread, 8, 420))
    scatter(rng, canvas, _inside(rng, building, count, spread), palette, 2.2)
    if not swept and rng.random() < 0.5:  # remains of walls
        outline = building.corners
        for i in range(len(outline)):
            if rng.random() < 0.5:
                wall = np.array([outline[i - 1], outline[i]])
                stroke(canvas, wall, 0.8, lit((190, 182, 170), float(rng.uniform(0.7, 1.1))), 0.2)
    if cause == "fire":
        for spot in _inside(rng, building, 3, 0.8):
            fill(canvas, blob(rng, spot, reach * 0.3), (48, 46, 46), 0.3)
