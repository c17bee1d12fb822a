"""Satellite-like scene pairs with building footprints and damage grades, drawn by procedure.

A scene is a town of half-metre pixels before and after an event. No image, map or foreign code
goes into it. Season, sun, view, sensor and shift differ between the dates by more than much of
the damage does, because that is what makes real pairs hard.

Seeds below `TRAINING_SEEDS` belong to training; the committed sample uses one above.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sample_data.damage import RUBBLE, Harm, paint_destroyed, paint_major, paint_minor, scatter
from sample_data.layout import MARGIN, Building, Town, lay_out
from sample_data.painting import (
    SCALE,
    Canvas,
    Field,
    blob,
    cast_shadows,
    fill,
    fractal,
    lit,
    paint_building,
    paint_cars,
    paint_ground,
    paint_streets,
    texture,
)
from sample_data.radar import draw_radar
from sample_data.styles import Floats, Shot, Style, draw_style
from sample_data.trees import paint_trees

Bytes = npt.NDArray[np.uint8]

TRAINING_SEEDS = 10_000_000
_COARSE = 4  # pixels per cell of the hazard field
_RADAR = 7  # tells the chances of the radar's image from those of the scene


@dataclass(frozen=True)
class DrawnScene:
    """A drawn pair with its truth.

    Attributes
    ----------
    pre, post : numpy.ndarray
        RGB images, uint8, shape (3, size, size).
    footprints : list of numpy.ndarray
        Corners of each building in pixel-corner coordinates (x, y) of ``pre``, not closed; those
        at the rim reach beyond the image.
    grades : list of int
        1 no damage, 2 minor, 3 major, 4 destroyed; one per footprint.
    post_offset : tuple of float
        What lies at (x, y) in ``pre`` lies at (x + dx, y + dy) in ``post``.
    post_sar : numpy.ndarray or None
        What a radar sees after the event, uint8, shape (1, size, size), where it was asked for.
    """

    pre: Bytes
    post: Bytes
    footprints: list[Floats]
    grades: list[int]
    post_offset: tuple[float, float]
    post_sar: Bytes | None = None


@dataclass(frozen=True)
class Hazard:
    """How strong the event is where: about 0 for none, 1 for total."""

    event: str
    strength: Field

    def at(self, points: npt.ArrayLike) -> Floats:
        """Strength at pixel coordinates."""
        cells = ((np.asarray(points, dtype=np.float64) + MARGIN) / _COARSE).astype(int)
        cells = cells.clip(0, self.strength.shape[0] - 1)
        values: Floats = self.strength[cells[..., 1], cells[..., 0]].astype(np.float64)
        return values


def draw_scene(
    seed: int, size: int = 512, *, style: Style | None = None, sar: bool = False
) -> DrawnScene:
    """Draw a pre- and a post-event image with footprints and grades.

    Parameters
    ----------
    seed : int
        Decides everything; training uses seeds below `TRAINING_SEEDS`.
    size : int
        Width and height in pixels of about half a metre.
    style : Style, optional
        Look and event; drawn from the seed by default.
    sar : bool
        Draw what a radar sees after the event, too; the other images are the same without it.

    Returns
    -------
    DrawnScene
        The pair and its truth.
    """
    rng = np.random.default_rng(seed)
    drawn = draw_style(rng)
    style = drawn if style is None else style
    town = lay_out(rng, style, size)
    hazard = draw_hazard(rng, style, size)
    harms = [_harm(rng, b, hazard) for b in town.buildings]
    canvas_size = (size + 2 * MARGIN) * SCALE
    relief = fractal(rng, canvas_size // 2, (5, 11, 24, 60, 140))
    relief = _resized(relief, canvas_size)
    tree_seed = int(rng.integers(1 << 31))
    pre = _paint_pre(rng, town, style, relief, tree_seed)
    post = _paint_post(rng, town, style, relief, tree_seed, hazard, harms)
    visible = [_in_view(b.corners, size) for b in town.buildings]
    return DrawnScene(
        pre=_expose(rng, pre, style.pre, (0.0, 0.0), size),
        post=_expose(rng, post, style.post, style.shift, size),
        footprints=[b.corners for b, seen in zip(town.buildings, visible, strict=True) if seen],
        grades=[h.grade for h, seen in zip(harms, visible, strict=True) if seen],
        post_offset=style.shift,
        post_sar=_draw_sar(seed, town, hazard, harms, size) if sar else None,
    )


def _draw_sar(seed: int, town: Town, hazard: Hazard, harms: list[Harm], size: int) -> Bytes:
    """Draw the radar's image, with chances of its own: the optical ones stay as they are."""
    rng = np.random.default_rng([seed, _RADAR])
    trees, _ = _surviving_trees(rng, town, hazard)
    water = hazard.strength if hazard.event == "flood" else None
    return draw_radar(rng, town, trees, harms, water, size)


