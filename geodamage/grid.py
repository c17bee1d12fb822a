"""Grids: where the pixels of a raster lie on the ground."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from shapely.geometry.base import BaseGeometry

from geodamage.windows import Window

#: Geodesic lengths and areas are taken on this ellipsoid.
WGS84 = Geod(ellps="WGS84")


@lru_cache(maxsize=64)
def transformer(source: CRS | str, target: CRS | str) -> Transformer:
    """Return the way from one CRS to another, x before y.

    Finding it takes a millisecond, and windows ask for the same few. pyproj gives each thread a
    state of its own.
    """
    return Transformer.from_crs(source, target, always_xy=True)


class GsdRange(NamedTuple):
    """The ground sample distances a model was made for, metres per pixel."""

    native: float
    minimum: float
    maximum: float


@dataclass(frozen=True, repr=False)
class Grid:
    """Where the pixels of a raster lie: CRS, transform and shape; equal by value.

    Attributes
    ----------
    crs
        Coordinate reference system.
    transform
        Affine from (column, row) to (x, y); the corner of pixel (0, 0) is its origin.
    shape
        Rows and columns.
    """

    crs: CRS
    transform: Affine
    shape: tuple[int, int]

    def __repr__(self) -> str:
        a, b, c, d, e, f = self.transform[:6]
        return f"<Grid: {self.summary}; transform ({a:g}, {b:g}, {c:.10g}, {d:g}, {e:g}, {f:.10g})>"

    @property
    def summary(self) -> str:
        """Size, pixel and CRS in a few words."""
        rows, columns = self.shape
        gsd = f"{np.prod(self.gsd) ** 0.5:.3g} m"
        return f"{rows:,} x {columns:,} pixels of {gsd}, {_name(self.crs)}"

    @property
    def window(self) -> Window:
        """The whole grid."""
        return Window(0, 0, *self.shape)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in CRS units, whatever the rotation."""
        return self.window_bounds(self.window)

    def window_bounds(self, window: Window) -> tuple[float, float, float, float]:
        """Return left, bottom, right, top of a window in CRS units."""
        columns = np.array([window.column, window.right, window.right, window.column])
        rows = np.array([window.row, window.row, window.bottom, window.bottom])
        x, y = self.xy(columns, rows)
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    def xy(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return CRS coordinates of pixel corners (add 0.5 for centres)."""
        a, b, c, d, e, f = self.transform[:6]
        return a * columns + b * rows + c, d * columns + e * rows + f

    def crop(self, window: Window) -> "Grid":
        """Return the grid of a window; it may reach beyond this grid."""
        x, y = self.xy(np.array([window.column]), np.array([window.row]))
        a, b, _, d, e, _ = self.transform[:6]
        return Grid(self.crs, Affine(a, b, float(x[0]), d, e, float(y[0])), window.shape)

    @cached_property
    def gsd(self) -> tuple[float, float]:
        """Ground metres per pixel along a row and along a column, geodesic, at the centre."""
        rows, columns = self.shape
        centre = np.array([columns / 2, columns / 2 + 1, columns / 2])
        middle = np.array([rows / 2, rows / 2, rows / 2 + 1])
        to_lonlat = transformer(self.crs, "EPSG:4326")
        lon, lat = to_lonlat.transform(*self.xy(centre, middle))
        _, _, metres = WGS84.inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
        return float(metres[0]), float(metres[1])

    @property
    def is_square(self) -> bool:
        """Whether pixels are square on the ground within 1 %, north up and not rotated."""
        across, down = self.gsd
        upright = self.transform.b == 0 == self.transform.d
        return upright and self.transform.a > 0 > self.transform.e and abs(across / down - 1) < 0.01


def _name(crs: CRS) -> str:
    """Return the authority's name of a CRS, such as EPSG:32616, else the name it has."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.name)


SENSORS = ("optical", "sar")


class Rings(NamedTuple):
    """The rings of the polygons of some geometries, in their order.

    Attributes
    ----------
    rings
        object (n,): linear rings.
    owner
        int64 (n,): number of the geometry that each is of.
    is_shell
        bool (n,): whether it is the outer ring of a polygon, not a hole.
    """

    rings: np.ndarray
    owner: np.ndarray
    is_shell: np.ndarray


def rings_of(shapes: np.ndarray) -> Rings:
    """Return the rings of all polygons in some geometries; what is no polygon has none."""
    parts: Any = shapes
    owner = np.arange(len(shapes))
    for _ in range(2):  # a collection may hold one
        parts, index = shapely.get_parts(parts, return_index=True)
        owner = owner[index]
    is_polygon = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    rings, polygon = shapely.get_rings(parts[is_polygon], return_index=True)
    return Rings(rings, owner[is_polygon][polygon], np.diff(polygon, prepend=-1) > 0)


def geodesic_areas(shapes: np.ndarray) -> np.ndarray:
    """Return the area of the polygons of some shapes in degrees, m²; rings may run either way.

    Returns
    -------
    float64 (n,); 0 of what has no polygon.
    """
    rings, owner, is_shell = rings_of(shapes)
    places, ring = shapely.get_coordinates(rings, return_index=True)
    starts = np.flatnonzero(np.diff(ring)) + 1
    lon, lat = (np.split(degrees, starts) for degrees in places.T)
    areas = np.zeros(len(rings))
    areas[np.unique(ring)] = [
        abs(WGS84.polygon_area_perimeter(x, y)[0]) for x, y in zip(lon, lat, strict=True) if len(x)
    ]
    return np.bincount(owner, np.where(is_shell, areas, -areas), len(shapes))


def geodesic_area(shape: BaseGeometry) -> float:
    """Return the area of the polygons of a shape in degrees, m²; their rings may run either way."""
    return float(geodesic_areas(np.array([shape], object))[0])


#: CRS units to each side of a place that its scale is taken over.
_BESIDE = 1.0


def ground_scale(x: np.ndarray, y: np.ndarray, to_lonlat: Transformer) -> np.ndarray:
    """Return how many m² of the ellipsoid one square unit of a CRS is, at some places.

    PROJ's own factors are those of a sphere for EPSG:3857, and forget the unit of a CRS in feet.

    Parameters
    ----------
    x, y
        float64 (n,): places in the CRS, which is a projected one.
    to_lonlat
        From the CRS to longitude and latitude, degrees.

    Source: the area element of an ellipsoid, a² (1 - e²) cos φ / (1 - e² sin² φ)².
    """
    right, up = np.array([1, -1, 0, 0]) * _BESIDE, np.array([0, 0, 1, -1]) * _BESIDE
    lon, lat = to_lonlat.transform(np.add.outer(right, x), np.add.outer(up, y))
    east, north = (lon[::2] - lon[1::2] + 180) % 360 - 180, lat[::2] - lat[1::2]
    degrees = np.abs(east[0] * north[1] - east[1] * north[0]) / (2 * _BESIDE) ** 2
    sine = np.sin(np.radians(lat.mean(0)))
    element = WGS84.a**2 * (1 - WGS84.es) * np.sqrt(1 - sine**2) / (1 - WGS84.es * sine**2) ** 2
    scale: np.ndarray = degrees * np.radians(1) ** 2 * element
    return scale


def ground_area(shape: BaseGeometry, crs: CRS) -> float:
    """Return the geodesic area of the polygons of a shape in a CRS, m²."""
    to_lonlat = transformer(crs, "EPSG:4326")

    def place(points: np.ndarray) -> np.ndarray:
        return np.column_stack(to_lonlat.transform(points[:, 0], points[:, 1]))

    return geodesic_area(shapely.transform(shape, place))


def utm_zone(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Return the EPSG code of the UTM zone (WGS 84) of each place, int64.

    Zones are those of 6 degrees: Norway and Svalbard have no exceptions, as in EPSG's areas of use.
    A place on a border belongs to the zone east of it, one on the equator to the north. Beyond
    84° N and 80° S there is a zone, too; who wants none there looks at the latitude.

    Source: EPSG dataset, 32601 to 32660 north and 32701 to 32760 south.
    """
    # PROJ's own query takes a second a place, gives two zones on a border and none near the poles;
    # the test holds these numbers against what its database says.
    zone = ((np.asarray(lon) + 180) % 360 // 6).astype(np.int64) + 1
    return np.where(np.asarray(lat) < 0, 32700, 32600) + zone


@lru_cache(maxsize=64)
def world_width(crs: CRS) -> float | None:
    """Return how far apart two numbers of one place are, in units of x: 360 of degrees.

    None where x does not go around the Earth, as in all but cylindrical projections.
    """
    if crs.is_compound:  # with heights
        crs = crs.sub_crs_list[0]
    if crs.is_geographic:
        return _full_turn(crs)
    base, operation = crs.geodetic_crs, crs.coordinate_operation
    if not crs.is_projected or base is None or operation is None:
        return None
    names = (p for p in operation.params if p.name.startswith("Longitude of "))
    middle = float(next((p.value for p in names), 0.0))
    # Along a parallel, x of a cylinder grows evenly, and it is the same on all parallels.
    turns = np.array([-90.0, -45.0, 0.0, 45.0, 90.0])
    to_crs = transformer(base, crs)
    units = _full_turn(base) / 360
    lon, lat = np.meshgrid((middle + turns) * units, np.array([-50.0, 0.0, 35.0]) * units)
    x = np.asarray(to_crs.transform(lon.ravel(), lat.ravel())[0]).reshape(lon.shape)
    if not np.isfinite(x).all():
        return None
    width = float(2 * (x[0, -1] - x[0, 0]))
    even = x[0, 2] + turns / 360 * width
    return width if width > 0 and np.abs(x - even).max() < 1e-6 * width else None


def _full_turn(crs: CRS) -> float:
    """Return a full turn in the unit of a geographic CRS: 360 of degrees, 400 of grads."""
    return float(round(2 * np.pi / crs.axis_info[0].unit_conversion_factor, 6))
