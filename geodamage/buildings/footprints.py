"""Footprints: polygons that a user gives, graded instead of found; every one of them comes out."""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from rasterio.transform import Affine

from geodamage.ahead import close
from geodamage.buildings.finding import LEAST_SEEN, WELL_SEEN, Grading, hide
from geodamage.buildings.footprint_files import Footprints
from geodamage.fields import NAMES
from geodamage.grid import Grid, geodesic_area, transformer
from geodamage.model.card import Card
from geodamage.output.writer import ROWS_AT_ONCE
from geodamage.prediction import UNSEEN, Strip
from geodamage.scene.pixels import (
    MISSING_POST,
    MISSING_PRE,
    OBSCURED_POST,
    OBSCURED_PRE,
    OUTSIDE_AOI,
)
from geodamage.scene.scene import Scene
from geodamage.windows import Window

#: Rows and columns of sub-pixels a pixel is cut into to measure how much of it is covered.
FINENESS = 5
#: Pixels of area under which a footprint is graded with a ring of one pixel around it.
SMALL = 4.0


class _Grader:
    """Sums what the pixels say of each footprint as the strips pass."""

    def __init__(self, scene: Scene, footprints: Footprints, card: Card, seen_share: float) -> None:
        self.scene, self.source = scene, footprints.source
        self.seen_share = seen_share
        self.grading = Grading.of(card)
        self.frame, self.kept = footprints.frame, footprints.kept
        self.pixel = abs(scene.grid.transform.a)
        own, moved = footprints.placed()
        self.moved = moved * scene.grid.gsd[0] / self.pixel
        self.shapes, self.small = _voted(own, self.pixel)
        self.boxes = _boxes(self.shapes, scene.grid)
        self.remaining = _pixels_within(self.boxes, scene.region)
        count = len(own)
        self.votes = np.zeros((count, 4))
        self.covered = np.zeros(count)
        self.seen = np.zeros(count)
        self.flagged = np.zeros((count, len(_CAUSES)))
        self.order = np.argsort(self.boxes[:, 0], kind="stable")
        self.tops = self.boxes[self.order, 0]
        self.tallest = int((self.boxes[:, 2] - self.boxes[:, 0]).max(initial=0))

    def unmet(self) -> Iterator[gpd.GeoDataFrame]:
        """Yield the footprints that no strip will reach, some at a time: there may be many."""
        rows = np.flatnonzero(self.remaining == 0)
        for start in range(0, max(len(rows), 1), ROWS_AT_ONCE):
            yield self.graded(rows[start : start + ROWS_AT_ONCE])

    def box(self, i: int) -> Window:
        """Return the pixels that a footprint may touch."""
        top, left, bottom, right = self.boxes[i].tolist()
        return Window(top, left, bottom - top, right - left)

    def add(self, strip: Strip) -> gpd.GeoDataFrame:
        """Take the next strip; return the footprints that it finishes."""
        first = np.searchsorted(self.tops, strip.window.row - self.tallest)
        last = np.searchsorted(self.tops, strip.window.bottom)
        done = []
        with rasterio.Env():  # one for all: rasterio would make and leave two for each footprint
            for i in self.order[first:last]:
                window = self.box(i) & strip.window
                if window.size:
                    self._sum(i, window, strip)
                    self.remaining[i] -= window.size
                    if self.remaining[i] == 0:
                        done.append(i)
        return self.graded(np.array(sorted(done), np.int64))

    def _sum(self, i: int, window: Window, strip: Strip) -> None:
        fine = 1 if self.box(i).size > LARGE else FINENESS
        cover = coverage(self.shapes[i], self.scene.grid.crop(window).transform, window.shape, fine)
        place = window.shift(-strip.window.row, -strip.window.column).slices
        missing = strip.missing[place]
        weight = cover * ((missing & UNSEEN) == 0)
        damage = strip.probabilities[(slice(1, None), *place)].astype(np.float64)
        damage /= np.maximum(damage.sum(0), 1e-30)  # the damage head alone
        self.votes[i] += (damage * weight).sum((1, 2))
        self.covered[i] += cover.sum()
        self.seen[i] += weight.sum()
        if missing.any():
            for n, (flag, _) in enumerate(_CAUSES):
                self.flagged[i, n] += (cover * ((missing & flag) > 0)).sum()

    def graded(self, chosen: np.ndarray) -> gpd.GeoDataFrame:
        """Return some footprints with every field."""
        frame = self.frame.iloc[chosen]
        own = frame.geometry.to_numpy()
        outside = self._outside(chosen)
        share = self.seen[chosen] / np.maximum(self.covered[chosen] + outside, 1e-9)
        share = np.clip(share, 0, 1)
        placed = ~(shapely.is_missing(own) | shapely.is_empty(own))
        assessed = placed & (share >= self.seen_share) & (share > 0)
        whole = assessed & (share >= WELL_SEEN) & ~self.small[chosen]
        status = np.where(whole, "assessed", np.where(assessed, "partial", "not_assessed"))
        graded = self.grading.columns(self.votes[chosen])
        columns = {
            "building_id": frame["building_id"].to_numpy(),
            **{name: hide(values, assessed) for name, values in graded.items()},
            "status": status.astype(object),
            "status_reason": self._reasons(chosen, own, share, placed),
            "valid_fraction": np.where(placed, share, 0.0),
            **_place(own, self.scene.grid),
            "source": np.full(len(chosen), self.source, object),
        }
        columns = {name: columns[name] for name in NAMES} | {"shift_m": self.moved[chosen]}
        columns |= {field.name: frame[field.name].array for field in self.kept}
        return gpd.GeoDataFrame(columns, geometry=own, crs=self.scene.grid.crs)

    def _outside(self, chosen: np.ndarray) -> np.ndarray:
        """Return the area of each footprint beyond the region, pixels."""
        region = shapely.box(*self.scene.grid.window_bounds(self.scene.region))
        area = np.zeros(len(chosen))
        for n, i in enumerate(chosen):
            if not self.scene.region.contains(self.box(i)):
                area[n] = shapely.area(shapely.difference(self.shapes[i], region))
        return np.nan_to_num(area) / self.pixel**2

    def _reasons(
        self, chosen: np.ndarray, own: np.ndarray, share: np.ndarray, placed: np.ndarray
    ) -> np.ndarray:
        reasons = np.full(len(chosen), None, object)
        for n, i in enumerate(chosen):
            if not placed[n]:
                reasons[n] = "no_geometry"
            elif share[n] < WELL_SEEN:
                reasons[n] = self._cause(i)
            elif self.small[i]:
                reasons[n] = "too_small"
        return reasons

    def _cause(self, i: int) -> str:
        """Return what hides most of a footprint."""
        shape, scene = self.shapes[i], self.scene
        amounts = dict(zip((name for _, name in _CAUSES), self.flagged[i], strict=True))
        for name, outline in (("pre", scene.pre_outline), ("post", scene.post_outline)):
            beyond = float(shapely.area(shapely.difference(shape, outline))) / self.pixel**2
            amounts[f"outside_{name}"] = beyond
            amounts[f"nodata_{name}"] -= beyond
        if scene.aoi is not None:
            beyond = float(shapely.area(shapely.difference(shape, scene.aoi))) / self.pixel**2
            amounts["outside_aoi"] = max(amounts["outside_aoi"], beyond)
        return max(amounts, key=lambda name: amounts[name])


