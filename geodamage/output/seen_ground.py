"""The assessed area: the polygon of the ground that all images of a scene show."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import CRS
from rasterio.features import shapes as polygons_of
from shapely.geometry.base import BaseGeometry

from geodamage.fields import Field, conform
from geodamage.grid import Grid, geodesic_area, transformer
from geodamage.output.geojson import to_rfc7946
from geodamage.vector.wkt import from_wkt
from geodamage.windows import Window

#: Pixels a side of a cell, at least, and cells a side of a scene, at most: the polygon is to guide
#: readers, and a sidecar is to stay small.
SMALLEST_CELL = 16
MOST_CELLS = 512
#: CRS of the polygon in a sidecar.
LONLAT = "OGC:CRS84"
#: Pieces that the longer side is cut into before it is warped.
PIECES = 8

#: Name of the layer, and of the file beside a result in a format of one layer.
AREA_LAYER = "assessed_area"
AREA_ENDING = f".{AREA_LAYER}.geojson"

#: What is written of the assessed area.
AREA_FIELDS: tuple[Field, ...] = (
    Field("name", "text", "what the polygon is"),
    Field("area_km2", "number", "geodesic area, km²", decimals=6),
)


def area_path(result: Path) -> Path | None:
    """Return the file of the assessed area beside a result; None where the result holds it."""
    if result.suffix.lower() == ".gpkg":
        return None
    return result.with_name(result.name + AREA_ENDING)


def area_frame(shape: BaseGeometry | None) -> gpd.GeoDataFrame:
    """Return the assessed area as a layer of one polygon, of none where nothing is seen.

    Parameters
    ----------
    shape
        In longitude and latitude; None or empty where nothing is seen.
    """
    shapes = [] if shape is None or shape.is_empty else [shape]
    columns = {
        "name": ["assessed area"] * len(shapes),
        "area_km2": [geodesic_area(one) / 1e6 for one in shapes],
    }
    frame = gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(shapes, crs=LONLAT), crs=LONLAT)
    return conform(frame, CRS.from_user_input(LONLAT), AREA_FIELDS)


class SeenGround:
    """Counts the pixels that all images show, cell by cell, as strips pass in any order.

    Parameters
    ----------
    grid
        Grid of the scene.
    region
        What is assessed of it.
    """

    def __init__(self, grid: Grid, region: Window) -> None:
        self._grid = grid
        self._region = region
        longer = max(region.height, region.width)
        self.cell = max(SMALLEST_CELL, -(-longer // MOST_CELLS))
        rows, columns = -(-region.height // self.cell), -(-region.width // self.cell)
        self._seen = np.zeros((rows, columns), np.int64)

    def add(self, window: Window, seen: npt.NDArray[np.bool_]) -> None:
        """Count the pixels of a window of the region that are seen, bool (rows, columns)."""
        top, left = window.row - self._region.row, window.column - self._region.column
        rows, columns = (self._starts(first, size) for first, size in
                         zip((top, left), seen.shape, strict=True))  # fmt: skip
        counts = np.add.reduceat(seen.astype(np.int64), rows - top, axis=0)
        counts = np.add.reduceat(counts, columns - left, axis=1)
        self._seen[np.ix_(rows // self.cell, columns // self.cell)] += counts

    def _starts(self, first: int, size: int) -> npt.NDArray[np.int64]:
        """Return where the cells that a window meets begin in it."""
        cells = np.arange(first // self.cell, (first + size - 1) // self.cell + 1)
        return np.maximum(cells * self.cell, first)

    @property
    def polygon(self) -> shapely.Geometry:
        """Cells of which at least half is seen, in the CRS of the grid; steps are smoothed."""
        rows, columns = (
            np.diff(np.minimum(np.arange(count + 1) * self.cell, size))
            for count, size in zip(self._seen.shape, self._region.shape, strict=True)
        )
        shown = 2 * self._seen >= np.outer(rows, columns)
        a, b, left, d, e, top = self._grid.crop(self._region).transform[:6]
        side = self.cell
        transform = Affine(side * a, side * b, left, side * d, side * e, top)
        found = polygons_of(shown.astype(np.uint8), mask=shown, transform=transform)
        parts = [shapely.geometry.shape(shape) for shape, _ in found]
        merged = shapely.simplify(
            shapely.union_all(parts), abs(transform.a), preserve_topology=True
        )
        clipped: shapely.Geometry = shapely.intersection(
            merged, shapely.box(*self._grid.window_bounds(self._region))
        )
        return clipped

    def facts(self) -> dict[str, Any]:
        """Return what the sidecar says: well-known text in longitude and latitude."""
        left, bottom, right, top = self._grid.window_bounds(self._region)
        shape = shapely.segmentize(self.polygon, max(right - left, top - bottom) / PIECES)
        to_lonlat = transformer(self._grid.crs, LONLAT)
        (warped,) = to_rfc7946(np.array([shape], object), to_lonlat)
        text = shapely.to_wkt(warped, rounding_precision=7)
        return {"wkt": text, "cell_m": self.cell * abs(self._grid.transform.a)}


def read_assessed_area(facts: Any) -> BaseGeometry | None:
    """Return the assessed area of a sidecar, in longitude and latitude.

    Returns
    -------
    geometry or None
        None where the sidecar does not say it, as those of earlier versions.
    """
    told = facts.get("assessed_area") if isinstance(facts, dict) else None
    text = told.get("wkt") if isinstance(told, dict) else None
    if not isinstance(text, str):
        return None
    try:
        shape = from_wkt(text)
    except ValueError:
        return None
    return shape if shape.geom_type in ("Polygon", "MultiPolygon") and not shape.is_empty else None
