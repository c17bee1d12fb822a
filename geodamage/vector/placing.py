"""Shapes placed in another CRS: their edges stay straight in their own, and where they are.

Moving corners alone bends nothing: the edge of a box of one degree lies a hundred metres off. And
a projection has no number for places far from it: what is far from the scene is cut off first.
"""

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from geodamage.grid import transformer, world_width

Bounds = tuple[float, float, float, float]
Floats = npt.NDArray[np.float64]

#: Metres, or about as many degrees, between two vertices of an edge. Over one kilometre a straight
#: line of one CRS leaves that of another by 2 cm at the equator, 11 cm at 80 degrees.
STEP = 1000.0
STEP_DEGREES = 0.01
#: Vertices of the longest edge.
MOST = 10_000
#: Points along each side of the box around a scene, and how much of its size is added around it.
_SIDE = 33
_MARGIN = 0.1


def densified(shapes: np.ndarray, crs: CRS) -> np.ndarray:
    """Return shapes with a vertex a kilometre, at least."""
    bounds = shapely.bounds(shapes)
    extents = np.fmax(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    long = np.flatnonzero(extents > _step(crs))
    if not long.size:
        return shapes
    dense = shapes.copy()
    for n in long:
        dense[n] = shapely.segmentize(shapes[n], max(_step(crs), extents[n] / MOST))
    return dense


def _step(crs: CRS) -> float:
    if crs.is_geographic:
        return STEP_DEGREES
    factor = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    return STEP / (factor or 1.0)


def area_near(shapes: np.ndarray, crs: CRS, target: CRS, bounds: Bounds) -> BaseGeometry:
    """Return the union of shapes in another CRS, as far as it lies near a box of that CRS.

    Parameters
    ----------
    shapes
        object (n,): polygons.
    crs
        CRS of them.
    target
        CRS of the result.
    bounds
        Left, bottom, right, top of the box in `target`.
    """
    valid = shapely.make_valid(shapely.force_2d(shapes))
    to_target = transformer(crs, target)
    parts = []
    width = world_width(crs) or 0.0
    near = _neighbourhood(crs, target, bounds)
    for turn in (0.0, -width, width) if width and near else (0.0,):
        cut = valid if near is None else shapely.intersection(valid, _turned(near, turn))
        cut = cut[~shapely.is_empty(cut)]
        if cut.size:
            parts.append(_moved(densified(cut, crs), -turn))
    if not parts:
        return shapely.Polygon()

    def place(points: Floats) -> Floats:
        return np.column_stack(to_target.transform(points[:, 0], points[:, 1]))

    moved = shapely.transform(np.concatenate(parts), place)
    moved = moved[np.isfinite(shapely.bounds(moved)).all(axis=1)]
    area: BaseGeometry = shapely.union_all(shapely.make_valid(moved))
    return area


def _moved(shapes: np.ndarray, across: float) -> np.ndarray:
    def move(points: Floats) -> Floats:
        return np.column_stack([points[:, 0] + across, points[:, 1]])

    return np.asarray(shapely.transform(shapes, move), object)


def _turned(box: Bounds, turn: float) -> shapely.Polygon:
    left, bottom, right, top = box
    return shapely.box(left + turn, bottom, right + turn, top)


def _neighbourhood(crs: CRS, target: CRS, bounds: Bounds) -> Bounds | None:
    """Return the box in a CRS that holds all of a box in another, and some more; None for none."""
    left, bottom, right, top = bounds
    across, down = _MARGIN * (right - left), _MARGIN * (top - bottom)
    x, y = np.meshgrid(
        np.linspace(left - across, right + across, _SIDE),
        np.linspace(bottom - down, top + down, _SIDE),
    )
    back = transformer(target, crs)
    own_x, own_y = (np.asarray(v).ravel() for v in back.transform(x.ravel(), y.ravel()))
    fine = np.isfinite(own_x) & np.isfinite(own_y)
    own_x, own_y = own_x[fine], own_y[fine]
    if not own_x.size:
        return None
    width = world_width(crs)
    if width:
        middle = own_x[own_x.size // 2]
        own_x = middle + (own_x - middle + width / 2) % width - width / 2
    slack = _MARGIN * max(np.ptp(own_x), np.ptp(own_y))
    box = [own_x.min() - slack, own_y.min() - slack, own_x.max() + slack, own_y.max() + slack]
    for pole in (90.0, -90.0):
        if crs.is_geographic and _holds_pole(target, bounds, pole):
            box = [middle - 180, min(box[1], pole), middle + 180, max(box[3], pole)]
    if crs.is_geographic:
        box[1], box[3] = max(box[1], -90.0), min(box[3], 90.0)
    return box[0], box[1], box[2], box[3]


def _holds_pole(crs: CRS, bounds: Bounds, lat: float) -> bool:
    x, y = transformer("EPSG:4326", crs).transform(0.0, lat)
    return bool(bounds[0] <= x <= bounds[2] and bounds[1] <= y <= bounds[3])
