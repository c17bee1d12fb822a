"""Regularisation: right-angled outlines for buildings that were drawn along pixel edges.

In the frame of a building's main direction, every edge becomes a wall along or across it. Walls
that are too short are removed, and their neighbours become one. So an outline has right angles by
construction. Of several the first that keeps enough of the building is taken.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
import shapely.affinity

#: Wiggles below this are not looked at, pixels.
WIGGLE = 1.5
#: Shortest walls, pixels, coarsest outline first.
SHORTEST_WALLS = (6.0, 4.0, 3.0, 2.0)
#: Intersection over union with the pixels from which an outline is taken at once, and the least
#: that one may keep at all. A circle and the square of the same area have 0.83.
GOOD_IOU, LEAST_IOU = 0.85, 0.75
#: Fewest walls of a building.
FEWEST_WALLS = 4


def regularise(polygons: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Return right-angled outlines of buildings, each by its own main direction.

    Parameters
    ----------
    polygons
        object (n,): valid polygons in a metric CRS.
    pixel
        Side of the pixels that they were drawn along, CRS units.

    Returns
    -------
    outlines
        object (n,): one valid polygon each.
    fits
        bool (n,): where False the polygon is returned as it was, because no right-angled outline
        keeps enough of it.
    """
    outlines, fits = polygons.copy(), np.zeros(len(polygons), bool)
    for number, polygon in enumerate(polygons):
        outline = _best(polygon, pixel)
        if outline is not None:
            outlines[number], fits[number] = shapely.normalize(outline), True
    return outlines, fits


def _best(polygon: shapely.Polygon, pixel: float) -> shapely.Polygon | None:
    """Return the coarsest outline that is good, else the best that will do, else None."""
    best, most = None, LEAST_IOU
    for outline in _candidates(polygon, pixel):
        union = shapely.union(polygon, outline).area
        share = shapely.intersection(polygon, outline).area / union
        if share >= GOOD_IOU:
            return outline
        if share >= most:
            best, most = outline, share
    return best


def _candidates(polygon: shapely.Polygon, pixel: float) -> Iterator[shapely.Polygon]:
    """Yield valid right-angled outlines, the coarsest first."""
    plain = shapely.simplify(polygon, WIGGLE * pixel, preserve_topology=True)
    centre = plain.centroid
    directions = [_direction_of_edges(plain), _direction_of_box(plain)]
    turned = [shapely.affinity.rotate(plain, -angle, origin=centre) for angle in directions]
    for shortest in SHORTEST_WALLS:
        for angle, shape in zip(directions, turned, strict=True):
            outline = _right_angled(shape, shortest * pixel)
            if outline is not None:
                yield shapely.affinity.rotate(outline, angle, origin=centre)


def _direction_of_edges(polygon: shapely.Polygon) -> float:
    """Return the direction of most of the outline, degrees; walls across count alike."""
    steps = np.diff(shapely.get_coordinates(polygon.exterior), axis=0)
    fourfold = 4 * np.arctan2(steps[:, 1], steps[:, 0])
    length = np.hypot(*steps.T)
    # Angles a quarter turn apart are the same; four times them is one full turn.
    return float(np.degrees(np.arctan2(length @ np.sin(fourfold), length @ np.cos(fourfold))) / 4)


def _direction_of_box(polygon: shapely.Polygon) -> float:
    """Return the direction of the smallest rectangle around, degrees."""
    corners = shapely.get_coordinates(shapely.oriented_envelope(polygon))
    across, up = corners[1] - corners[0]
    return float(np.degrees(np.arctan2(up, across)))


def _right_angled(polygon: shapely.Polygon, shortest: float) -> shapely.Polygon | None:
    """Return the outline along and across the axes; None where there is none."""
    rings = [_ring(ring, shortest) for ring in (polygon.exterior, *polygon.interiors)]
    if rings[0] is None:
        return None
    # A hole that has no wall long enough is no courtyard.
    outline = shapely.Polygon(rings[0], [ring for ring in rings[1:] if ring is not None])
    return outline if outline.is_valid and outline.area > 0 else None


@dataclass
class _Wall:
    """A wall: where it lies across its own direction, and how much of the outline it is."""

    is_level: bool
    place: float
    weight: float

    def joined(self, other: "_Wall") -> "_Wall":
        """Return the one wall that stands for two."""
        weight = self.weight + other.weight
        place = (self.place * self.weight + other.place * other.weight) / weight
        return _Wall(self.is_level, place, weight)


def _ring(ring: shapely.LinearRing, shortest: float) -> np.ndarray | None:
    """Return the corners of a ring of walls, float (n, 2); None where fewer than four are left."""
    walls = _walls(shapely.get_coordinates(ring))
    while len(walls) >= FEWEST_WALLS:
        lengths = [_length(walls, number) for number in range(len(walls))]
        least = int(np.argmin(lengths))
        if lengths[least] >= shortest:
            return _corners(walls)
        walls = _without(walls, least)
    return None


def _walls(corners: np.ndarray) -> list[_Wall]:
    """Return the walls of a ring; edges of one direction that follow each other are one."""
    walls: list[_Wall] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        across, up = abs(x1 - x0), abs(y1 - y0)
        is_level = across >= up
        wall = _Wall(is_level, (y0 + y1) / 2 if is_level else (x0 + x1) / 2, max(across, up))
        if walls and walls[-1].is_level == is_level:
            walls[-1] = walls[-1].joined(wall)
        elif wall.weight > 0:
            walls.append(wall)
    if len(walls) > 1 and walls[0].is_level == walls[-1].is_level:
        walls[0] = walls.pop().joined(walls[0])
    return walls


def _length(walls: list[_Wall], number: int) -> float:
    """Return how far apart a wall's two neighbours are."""
    after = walls[(number + 1) % len(walls)]
    return abs(after.place - walls[number - 1].place)


def _without(walls: list[_Wall], number: int) -> list[_Wall]:
    """Return the walls without one; the two beside it become one."""
    rest = walls[number:] + walls[:number]  # the one that goes is first
    joined = rest[-1].joined(rest[1])
    return [joined, *rest[2:-1]]


def _corners(walls: list[_Wall]) -> np.ndarray:
    pairs = zip(walls, walls[1:] + walls[:1], strict=True)
    return np.array([(b.place, a.place) if a.is_level else (a.place, b.place) for a, b in pairs])
