"""Outlines: where an image lies on the Earth, from its header alone."""

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geodamage.errors import SceneError
from geodamage.grid import Grid, transformer
from geodamage.scene.tiles import open_tile

#: Points of each side of an image; a straight side in one CRS is bent in another.
_POINTS = 16


def outline_of(path: str) -> BaseGeometry:
    """Return where a GeoTIFF lies, a polygon in longitude and latitude; reads its header only.

    Raises
    ------
    SceneReadError
        If it is not a GeoTIFF.
    SceneError
        If it lies nowhere.
    """
    tile = open_tile(path, (1,), 1)  # which of its channels are used is not the question here
    tile.dataset.close()
    outline = _lonlat(tile.grid)
    if not np.isfinite(outline.bounds).all() or outline.is_empty:
        raise SceneError(f"{path}: lies outside the Earth; its CRS or transform is wrong")
    return outline


def _lonlat(grid: Grid) -> BaseGeometry:
    rows, columns = grid.shape
    side = np.arange(_POINTS) / _POINTS
    zero, one = np.zeros(_POINTS), np.ones(_POINTS)
    across = np.concatenate([side, one, 1 - side, zero]) * columns
    down = np.concatenate([zero, side, one, 1 - side]) * rows
    to_lonlat = transformer(grid.crs, "EPSG:4326")
    return shapely.Polygon(np.column_stack(to_lonlat.transform(*grid.xy(across, down))))