#: Flags of missing pixels and what they are called where no outline says more.
_CAUSES = (
    (MISSING_PRE, "nodata_pre"),
    (MISSING_POST, "nodata_post"),
    (OUTSIDE_AOI, "outside_aoi"),
    (OBSCURED_PRE, "obscured_pre"),
    (OBSCURED_POST, "obscured_post"),
)
#: Pixels of a box above which pixel centres measure the cover well enough.
LARGE = 250_000


def grade_footprints(
    strips: Iterable[Strip],
    scene: Scene,
    footprints: Footprints,
    card: Card,
    *,
    seen_share: float = LEAST_SEEN,
) -> Iterator[gpd.GeoDataFrame]:
    """Grade given footprints while a scene is predicted.

    The vote uses the damage head alone, weighted by the covered area of each pixel.

    Parameters
    ----------
    strips
        From `predict`.
    scene
        Open.
    footprints
        From `read_footprints`, on the scene's grid.
    card
        Card of the model.
    seen_share
        Share of a footprint that must be seen to be graded.

    Yields
    ------
    GeoDataFrame
        First the footprints outside the region, then those that each strip finished; often none.
        All together they are the footprints given, each once.
    """
    grader = _Grader(scene, footprints, card, seen_share)
    try:
        yield from grader.unmet()
        for strip in strips:
            yield grader.add(strip)
    finally:
        close(strips)


