"""What a user calls unusable in an image: a raster, such as a band of a UDM2 file, or polygons."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.errors import RasterioIOError
from rasterio.features import rasterize
from rasterio.windows import Window as Box
from shapely.geometry.base import BaseGeometry

from geodamage.datums import datum_doubt
from geodamage.errors import SceneReadError
from geodamage.grid import transformer
from geodamage.scene.aoi import read_aoi, read_polygons
from geodamage.scene.lattice import Lattice
from geodamage.scene.opening import environment
from geodamage.scene.sheets import pixel_coordinates
from geodamage.scene.tiles import Tile, open_tile
from geodamage.scene.warp import Floats, locate
from geodamage.sources import check_file
from geodamage.vector.layer import split_layer
from geodamage.windows import Window

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class UnusableRaster:
    """A raster whose pixels are not 0 where an image is unusable, open.

    Attributes
    ----------
    tile
        The file.
    doubt
        What a user should know of its place, or None.
    """

    tile: Tile
    doubt: str | None = None

    def close(self) -> None:
        """Close the file."""
        self.tile.dataset.close()

    def read(self, lattice: Lattice, window: Window) -> Bools:
        """Return where a window of a lattice is unusable, by the nearest pixel; not beyond it."""
        limits, found = self.tile.window, np.zeros(window.shape, bool)
        positions = locate(window, _path(self.tile, lattice), limits)
        need = positions.hull & limits
        if not need.size:
            return found
        try:
            with environment(self.tile.name):
                values = self.tile.dataset.read(
                    self.tile.channels.indexes[0],
                    window=Box(need.column, need.row, need.width, need.height),
                )
        except RasterioIOError as error:
            raise SceneReadError(
                f"{self.tile.name}: cannot be read; the file is damaged, copy it again"
            ) from error
        columns, rows = (np.rint(axis).astype(np.int64) for axis in positions.maps(need))
        inside = (rows >= 0) & (rows < need.height) & (columns >= 0) & (columns < need.width)
        found[inside] = values[rows[inside], columns[inside]] != 0
        return found


@dataclass(frozen=True)
class UnusablePolygons:
    """Polygons in the CRS of a lattice.

    Attributes
    ----------
    shape
        All of them.
    doubt
        What a user should know of their place, or None.
    """

    shape: BaseGeometry
    doubt: str | None = None

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def read(self, lattice: Lattice, window: Window) -> Bools:
        """Return the pixels of a window that the polygons touch."""
        if self.shape.is_empty or not window.size:
            return np.zeros(window.shape, bool)
        transform = lattice.transform @ Affine.translation(window.column, window.row)
        burnt = rasterize(
            [(self.shape, 1)], window.shape, transform=transform, all_touched=True, dtype=np.uint8
        )
        return np.asarray(burnt == 1)


Unusable = UnusableRaster | UnusablePolygons


def open_unusable(
    path: Path, lattice: Lattice, band: int, bounds: tuple[float, float, float, float]
) -> Unusable:
    """Open what a user calls unusable: a GeoTIFF, or a vector file of polygons.

    Parameters
    ----------
    band
        1-based, of a raster.
    bounds
        Left, bottom, right, top of the scene in the CRS of the lattice.

    Raises
    ------
    OptionError
        If the raster has no such band.
    SceneError, SceneReadError
        If the file cannot be used.
    """
    raster = _raster(path, band)
    if raster is None:
        return UnusablePolygons(*read_aoi(path, lattice.crs, bounds))
    doubt = datum_doubt(str(path), raster.tile.grid.crs, lattice.crs, bounds)
    return replace(raster, doubt=doubt)


def check_unusable(path: Path, band: int) -> None:
    """Check what a user calls unusable, as `open_unusable` would.

    Raises
    ------
    OptionError
        If the raster has no such band.
    SceneError, SceneReadError
        If the file cannot be used.
    """
    raster = _raster(path, band)
    if raster is None:
        read_polygons(path)
    else:
        raster.close()


def _raster(path: Path, band: int) -> UnusableRaster | None:
    """Open a file where it is a GeoTIFF."""
    file = split_layer(path).path
    name = check_file(str(file))
    with file.open("rb") as opened:
        start = opened.read(4)
    if start not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    return UnusableRaster(open_tile(name, (band,), 1, option="--unusable-band", labels=True))


def _path(tile: Tile, lattice: Lattice) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    to_tile = transformer(lattice.crs, tile.grid.crs)

    def to_raster(columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        x, y = lattice.x + lattice.pixel * columns, lattice.y - lattice.pixel * rows
        return pixel_coordinates(tile.grid.transform, *to_tile.transform(x, y))

    return to_raster
