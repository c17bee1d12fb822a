"""The lattice a pair of images is worked on: square pixels counted from the origin of a CRS."""

from dataclasses import dataclass

import numpy as np
from affine import Affine
from pyproj import CRS

from geodamage.grid import Grid, GsdRange, utm_zone
from geodamage.windows import Window

#: Ground metres differ from those of a projection by up to this much, and no rule minds.
SLACK = 1.01

#: Pixels up to so many times a model's own are kept; coarser ones are upsampled to its own.
#: Source: training/EXPERIMENTS.md: of both bundled models, made at 0.47 m, xBD at 0.8 m is graded
#: worse as it is than upsampled, and at 0.6 m it is not.
KEPT = 1.3

# What is between two lattices of one image may be this part of a pixel.
_PHASE = 1024


@dataclass(frozen=True, slots=True)
class Lattice:
    """Square, north-up pixels over a whole CRS: `x + column * pixel`, `y - row * pixel`.

    Attributes
    ----------
    crs
        Coordinate reference system.
    pixel
        Side of a pixel, CRS units.
    x, y
        Corner of pixel (0, 0), CRS units; within a pixel of the origin of the CRS.
    """

    crs: CRS
    pixel: float
    x: float
    y: float

    @property
    def transform(self) -> Affine:
        """Affine from (column, row) to (x, y)."""
        return Affine(self.pixel, 0.0, self.x, 0.0, -self.pixel, self.y)

    def grid(self, window: Window) -> Grid:
        """Return the grid of a window of the lattice."""
        return Grid(self.crs, self.transform, (1, 1)).crop(window)

    def covered(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the pixels whose centres lie in `bounds` (left, bottom, right, top)."""
        left, bottom, right, top = bounds
        slack = 1e-3  # pixels; a centre on the very edge counts
        column, end = np.array([left - self.x, right - self.x]) / self.pixel - 0.5 + [-slack, slack]
        row, stop = np.array([self.y - top, self.y - bottom]) / self.pixel - 0.5 + [-slack, slack]
        first = int(np.ceil(row)), int(np.ceil(column))
        height = max(int(np.floor(stop)) - first[0] + 1, 0)
        width = max(int(np.floor(end)) - first[1] + 1, 0)
        return Window(*first, height, width)


def working_lattice(
    grid: Grid, ground: float, centre: tuple[float, float], gsd: GsdRange
) -> Lattice:
    """Return the pixels that a pair is worked on.

    Parameters
    ----------
    grid
        The pre image's, or its first tile's; its pixels are kept where they can be.
    ground
        Ground sample distance of the pre image, metres per pixel.
    centre
        Longitude and latitude of the middle of the overlap, degrees.
    gsd
        The ground sample distances the model was made for, metres per pixel.
    """
    worked_on = worked_gsd(ground, gsd)
    if _is_metric(grid, ground):
        a, _, c, _, e, f = grid.transform[:6]
        x, y = _phase(c, a), _phase(f, -e)
        return Lattice(grid.crs, a if worked_on == ground else worked_on, x, y)
    # A crop has another GSD in the fourth digit, and shall have the same lattice.
    pixel = float(f"{ground:.3g}") if worked_on == ground else worked_on
    return Lattice(_metric_crs(*centre), pixel, 0.0, 0.0)


def worked_gsd(ground: float, gsd: GsdRange) -> float:
    """Return the ground sample distance that imagery of another is worked on, metres per pixel.

    Its own where a model sees such pixels as they are, else the model's.
    """
    kept = gsd.minimum / SLACK <= ground <= coarsest_kept(gsd) * SLACK
    return ground if kept else gsd.native


def coarsest_kept(gsd: GsdRange) -> float:
    """Return the coarsest ground sample distance at which a model sees pixels as they are."""
    return min(gsd.maximum, KEPT * gsd.native)


def _phase(origin: float, pixel: float) -> float:
    """Return how far a lattice lies from the origin of its CRS, rounded to 1/1024 pixel."""
    part = origin / pixel - round(origin / pixel)
    return round(part * _PHASE) / _PHASE * pixel


def _is_metric(grid: Grid, gsd: float) -> bool:
    if not grid.crs.is_projected:
        return False
    metres = all(axis.unit_conversion_factor == 1 for axis in grid.crs.axis_info[:2])
    return metres and grid.is_square and abs(gsd / grid.transform.a - 1) < 0.01


def _metric_crs(lon: float, lat: float) -> CRS:
    if lat > 84:
        return CRS.from_epsg(3413)
    if lat < -80:
        return CRS.from_epsg(3031)
    return CRS.from_epsg(int(utm_zone(np.array(lon), np.array(lat))))
