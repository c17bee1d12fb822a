"""Population rasters: which part of which cell a shape covers, and how many people a cell has.

exactextract does the work, with one raster per call. Version 0.3.0 counts a sum 4 or 16 times if a
second raster of the call has smaller cells. Shapes go to the raster; the raster stays as it is,
since resampling people gains or loses some.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.raster import RasterSource
from pyproj import CRS
from pyproj.exceptions import CRSError, ProjError
from rasterio.errors import RasterioError
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from geodamage.errors import SceneError, SceneReadError, one_line
from geodamage.event.looks import LONLAT
from geodamage.grid import transformer
from geodamage.scene.opening import environment, open_plain
from geodamage.scene.unread import nodata_note
from geodamage.sources import check_file
from geodamage.vector.placing import densified

#: No cell has more people; a number above it stands for something else.
_MOST_PEOPLE = 1e8


@dataclass(frozen=True)
class Parts:
    """Which cells shapes cover: a row per pair of a shape and a cell with a number of people.

    Attributes
    ----------
    shape
        int64 (n,): position of the shape.
    cell
        int64 (n,): identity of the cell in its raster.
    covered
        float64 (n,): share of the cell that the shape covers, 0-1.
    people
        float64 (n,): people in the whole cell.
    """

    shape: np.ndarray
    cell: np.ndarray
    covered: np.ndarray
    people: np.ndarray


class PopulationRaster:
    """A raster of people per cell; opened by `open_population`.

    Attributes
    ----------
    path, crs
        Its file, and where its cells lie.
    notes
        What stands beside it and is not read.
    """

    def __init__(self, path: Path, dataset: Any, crs: CRS) -> None:
        self.path, self.crs = path, crs
        known = None if dataset.nodata is None else (dataset.nodata,)
        self.notes = nodata_note(str(path), known)
        self._cells = _Cells(path, dataset, crs)

    @property
    def cell_metres(self) -> float:
        """Side of a cell, metres; of degrees, that of a meridian."""
        _, height = self._cells.res()
        if self.crs.is_geographic:
            return float(math.radians(height) * 6_371_000)
        return float(height * self.crs.axis_info[0].unit_conversion_factor)

    @property
    def undeclared(self) -> float | None:
        """The lowest number below zero that was read, which no nodata tag declares; None if none.

        It is taken as no data: nobody lives there whom the raster knows of.
        """
        return self._cells.lowest

    def parts(self, shapes: np.ndarray) -> Parts:
        """Return the cells that shapes cover.

        Parameters
        ----------
        shapes
            object (n,): polygons in longitude and latitude, or None. Empty ones cover nothing:
            exactextract would refuse all for one of them.
        """
        found = self._extract(shapes, ["cell_id", "coverage", "values"])
        if found is None:
            none = np.empty(0)
            return Parts(none.astype(np.int64), none.astype(np.int64), none, none)
        rows, table = found
        counts = [len(cells) for cells in table["cell_id"]]
        cell, covered, people = (
            np.concatenate(table[name].to_list()) for name in ("cell_id", "coverage", "values")
        )
        return Parts(
            np.repeat(rows, counts),
            cell.astype(np.int64),
            covered.astype(np.float64),
            people.astype(np.float64),
        )

    def totals(self, shapes: np.ndarray) -> np.ndarray:
        """Return how many people live in shapes, float64 (n,); cells count by the share covered."""
        totals = np.zeros(len(shapes))
        found = self._extract(shapes, ["sum"])
        if found is not None:
            rows, table = found
            totals[rows] = table["sum"].fillna(0.0)
        return totals

    def _extract(self, shapes: np.ndarray, operations: list[str]) -> tuple[np.ndarray, Any] | None:
        moved = self._moved(shapes)
        rows = np.flatnonzero(~(shapely.is_missing(moved) | shapely.is_empty(moved)))
        if not rows.size:
            return None
        frame = gpd.GeoDataFrame(geometry=moved[rows], crs=self.crs)
        table = exact_extract(
            self._cells, frame, operations, output="pandas", strategy="raster-sequential"
        )
        return rows, table

    def _moved(self, shapes: np.ndarray) -> np.ndarray:
        """Return shapes in the CRS of the raster; None where they have no place in it."""
        to_raster = transformer(LONLAT, self.crs)

        def place(points: np.ndarray) -> np.ndarray:
            return np.column_stack(to_raster.transform(points[:, 0], points[:, 1]))

        known = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
        moved = np.full(len(shapes), None, object)
        placed = shapely.transform(densified(shapely.force_2d(shapes[known]), LONLAT), place)
        finite = np.isfinite(shapely.bounds(placed)).all(axis=1)
        placed[~finite] = None
        moved[known] = shapely.make_valid(placed)
        return moved


class _Cells(RasterSource):  # type: ignore[misc]  # exactextract has no types
    """The cells as exactextract asks for them; NaN where nobody was counted."""

    def __init__(self, path: Path, dataset: Any, crs: CRS) -> None:
        super().__init__()
        self._path, self._dataset, self._crs = path, dataset, crs
        self.lowest: float | None = None

    def res(self) -> tuple[float, float]:
        return self._dataset.transform.a, -self._dataset.transform.e

    def srs_wkt(self) -> str:
        return str(self._crs.to_wkt())

    def extent(self) -> tuple[float, float, float, float]:
        bounds = self._dataset.bounds
        return bounds.left, bounds.bottom, bounds.right, bounds.top

    def nodata_value(self) -> None:
        return None

    def read_window(self, x0: int, y0: int, nx: int, ny: int) -> np.ndarray:
        window = Window(x0, y0, nx, ny)
        try:
            read = self._dataset.read(1, window=window, masked=True)
        except RasterioError as error:
            where = window_transform(window, self._dataset.transform)
            raise SceneReadError(
                f"{self._path}: cannot be read at {where.c:g}, {where.f:g} ({one_line(error)}); "
                "copy or download it again"
            ) from error
        values: np.ndarray = read.astype(np.float64).filled(np.nan)
        values = values * self._dataset.scales[0] + self._dataset.offsets[0]
        values[~np.isfinite(values)] = np.nan
        below = values[values < 0]
        if below.size:
            lowest = float(below.min())
            self.lowest = lowest if self.lowest is None else min(lowest, self.lowest)
            values[values < 0] = np.nan
        if values.size and np.nanmax(values, initial=0) > _MOST_PEOPLE:
            raise SceneError(
                f"{self._path}: a cell has {np.nanmax(values):g} people; declare it as nodata "
                "(gdal_edit.py -a_nodata), or give a raster of people per cell"
            )
        return values


@contextmanager
def open_population(path: Path) -> Iterator[PopulationRaster]:
    """Open a raster of people per cell.

    Parameters
    ----------
    path
        GeoTIFF of one channel, north up, with a CRS, such as those of WorldPop or GHS-POP.

    Raises
    ------
    SceneReadError
        If it is not a GeoTIFF, or damaged.
    SceneError
        If it has several channels, complex numbers, no CRS or rotated cells.
    """
    name = check_file(str(path))
    dataset = open_plain(name, "GTiff")
    with dataset, environment(name):
        yield PopulationRaster(path, dataset, _checked(path, dataset))


def _checked(path: Path, dataset: Any) -> CRS:
    if dataset.count != 1:
        raise SceneError(f"{path}: has {dataset.count} channels; give one with the people per cell")
    if dataset.dtypes[0].startswith("complex"):
        raise SceneError(f"{path}: has complex numbers; give people per cell")
    transform = dataset.transform
    if not np.isfinite(transform[:6]).all():
        raise SceneError(f"{path}: its transform {tuple(transform)[:6]} is not one; get it again")
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise SceneError(f"{path}: its cells are not north up; warp it with gdalwarp -r sum")
    if dataset.crs is None:
        raise SceneError(f"{path}: has no CRS; assign the right one (gdal_edit.py -a_srs)")
    try:
        crs = CRS.from_user_input(dataset.crs.to_wkt())
        transformer(LONLAT, crs)
        return crs
    except (CRSError, ProjError) as error:
        raise SceneError(f"{path}: its CRS is unknown ({one_line(error)}); assign one") from error
