"""Matching: which feature of an official layer means which building of a result."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Matches:
    """Which building each official feature means.

    Attributes
    ----------
    building
        int64 (official,): row of the building; -1 where there is none.
    distance
        float64 (official,): metres to it, 0 inside; NaN where there is none.
    offset
        float64 (official, 2): east and north of the centre of the building, seen from the feature,
        metres; NaN where there is none.
    """

    building: Rows
    distance: Floats
    offset: Floats

    def facts(self) -> dict[str, float | int | None]:
        """Return how well the two layers lie on each other."""
        found = self.building >= 0
        if not found.any():
            return {"matched": 0, "inside": 0, "median_m": None, "p90_m": None,
                    "east_m": None, "north_m": None}  # fmt: skip
        distance, offset = self.distance[found], self.offset[found]
        east, north = np.median(offset, axis=0)
        return {
            "matched": int(found.sum()),
            "inside": int((distance == 0).sum()),
            "median_m": round(float(np.median(distance)), 2),
            "p90_m": round(float(np.percentile(distance, 90)), 2),
            "east_m": round(float(east), 2) + 0.0,
            "north_m": round(float(north), 2) + 0.0,
        }


def match(buildings: np.ndarray, official: np.ndarray, tolerance: float) -> Matches:
    """Match the features of an official layer to buildings.

    A polygon means the building that it shares most ground with. A point, and a polygon that
    shares none, means the nearest building within the tolerance. Several features may mean one.

    Parameters
    ----------
    buildings
        object (n,): polygons or None, in metres.
    official
        object (m,): points or polygons, in metres.
    tolerance
        Metres.
    """
    building = np.full(len(official), -1, np.int64)
    tree = shapely.STRtree(buildings)
    feature, row = tree.query(official, predicate="dwithin", distance=tolerance)
    shared = shapely.area(shapely.intersection(official[feature], buildings[row]))
    apart = shapely.distance(official[feature], buildings[row])
    # The most shared ground, then the least distance, then the first row: whatever the order.
    order = np.lexsort((row, apart, -shared, feature))
    _, first = np.unique(feature[order], return_index=True)
    best = order[first]
    building[feature[best]] = row[best]
    distance = np.full(len(official), np.nan)
    distance[feature[best]] = apart[best]
    offset = np.full((len(official), 2), np.nan)
    centres = [
        shapely.centroid(shapes) for shapes in (official[feature[best]], buildings[row[best]])
    ]
    offset[feature[best]] = np.column_stack(
        [get(centres[1]) - get(centres[0]) for get in (shapely.get_x, shapely.get_y)]
    )
    return Matches(building, distance, offset)


def worst_of(values: Floats, building: Rows, count: int) -> Floats:
    """Return for each building the greatest value of the features that mean it; NaN without one.

    Parameters
    ----------
    values
        float64 (official,): may be NaN.
    building
        int64 (official,): -1 where a feature means none.
    count
        Buildings.
    """
    worst = np.full(count, -np.inf)
    known = (building >= 0) & np.isfinite(values)
    np.maximum.at(worst, building[known], values[known])
    return np.where(np.isfinite(worst), worst, np.nan)
