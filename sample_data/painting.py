"""How a drawn town looks from above on one date: ground, streets, roofs, trees, shadows.

A canvas has four float channels: red, green, blue, and roughness. Every shape is filled with a
colour and a roughness at once. One texture, multiplied in at the end, then makes grass, rubble and
roofs differ without a texture for each. It is drawn at twice the resolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt

from sample_data.layout import MARGIN, Building, RoofPart, Town
from sample_data.styles import Colour, Floats, Shot, Style

Canvas = npt.NDArray[np.float32]
Field = npt.NDArray[np.float32]

SCALE = 2  # supersampling
FRACTION_BITS = 4  # of OpenCV's fixed-point coordinates
GUARD = 64  # pixels around a building that no hole in its roof exceeds

CAR_COLOURS: tuple[Colour, ...] = (
    (228, 228, 228),
    (196, 198, 202),
    (58, 60, 64),
    (112, 116, 122),
    (132, 44, 40),
    (52, 74, 112),
)


def fractal(rng: np.random.Generator, size: int, cells: tuple[int, ...]) -> Field:
    """Draw smooth noise with about unit spread.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    size : int
        Width and height of the result.
    cells : tuple of int
        Grid cells across the field, one number per octave; each octave weighs half as much.

    Returns
    -------
    numpy.ndarray
        float32, shape (size, size).
    """
    total = np.zeros((size, size), np.float32)
    for octave, count in enumerate(cells):
        grid = rng.standard_normal((count, count), dtype=np.float32)
        total += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) / (1 << octave)
    return total


def texture(rng: np.random.Generator, size: int) -> Field:
    """Draw the fine noise that roughness scales: grains of one to eight pixels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    size : int
        Width and height of the result.

    Returns
    -------
    numpy.ndarray
        float32, shape (size, size), about unit spread.
    """
    total = np.zeros((size, size), np.float32)
    for cell, weight in ((2, 0.7), (4, 0.65), (9, 0.5)):
        count = -(-size // cell)
        grid = rng.standard_normal((count, count), dtype=np.float32)
        grown = cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
        total += weight * grown
    return total


def to_fixed(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Turn pixel-corner coordinates into OpenCV's fixed-point pixel centres on the canvas.

    Parameters
    ----------
    points : array_like
        Coordinates in pixels of the pre-event image, last axis (x, y).

    Returns
    -------
    numpy.ndarray
        int32 with `FRACTION_BITS` fractional bits.
    """
    scaled = (np.asarray(points) + MARGIN) * SCALE - 0.5
    return np.rint(scaled * (1 << FRACTION_BITS)).astype(np.int32)


def fill(canvas: Canvas, points: npt.ArrayLike, colour: Colour, roughness: float) -> None:
    """Fill one polygon on the canvas.

    Parameters
    ----------
    canvas : numpy.ndarray
        The four-channel canvas, changed in place.
    points : array_like
        Corners in pixels of the pre-event image, shape (k, 2).
    colour : tuple of float
        Red, green, blue.
    roughness : float
        Share of the colour that the texture adds or takes.
    """
    cv2.fillPoly(canvas, [to_fixed(points)], (*colour, roughness), shift=FRACTION_BITS)


def stroke(
    canvas: Canvas, points: npt.ArrayLike, width: float, colour: Colour, roughness: float
) -> None:
    """Draw one line of a width in pixels on the canvas.

    Parameters
    ----------
    canvas : numpy.ndarray
        The four-channel canvas, changed in place.
    points : array_like
        Vertices in pixels of the pre-event image, shape (k, 2).
    width : float
        Line width in pixels.
    colour : tuple of float
        Red, green, blue.
    roughness : float
        Share of the colour that the texture adds or takes.
    """
    thick = max(1, round(width * SCALE))
    paint = (*colour, roughness)
    cv2.polylines(canvas, [to_fixed(points)], False, paint, thick, cv2.LINE_8, FRACTION_BITS)


