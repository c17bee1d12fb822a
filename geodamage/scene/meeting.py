"""Where the images of a scene meet, or that they do not."""

import numpy as np
import shapely
from pyproj import CRS

from geodamage.errors import SceneError
from geodamage.grid import transformer
from geodamage.scene.image import Image


def meeting_point(pre: Image, post: Image) -> tuple[float, float]:
    """Return longitude and latitude of the middle of the overlap, degrees."""
    lon, lat = _lonlat_centre(pre)
    plane = CRS.from_proj4(f"+proj=laea +lon_0={lon} +lat_0={lat} +datum=WGS84 +units=m")
    outlines = pre.outline(plane), post.outline(plane)
    if not all(np.isfinite(outline.bounds).all() for outline in outlines):
        raise no_overlap(pre, post)
    overlap = shapely.intersection(*outlines)
    if overlap.is_empty:
        raise no_overlap(pre, post)
    to_lonlat = transformer(plane, "EPSG:4326")
    centre = to_lonlat.transform(overlap.centroid.x, overlap.centroid.y)
    return float(centre[0]), float(centre[1])


def _lonlat_centre(image: Image) -> tuple[float, float]:
    grid = image.first.grid
    rows, columns = grid.shape
    x, y = grid.xy(np.array([columns / 2]), np.array([rows / 2]))
    to_lonlat = transformer(grid.crs, "EPSG:4326")
    lon, lat = to_lonlat.transform(x, y)
    return float(lon[0]), float(lat[0])


def no_overlap(pre: Image, post: Image) -> SceneError:
    """Return the refusal of two images that do not meet, with where each lies."""
    places = []
    for image in (pre, post):
        left, bottom, right, top = image.outline(CRS.from_epsg(4326)).bounds
        places.append(f"{image.role} covers {left:.5f} {bottom:.5f} {right:.5f} {top:.5f}")
    return SceneError(
        f"the images do not overlap: {', '.join(places)} (west south east north, degrees); "
        "check that both are of one place and that their CRS is right"
    )