def _in_view(corners: Floats, size: int) -> bool:
    """Tell whether any of a building may show in the image; its bounding box decides."""
    return bool((corners.max(axis=0) > 1).all() and (corners.min(axis=0) < size - 1).all())


def draw_hazard(rng: np.random.Generator, style: Style, size: int) -> Hazard:
    """Draw where the event is strong.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    style : Style
        The event and its severity.
    size : int
        Width and height of the image in pixels.

    Returns
    -------
    Hazard
        The field, with a margin around the image.
    """
    count = (size + 2 * MARGIN) // _COARSE
    noise = fractal(rng, count, (4, 9, 20))
    axis = np.linspace(-1, 1, count, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    angle, level = rng.uniform(0, 2 * np.pi), style.severity
    across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    offset = np.float32(rng.uniform(-0.6, 0.6))
    if style.event == "track":
        width = rng.uniform(0.18, 0.5)
        strength = (0.45 + 0.8 * level) * np.exp(-(((across - offset) / width) ** 2)) + 0.09 * noise
    elif style.event == "flood":
        strength = 0.7 * (across - offset) + 0.28 * noise + (level - 0.7) * 0.8
    elif style.event == "fire":
        strength = 0.5 + 1.1 * (across - offset) + 0.3 * noise + (level - 0.7) * 0.8
    elif style.event in ("wind", "quake"):
        strength = 0.12 + 0.5 * level + 0.3 * (across - offset) + 0.16 * noise
    else:
        strength = np.full_like(noise, -1.0)
    return Hazard(style.event, np.asarray(strength, np.float32))


def _harm(rng: np.random.Generator, building: Building, hazard: Hazard) -> Harm:
    """Grade one building: the hazard where it stands and its own luck."""
    middle = building.corners.mean(axis=0)
    seed = int(rng.integers(1 << 31))
    luck = float(rng.normal(0, 0.17))
    strength = float(hazard.at(middle))
    if hazard.event == "calm":
        return Harm(1, "calm", seed)
    if hazard.event == "flood":
        return Harm(_flood_grade(building, hazard, luck), "flood", seed)
    steps = {"fire": (0.55, 0.66, 0.78), "quake": (0.48, 0.66, 0.82)}
    limits = steps.get(hazard.event, (0.35, 0.56, 0.76))
    return Harm(1 + sum(strength + luck > limit for limit in limits), hazard.event, seed)


def _flood_grade(building: Building, hazard: Hazard, luck: float) -> int:
    """Call it major where water stands at most walls, minor where it touches, rarely worse."""
    middle = building.corners.mean(axis=0)
    ring = middle + (building.corners - middle) * 1.25
    ring = np.vstack([ring, (ring + np.roll(ring, 1, axis=0)) / 2])
    wet = float((hazard.at(ring) > 0).mean())
    if wet > 0.85 and float(hazard.at(middle)) > 0.45 and luck > 0.12:
        return 4
    if wet >= 0.8:
        return 3
    return 2 if wet > 0.25 else 1


def _paint_pre(
    rng: np.random.Generator, town: Town, style: Style, relief: Field, tree_seed: int
) -> Canvas:
    """Paint the town before the event."""
    shot = style.pre
    canvas = paint_ground(town, style, shot, relief)
    paint_streets(canvas, town, style, shot)
    paint_cars(rng, canvas, town, 0.0)
    cast_shadows(
        canvas, [(b.corners - _lean(b, shot), b.height) for b in town.buildings], shot, 0.42
    )
    for index, building in enumerate(town.buildings):
        paint_building(canvas, building, shot, shot, index)
    paint_trees(
        np.random.default_rng(tree_seed), canvas, town.trees, shot, [False] * len(town.trees)
    )
    return canvas


def _lean(building: Building, shot: Shot) -> Floats:
    """Tell how far the roof stands from the base in a view from the side."""
    return np.array(shot.lean) * building.height


def _paint_post(
    rng: np.random.Generator,
    town: Town,
    style: Style,
    relief: Field,
    tree_seed: int,
    hazard: Hazard,
    harms: list[Harm],
) -> Canvas:
    """Paint the town after the event."""
    shot = style.post
    canvas = paint_ground(town, style, shot, relief)
    if hazard.event == "fire":
        _scorch(rng, canvas, hazard)
    paint_streets(canvas, town, style, shot)
    paint_cars(rng, canvas, town, 0.5 if hazard.event in ("track", "wind") else 0.0)
    _mark_ground(rng, canvas, town, hazard)
    standing = [(b, h) for b, h in zip(town.buildings, harms, strict=True) if h.grade < 4]
    cast_shadows(
        canvas, [(b.corners - _lean(b, style.pre), b.height) for b, _ in standing], shot, 0.42
    )
    for index, (building, harm) in enumerate(zip(town.buildings, harms, strict=True)):
        _paint_after(canvas, building, harm, style, index)
    trees, burned = _surviving_trees(rng, town, hazard)
    paint_trees(np.random.default_rng(tree_seed), canvas, trees, shot, burned)
    return canvas


def _paint_after(canvas: Canvas, building: Building, harm: Harm, style: Style, index: int) -> None:
    """Paint one building after the event, with what fell off it."""
    rng = np.random.default_rng(harm.seed)
    if harm.grade == 4:
        paint_destroyed(rng, canvas, building, harm.cause)
        return
    shift = _lean(building, style.post) - _lean(building, style.pre)
    if harm.grade > 1 and harm.cause != "flood":
        reach = float(np.ptp(building.corners, axis=0).mean()) * 0.5
        count = int(reach * (0.35 if harm.grade == 2 else 1.3))
        spots = building.corners.mean(axis=0) + rng.normal(0, reach * 0.75, (count, 2))
        scatter(rng, canvas, spots, RUBBLE, 1.6)
    paint_building(canvas, building, style.pre, style.post, index)
    if harm.cause == "flood":
        return
    if harm.grade == 2:
        paint_minor(rng, canvas, building, shift)
    elif harm.grade == 3:
        paint_major(rng, canvas, building, shift)


def _mark_ground(rng: np.random.Generator, canvas: Canvas, town: Town, hazard: Hazard) -> None:
    """Mark water and debris away from buildings."""
    if hazard.event == "flood":
        _flood(rng, canvas, hazard)
    elif hazard.event in ("track", "wind"):
        reach = canvas.shape[0] / SCALE - MARGIN
        spots = rng.uniform(-MARGIN, reach, (int(reach**2 / 260), 2))
        exposed = hazard.at(spots) + rng.normal(0, 0.15, len(spots)) > 0.62
        scatter(rng, canvas, spots[exposed], RUBBLE, 1.7)
    if rng.random() < 0.25:  # heaps, earthworks and stores that no event has made
        for _ in range(int(rng.integers(1, 6))):
            middle = rng.uniform(0, canvas.shape[0] / SCALE, 2)
            fill(canvas, blob(rng, middle, float(rng.uniform(4, 22))), (148, 130, 108), 0.25)
            scatter(rng, canvas, middle + rng.normal(0, 7, (30, 2)), RUBBLE, 1.8)


def _resized(field: Field, size: int) -> Field:
    """Resize a smooth field, such as the hazard, to the canvas."""
    grown = cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR)
    return grown.astype(np.float32, copy=False)


