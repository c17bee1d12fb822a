"""Areas of interest: what of a scene is to be reported."""

from pathlib import Path

import geopandas as gpd
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from geodamage.errors import SceneError, without_advice
from geodamage.sources import VECTOR_ERRORS, check_vector_file


def read_aoi(path: Path, crs: CRS) -> BaseGeometry:
    """Read an area of interest: the union of the polygons of a vector file.

    Parameters
    ----------
    path
        The file; it must have a CRS.
    crs
        CRS of the result.

    Raises
    ------
    SceneError
        If it has no CRS or no polygon, or cannot be read.
    """
    name = check_vector_file(path)
    try:
        frame = gpd.read_file(name)
    except VECTOR_ERRORS as error:
        why = without_advice(error)
        raise SceneError(f"{path}: not a vector file that can be read ({why})") from error
    if not isinstance(frame, gpd.GeoDataFrame) or frame.crs is None:
        raise SceneError(f"{path}: the area of interest has no CRS; save it with one")
    shapes = frame.geometry[frame.geom_type.isin(["Polygon", "MultiPolygon"])]
    if shapes.empty:
        raise SceneError(f"{path}: no polygon in it; an area of interest is made of polygons")
    area = shapely.union_all(shapely.make_valid(shapes.to_crs(crs).to_numpy()))
    return shapely.force_2d(area)
