"""Rasters of grades and of probabilities, written window by window, as cloud-optimised GeoTIFFs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
import shapely
from rasterio.features import rasterize

from geodamage._version import __version__
from geodamage.codes import MAP_STEPS
from geodamage.damage import BACKGROUND, COLOUR_NOT_ASSESSED, COLOURS, GRADES, NOT_ASSESSED, rgb
from geodamage.errors import OutputError
from geodamage.grid import Grid
from geodamage.output.ending import Completed
from geodamage.output.publication import final_path, output_errors
from geodamage.windows import Window, round_up, split

#: Pixels a side of a block, in the working file and in the result.
BLOCK = 512
#: GDAL keeps at most this many bytes of blocks; its own default is a share of the machine's memory.
CACHE_BYTES = 64 * 2**20
#: Polygons are burnt in cells of this many pixels a side, so that memory is bounded.
CELL = 2048

#: What wins where buildings overlap, by code: any grade over not assessed, then the worse.
SEVERITY = np.zeros(256, dtype=np.uint8)
SEVERITY[NOT_ASSESSED] = 1
SEVERITY[list(GRADES)] = [grade + 1 for grade in GRADES]

LEGEND: Mapping[int, str] = MappingProxyType(
    {
        BACKGROUND: "background",
        **{grade: grade.label for grade in GRADES},
        NOT_ASSESSED: "not assessed",
    }
)


def raster_bytes(region: Window, channels: int) -> int:
    """Return the disk space a raster of a region may need while it is made."""
    working = round_up(region.height, BLOCK) * round_up(region.width, BLOCK) * channels
    # The result holds overviews, a third more; compression makes it smaller than the working file.
    return working + working * 4 // 3


class _WorkingRaster(Completed):
    """A tiled uncompressed GeoTIFF that becomes a cloud-optimised one when it is complete.

    GDAL may lose what is still in its cache when a file is closed on a full disk, and say
    nothing. So every block of the working file gets its place on the disk before the first pixel
    arrives, and a disk that is too small shows before any work.

    Parameters
    ----------
    path
        A path, or a partial path of a `Publication`; what is there is overwritten.
    grid
        Grid that windows are measured on.
    region
        The part of the grid that the file covers; pixels elsewhere are left out.

    Raises
    ------
    OutputError
        If the file cannot be created, or there is no room for it.
    """

    channels: ClassVar[int]
    resampling: ClassVar[str]
    #: Value that a GIS leaves out of the picture.
    nodata: ClassVar[int] = NOT_ASSESSED

    def __init__(self, path: str | os.PathLike[str], grid: Grid, region: Window) -> None:
        self.path = Path(path)
        self.grid = grid
        self.region = region
        self._working = Path(f"{self.path}.working")
        self._is_open = False
        with _writing(self.path):
            self._dataset = self._create()
            self._is_open = True

    def close(self) -> None:
        """Complete the file."""
        try:
            with _writing(self.path):
                # Until now it filled the blocks that nobody has written.
                self._dataset.nodata = self.nodata
                self._dataset.close()
                self._is_open = False
                self._convert()
        finally:
            self.discard()

    def discard(self) -> None:
        """Release the file unchanged; it may be incomplete."""
        with suppress(OSError), _writing(self.path):
            if self._is_open:
                self._dataset.close()
        self._is_open = False
        for ending in ("", ".aux.xml"):
            with suppress(OSError):
                Path(f"{self._working}{ending}").unlink(missing_ok=True)

    def _describe(self, dataset: Any) -> None:
        """Write colours, names and tags into a new file."""
        raise NotImplementedError

    def _create(self) -> Any:
        """Return the working file, filled with `NOT_ASSESSED`, every block in its place."""
        extent = self.grid.crop(self.region)
        with rasterio.open(
            self._working,
            "w",
            driver="GTiff",
            height=self.region.height,
            width=self.region.width,
            count=self.channels,
            dtype="uint8",
            nodata=NOT_ASSESSED,
            crs=rasterio.CRS.from_wkt(extent.crs.to_wkt()),
            transform=extent.transform,
            tiled=True,
            blockxsize=BLOCK,
            blockysize=BLOCK,
            interleave="band",
            BIGTIFF="IF_SAFER",
        ) as dataset:
            dataset.update_tags(
                TIFFTAG_SOFTWARE=f"geodamage {__version__}",
                software="geodamage",
                version=__version__,
            )
            self._describe(dataset)
        self._check_size()
        return rasterio.open(self._working, "r+", driver="GTiff")

    def _check_size(self) -> None:
        rows, columns = round_up(self.region.height, BLOCK), round_up(self.region.width, BLOCK)
        needed = rows * columns * self.channels
        if self._working.stat().st_size < needed:
            raise OutputError(
                f"cannot write {final_path(self.path)}: its working file needs"
                f" {needed / 1e6:,.1f} MB; free some space or choose another folder"
            )

    def _convert(self) -> None:
        rasterio.shutil.copy(
            self._working,
            self.path,
            driver="COG",
            blocksize=BLOCK,
            # Every GIS reads DEFLATE; ZSTD is not in every build of GDAL.
            compress="DEFLATE",
            overview_resampling=self.resampling,
            bigtiff="IF_SAFER",
        )
        with rasterio.open(self.path, driver="GTiff") as dataset:
            # What could not be written shows when it is read.
            for _, window in dataset.block_windows(1):
                dataset.read(window=window)

    def _place(self, window: Window) -> tuple[Window, tuple[slice, slice]]:
        """Return the part of a window inside the region, and its index in the window's array."""
        inside = window & self.region
        return inside, inside.shift(-window.row, -window.column).slices

    def _in_file(self, window: Window) -> rasterio.windows.Window:
        return rasterio.windows.Window(
            window.column - self.region.column,
            window.row - self.region.row,
            window.width,
            window.height,
        )


