"""Overlaps: which footprints of several sources are one building."""

import geopandas as gpd
import numpy as np
import shapely

#: Share of the smaller of two footprints that lies in the other, above which they are one building.
SAME = 0.5

RULE = (
    "earlier sources take precedence; a footprint is left out if more than half of it lies within"
    " one of an earlier source, or the reverse"
)


def repeated(taken: gpd.GeoDataFrame, later: gpd.GeoDataFrame) -> np.ndarray:
    """Say which footprints are in earlier sources already.

    Parameters
    ----------
    taken
        Footprints of earlier sources.
    later
        Footprints of the next one, in the same CRS.

    Returns
    -------
    bool (later,)
    """
    found = np.zeros(len(later), bool)
    if taken.empty or later.empty:
        return found
    first, second = taken.geometry.to_numpy(), later.geometry.to_numpy()
    new, old = shapely.STRtree(first).query(second, predicate="intersects")
    shared = shapely.area(shapely.intersection(second[new], first[old]))
    smaller = np.minimum(shapely.area(second[new]), shapely.area(first[old]))
    found[new[shared > SAME * smaller]] = True
    return found
