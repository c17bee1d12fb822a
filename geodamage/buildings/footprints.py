"""Footprints: polygons that a user gives, graded instead of found; every one of them comes out."""

from collections.abc import Iterable, Iterator

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Transformer

from geodamage.ahead import close
from geodamage.buildings.cover import cover_of, portions
from geodamage.buildings.finding import LEAST_SEEN, WELL_SEEN, Grading, hide
from geodamage.buildings.footprint_files import Footprints
from geodamage.fields import NAMES
from geodamage.grid import Grid, geodesic_areas, ground_scale, transformer
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

#: Pixels of area under which a footprint is graded with a ring of one pixel around it, and pixels
#: of width under which one that is long is: it has hardly a pixel of its own.
SMALL, SLIVER = 4.0, 0.2
#: Metres across, up to which the scale in the centre of a footprint gives its area to 0.001 m².
EVEN = 150.0


Numbers = npt.NDArray[np.int64]


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
        self.remaining = _sizes(_clipped(self.boxes, scene.region))
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

    def add(self, strip: Strip) -> gpd.GeoDataFrame:
        """Take the next strip; return the footprints that it finishes."""
        window = strip.window
        first = np.searchsorted(self.tops, window.row - self.tallest)
        last = np.searchsorted(self.tops, window.bottom)
        near = self.order[first:last]
        boxes = _clipped(self.boxes[near], window)
        sizes = _sizes(boxes)
        met, boxes = near[sizes > 0], boxes[sizes > 0]
        for numbers, parts in portions(boxes):
            self._sum(met[numbers], parts, strip)
        self.remaining[met] -= sizes[sizes > 0]
        return self.graded(np.sort(met[self.remaining[met] == 0]))

    def _sum(self, numbers: Numbers, boxes: Numbers, strip: Strip) -> None:
        """Add up what the pixels of some boxes say of the footprints of these numbers."""
        cover = cover_of(self.shapes[numbers], boxes, self.scene.grid.transform)
        row, column = cover.row - strip.window.row, cover.column - strip.window.column
        missing = strip.missing[row, column]
        weight = cover.share * ((missing & UNSEEN) == 0)
        damage = strip.probabilities[1:, row, column].astype(np.float64)
        damage *= weight / np.maximum(damage.sum(0), 1e-30)  # the damage head alone

        def total(amounts: np.ndarray) -> np.ndarray:
            return np.bincount(cover.owner, amounts, len(numbers))

        # `at`, since parts of one large footprint come together.
        np.add.at(self.votes, numbers, np.stack([total(votes) for votes in damage], 1))
        np.add.at(self.covered, numbers, total(cover.share))
        np.add.at(self.seen, numbers, total(weight))
        if missing.any():
            for n, (flag, _) in enumerate(_CAUSES):
                hidden = cover.share * ((missing & flag) > 0)
                np.add.at(self.flagged[:, n], numbers, total(hidden))

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
        region = self.scene.region
        inside = (_clipped(self.boxes[chosen], region) == self.boxes[chosen]).all(1)
        area = np.zeros(len(chosen))
        area[~inside] = self._beyond(
            chosen[~inside], shapely.box(*self.scene.grid.window_bounds(region))
        )
        return area

    def _beyond(self, chosen: np.ndarray, outline: shapely.Geometry) -> np.ndarray:
        """Return the area of each footprint beyond an outline, pixels."""
        areas = shapely.area(shapely.difference(self.shapes[chosen], outline))
        return np.asarray(np.nan_to_num(areas) / self.pixel**2)

    def _reasons(
        self, chosen: np.ndarray, own: np.ndarray, share: np.ndarray, placed: np.ndarray
    ) -> np.ndarray:
        reasons = np.full(len(chosen), None, object)
        reasons[~placed] = "no_geometry"
        hidden = placed & (share < WELL_SEEN)
        reasons[hidden] = self._causes(chosen[hidden])
        reasons[placed & ~hidden & self.small[chosen]] = "too_small"
        return reasons

    def _causes(self, chosen: np.ndarray) -> np.ndarray:
        """Return what hides most of each footprint, object (n,)."""
        scene = self.scene
        amounts = dict(zip((name for _, name in _CAUSES), self.flagged[chosen].T, strict=True))
        for name, outline in (("pre", scene.pre_outline), ("post", scene.post_outline)):
            beyond = self._beyond(chosen, outline)
            amounts[f"outside_{name}"] = beyond
            amounts[f"nodata_{name}"] = amounts[f"nodata_{name}"] - beyond
        if scene.aoi is not None:
            beyond = self._beyond(chosen, scene.aoi)
            amounts["outside_aoi"] = np.maximum(amounts["outside_aoi"], beyond)
        names, each = np.array(list(amounts), object), np.stack(list(amounts.values()))
        causes: np.ndarray = names[each.argmax(0)]
        return causes


