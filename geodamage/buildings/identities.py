"""The identity of a building that a model found: a point of a lattice that lies in it.

Buildings do not overlap, so no other building of the result has that point. Identities are
therefore unique without a comparison, whatever the order or the tile in which buildings are found.
The point is the one next to the building's centre. A pixel more or less at the rim moves the centre
by centimetres. The identity changes only if the centre crosses the middle between two points. The
lattice is one for the whole Earth, so that it depends on no grid and on no area of interest.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Transformer

#: Metres between two points of the coarsest lattice. Where none of it lies in the building, one of
#: half the distance is taken, and so on. From what rasterio 1.4.4 read to what 1.5.2 reads, 8 m
#: kept 87 of 87 buildings of the sample and 748 of 760 of a town, 4 m 85 and 745, 2 m 83 and 725
#: (`python -m benchmarks.identities`, 2026-11-29).
COARSEST = 8.0
#: Lattices; points of the last are 4 mm apart, less than half a pixel of any image.
LEVELS = 12
#: Intersection over union above which a building is one of an earlier result. Above one half no
#: two buildings of a result can be the same earlier one, for they do not overlap.
LEAST_IOU = 0.5

_METRES_A_DEGREE = 111_320

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Former:
    """Buildings of an earlier result.

    Attributes
    ----------
    names
        Identity of each, unique.
    shapes
        object (n,): valid polygons or None, in the CRS of the scene's grid.
    """

    names: list[str]
    shapes: np.ndarray


@dataclass
class Identities:
    """Gives buildings their identities, as they are found.

    Attributes
    ----------
    to_lonlat
        From the CRS of the buildings, a projected one, to longitude and latitude.
    former
        Earlier buildings. A building takes over the identity of one of them if the two overlap by
        more than half of their union. A new building gets an identity that none of them has. None
        for no earlier result.
    spacing
        Metres between two points of the coarsest lattice.
    taken_over
        Buildings that have the identity of an earlier one.
    """

    to_lonlat: Transformer
    former: Former | None = None
    spacing: float = COARSEST
    taken_over: int = field(init=False, default=0)
    _tree: shapely.STRtree | None = field(init=False, default=None)
    _known: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        if self.former is not None:
            self._tree = shapely.STRtree(self.former.shapes)
            self._known = frozenset(self.former.names)

    def name(self, polygons: np.ndarray) -> list[str]:
        """Return an identity for each of some buildings, which no other building of the scene has.

        Parameters
        ----------
        polygons
            object (n,): valid; no two of the scene overlap.

        Returns
        -------
        list of str
            The identity of an earlier building, or 19 hexadecimal digits: the lattice, the row and
            the column of the point.
        """
        names: list[str] = [""] * len(polygons)
        if self._tree is not None and self.former is not None:
            for new, old in self._fits(polygons, self._tree, self.former).items():
                names[new] = self.former.names[old]
            self.taken_over += sum(map(bool, names))
        left = np.array([n for n, name in enumerate(names) if not name], np.int64)
        for centre in (shapely.centroid, _widest):
            left = self._name_by_point(names, left, polygons, centre)
        return names

    def _fits(self, polygons: np.ndarray, tree: shapely.STRtree, former: Former) -> dict[int, int]:
        """Return which buildings are which earlier ones: the best fit of each, by name in a tie."""
        new, old = tree.query(polygons, predicate="intersects")
        ones, others = polygons[new], former.shapes[old]
        common = shapely.area(shapely.intersection(ones, others))
        iou = common / (shapely.area(ones) + shapely.area(others) - common)
        names = np.array(former.names, object)[old]
        best: dict[int, int] = {}
        for n in np.lexsort((names, -iou)):
            if iou[n] > LEAST_IOU:
                best.setdefault(int(new[n]), int(old[n]))
        return best

    def _name_by_point(
        self,
        names: list[str],
        left: Numbers,
        polygons: np.ndarray,
        centre: Callable[[np.ndarray], np.ndarray],
    ) -> Numbers:
        """Name the buildings in which a point next to their centre lies; return the others."""
        centres = centre(polygons[left])
        lon, lat = map(
            np.asarray, self.to_lonlat.transform(shapely.get_x(centres), shapely.get_y(centres))
        )
        for level in range(LEVELS):
            rows = round(180 * _METRES_A_DEGREE / self.spacing) << level
            row, column, point_lon, point_lat = _nearest(lon, lat, rows)
            x, y = self.to_lonlat.transform(point_lon, point_lat, direction="INVERSE")
            inside = shapely.contains_xy(polygons[left], x, y)
            for n in np.flatnonzero(inside):
                name = f"{level:x}{row[n]:09x}{column[n]:09x}"
                inside[n] = name not in self._known
                names[left[n]] = name if inside[n] else ""
            left, lon, lat = left[~inside], lon[~inside], lat[~inside]
        return left


def _widest(polygons: np.ndarray) -> np.ndarray:
    """Return the centre of the widest part of each polygon: half a pixel inside it, at least."""
    circles = [shapely.maximum_inscribed_circle(polygon) for polygon in polygons]
    return np.asarray(shapely.get_point(np.array(circles, object), 0), object)


def _nearest(lon: Floats, lat: Floats, rows: int) -> tuple[Numbers, Numbers, Floats, Floats]:
    """Return the points of a lattice next to some places: row, column, longitude and latitude.

    Its rows are of one height; each has as many columns as make its cells square.
    """
    height = 180 / rows
    row = np.clip(np.floor((lat + 90) / height), 0, rows - 1)
    point_lat = (row + 0.5) * height - 90
    columns = np.maximum(np.rint(2 * rows * np.cos(np.radians(point_lat))), 1)
    column = np.floor((lon + 180) / 360 * columns) % columns
    point_lon = (column + 0.5) / columns * 360 - 180
    return row.astype(np.int64), column.astype(np.int64), point_lon, point_lat