def lit(colour: Colour, light: float) -> Colour:
    """Scale a colour.

    Parameters
    ----------
    colour : tuple of float
        Red, green, blue.
    light : float
        Factor.

    Returns
    -------
    tuple of float
        The scaled colour.
    """
    return colour[0] * light, colour[1] * light, colour[2] * light


def blob(rng: np.random.Generator, centre: npt.ArrayLike, radius: float) -> Floats:
    """Draw an irregular round outline.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    centre : array_like
        Middle (x, y).
    radius : float
        Mean radius in pixels.

    Returns
    -------
    numpy.ndarray
        Corners, shape (11, 2).
    """
    angles = np.linspace(0, 2 * np.pi, 11, endpoint=False)
    radii = radius * rng.uniform(0.68, 1.22, 11)
    ring = np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)
    outline: Floats = ring + np.asarray(centre, dtype=np.float64)
    return outline


@contextmanager
def clipped(canvas: Canvas, outline: Floats) -> Iterator[None]:
    """Undo what is drawn outside an outline.

    Parameters
    ----------
    canvas : numpy.ndarray
        The four-channel canvas, changed in place.
    outline : numpy.ndarray
        The polygon to keep drawing in; only its bounding box and `GUARD` pixels more are guarded.
    """
    low = np.floor((outline.min(axis=0) - GUARD + MARGIN) * SCALE).astype(int).clip(0)
    high = np.ceil((outline.max(axis=0) + GUARD + MARGIN) * SCALE).astype(int).clip(0)
    window = canvas[low[1] : high[1], low[0] : high[0]]
    before = window.copy()
    yield
    if window.size:
        keep = np.zeros(window.shape[:2], np.uint8)
        offset = (low * (1 << FRACTION_BITS)).astype(np.int32)
        cv2.fillPoly(keep, [to_fixed(outline) - offset], 1, shift=FRACTION_BITS)
        np.copyto(window, before, where=(keep == 0)[..., None])


def paint_ground(town: Town, style: Style, shot: Shot, relief: Field) -> Canvas:
    """Paint grass and soil, lot by lot.

    Parameters
    ----------
    town : Town
        The layout.
    style : Style
        The palette.
    shot : Shot
        The acquisition; its season decides between grass and soil.
    relief : numpy.ndarray
        Smooth noise that both dates share, one value per canvas pixel.

    Returns
    -------
    numpy.ndarray
        A new canvas.
    """
    vigour = np.zeros_like(relief)
    for outline, tint in town.lots:
        cv2.fillPoly(vigour, [to_fixed(outline)], 0.16 * tint, shift=FRACTION_BITS)
    vigour += 0.13 * relief + (shot.greenness * 0.9 + 0.08)
    np.clip(vigour, 0, 1, out=vigour)
    soil, grass = np.array(style.soil), np.array(style.grass)
    if shot.snow:
        soil, grass = np.array([205.0, 208, 214]), np.array([228.0, 231, 236])
    canvas = np.empty((*relief.shape, 4), np.float32)
    shade = 1 + 0.035 * relief
    for band in range(3):
        np.multiply(vigour, grass[band] - soil[band], out=canvas[..., band])
        canvas[..., band] += soil[band]
        canvas[..., band] *= shade
    canvas[..., 3] = 0.035 if shot.snow else 0.07
    return canvas