def coverage(
    shape: shapely.Geometry, transform: Affine, size: tuple[int, int], fineness: int = FINENESS
) -> np.ndarray:
    """Measure how much of each pixel a polygon covers.

    Parameters
    ----------
    fineness
        Rows and columns of sub-pixels of a pixel, 1-15.

    Returns
    -------
    float64 (rows, columns)
        0-1, in steps of 1 / fineness².
    """
    rows, columns = size
    a, b, c, d, e, f = transform[:6]
    fine = Affine(a / fineness, b / fineness, c, d / fineness, e / fineness, f)
    # A multiple of the sub-pixels of a pixel, so that means of areas are whole numbers.
    full = 255 // fineness**2 * fineness**2
    burned = rasterio.features.rasterize(
        [(shape, full)], out_shape=(rows * fineness, columns * fineness), transform=fine,
        dtype="uint8",
    )  # fmt: skip
    mean = cv2.resize(burned, (columns, rows), interpolation=cv2.INTER_AREA)
    cover: np.ndarray = mean / full
    return cover


def voting_places(footprints: Footprints, grid: Grid) -> npt.NDArray[np.int64]:
    """Return row, column, bottom and right of the pixels that vote, int64 (n, 4)."""
    shapes, _ = _voted(footprints.frame.geometry.to_numpy(), abs(grid.transform.a))
    return _boxes(shapes, grid)


def _voted(own: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the shapes whose pixels vote on footprints, and which footprints are small."""
    area, length = shapely.area(own), shapely.length(own)
    # A sliver may lie between the centres of sub-pixels, and would seem to cover nothing.
    sliver = 2 * area < length * pixel / FINENESS
    small = (area < SMALL * pixel**2) | sliver
    # A small footprint is voted on with a ring of one pixel around it.
    voted = own.copy()
    voted[small] = shapely.buffer(own[small], pixel)
    return voted, small


def _boxes(shapes: np.ndarray, grid: Grid) -> npt.NDArray[np.int64]:
    """Return the pixels that shapes may touch: row, column, bottom and right, int64 (n, 4).

    All are 0 where there is no geometry.
    """
    bounds = shapely.bounds(shapes)
    placed = np.asarray(np.isfinite(bounds).all(1), bool)
    west, south, east, north = np.where(placed[:, None], bounds, 0.0).T
    a, _, c, _, e, f = grid.transform[:6]
    corners = [(north - f) / e, (west - c) / a, (south - f) / e, (east - c) / a]
    boxes: npt.NDArray[np.int64] = np.floor(np.stack(corners, 1)).astype(np.int64)
    boxes[:, 2:] += 1
    boxes[~placed] = 0
    return boxes


def _pixels_within(boxes: npt.NDArray[np.int64], region: Window) -> npt.NDArray[np.int64]:
    """Return how many pixels of boxes, as `_boxes` returns them, lie in a window, int64 (n,)."""
    low = np.maximum(boxes[:, :2], [region.row, region.column])
    high = np.minimum(boxes[:, 2:], [region.bottom, region.right])
    sizes: npt.NDArray[np.int64] = np.maximum(high - low, 0).prod(axis=1)
    return sizes


def _place(shapes: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """Return geodesic area in m², longitude and latitude of a point inside; NaN without a place."""
    shapes = shapes.copy()
    shapes[shapely.is_empty(shapes)] = None  # an empty point has no x
    points = shapely.point_on_surface(shapes)
    x, y = shapely.get_x(points), shapely.get_y(points)
    known = np.isfinite(x)
    lon, lat = np.full(len(shapes), np.nan), np.full(len(shapes), np.nan)
    to_lonlat = transformer(grid.crs, "EPSG:4326")
    lon[known], lat[known] = to_lonlat.transform(x[known], y[known])
    area = np.full(len(shapes), np.nan)
    for n in np.flatnonzero(known):
        turned: Any = shapely.transform(shapes[n], to_lonlat.transform, interleaved=False)  # type: ignore[arg-type]
        area[n] = geodesic_area(turned)
    return {"area_m2": area, "lon": lon, "lat": lat}