def _flood(rng: np.random.Generator, canvas: Canvas, hazard: Hazard) -> None:
    """Paint brown or dark water, opaque where it is deep; a wet rim where it has been."""
    muddy = rng.random() < 0.65
    tint = (124, 104, 78) if muddy else (58, 66, 64)
    colour = np.array([*tint, 0.012], np.float32) * np.float32(rng.uniform(0.75, 1.2))
    depth = _resized(hazard.strength, len(canvas))
    darkening = np.array([0.25, 0.25, 0.25, 0], np.float32)
    rim = np.clip((depth + 0.06) / 0.06, 0, 1)[..., None] * darkening
    canvas *= 1 - rim
    cover = np.clip(depth / 0.03, 0, 1)[..., None] * np.float32(rng.uniform(0.86, 0.97))
    canvas += cover * (colour - canvas)


def _scorch(rng: np.random.Generator, canvas: Canvas, hazard: Hazard) -> None:
    """Burn the ground to black and ash in patches."""
    heat = _resized(hazard.strength, len(canvas)) - np.float32(0.45)
    patches = fractal(rng, hazard.strength.shape[0], (14, 40, 90))
    cover = np.clip(heat * 3 + 0.25 * _resized(patches, len(canvas)), 0, 0.8)[..., None]
    light = float(rng.uniform(0.6, 1.5))
    ash = np.array([*lit((88, 80, 74), light), 0.16], np.float32)
    canvas += cover * (ash - canvas)