def paint_streets(canvas: Canvas, town: Town, style: Style, shot: Shot) -> None:
    """Paint streets with their kerbs and lane marks, pavings and pools.

    Parameters
    ----------
    canvas : numpy.ndarray
        The canvas, changed in place.
    town : Town
        The layout.
    style : Style
        The palette.
    shot : Shot
        The acquisition.
    """
    kerb = (172.0, 168.0, 158.0)
    walk = bool(style.road_width > 12)
    for line, width in town.roads:
        if walk:
            stroke(canvas, line, width + 4, kerb, 0.05)
    for outline, tint in town.pavings:
        fill(canvas, outline, lit(kerb, 1 + 0.14 * tint), 0.04)
    for line, width in town.roads:
        stroke(canvas, line, width, style.asphalt, 0.04)
    for line, width in town.roads:
        if width > 11:
            stroke(canvas, line, 0.5, (190, 182, 140), 0.05)
    for outline in town.pools:
        fill(canvas, outline, lit(kerb, 1.1), 0.02)
        middle = outline.mean(axis=0)
        water = (78.0, 168.0, 182.0) if not shot.snow else (150.0, 175.0, 180.0)
        fill(canvas, middle + (outline - middle) * 0.74, water, 0.03)


def paint_cars(rng: np.random.Generator, canvas: Canvas, town: Town, wrecked: float) -> None:
    """Paint cars into some of the slots; other slots on another date.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance for this date.
    canvas : numpy.ndarray
        The canvas, changed in place.
    town : Town
        The layout with its slots.
    wrecked : float
        Spread of the heading in radians; more than 0 where a storm has moved the cars.
    """
    box = np.array([[-4.3, -1.8], [4.3, -1.8], [4.3, 1.8], [-4.3, 1.8]])
    glass = np.array([[0.8, -1.5], [2.2, -1.5], [2.2, 1.5], [0.8, 1.5]])
    for x, y, heading in town.car_slots:
        if rng.random() < 0.45:
            continue
        angle = heading + rng.normal(0, 0.06 + wrecked)
        c, s = np.cos(angle), np.sin(angle)
        turn, at = np.array([[c, s], [-s, c]]), np.array([x, y]) + rng.normal(0, 1, 2)
        colour = CAR_COLOURS[rng.integers(len(CAR_COLOURS))]
        fill(canvas, box @ turn + at + (0.8, 0.8), (45, 45, 48), 0.02)
        fill(canvas, box @ turn + at, colour, 0.03)
        fill(canvas, glass @ turn + at, (50, 56, 64), 0.02)


def _leaning(building: Building, pre: Shot, shot: Shot) -> tuple[Floats, Floats]:
    """Tell how far base and roof stand from the footprint, which is the pre date's roof."""
    base = -np.array(pre.lean) * building.height
    return base, base + np.array(shot.lean) * building.height


def cast_shadows(
    canvas: Canvas, casters: list[tuple[Floats, float]], shot: Shot, deep: float
) -> None:
    """Darken what lies in the shadow of prisms.

    Parameters
    ----------
    canvas : numpy.ndarray
        The canvas, changed in place.
    casters : list of (numpy.ndarray, float)
        Outline on the ground and height in pixels.
    shot : Shot
        The acquisition with its sun.
    deep : float
        Light left in the shadow.
    """
    away = -np.array([np.cos(shot.sun_azimuth), np.sin(shot.sun_azimuth)])
    away /= np.tan(shot.sun_elevation)
    mask = np.zeros(canvas.shape[:2], np.uint8)
    for outline, height in casters:
        tip = outline + away * height
        cv2.fillPoly(mask, [to_fixed(tip)], 1, shift=FRACTION_BITS)
        after = np.arange(1, len(outline) + 1) % len(outline)
        sides = np.stack([outline, outline[after], tip[after], tip], axis=1)
        for side in to_fixed(sides):
            cv2.fillConvexPoly(mask, side, 1, shift=FRACTION_BITS)
    darken(canvas, mask, deep)


def darken(canvas: Canvas, mask: npt.NDArray[np.uint8], deep: float) -> None:
    """Darken a mask; sky light is blue, so a shadow is too."""
    shaded = np.flatnonzero(mask)
    flat = canvas.reshape(-1, 4)
    flat[shaded] *= np.array([deep * 0.93, deep * 0.97, deep * 1.1, 1], np.float32)


