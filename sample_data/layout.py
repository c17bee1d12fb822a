"""Where things stand in a drawn town: streets, lots, buildings and trees.

Everything here is geometry in pixels of the pre-event image (x to the right, y down, one pixel
is about half a metre). Nothing is copied from a map or an image, so the result carries no
foreign licence.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sample_data.styles import BLOCK_KINDS, ROOF_COLOURS, Colour, Floats, Style, jitter

MARGIN = 16  # pixels laid out beyond the image, so that a shifted date has content at its rim


@dataclass(frozen=True)
class RoofPart:
    """One roof body: a ridge direction, its size, and what closes it at either end.

    An end of 0 is a gable, 1 a hip, -1 a valley where the part runs into a larger roof.
    """

    start: Floats
    along: Floats
    length: float
    width: float
    ends: tuple[int, int]


@dataclass(frozen=True)
class Building:
    """A footprint with what is needed to draw it from above."""

    corners: Floats
    parts: tuple[RoofPart, ...]
    height: float
    flat: bool
    pitch: float
    colour: Colour


@dataclass
class Town:
    """Everything that stands on the ground before the event."""

    roads: list[tuple[Floats, float]] = field(default_factory=list)
    lots: list[tuple[Floats, float]] = field(default_factory=list)
    pavings: list[tuple[Floats, float]] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    pools: list[Floats] = field(default_factory=list)
    trees: list[tuple[float, float, float]] = field(default_factory=list)
    car_slots: list[tuple[float, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """Street coordinates (u along, v across) and how they lie in the image."""

    style: Style
    centre: float
    phase: float

    def place(self, points: npt.ArrayLike) -> Floats:
        """Map street coordinates to pixels."""
        uv = np.asarray(points, dtype=np.float64)
        u = uv[..., 0]
        v = uv[..., 1] + self.style.bend * np.sin(u / self.style.bend_length + self.phase)
        return rotate(np.stack([u, v], axis=-1), self.style.street_angle) + self.centre

    def shows(self, lot: tuple[float, float], v: float) -> bool:
        """Whether a lot on the street at ``v`` may reach into the image."""
        away = np.abs(self.place(((lot[0] + lot[1]) / 2, v)) - self.centre)
        room = self.style.lot_depth + (lot[1] - lot[0]) + self.style.road_width + MARGIN
        return bool((away < self.centre + room).all())

    def heading(self, u: float) -> float:
        """Direction of the street at ``u`` in the image, in radians."""
        style = self.style
        slope = style.bend / style.bend_length * np.cos(u / style.bend_length + self.phase)
        return float(style.street_angle + np.arctan(slope))


def rotate(points: Floats, angle: float) -> Floats:
    """Rotate points about the origin.

    Parameters
    ----------
    points : numpy.ndarray
        Coordinates, last axis (x, y).
    angle : float
        Angle in radians, from x towards y.

    Returns
    -------
    numpy.ndarray
        The rotated coordinates.
    """
    c, s = np.cos(angle), np.sin(angle)
    turned: Floats = points @ np.array([[c, s], [-s, c]])
    return turned


def lay_out(rng: np.random.Generator, style: Style, size: int) -> Town:
    """Lay out streets, lots and what stands on them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    style : Style
        The style of the scene.
    size : int
        Width and height of the image in pixels.

    Returns
    -------
    Town
        Geometry in pixels of the pre-event image, with some content beyond its rim.
    """
    town = Town()
    frame = Frame(style, size / 2, float(rng.uniform(0, 2 * np.pi)))
    reach = size * 0.72 + 60
    pitch = style.road_width + 2 * style.lot_depth
    starts = np.arange(-reach - rng.uniform(0, pitch), reach + pitch, pitch)
    for v in starts:
        _lay_street(rng, town, frame, float(v), reach)
    _scatter_trees(rng, town, style, size)
    rim = -MARGIN - 40, size + MARGIN + 40
    town.buildings = [b for b in town.buildings if _touches(b.corners, *rim)]
    town.trees = [t for t in town.trees if rim[0] < t[0] < rim[1] and rim[0] < t[1] < rim[1]]
    town.car_slots = [
        c for c in town.car_slots if rim[0] < c[0] < rim[1] and rim[0] < c[1] < rim[1]
    ]
    return town


def _touches(corners: Floats, low: float, high: float) -> bool:
    return bool((corners.max(axis=0) > low).all() and (corners.min(axis=0) < high).all())


def _lay_street(rng: np.random.Generator, town: Town, frame: Frame, v: float, reach: float) -> None:
    """Lay one street along ``v`` with its cross streets and the lots on both sides."""
    style = frame.style
    u = np.linspace(-reach, reach, 60)
    town.roads.append((frame.place(np.stack([u, np.full_like(u, v)], 1)), style.road_width))
    half = style.road_width / 2
    start = -reach - float(rng.uniform(0, style.block_length))
    while start < reach:
        stop = start + style.block_length * float(rng.uniform(0.7, 1.3))
        cross = np.array([[start, v - half], [start, v + half + 2 * style.lot_depth]])
        line = np.linspace(cross[0], cross[1], 8)
        town.roads.append((frame.place(line), style.road_width * 0.85))
        for side in (-1, 1):
            kind = BLOCK_KINDS[rng.choice(len(BLOCK_KINDS), p=style.block_weights)]
            _fill_block(rng, town, frame, (start + half, stop - half), v, side, kind)
        _park_cars(rng, town, frame, (start, stop), v)
        start = stop


def _fill_block(
    rng: np.random.Generator,
    town: Town,
    frame: Frame,
    span: tuple[float, float],
    v: float,
    side: int,
    kind: str,
) -> None:
    """Lay out the lots between two cross streets on one side."""
    style = frame.style
    if kind in ("wood", "field"):
        _leave_open(rng, town, frame, span, v, side, kind)
        return
    widest = {"houses": 1.0, "rows": 0.42, "commerce": 3.2}[kind] * style.lot_width
    row_depth = float(rng.uniform(0.3, 0.42)) * style.lot_depth
    u = span[0]
    while u < span[1] - 12:
        width = min(widest * float(rng.uniform(0.8, 1.35)), span[1] - u)
        if kind == "rows":
            width = max(12.0, width)
        lot = (u, u + width)
        u += width
        if not frame.shows(lot, v):
            continue
        town.lots.append((_strip(frame, lot, v, side, 0, style.lot_depth), float(rng.normal())))
        if kind == "houses" and width > 20 and rng.random() > 0.07:
            _build_house(rng, town, frame, lot, v, side)
        elif kind == "rows":
            if rng.random() < 0.06:
                u += 8  # a passage between two terraces
            _build_row(rng, town, frame, lot, v, side, row_depth)
        elif kind == "commerce" and width > 50:
            _build_hall(rng, town, frame, lot, v, side)


def _strip(
    frame: Frame, lot: tuple[float, float], v: float, side: int, near: float, far: float
) -> Floats:
    """Outline the part of a lot between two distances from the kerb."""
    kerb = v + side * frame.style.road_width / 2
    low, high = kerb + side * near, kerb + side * far
    return frame.place([(lot[0], low), (lot[1], low), (lot[1], high), (lot[0], high)])


def _leave_open(
    rng: np.random.Generator,
    town: Town,
    frame: Frame,
    span: tuple[float, float],
    v: float,
    side: int,
    kind: str,
) -> None:
    """Leave a block without buildings: a wood, or a field of one or two tints."""
    depth = frame.style.lot_depth
    middle = float(rng.uniform(*span))
    for part in ((span[0], middle), (middle, span[1])):
        tint = float(rng.normal(0, 1.6))
        town.lots.append((_strip(frame, part, v, side, 0, depth), tint))
    if kind == "wood":
        count = int((span[1] - span[0]) * depth / 110 * rng.uniform(0.3, 1))
        u = rng.uniform(*span, count)
        away = v + side * (frame.style.road_width / 2 + rng.uniform(5, depth, count))
        for x, y in frame.place(np.stack([u, away], 1)):
            town.trees.append((float(x), float(y), float(rng.uniform(4, 11))))


def _build_house(
    rng: np.random.Generator,
    town: Town,
    frame: Frame,
    lot: tuple[float, float],
    v: float,
    side: int,
) -> None:
    """Build a detached house with its driveway, and perhaps a shed and a pool."""
    style = frame.style
    room = lot[1] - lot[0]
    width = float(np.clip(room * rng.uniform(0.5, 0.86), 13, 62))
    depth = float(np.clip(width * rng.uniform(0.55, 1.1), 13, style.lot_depth * 0.58))
    setback = float(rng.uniform(0.08, 0.24)) * style.lot_depth
    middle = (lot[0] + lot[1]) / 2 + float(rng.uniform(-0.1, 0.1)) * (room - width)
    town.buildings.append(
        _raise(rng, frame, (middle, v), side, setback, (width, depth), float(rng.uniform(7, 14)))
    )
    edge = middle + float(rng.choice((-1, 1))) * width * 0.32
    drive = (edge - 4, edge + 4)
    town.pavings.append((_strip(frame, drive, v, side, 0, setback + 4), float(rng.uniform(-1, 1))))
    if rng.random() < 0.6:
        x, y = _strip(frame, drive, v, side, 2, setback).mean(axis=0)
        town.car_slots.append((float(x), float(y), frame.heading(middle) + np.pi / 2))
    yard = style.lot_depth - setback - depth
    if yard > 22 and rng.random() < 0.3:
        shed = (float(rng.uniform(7, 13)), float(rng.uniform(7, 11)))
        at = (lot[0] + 9 + float(rng.uniform(0, max(room - 18, 1))), v)
        away = style.lot_depth - shed[1] - 3
        town.buildings.append(_raise(rng, frame, at, side, away, shed, float(rng.uniform(4, 6))))
    elif yard > 24 and rng.random() < 0.16:
        bounds = (middle - 7, middle + 7)
        close = setback + depth + 7
        town.pools.append(_strip(frame, bounds, v, side, close, close + 8))


def _build_row(
    rng: np.random.Generator,
    town: Town,
    frame: Frame,
    lot: tuple[float, float],
    v: float,
    side: int,
    depth: float,
) -> None:
    """Build one unit of a terrace: it fills its lot from wall to wall."""
    width = lot[1] - lot[0]
    setback = 0.12 * frame.style.lot_depth
    middle = (lot[0] + lot[1]) / 2
    town.buildings.append(
        _raise(rng, frame, (middle, v), side, setback, (width, max(depth, 14.0)), 13.0, plain=True)
    )


def _build_hall(
    rng: np.random.Generator,
    town: Town,
    frame: Frame,
    lot: tuple[float, float],
    v: float,
    side: int,
) -> None:
    """Build a warehouse, shop or block of flats with its parking lot."""
    room, deep = lot[1] - lot[0], frame.style.lot_depth
    width = float(min(room * rng.uniform(0.6, 0.9), 150))
    depth = float(min(deep * rng.uniform(0.4, 0.66), width))
    setback = (deep - depth) * float(rng.uniform(0.5, 0.9))
    middle = (lot[0] + lot[1]) / 2
    yard = _strip(frame, (lot[0] + 2, lot[1] - 2), v, side, 0, deep - 3)
    town.pavings.append((yard, float(rng.uniform(-1.6, 0.4))))
    town.buildings.append(
        _raise(
            rng,
            frame,
            (middle, v),
            side,
            setback,
            (width, depth),
            float(rng.uniform(12, 26)),
            hall=True,
        )
    )
    for u in np.arange(lot[0] + 8, lot[1] - 8, 5.5):
        if setback > 16 and rng.random() < 0.5:
            x, y = frame.place((u, v + side * (frame.style.road_width / 2 + setback * 0.45)))
            town.car_slots.append((float(x), float(y), frame.heading(u) + np.pi / 2))


def _raise(
    rng: np.random.Generator,
    frame: Frame,
    at: tuple[float, float],
    side: int,
    setback: float,
    extent: tuple[float, float],
    height: float,
    *,
    plain: bool = False,
    hall: bool = False,
) -> Building:
    """Shape a building and set it on its lot."""
    style = frame.style
    away = style.road_width / 2 + setback + extent[1] / 2
    centre = frame.place((at[0], at[1] + side * away))
    angle = frame.heading(at[0]) + (0 if plain else float(rng.normal(0, 0.03)))
    if not plain and rng.random() < 0.06:
        angle += float(rng.uniform(-0.6, 0.6))
    hip = int(rng.random() < style.hip_share)
    corners, parts = shape_building(rng, extent, hip, plain or min(extent) < 18)
    flat = bool(rng.random() < (0.85 if hall else style.flat_share))
    weights = np.asarray(style.roof_weights)
    if hall:  # large roofs are pale membranes or metal far more often than shingle
        weights = weights * 0.3 + np.array([0.15, 0.05, 0, 0, 0, 0.3, 0.05, 0.15, 0])
    colour = ROOF_COLOURS[rng.choice(len(ROOF_COLOURS), p=weights / weights.sum())]
    return Building(
        corners=rotate(corners, angle) + centre,
        parts=tuple(
            RoofPart(
                rotate(p.start, angle) + centre, rotate(p.along, angle), p.length, p.width, p.ends
            )
            for p in parts
        ),
        height=height,
        flat=flat,
        pitch=float(np.radians(rng.uniform(15, 38) * (0.5 if hall else 1))),
        colour=jitter(rng, colour, 11),
    )


def shape_building(
    rng: np.random.Generator, extent: tuple[float, float], hip: int, plain: bool
) -> tuple[Floats, list[RoofPart]]:
    """Shape a rectangular, L, T or U footprint and its roof bodies around the origin.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    extent : tuple of float
        Width and depth in pixels.
    hip : int
        1 for hipped ends, 0 for gables.
    plain : bool
        Whether only a rectangle is wanted.

    Returns
    -------
    corners : numpy.ndarray
        Outline, shape (k, 2), not closed.
    parts : list of RoofPart
        The main roof first, then its wings.
    """
    w, d = extent[0] / 2, extent[1] / 2
    wings: list[tuple[float, float]] = []
    body = extent[1]
    if not plain and rng.random() < 0.55:
        body = extent[1] * float(rng.uniform(0.5, 0.72))
        breadth = min(body, extent[0] * 0.42) * float(rng.uniform(0.75, 1.0))
        form = rng.choice(3, p=(0.62, 0.2, 0.18))
        left = float(rng.uniform(-w + 3, w - breadth - 3))
        wings = [[(-w, -w + breadth)], [(left, left + breadth)], [(w - breadth, w)]][form][:1]
        if form == 2:
            wings = [(w - breadth, w), (-w, -w + breadth)]
    step = -d + body
    outline = [(-w, -d), (w, -d), (w, step)]
    parts = [_main_roof(extent[0], body, -d, hip)]
    for low, high in wings:
        outline += [(high, step), (high, d), (low, d), (low, step)]
        start, along = np.array([(low + high) / 2, d]), np.array([0.0, -1.0])
        parts.append(RoofPart(start, along, d - step, high - low, (hip, -1)))
    outline.append((-w, step))
    corners = np.array([p for i, p in enumerate(outline) if p != outline[i - 1]])
    flip = np.array([rng.choice((-1.0, 1.0)), rng.choice((-1.0, 1.0))])
    mirrored = [RoofPart(p.start * flip, p.along * flip, p.length, p.width, p.ends) for p in parts]
    return corners * flip, mirrored


def _main_roof(width: float, depth: float, front: float, hip: int) -> RoofPart:
    """Lay the ridge along the longer side."""
    if width >= depth:
        start, along = np.array([-width / 2, front + depth / 2]), np.array([1.0, 0.0])
        return RoofPart(start, along, width, depth, (hip, hip))
    return RoofPart(np.array([0.0, front]), np.array([0.0, 1.0]), depth, width, (hip, hip))


def _park_cars(
    rng: np.random.Generator, town: Town, frame: Frame, span: tuple[float, float], v: float
) -> None:
    """Set cars along a street, driving or parked."""
    for _ in range(rng.poisson((span[1] - span[0]) / 70)):
        u, lane = float(rng.uniform(*span)), float(rng.choice((-0.27, 0.27)))
        x, y = frame.place((u, v + lane * frame.style.road_width))
        town.car_slots.append((float(x), float(y), frame.heading(u)))


def _scatter_trees(rng: np.random.Generator, town: Town, style: Style, size: int) -> None:
    """Set garden trees in clusters; their crowns may well cover roofs."""
    area = (size + 2 * MARGIN) ** 2 / 1e4
    seeds = rng.uniform(-MARGIN, size + MARGIN, (int(area * style.tree_density / 3) + 1, 2))
    for x, y in seeds:
        for _ in range(rng.poisson(3)):
            dx, dy = rng.normal(0, 16, 2)
            town.trees.append((float(x + dx), float(y + dy), float(rng.gamma(5.0, 1.2) + 1.5)))
