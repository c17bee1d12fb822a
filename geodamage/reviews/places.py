"""Places: in which administrative area each building lies."""

import geopandas as gpd
import numpy as np
import shapely

from geodamage.errors import InputError
from geodamage.event.rollups import Admin

#: What stands for an area where a building lies in none.
OUTSIDE = "outside"


def areas_of(buildings: gpd.GeoDataFrame, admin: Admin) -> list[str]:
    """Return the name of the area that each building lies in; the first where several overlap.

    Parameters
    ----------
    buildings
        Buildings with `lon` and `lat`.
    admin
        Areas, in longitude and latitude.

    Raises
    ------
    InputError
        If no building lies in any of them.
    """
    lon, lat = (buildings[name].to_numpy(dtype=np.float64) for name in ("lon", "lat"))
    names = np.array([OUTSIDE] * len(buildings), object)
    placed = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    point, area = shapely.STRtree(admin.frame.geometry.to_numpy()).query(
        shapely.points(lon[placed], lat[placed]), predicate="intersects"
    )
    if len(buildings) and not len(point):
        raise InputError(
            f"{admin.source}: no building lies in any of its areas; give areas of this place"
        )
    # From the last area to the first, so that the first stays.
    order = np.argsort(-area, kind="stable")
    called = admin.frame[admin.field].fillna("without a name").astype(str).to_numpy(dtype=object)
    names[placed[point[order]]] = called[area[order]]
    return [str(name) for name in names]