class GradeRaster(_WorkingRaster):
    """A raster of damage grades, `uint8`: 0 background, 1-4 grade, 255 not assessed.

    What no window has covered is not assessed. Overviews take the nearest pixel: codes cannot be
    averaged. Background is the nodata value, because a colour table of TIFF has no transparency. As
    a colour it would be an opaque black that hides the map beneath.
    """

    channels = 1
    resampling = "NEAREST"
    nodata = BACKGROUND

    def write_valid(self, window: Window, assessed: np.ndarray) -> None:
        """Set background where pixels were assessed, 255 elsewhere.

        Parameters
        ----------
        window
            Where the pixels lie on the grid.
        assessed
            bool (rows, columns).
        """
        self.write(window, np.full(assessed.shape, BACKGROUND, np.uint8), assessed)

    def write(self, window: Window, grades: np.ndarray, assessed: np.ndarray) -> None:
        """Write grades where pixels were assessed, 255 elsewhere.

        Parameters
        ----------
        window
            Where the pixels lie on the grid.
        grades
            uint8 (rows, columns): 0 background, 1-4.
        assessed
            bool (rows, columns).
        """
        inside, index = self._place(window)
        if inside.size:
            codes = np.where(assessed[index], grades[index], np.uint8(NOT_ASSESSED))
            with _writing(self.path):
                self._dataset.write(codes, 1, window=self._in_file(inside))

    def burn(self, frame: gpd.GeoDataFrame) -> None:
        """Paint buildings over the pixels whose centre they cover.

        Where buildings overlap, the worse grade wins, and any grade over not assessed; so the
        order in which they come does not matter.

        Parameters
        ----------
        frame
            `damage_class` and a geometry; a building without a grade paints 255.
        """
        shapes = frame.geometry if frame.crs is None else frame.geometry.to_crs(self.grid.crs)
        codes = self._codes(frame)
        geometries = shapes.to_numpy()
        present = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
        geometries, codes = geometries[present], codes[present]
        boxes = _pixel_boxes(geometries, self.grid)
        for cell, members in _cells(boxes, self.region):
            order = members[np.argsort(SEVERITY[codes[members]], kind="stable")]
            self._burn_cell(cell, geometries[order], codes[order])

    def _codes(self, frame: gpd.GeoDataFrame) -> np.ndarray:
        """Return what each building paints, uint8 (n,)."""
        grades = frame["damage_class"].astype("Int32").fillna(NOT_ASSESSED)
        return np.asarray(grades.to_numpy(np.uint8))

    def _burn_cell(self, cell: Window, geometries: np.ndarray, codes: np.ndarray) -> None:
        drawn = rasterize(
            zip(geometries, codes.tolist(), strict=True),
            out_shape=cell.shape,
            transform=self.grid.crop(cell).transform,
            fill=BACKGROUND,
            dtype="uint8",
        )
        with _writing(self.path):
            window = self._in_file(cell)
            before = self._dataset.read(1, window=window)
            stays = SEVERITY[before] > SEVERITY[drawn]
            self._dataset.write(np.where(stays, before, drawn), 1, window=window)

    def _describe(self, dataset: Any) -> None:
        colours = {grade.value: (*rgb(colour), 255) for grade, colour in COLOURS.items()}
        grey = {NOT_ASSESSED: (*rgb(COLOUR_NOT_ASSESSED), 255)}
        dataset.write_colormap(1, {BACKGROUND: (0, 0, 0, 0), **colours, **grey})
        dataset.set_band_description(1, "damage grade")
        dataset.update_tags(legend=", ".join(f"{code} {text}" for code, text in LEGEND.items()))