#: Flags of missing pixels and what they are called where no outline says more.
_CAUSES = (
    (MISSING_PRE, "nodata_pre"),
    (MISSING_POST, "nodata_post"),
    (OUTSIDE_AOI, "outside_aoi"),
    (OBSCURED_PRE, "obscured_pre"),
    (OBSCURED_POST, "obscured_post"),
)


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


def voting_places(footprints: Footprints, grid: Grid) -> Numbers:
    """Return row, column, bottom and right of the pixels that vote, int64 (n, 4)."""
    shapes, _ = _voted(footprints.frame.geometry.to_numpy(), abs(grid.transform.a))
    return _boxes(shapes, grid)


def _voted(own: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the shapes whose pixels vote on footprints, and which footprints are small."""
    area, length = shapely.area(own), shapely.length(own)
    sliver = 2 * area < length * pixel * SLIVER
    small = (area < SMALL * pixel**2) | sliver
    # A small footprint is voted on with a ring of one pixel around it.
    voted = own.copy()
    voted[small] = shapely.buffer(own[small], pixel)
    return voted, small


def _boxes(shapes: np.ndarray, grid: Grid) -> Numbers:
    """Return the pixels that shapes may touch: row, column, bottom and right, int64 (n, 4).

    All are 0 where there is no geometry.
    """
    bounds = shapely.bounds(shapes)
    placed = np.asarray(np.isfinite(bounds).all(1), bool)
    west, south, east, north = np.where(placed[:, None], bounds, 0.0).T
    a, _, c, _, e, f = grid.transform[:6]
    corners = [(north - f) / e, (west - c) / a, (south - f) / e, (east - c) / a]
    boxes: Numbers = np.floor(np.stack(corners, 1)).astype(np.int64)
    boxes[:, 2:] += 1
    boxes[~placed] = 0
    return boxes


def _clipped(boxes: Numbers, window: Window) -> Numbers:
    """Return the parts of boxes within a window, int64 (n, 4); some may have no size."""
    low = np.array([window.row, window.column] * 2)
    high = np.array([window.bottom, window.right] * 2)
    clipped: Numbers = np.clip(boxes, low, high)
    return clipped


def _sizes(boxes: Numbers) -> Numbers:
    """Return the numbers of pixels of boxes, int64 (n,)."""
    sizes: Numbers = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
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
    area[known] = _ground_areas(shapes[known], to_lonlat)
    return {"area_m2": area, "lon": lon, "lat": lat}


def _ground_areas(shapes: np.ndarray, to_lonlat: Transformer) -> np.ndarray:
    """Return the geodesic area of shapes in a metric CRS, m²."""
    bounds = shapely.bounds(shapes)
    centres = shapely.centroid(shapes)
    scale = ground_scale(shapely.get_x(centres), shapely.get_y(centres), to_lonlat)
    area: np.ndarray = shapely.area(shapes) * scale
    # Across a larger one the scale bends. Of a building it is even, and its mean in the centre.
    large = (bounds[:, 2:] - bounds[:, :2]).max(1, initial=0) > EVEN
    turned = shapely.transform(shapes[large], to_lonlat.transform, interleaved=False)  # type: ignore[arg-type]
    area[large] = geodesic_areas(turned)
    return area