def paint_building(canvas: Canvas, building: Building, pre: Shot, shot: Shot, seed: int) -> None:
    """Paint walls and roof of an intact building.

    Parameters
    ----------
    canvas : numpy.ndarray
        The canvas, changed in place.
    building : Building
        What to paint.
    pre : Shot
        The acquisition in which the footprint was drawn.
    shot : Shot
        The acquisition to paint.
    seed : int
        Decides what stands on a flat roof; the same on both dates.
    """
    base, roof = _leaning(building, pre, shot)
    for t in np.linspace(0, 1, 4)[:-1]:
        fill(canvas, building.corners + base + t * (roof - base), (136, 126, 116), 0.05)
    colour = (226.0, 229.0, 234.0) if shot.snow else building.colour
    sun = sun_direction(shot)
    if building.flat:
        _paint_flat(canvas, building, roof, lit(colour, 0.72 + 0.34 * sun[2]), sun, seed)
        return
    fill(canvas, building.corners + roof, lit(colour, 0.9), 0.05)
    for part in building.parts:
        _paint_pitched(canvas, part, building.pitch, roof, colour, sun)


def sun_direction(shot: Shot) -> Floats:
    """Point a unit vector to the sun: x, y in the image, z up."""
    flat = np.cos(shot.sun_elevation)
    return np.array(
        [
            flat * np.cos(shot.sun_azimuth),
            flat * np.sin(shot.sun_azimuth),
            np.sin(shot.sun_elevation),
        ]
    )


def _paint_pitched(
    canvas: Canvas, part: RoofPart, pitch: float, shift: Floats, colour: Colour, sun: Floats
) -> None:
    """Paint both sides of a roof and its hipped ends, each as bright as it faces the sun."""
    half = part.width / 2
    across = np.array([-part.along[1], part.along[0]])

    def at(a: float, b: float) -> Floats:
        point: Floats = part.start + part.along * a + across * b + shift
        return point

    first, last = part.ends[0] * half, part.length - part.ends[1] * half
    if first > last:  # a hip on a short part: the ridge shrinks to a point
        first = last = (first + last) / 2
    ridge = at(first, 0), at(last, 0)
    faces = [
        (across, [at(0, half), at(part.length, half), ridge[1], ridge[0]]),
        (-across, [at(0, -half), at(part.length, -half), ridge[1], ridge[0]]),
    ]
    if part.ends[0] == 1:
        faces.append((-part.along, [at(0, -half), at(0, half), ridge[0]]))
    if part.ends[1] == 1:
        faces.append((part.along, [at(part.length, -half), at(part.length, half), ridge[1]]))
    for facing, outline in faces:
        light = float(np.sin(pitch) * (facing @ sun[:2]) + np.cos(pitch) * sun[2])
        fill(canvas, np.array(outline), lit(colour, 0.5 + 0.62 * max(light, 0.0)), 0.055)
    stroke(canvas, np.array(ridge), 0.5, lit(colour, 1.08), 0.05)


def _paint_flat(
    canvas: Canvas, building: Building, shift: Floats, colour: Colour, sun: Floats, seed: int
) -> None:
    """Paint a flat roof with its parapet and the plant on it."""
    rng = np.random.default_rng(seed)
    outline = building.corners + shift
    fill(canvas, outline, colour, 0.035)
    stroke(canvas, np.vstack([outline, outline[:1]]), 1, lit(colour, 1.15), 0.03)
    part = building.parts[0]
    across = np.array([-part.along[1], part.along[0]])
    for _ in range(rng.poisson(part.length * part.width / 420)):
        size = rng.uniform(1.5, 4, 2)
        a = rng.uniform(0.1, 0.9) * part.length
        b = rng.uniform(-0.38, 0.38) * part.width
        at = part.start + part.along * a + across * b + shift
        axes = np.array([part.along * size[0], across * size[1]])
        box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ axes + at
        fill(canvas, box - sun[:2] * 2.2, lit(colour, 0.55), 0.02)
        fill(canvas, box, lit((176, 178, 180), float(rng.uniform(0.7, 1.25))), 0.03)
