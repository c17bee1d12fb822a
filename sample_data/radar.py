"""What a radar that looks sideways sees of a drawn town: speckle, layover, walls, shadow.

A simplified picture of high-resolution SAR in ground range. Higher points are nearer to the sensor
and fall towards it (layover). A wall and the ground before it reflect each other's echo (double
bounce): a bright line at the foot of the walls that face the sensor. There is nothing behind a
building. Smooth ground and water send next to nothing back, crowns and rubble a lot. A building
that is gone has lost its line and its shadow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sample_data.damage import Harm
from sample_data.layout import MARGIN, Building, Town
from sample_data.painting import FRACTION_BITS, SCALE, Field, blob, fractal, to_fixed
from sample_data.styles import Floats

#: Intensity that each kind of surface sends back, relative; after the spread between classes in
#: X-band scenes of towns, roughly -20 dB for asphalt and +10 dB for corners.
WATER, ASPHALT, PAVING, GRASS, CROWN, RUBBLE = 0.004, 0.012, 0.03, 0.07, 0.2, 0.22
NOTHING = 0.003
#: Pieces that a wall is cut into where it stands in part.
PIECES = 4

Tree = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """One acquisition.

    Attributes
    ----------
    away : numpy.ndarray
        Unit vector on the ground, away from the sensor.
    incidence : float
        Angle from the vertical, radians.
    looks : int
        Independent looks that are averaged; the fewer, the more speckle.
    shift : tuple of float
        How far the image lies off, pixels.
    decibels : bool
        Whether grey values follow the logarithm of the intensity, or its root.
    """

    away: Floats
    incidence: float
    looks: int
    shift: tuple[float, float]
    decibels: bool

    @property
    def nearer(self) -> Floats:
        """How far a pixel of height falls towards the sensor."""
        return -self.away / float(np.tan(self.incidence))

    @property
    def shadow(self) -> Floats:
        """How far the shadow of a pixel of height reaches."""
        return self.away * float(np.tan(self.incidence))


def draw_look(rng: np.random.Generator) -> Look:
    """Draw one acquisition at random."""
    angle = rng.uniform(0, 2 * np.pi)
    return Look(
        away=np.array([np.cos(angle), np.sin(angle)]),
        incidence=float(np.radians(rng.uniform(28, 52))),
        looks=int(rng.integers(1, 5)),
        shift=(float(rng.uniform(-2, 2)), float(rng.uniform(-2, 2))),
        decibels=bool(rng.random() < 0.5),
    )


def draw_radar(
    rng: np.random.Generator,
    town: Town,
    trees: Sequence[Tree],
    harms: Sequence[Harm],
    water: Field | None,
    size: int,
) -> npt.NDArray[np.uint8]:
    """Draw the image of a radar after the event.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    town : Town
        What stood before the event.
    trees : sequence of tuple
        Middle and radius of the crowns that are left.
    harms : sequence of Harm
        What the event did to each building.
    water : numpy.ndarray or None
        Depth of a flood, of any size; above 0 is water.
    size : int
        Width and height, pixels.

    Returns
    -------
    numpy.ndarray
        uint8, shape (1, size, size).
    """
    look = draw_look(rng)
    canvas = _paint_ground(rng, town, (size + 2 * MARGIN) * SCALE)
    if water is not None:
        deep = cv2.resize(water, canvas.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0
        canvas[deep] = WATER
    _paint_trees(rng, canvas, trees, look)
    standing = [_stand(b, h) for b, h in zip(town.buildings, harms, strict=True)]
    for building, height in zip(town.buildings, standing, strict=True):
        _sweep(canvas, building.corners, look.nearer * height, look.shadow * height, NOTHING)
    for building, harm, height in zip(town.buildings, harms, standing, strict=True):
        _paint_body(canvas, building, harm, height, look)
    for building, harm, height in zip(town.buildings, harms, standing, strict=True):
        _paint_corners(canvas, building, harm, height, look)
    return _expose(rng, canvas, look, size)


def _stand(building: Building, harm: Harm) -> float:
    """Return the height that is left of a building, pixels."""
    if harm.cause == "flood" and harm.grade < 4:
        return building.height
    return building.height * (1.0, 1.0, 0.6, 0.0)[harm.grade - 1]


def _paint_ground(rng: np.random.Generator, town: Town, size: int) -> Field:
    """Paint grass, streets and pavings; smooth surfaces mirror the beam away."""
    rough = np.exp(0.35 * fractal(rng, size // 2, (9, 30, 90)))
    canvas: Field = np.asarray(GRASS * cv2.resize(rough, (size, size)), np.float32)
    for outline, tint in town.pavings:
        _fill(canvas, outline, PAVING * (1 + 0.2 * tint))
    for line, width in town.roads:
        thick = max(1, round(width * SCALE))
        cv2.polylines(canvas, [to_fixed(line)], False, (ASPHALT,), thick, cv2.LINE_8, FRACTION_BITS)
    for outline in town.pools:
        _fill(canvas, outline, WATER)
    return canvas


def _paint_trees(
    rng: np.random.Generator, canvas: Field, trees: Sequence[Tree], look: Look
) -> None:
    """Paint crowns: bright, uneven, a little nearer to the sensor, dark behind."""
    crowns = [(np.array([x, y]), r) for x, y, r in trees if r > 1]
    for middle, radius in crowns:
        _fill(canvas, blob(rng, middle + look.shadow * radius * 0.8, radius), NOTHING * 3)
    for middle, radius in crowns:
        level = CROWN * float(rng.uniform(0.6, 1.5))
        _fill(canvas, blob(rng, middle + look.nearer * radius * 0.4, radius), level)


def _paint_body(canvas: Field, building: Building, harm: Harm, height: float, look: Look) -> None:
    """Paint the roof and the walls that face the sensor, or the rubble that is left."""
    rng = np.random.default_rng([harm.seed, 1])
    fallen = harm.grade == 4 or (harm.grade == 3 and harm.cause != "flood")
    if harm.grade == 4:
        middle = building.corners.mean(axis=0)
        outline = middle + (building.corners - middle) * float(rng.uniform(1.0, 1.3))
        burnt = 0.5 if harm.cause == "fire" else 1.0
        _strew(rng, canvas, outline, RUBBLE * burnt)
        return
    for start, end, facing in _facing(building, look):
        if facing > 0 and height > 0:
            top = look.nearer * height
            wall = np.array([start, end, end + top, start + top])
            _fill(canvas, wall, 0.1 + 0.25 * facing, add=True)
    roof = building.corners + look.nearer * height
    if fallen:
        _strew(rng, canvas, roof, RUBBLE * 0.8)
        return
    _fill(canvas, roof, float(np.exp(rng.normal(np.log(0.06), 0.6))), add=True)
    if harm.grade == 2:
        spot = roof.mean(axis=0) + rng.normal(0, 2, 2)
        reach = float(np.ptp(building.corners, axis=0).mean()) * 0.25
        _strew(rng, canvas, blob(rng, spot, reach), RUBBLE * 0.7)


def _paint_corners(
    canvas: Field, building: Building, harm: Harm, height: float, look: Look
) -> None:
    """Paint the double bounce at the foot of the walls; broken walls have gaps."""
    if height <= 0:
        return
    rng = np.random.default_rng([harm.seed, 2])
    strength = float(np.exp(rng.normal(np.log(5.0), 0.6)))
    whole = {1: 0.9, 2: 0.75, 3: 0.35}[harm.grade]  # some walls mirror away, too
    if harm.cause == "flood":
        whole = 1.0  # water stands at the wall, which is whole and mirrors better
    for start, end, facing in _facing(building, look):
        if facing <= 0:
            continue
        for part in range(PIECES):
            if rng.random() > whole:
                continue
            ends = [start + (end - start) * (part + side) / PIECES for side in (0, 1)]
            level = strength * facing**2 * (0.4 + 0.6 * whole)
            line = to_fixed(np.array(ends))
            cv2.polylines(canvas, [line], False, (level,), SCALE + 1, cv2.LINE_8, FRACTION_BITS)


def _facing(building: Building, look: Look) -> list[tuple[Floats, Floats, float]]:
    """Return each wall's ends, and how far it faces the sensor: 1 right at it, below 0 away."""
    corners = building.corners
    after = np.roll(corners, -1, axis=0)
    # Twice the signed area: it says on which side of a wall the inside is.
    turn = np.sign(np.sum(corners[:, 0] * after[:, 1] - after[:, 0] * corners[:, 1]))
    walls = after - corners
    normals = np.stack([walls[:, 1], -walls[:, 0]], axis=1) * turn
    lengths = np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
    facing = -(normals @ look.away) / lengths
    return list(zip(corners, after, facing.tolist(), strict=True))


