"""Sheets: the tiles of an image that share one lattice of pixels, read as one raster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from affine import Affine

from geodamage.grid import Grid, world_width
from geodamage.scene.scaling import Scaling
from geodamage.scene.tiles import Tile
from geodamage.scene.warp import Bools, Bytes, Floats
from geodamage.windows import Window


class MaskedPixels(NamedTuple):
    """Pixels of one image.

    Attributes
    ----------
    values
        uint8 (channels, rows, columns); 0 where not valid.
    valid
        bool (rows, columns).
    """

    values: Bytes
    valid: Bools


@dataclass(frozen=True)
class Sheet:
    """Tiles of an image that share one lattice of pixels, so that no seam shows in a warp.

    Attributes
    ----------
    grid
        The lattice; its pixels are counted over the whole CRS where it is north-up.
    tiles
        The tiles, the first on top, and the window of each on the lattice.
    """

    grid: Grid
    tiles: tuple[tuple[Tile, Window], ...]

    @property
    def limits(self) -> Window:
        """The box of all tiles."""
        windows = [window for _, window in self.tiles]
        row, column = min(w.row for w in windows), min(w.column for w in windows)
        bottom, right = max(w.bottom for w in windows), max(w.right for w in windows)
        return Window(row, column, bottom - row, right - column)

    def accepts(self, grid: Grid) -> Window | None:
        """Return the window of `grid` on this lattice, or None where it has another."""
        if grid.crs != self.grid.crs:
            return None
        rows, columns = grid.shape
        x, y = grid.xy(np.array([0, columns, 0, columns]), np.array([0, 0, rows, rows]))
        across, down = pixel_coordinates(self.grid.transform, x, y)
        across = across + self._turn(float(across[0]))
        column, row = round(across[0]), round(down[0])
        off_across = across - column - [0, columns, 0, columns]
        off_down = down - row - [0, 0, rows, rows]
        if max(np.abs(off_across).max(), np.abs(off_down).max()) > 0.01:
            return None
        return Window(row, column, rows, columns)

    def _turn(self, column: float) -> float:
        """Return columns around the Earth that bring a tile next to the first one."""
        width = world_width(self.grid.crs) if self.tiles else None
        if width is None:
            return 0.0
        around = width / abs(self.grid.transform.a)
        return float(round((self.tiles[0][1].column - column) / around) * around)

    def read(self, window: Window, scaling: Scaling | None) -> MaskedPixels:
        """Read a window of the lattice; pixels outside all tiles are not valid."""
        result: MaskedPixels | None = None
        for tile, place in self.tiles:
            part = window & place
            if not part.size:
                continue
            pixels, valid = tile.read(part.shift(-place.row, -place.column))
            values = pixels if scaling is None else scaling.apply(pixels) * valid
            if part == window and result is None:
                result = MaskedPixels(values, valid)
            else:
                result = result or nothing(len(values), window.shape)
                lay_under(
                    result, MaskedPixels(values, valid), part.shift(-window.row, -window.column)
                )
            if result.valid.all():
                break
        return result or nothing(len(self.tiles[0][0].channels.indexes), window.shape)


def nothing(channels: int, shape: tuple[int, int]) -> MaskedPixels:
    """Return pixels of which none is valid."""
    return MaskedPixels(np.zeros((channels, *shape), np.uint8), np.zeros(shape, bool))


def lay_under(masked: MaskedPixels, below: MaskedPixels, window: Window) -> None:
    """Fill what is not valid in a window of `masked` from `below`, in place."""
    values, valid = masked.values[:, *window.slices], masked.valid[window.slices]
    if not valid.any():
        values[:], valid[:] = below
        return
    fresh = below.valid & ~valid
    np.copyto(values, below.values, where=fresh)
    valid |= fresh


def pixel_coordinates(transform: Affine, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return columns and rows, counted from the corner of pixel (0, 0), of coordinates."""
    a, b, c, d, e, f = transform[:6]
    if b == 0 == d:  # exact to the last bit, unlike the inverse of the matrix
        return (x - c) / a, (y - f) / e
    across, down = x - c, y - f
    determinant = a * e - b * d
    return (across * e - down * b) / determinant, (down * a - across * d) / determinant


def absolute(transform: Affine) -> Affine:
    """Return the transform of the same lattice with pixel (0, 0) at the origin of the CRS.

    A crop of a file then has the same pixels with the same numbers. A rotated lattice stays.
    """
    a, b, c, d, e, f = transform[:6]
    if b or d:
        return transform
    return Affine(a, 0.0, c - round(c / a) * a, 0.0, e, f - round(f / e) * e)


def lay_out(tiles: Sequence[Tile]) -> list[Sheet]:
    """Gather tiles by the lattice they share, in order."""
    sheets: list[Sheet] = []
    for tile in tiles:
        for index, sheet in enumerate(sheets):
            window = sheet.accepts(tile.grid)
            if window is not None:
                sheets[index] = Sheet(sheet.grid, (*sheet.tiles, (tile, window)))
                break
        else:
            grid = Grid(tile.grid.crs, absolute(tile.grid.transform), (1, 1))
            sheet = Sheet(grid, ())
            window = sheet.accepts(tile.grid) or tile.window
            sheets.append(Sheet(grid, ((tile, window),)))
    return sheets
