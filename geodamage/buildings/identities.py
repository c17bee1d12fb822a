"""The identity of a building that a model found: a point of a lattice that lies in it.

Buildings do not overlap, so no other building of the result has that point: identities are unique
without being compared, in whatever order and by whatever tile the buildings are found. The point
is the one next to the building's centre, which a pixel more or less at the rim moves by
centimetres: the identity changes only where that crosses the middle between two points. The
lattice is one for the whole Earth, so that it depends on no grid and on no area of interest.
"""

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Transformer

#: Metres between two points of the coarsest lattice: as far apart as a building of the least area
#: still has one of them near its centre. Each further lattice halves it.
COARSEST = 4.0
#: Lattices; points of the last are 3 cm apart, which is less than half a pixel of any image.
LEVELS = 8

_METRES_A_DEGREE = 111_320
_ROWS = round(180 * _METRES_A_DEGREE / COARSEST)

Floats = npt.NDArray[np.float64]


def identities(polygons: np.ndarray, to_lonlat: Transformer) -> list[str]:
    """Return an identity for each of the buildings of a scene, which no other of them has.

    Parameters
    ----------
    polygons
        object (n,): valid polygons that do not overlap, in a projected CRS.
    to_lonlat
        From that CRS to longitude and latitude.

    Returns
    -------
    list of str
        16 hexadecimal digits: the lattice, the row and the column of the point.
    """
    codes = np.zeros(len(polygons), np.uint64)
    left = np.arange(len(polygons))
    for place in (shapely.centroid, _widest):
        left = _settle(codes, left, polygons, place(polygons[left]), to_lonlat)
    return [f"{code:016x}" for code in codes.tolist()]


def _widest(polygons: np.ndarray) -> np.ndarray:
    """Return the centre of the widest part of each polygon: half a pixel inside it, at least."""
    circles = [shapely.maximum_inscribed_circle(polygon) for polygon in polygons]
    return np.asarray(shapely.get_point(np.array(circles, object), 0), object)


def _settle(
    codes: npt.NDArray[np.uint64],
    left: npt.NDArray[np.int64],
    polygons: np.ndarray,
    centres: np.ndarray,
    to_lonlat: Transformer,
) -> npt.NDArray[np.int64]:
    """Write the codes of the polygons in which a point next to the centre lies; return the rest."""
    lon, lat = to_lonlat.transform(shapely.get_x(centres), shapely.get_y(centres))
    for level in range(LEVELS):
        if not len(left):
            break
        code, point_lon, point_lat = _nearest(np.asarray(lon), np.asarray(lat), level)
        x, y = to_lonlat.transform(point_lon, point_lat, direction="INVERSE")
        inside = shapely.contains_xy(polygons[left], x, y)
        codes[left[inside]] = code[inside]
        left, lon, lat = left[~inside], lon[~inside], lat[~inside]
    return left


def _nearest(
    lon: Floats, lat: Floats, level: int
) -> tuple[npt.NDArray[np.uint64], Floats, Floats]:
    """Return the points of a lattice next to some places: code, longitude and latitude.

    Rows are of one height; each row has as many columns as make its cells square.
    """
    rows = _ROWS << level
    height = 180 / rows
    row = np.clip(np.floor((lat + 90) / height), 0, rows - 1)
    point_lat = (row + 0.5) * height - 90
    columns = np.maximum(np.rint(2 * rows * np.cos(np.radians(point_lat))), 1)
    column = np.floor((lon + 180) / 360 * columns) % columns
    point_lon = (column + 0.5) / columns * 360 - 180
    code = (np.uint64(level) << np.uint64(61)) | (row.astype(np.uint64) << np.uint64(31))
    return code | column.astype(np.uint64), point_lon, point_lat
