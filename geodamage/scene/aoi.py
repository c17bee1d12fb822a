"""Areas of interest: what of a scene is to be reported."""

from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from geodamage.datums import datum_doubt
from geodamage.errors import SceneError
from geodamage.vector.placing import area_near
from geodamage.vector.reading import read_vector


class Area(NamedTuple):
    """An area of interest, and what a user should know of its way to the scene, or None."""

    shape: BaseGeometry
    doubt: str | None


def read_aoi(path: Path, crs: CRS, bounds: tuple[float, float, float, float]) -> Area:
    """Read an area of interest: the union of the polygons of a vector file, near a scene.

    Their edges are straight in the CRS of the file, whatever they are in that of the scene.

    Parameters
    ----------
    path
        The file, or `file:layer`; it must have a CRS.
    crs
        CRS of the result.
    bounds
        Left, bottom, right, top of the scene in it; what is far from there is cut off.

    Raises
    ------
    SceneReadError, SceneError
        If it has no CRS or no polygon, or cannot be read.
    """
    shapes = read_polygons(path)
    own = CRS.from_user_input(shapes.crs)
    return Area(
        area_near(shapes.to_numpy(), own, crs, bounds), datum_doubt(str(path), own, crs, bounds)
    )


def read_polygons(path: Path) -> gpd.GeoSeries:
    """Read the polygons of a vector file.

    Raises
    ------
    SceneReadError, SceneError
        If it has no CRS or no polygon, or cannot be read.
    """
    frame = read_vector(path).frame
    shapes = frame.geometry[frame.geom_type.isin(["Polygon", "MultiPolygon"])]
    if shapes.empty:
        raise SceneError(f"{path}: no polygon in it; an area of interest is made of polygons")
    return shapes