def _surviving_trees(
    rng: np.random.Generator, town: Town, hazard: Hazard
) -> tuple[list[tuple[float, float, float]], list[bool]]:
    """List the trees after the event; a lost one keeps its place with next to no crown."""
    spots = np.array([t[:2] for t in town.trees]).reshape(-1, 2)
    strength = hazard.at(spots) + rng.normal(0, 0.2, len(spots))
    storm = hazard.event in ("track", "wind")
    lost = strength > 0.5 if storm else rng.random(len(spots)) < 0.05
    burned = (strength > 0.5) if hazard.event == "fire" else np.zeros(len(spots), bool)
    trees = [
        (x, y, 0.3 if gone else r * (0.75 if scorched else 1.0))
        for (x, y, r), gone, scorched in zip(town.trees, lost, burned, strict=True)
    ]
    return trees, burned.tolist()


def _expose(
    rng: np.random.Generator, canvas: Canvas, shot: Shot, shift: tuple[float, float], size: int
) -> Bytes:
    """Turn a canvas into the image of one date: texture, view, optics, sensor."""
    left, top = (round((MARGIN - s) * SCALE) for s in shift)
    view = canvas[top : top + size * SCALE, left : left + size * SCALE]
    light = texture(rng, size * SCALE)
    light *= view[..., 3]
    light += 1
    if shot.cloud_shadow:
        cloud = np.clip(_resized(fractal(rng, 64, (3, 6)), len(view)) * 2, 0, 1)
        light *= 1 - np.float32(0.4) * cloud
    lit_view = view[..., :3] * light[..., None]
    image = cv2.resize(lit_view, (size, size), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(image, (0, 0), shot.blur).astype(np.float32, copy=False)
    return _compress(_measure(rng, blurred, shot), shot.jpeg_quality)


def _measure(rng: np.random.Generator, image: Canvas, shot: Shot) -> Bytes:
    """Turn light into digital numbers: white balance, haze, contrast, noise."""
    haze = np.array([168, 176, 190], np.float32) * np.float32(shot.haze)
    seen = image * np.array(shot.balance, np.float32) * np.float32(1 - shot.haze) + haze
    mean = np.float32(110.0)
    seen = (seen - mean) * np.float32(shot.contrast) + mean
    seen += rng.standard_normal(seen.shape, dtype=np.float32) * np.float32(shot.noise)
    numbers: Bytes = np.clip(seen, 0, 255).astype(np.uint8)
    return numbers


def _compress(image: Bytes, quality: int) -> Bytes:
    """Send an image through JPEG and back; band first."""
    _, coded = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    if decoded is None:
        raise RuntimeError("OpenCV cannot read back the JPEG that it wrote")
    bands: Bytes = np.ascontiguousarray(decoded[..., ::-1].transpose(2, 0, 1))
    return bands