class MaskRaster(GradeRaster):
    """A raster of buildings, `uint8`: 0 background, 1 building, 255 not assessed."""

    def _codes(self, frame: gpd.GeoDataFrame) -> np.ndarray:
        return np.ones(len(frame), np.uint8)

    def _describe(self, dataset: Any) -> None:
        grey = (*rgb(COLOUR_NOT_ASSESSED), 255)
        shown = {0: (0, 0, 0, 0), 1: (255, 255, 255, 255), NOT_ASSESSED: grey}
        dataset.write_colormap(1, shown)
        dataset.set_band_description(1, "building")
        dataset.update_tags(legend=f"0 background, 1 building, {NOT_ASSESSED} not assessed")


class ProbabilityRaster(_WorkingRaster):
    """A raster of probabilities: background and the four grades, `uint8` in steps of 1/250.

    255 is not assessed. Overviews are averages. GDAL leaves nodata pixels out of them, and
    averaging keeps the sum of the channels at 1. The nearest pixel would do that too, but with the
    noise of one pixel in 4, 16 or 64.
    """

    channels = 1 + len(GRADES)
    resampling = "AVERAGE"
    names: ClassVar[tuple[str, ...]] = tuple(LEGEND[code] for code in range(1 + len(GRADES)))

    def write(self, window: Window, probabilities: np.ndarray, assessed: np.ndarray) -> None:
        """Write the probabilities of a window.

        Parameters
        ----------
        window
            Where the pixels lie on the grid.
        probabilities
            float32 (channels, rows, columns), 0-1.
        assessed
            bool (rows, columns).
        """
        inside, (rows, columns) = self._place(window)
        if not inside.size:
            return
        values = probabilities[:, rows, columns]
        known = assessed[rows, columns] & np.isfinite(values).all(axis=0)
        steps = np.rint(np.clip(np.where(known, values, 0), 0, 1) * MAP_STEPS)
        with _writing(self.path):
            self._dataset.write(
                np.where(known, steps, NOT_ASSESSED).astype(np.uint8), window=self._in_file(inside)
            )

    def _describe(self, dataset: Any) -> None:
        dataset.descriptions = self.names
        dataset.scales = (1 / MAP_STEPS,) * self.channels
        dataset.update_tags(
            legend=f"probability = value / {MAP_STEPS}, {NOT_ASSESSED} not assessed; channels: "
            + ", ".join(self.names)
        )


class BuildingProbabilityRaster(ProbabilityRaster):
    """A raster of the probability of a building, one channel; else as `ProbabilityRaster`."""

    channels = 1
    names = ("building",)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Bound GDAL's cache, and turn what goes wrong into `OutputError`."""
    with output_errors(path), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        yield


def _pixel_boxes(geometries: np.ndarray, grid: Grid) -> np.ndarray:
    """Return first row, first column, last row + 1, last column + 1 of each: int (n, 4)."""
    left, bottom, right, top = shapely.bounds(geometries).reshape(-1, 4).T
    a, b, c, d, e, f = (~grid.transform)[:6]
    xs, ys = np.stack([left, right, right, left]), np.stack([top, top, bottom, bottom])
    columns, rows = a * xs + b * ys + c, d * xs + e * ys + f
    corners = [np.floor(rows.min(axis=0)), np.floor(columns.min(axis=0))]
    corners += [np.floor(rows.max(axis=0)) + 1, np.floor(columns.max(axis=0)) + 1]
    return np.stack(corners, axis=1).astype(np.int64)


def _cells(boxes: np.ndarray, region: Window) -> Iterator[tuple[Window, np.ndarray]]:
    """Yield windows that hold all boxes inside a region, each with the boxes that meet it."""
    if not len(boxes):
        return
    (top, left), (bottom, right) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    extent = Window(int(top), int(left), int(bottom - top), int(right - left)) & region
    for first, last in split(extent.row, extent.bottom, CELL):
        in_rows = np.flatnonzero((boxes[:, 0] < last) & (boxes[:, 2] > first))
        for start, stop in split(extent.column, extent.right, CELL):
            meets = (boxes[in_rows, 1] < stop) & (boxes[in_rows, 3] > start)
            if meets.any():
                yield Window(first, start, last - first, stop - start), in_rows[meets]
