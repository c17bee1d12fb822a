"""Buildings: strips of probabilities in, one graded polygon per building out, as they finish."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import shapely
from geopandas.array import GeometryArray
from pyproj import Transformer

from geodamage.ahead import close
from geodamage.buildings.components import Components, Patch
from geodamage.buildings.identities import Former, Identities
from geodamage.buildings.outlines import polygonise
from geodamage.buildings.packing import Packed, pack
from geodamage.buildings.regularisation import regularise
from geodamage.buildings.splitting import split_touching
from geodamage.damage import GRADES, LABELS
from geodamage.errors import OptionError
from geodamage.fields import FIELDS, FOOTPRINT_FIELDS, Field, empty_frame
from geodamage.grid import Grid, ground_scale, transformer
from geodamage.model.card import Card
from geodamage.options.lookup import check_fields
from geodamage.prediction import NEAR_MISSING, UNSEEN, Strip
from geodamage.scene.pixels import MISSING_POST, OBSCURED_POST, OBSCURED_PRE
from geodamage.windows import Window

#: m²; smaller things are cars and noise more often than buildings. On the validation places of
#: training/recipes/compact.csv 12, 20, 30 m² give recall .576, .574, .572 and precision .37, .39,
#: .41 (2026-11-21); 20 leaves room for the small houses that those places lack.
DEFAULT_MIN_AREA = 20.0
#: Share of a building's pixels beside missing ones from which it is called partial.
CUT_SHARE = 0.02
#: Share of a building that must be seen: under the first it is not graded (unless a user says
#: otherwise), under the second only partly.
LEAST_SEEN, WELL_SEEN = 0.5, 0.9
#: Why a building that was found is not seen after: a pre image shows it.
_CAUSES = ((OBSCURED_POST, "obscured_post"), (MISSING_POST, "nodata_post"))


@dataclass(frozen=True)
class Grading:
    """How a building gets its grade from its pixels.

    Attributes
    ----------
    temperature
        Above 1 the probabilities become less certain.
    weights
        float (4,): weight of each grade in the decision.
    damaged_threshold
        Probability of any damage from which a building is `damaged`.
    """

    temperature: float = 1.0
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    damaged_threshold: float = 0.5

    @classmethod
    def of(cls, card: Card) -> "Grading":
        """Return what the card of a model says."""
        return cls(card.temperature, card.grade_weights, card.damaged_threshold)

    def columns(self, votes: np.ndarray) -> dict[str, np.ndarray]:
        """Return the graded fields of some buildings.

        Parameters
        ----------
        votes
            float64 (n, 4): sum over each building's pixels of the four grades' probabilities.
        """
        p = votes / np.maximum(votes.sum(1, keepdims=True), 1e-12)
        # Weights first: then the temperature changes how sure a grade is, never which it is.
        p = (np.maximum(p, 1e-9) * np.asarray(self.weights)) ** (1 / self.temperature)
        p /= p.sum(1, keepdims=True)
        grade = p.argmax(1) + 1
        return {
            "damage": np.array([LABELS[g] for g in GRADES], object)[grade - 1],
            "damage_class": grade,
            "p_none": p[:, 0],
            "p_minor": p[:, 1],
            "p_major": p[:, 2],
            "p_destroyed": p[:, 3],
            "confidence": p.max(1),
            "damage_score": p @ np.arange(4) / 3,
            "damaged": p[:, 1:].sum(1) >= self.damaged_threshold,
        }


@dataclass
class BuildingCounts:
    """What was counted on the way, for the sidecar.

    Attributes
    ----------
    cut_components
        Components too large for a building, cut on a fixed grid.
    too_small
        Components under the least area.
    not_regularised
        Buildings that keep the outline of their pixels, because no right-angled one fits them.
    taken_over
        Buildings that have the identity of one of an earlier result.
    """

    cut_components: int = 0
    too_small: int = 0
    not_regularised: int = 0
    taken_over: int = 0


@dataclass(frozen=True)
class BuildingOptions:
    """What a user may choose about polygons.

    Attributes
    ----------
    min_area
        m², geodesic; smaller components are dropped.
    simplify
        Tolerance in metres; 0 keeps every pixel edge.
    regularise
        Whether outlines are right-angled. Those that none fits stay as they are, and are counted.
        Area and place are those of the pixels.
    """

    min_area: float = DEFAULT_MIN_AREA
    simplify: float = 0.0
    regularise: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.regularise and self.simplify > 0:
            raise OptionError("--regularise and --simplify: give one of the two")

    def facts(self) -> dict[str, float]:
        """Return what a sidecar says of sizes."""
        return {"min_area": self.min_area, "simplify": self.simplify}


@dataclass
class _Finder:
    """Turns patches into frames; holds what stays the same for a scene."""

    grid: Grid
    region: Window
    card: Card
    options: BuildingOptions
    counts: BuildingCounts
    fields: tuple[Field, ...] = FIELDS
    seen_share: float = LEAST_SEEN
    former: Former | None = None
    components: Components = field(init=False)
    to_lonlat: Transformer = field(init=False)
    identities: Identities = field(init=False)

    def __post_init__(self) -> None:
        a, _, c, _, e, f = self.grid.transform[:6]
        origin = round(f / e), round(c / a)
        self.components = Components(self.region, self.card.threshold, origin)
        self.to_lonlat = transformer(self.grid.crs, "EPSG:4326")
        self.identities = Identities(self.to_lonlat, self.former)

    def frame(self, patches: list[Patch]) -> gpd.GeoDataFrame:
        """Return the buildings of some patches."""
        drawn = [self._draw(packed) for packed in pack([patch for patch in patches if patch.count])]
        if not drawn or not sum(len(polygons) for polygons, *_ in drawn):
            return empty_frame(self.grid.crs, self.fields)
        polygons, *counted = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        area, lon, lat = self._measure(polygons)
        keep = area >= self.options.min_area
        self.counts.too_small += int((~keep).sum())
        polygons = polygons[keep]
        votes, near, pixels, hidden = (values[keep] for values in counted)
        area, lon, lat = area[keep], lon[keep], lat[keep]
        if not len(polygons):
            return empty_frame(self.grid.crs, self.fields)
        status, reasons, seen = self._statuses(near, pixels, hidden)
        graded = status != "not_assessed"
        columns: dict[str, Any] = {
            "building_id": self.identities.name(polygons),
            **{name: hide(told, graded) for name, told in self._judged(votes, pixels).items()},
            "status": status,
            "status_reason": reasons,
            "valid_fraction": seen,
            "area_m2": area,
            "lon": lon,
            "lat": lat,
            "source": np.full(len(polygons), "model", object),
        }
        # Set as a column: given apart, GeoPandas asks a frame without geometry for its CRS.
        columns["geometry"] = GeometryArray(self._shaped(polygons), crs=self.grid.crs)
        return gpd.GeoDataFrame(columns, geometry="geometry")

    def _statuses(
        self, near: np.ndarray, pixels: np.ndarray, hidden: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return status, its reason and the share that is seen, of each building.

        Parameters
        ----------
        near
            Shares of pixels beside missing ones.
        pixels
            Numbers of pixels.
        hidden
            (n, `_CAUSES`): numbers of those that post does not show, by the cause.
        """
        seen = 1 - np.minimum(hidden.sum(1) / pixels, 1)
        cut, veiled = near > CUT_SHARE, seen < WELL_SEEN
        status = np.where(cut | veiled, "partial", "assessed").astype(object)
        status[seen < self.seen_share] = "not_assessed"
        causes = np.array([name for _, name in _CAUSES], object)[hidden.argmax(1)]
        reasons = np.full(len(status), None, object)
        reasons[cut] = "cut_by_edge_or_nodata"
        reasons[veiled] = causes[veiled]
        return status, reasons, seen

    def _judged(self, votes: np.ndarray, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the pixels of buildings say of them, by field."""
        return Grading.of(self.card).columns(votes)

    def _shaped(self, polygons: np.ndarray) -> np.ndarray:
        """Return the outlines as they were asked for."""
        if self.options.regularise:
            shaped, fits = regularise(polygons, self.grid.transform.a)
            self.counts.not_regularised += int((~fits).sum())
            shaped[~fits] = polygons[~fits]
            return shaped
        if self.options.simplify > 0:
            return np.asarray(
                shapely.simplify(polygons, self.options.simplify, preserve_topology=True)
            )
        return polygons

    def _draw(self, packed: Packed) -> tuple[np.ndarray, ...]:
        """Return polygons (n,), votes (n, channels), share beside missing and pixels (n,).

        At last, the pixels that post does not show, (n, `_CAUSES`).
        """
        inside = np.flatnonzero(packed.labels != 0)
        labels, count = split_touching(
            packed.labels,
            packed.count,
            packed.probabilities[0],
            self.card.seed_threshold,
            self.card.seed_depth,
            within=inside,
        )
        numbers = labels.ravel()[inside].astype(np.intp)  # what counting would make of it each time
        owner = np.zeros(count + 1, np.int64)
        owner[numbers] = packed.labels.ravel()[inside]
        pixels = np.bincount(numbers, minlength=count + 1)
        # Most components are specks: they go before anything is drawn. The margin leaves what is
        # near the limit to the exact area.
        speck = pixels * abs(self.grid.transform.a) ** 2 < 0.9 * self.options.min_area
        speck[0] = False
        self.counts.too_small += int((speck & (pixels > 0)).sum())
        if speck.any():
            dropped = speck[numbers]
            labels = labels.copy()
            labels.ravel()[inside[dropped]] = 0
            inside, numbers = inside[~dropped], numbers[~dropped]

        def total(values: np.ndarray) -> np.ndarray:
            return np.bincount(numbers, values, count + 1)

        def flagged(flag: int) -> np.ndarray:
            return total((flags & flag) > 0) if seen & flag else np.zeros(count + 1)

        votes = [total(channel.ravel()[inside]) for channel in packed.probabilities[1:]]
        flags = packed.missing.ravel()[inside]
        seen = int(np.bitwise_or.reduce(flags)) if flags.size else 0
        near = flagged(NEAR_MISSING) / np.maximum(pixels, 1)
        hidden = [flagged(flag) for flag, _ in _CAUSES]
        drawn, polygons = polygonise(labels, self.grid.transform, packed.corner[owner])
        order = np.lexsort((drawn, packed.patch[owner[drawn]]))
        drawn = drawn[order]
        counted = np.stack(votes, 1), near, pixels, np.stack(hidden, 1)
        return polygons[order], *(values[drawn] for values in counted)

    def _measure(self, polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return geodesic area in m², and longitude and latitude of a point inside each."""
        points = shapely.point_on_surface(polygons)
        x, y = shapely.get_x(points), shapely.get_y(points)
        lon, lat = self.to_lonlat.transform(x, y)
        # The scale at a place: exact for things as small as buildings, and vectorised.
        area = shapely.area(polygons) * ground_scale(x, y, self.to_lonlat)
        return area, np.asarray(lon), np.asarray(lat)


def find_buildings(
    strips: Iterable[Strip],
    grid: Grid,
    region: Window,
    card: Card,
    *,
    options: BuildingOptions | None = None,
    counts: BuildingCounts | None = None,
    seen_share: float = LEAST_SEEN,
    former: Former | None = None,
) -> Iterator[gpd.GeoDataFrame]:
    """Find and grade the buildings of a scene while it is predicted.

    Parameters
    ----------
    strips
        Strips of `predict`, in its order.
    grid, region
        Grid of the scene, and the part of it that is reported.
    card
        Card of the model: thresholds, temperature, weights.
    options
        Least area, simplification.
    counts
        Filled while the buildings are found.
    seen_share
        Share of a building that must be seen to be graded.
    former
        Buildings of an earlier result, whose identities are taken over.

    Yields
    ------
    GeoDataFrame
        The buildings that each strip finished (often none), in the grid's CRS, with the columns of
        `geodamage.fields.FIELDS`.
    """
    counts = counts if counts is not None else BuildingCounts()
    options = options or BuildingOptions()
    finder = _Finder(grid, region, card, options, counts, former=former, seen_share=seen_share)
    yield from _found(finder, strips)


def _found(finder: _Finder, strips: Iterable[Strip]) -> Iterator[gpd.GeoDataFrame]:
    try:
        for strip in strips:
            yield finder.frame(list(finder.components.add(strip)))
            finder.counts.cut_components = finder.components.cut
            finder.counts.taken_over = finder.identities.taken_over
    finally:
        close(strips)


@dataclass
class _FootprintFinder(_Finder):
    """The same of strips without grades: a building has its probability."""

    fields: tuple[Field, ...] = FOOTPRINT_FIELDS

    def _judged(self, votes: np.ndarray, pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {"probability": votes[:, 0] / pixels}


def find_footprints(
    strips: Iterable[Strip],
    grid: Grid,
    region: Window,
    card: Card,
    *,
    options: BuildingOptions | None = None,
    counts: BuildingCounts | None = None,
    former: Former | None = None,
) -> Iterator[gpd.GeoDataFrame]:
    """Find the buildings of a scene while it is predicted, without a grade.

    Parameters
    ----------
    strips
        From `run_plan` with `localisation_only`, in its order.
    grid, region, card, options, counts, former
        The same as of `find_buildings`.

    Yields
    ------
    GeoDataFrame
        The buildings that each strip finished (often none), in the grid's CRS, with the columns of
        `geodamage.fields.FOOTPRINT_FIELDS`.
    """
    counts = counts if counts is not None else BuildingCounts()
    options = options or BuildingOptions()
    finder = _FootprintFinder(grid, region, card, options, counts, former=former)
    yield from _found(finder, strips)


def pixel_area(grid: Grid) -> float:
    """Return the geodesic area of a pixel at the centre of a grid, m²."""
    across, down = grid.gsd
    return across * down


def count_seen(strip: Strip) -> int:
    """Return the number of pixels of a strip that both images show."""
    return int(strip.missing.size - cv2.countNonZero(strip.missing & np.uint8(UNSEEN)))


def count_hidden(strip: Strip) -> dict[str, int]:
    """Return the number of pixels of a strip in which something hides the ground, by the image."""
    flags = (("pre", OBSCURED_PRE), ("post", OBSCURED_POST))
    return {role: cv2.countNonZero(strip.missing & np.uint8(flag)) for role, flag in flags}


def hide(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return values, None where they are not shown; the same array where all are."""
    if shown.all():
        return values
    hidden = values.astype(object)
    hidden[~shown] = None
    return hidden
