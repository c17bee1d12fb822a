"""The way from a lattice to the pixels of an image; no files."""

import math
from dataclasses import dataclass

import numpy as np
from pyproj import Transformer

from geodamage.grid import transformer, world_width
from geodamage.scene.lattice import Lattice
from geodamage.scene.sheets import Sheet, pixel_coordinates
from geodamage.scene.shift import Shift
from geodamage.scene.warp import Floats, reduction
from geodamage.windows import Window, round_up


@dataclass(frozen=True)
class Way:
    """The way from columns and rows of a lattice to those of a sheet's blocks of pixels.

    Attributes
    ----------
    lattice, sheet
        From where, and to where.
    factors
        Rows and columns of pixels that are averaged to a block.
    limits
        The sheet, in blocks; widened to whole ones.
    to_sheet
        From the CRS of the lattice to that of the sheet; None where they are the same.
    turn, width
        Middle of the sheet in x and a full turn around the Earth, where x goes around it.
    """

    lattice: Lattice
    sheet: Sheet
    factors: tuple[int, int]
    limits: Window
    to_sheet: Transformer | None
    turn: float | None
    width: float | None

    def positions(
        self, shift: Shift | None, columns: Floats, rows: Floats
    ) -> tuple[Floats, Floats]:
        """Return columns and rows of blocks.

        Parameters
        ----------
        shift
            How far the image lies off, or None.
        columns, rows
            Places on the lattice, in its pixels.
        """
        lattice = self.lattice
        x, y = lattice.x + lattice.pixel * columns, lattice.y - lattice.pixel * rows
        if shift is not None:
            east, north = shift(x, y)
            x, y = x + east, y + north
        if self.to_sheet is not None:
            x, y = self.to_sheet.transform(x, y)
        if self.turn is not None and self.width is not None:
            # An image may go on beyond 180 degrees.
            x = self.turn + (x - self.turn + self.width / 2) % self.width - self.width / 2
        across, down = pixel_coordinates(self.sheet.grid.transform, x, y)
        return across / self.factors[1], down / self.factors[0]


def way_to(sheet: Sheet, lattice: Lattice) -> Way:
    """Return the way from a lattice to a sheet."""
    crs = sheet.grid.crs
    factors, width = _factors(sheet, lattice), world_width(crs)
    way = None if crs == lattice.crs else transformer(lattice.crs, crs)
    turn = None if width is None else _middle(sheet)
    return Way(lattice, sheet, factors, _blocks(sheet.limits, factors), way, turn, width)


def _factors(sheet: Sheet, lattice: Lattice) -> tuple[int, int]:
    grid = sheet.tiles[0][0].grid
    rows, columns = grid.shape
    x, y = grid.xy(np.array([columns / 2]), np.array([rows / 2]))
    to_lattice = transformer(grid.crs, lattice.crs)
    column, row = pixel_coordinates(lattice.transform, *to_lattice.transform(x, y))
    centre = Window(math.floor(row[0]), math.floor(column[0]), 1, 1)
    ground = math.prod(lattice.grid(centre).gsd) ** 0.5
    across, down = grid.gsd
    return reduction(ground / down), reduction(ground / across)


def _blocks(window: Window, factors: tuple[int, int]) -> Window:
    """Return the window in blocks of pixels, widened to whole ones."""
    row, column = window.row // factors[0], window.column // factors[1]
    bottom = round_up(window.bottom, factors[0]) // factors[0]
    right = round_up(window.right, factors[1]) // factors[1]
    return Window(row, column, bottom - row, right - column)


def _middle(sheet: Sheet) -> float:
    left, _, right, _ = sheet.grid.window_bounds(sheet.limits)
    return (left + right) / 2