def _strew(rng: np.random.Generator, canvas: Field, outline: Floats, level: float) -> None:
    """Fill an outline with rubble: some pieces send back much more than others."""
    low = np.floor((outline.min(axis=0) + MARGIN) * SCALE).astype(int).clip(0)
    high = np.ceil((outline.max(axis=0) + MARGIN) * SCALE).astype(int).clip(0)
    window = canvas[low[1] : high[1], low[0] : high[0]]
    if not window.size:
        return
    inside = np.zeros(window.shape, np.uint8)
    offset = (low * (1 << FRACTION_BITS)).astype(np.int32)
    cv2.fillPoly(inside, [to_fixed(outline) - offset], 1, shift=FRACTION_BITS)
    cells = (window.shape[0] // 3 + 1, window.shape[1] // 3 + 1)
    # Source: the K distribution of sea and town clutter: speckle on a gamma-distributed texture.
    pieces = rng.gamma(0.5, level / 0.5, cells).astype(np.float32)
    grown = cv2.resize(pieces, window.shape[::-1], interpolation=cv2.INTER_NEAREST)
    np.copyto(window, grown + np.float32(NOTHING), where=inside > 0)


def _sweep(canvas: Field, outline: Floats, start: Floats, end: Floats, level: float) -> None:
    """Fill all that an outline passes on its way between two shifts."""
    first, last = outline + start, outline + end
    after = np.arange(1, len(outline) + 1) % len(outline)
    for side in to_fixed(np.stack([first, first[after], last[after], last], axis=1)):
        cv2.fillConvexPoly(canvas, side, (level,), cv2.LINE_8, FRACTION_BITS)
    for end_outline in (first, last):
        _fill(canvas, end_outline, level)


def _fill(canvas: Field, outline: Floats, level: float, *, add: bool = False) -> None:
    """Fill an outline, or add to what is there: layover sums what arrives at the same time."""
    if not add:
        cv2.fillPoly(canvas, [to_fixed(outline)], (level,), shift=FRACTION_BITS)
        return
    mask = np.zeros(canvas.shape, np.uint8)
    cv2.fillPoly(mask, [to_fixed(outline)], 1, shift=FRACTION_BITS)
    canvas[mask > 0] += np.float32(level)


def _expose(
    rng: np.random.Generator, canvas: Field, look: Look, size: int
) -> npt.NDArray[np.uint8]:
    """Turn intensities into grey values: view, resolution, speckle, scale."""
    left, top = (round((MARGIN - shift) * SCALE) for shift in look.shift)
    view = canvas[top : top + size * SCALE, left : left + size * SCALE]
    seen = cv2.resize(view, (size, size), interpolation=cv2.INTER_AREA)
    # Source: intensity of L looks follows a gamma distribution of shape L about its mean.
    speckled = seen * rng.gamma(look.looks, 1 / look.looks, seen.shape)
    image = cv2.GaussianBlur(speckled, (0, 0), float(rng.uniform(0.35, 1.1))) + NOTHING
    if look.decibels:
        low, high = rng.uniform(-24, -18), rng.uniform(0, 5)
        grey = (10 * np.log10(image) - low) / (high - low)
    else:
        grey = np.sqrt(image) / rng.uniform(0.7, 1.3)
    # Never 0: that is what an image without a tag has where it shows nothing.
    return np.asarray(np.clip(grey * 255, 1, 255)[None], np.uint8)
