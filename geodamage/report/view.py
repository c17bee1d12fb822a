"""An assessment as people see it: buildings on a plane, both dates, chips, facts in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import CRS

from geodamage.errors import InputError
from geodamage.fields import empty_frame
from geodamage.grid import Grid, transformer
from geodamage.options.lookup import check_fields
from geodamage.report.findings import (
    NEEDED,
    STATEMENT,
    Findings,
    Positions,
    codes,
    first_to_draw,
    least_certain,
    summarise,
    worst,
)
from geodamage.report.pictures import (
    MOST_PIXELS,
    Bounds,
    Chip,
    Dates,
    Imagery,
    read_chips,
    read_dates,
    region_of,
)
from geodamage.report.texts import part

#: Buildings and vertices that a page draws as shapes; a laptop pans through these without a jerk.
MOST_SHAPES = 6_000
MOST_VERTICES = 150_000
#: Buildings that are shown one by one, of the worst and of the least certain.
MOST_PICKED = 12
#: Around buildings where there is no imagery, as a share of their extent; and metres at least.
MARGIN, LEAST_MARGIN = 0.04, 30.0

Row = tuple[str, str]


@dataclass(frozen=True)
class Table:
    """A table of a report, in words.

    Attributes
    ----------
    title, columns, rows
        What it says; every row has a text for each column.
    note
        What to know of it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a user may say of a report."""

    title: str = "Building damage assessment"
    """Heading."""
    pre_date: str | None = None
    """When the pre image was taken; shown as it is given."""
    post_date: str | None = None
    """When the post image was taken."""
    safe_colours: bool = False
    """Begin with colours that are told apart without red and green."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class View:
    """An assessment, ready to be shown.

    Attributes
    ----------
    words
        What the user says of it.
    facts
        What the sidecar says of it.
    source
        Name of the layer.
    findings
        Exact totals.
    buildings
        All of them, in a metric CRS.
    region
        Box that a map shows, in that CRS.
    dates
        Both dates, or None.
    worst, uncertain
        Buildings to look at first; positions in `buildings`.
    chips
        Pictures of these by position; empty without imagery.
    tables
        More to say: of an event, its scenes and places.
    estimate
        What people who looked at a sample make of the totals; None where nobody did.
    doubt
        What is wrong with the pair of layer and sidecar; None if nothing is.
    """

    words: Words
    facts: Mapping[str, Any]
    source: str
    findings: Findings
    buildings: gpd.GeoDataFrame
    region: Bounds
    dates: Dates | None
    worst: Positions
    uncertain: Positions
    chips: Mapping[int, Chip] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    estimate: Mapping[str, Any] | None = None
    doubt: str | None = None

    @property
    def crs(self) -> CRS:
        """CRS of the buildings and of the region."""
        crs: CRS = self.buildings.crs
        return crs

    @cached_property
    def grid(self) -> Grid:
        """The pixels that a picture of the region has."""
        if self.dates is not None:
            return self.dates.grid
        left, bottom, right, top = self.region
        pixel = max(math.sqrt((right - left) * (top - bottom) / MOST_PIXELS), 0.25)
        shape = math.ceil((top - bottom) / pixel), math.ceil((right - left) / pixel)
        return Grid(self.crs, Affine(pixel, 0, left, 0, -pixel, top), shape)

    @cached_property
    def metres(self) -> float:
        """Ground metres per unit of the CRS, at the centre."""
        return math.prod(self.grid.gsd) ** 0.5 / abs(self.grid.transform.a)

    @cached_property
    def place(self) -> tuple[float, float]:
        """Longitude and latitude of the centre, degrees."""
        left, bottom, right, top = self.region
        to_lonlat = transformer(self.crs, "EPSG:4326")
        lon, lat = to_lonlat.transform((left + right) / 2, (bottom + top) / 2)
        return float(lon), float(lat)

    @cached_property
    def shapes(self) -> npt.NDArray[np.object_]:
        """Outlines for the eye, half a pixel from the true ones at most; None where there is none.

        Outlines that follow pixels have four times the vertices that anyone sees.
        """
        own = self.buildings.geometry.to_numpy()
        simple = shapely.simplify(own, 0.75 * abs(self.grid.transform.a))
        is_lost = shapely.is_empty(simple) | shapely.is_missing(simple)
        shown: npt.NDArray[np.object_] = np.where(is_lost, own, simple)
        kinds = shapely.get_type_id(shown)
        shown[shapely.is_empty(shown) | ~np.isin(kinds, (3, 6))] = None
        return shown

    @cached_property
    def drawn(self) -> Positions:
        """Buildings that a page draws as shapes, the worst last; its picture has the others."""
        chosen = first_to_draw(
            self.buildings,
            shapely.get_num_coordinates(self.shapes).astype(np.int64),
            kept=[*self.worst, *self.uncertain],
            most=MOST_SHAPES,
            most_vertices=MOST_VERTICES,
        )
        return chosen[np.argsort(self.codes[chosen], kind="stable")]

    @cached_property
    def size(self) -> float:
        """Side of a usual building, in units of the CRS: on small scales it is drawn as a dot."""
        areas = shapely.area(self.shapes[~shapely.is_missing(self.shapes)])
        return float(np.sqrt(np.median(areas))) if len(areas) else 10.0

    @property
    def codes(self) -> npt.NDArray[np.uint8]:
        """Grade of each building, 1-4, or 0 without one."""
        return codes(self.buildings)


def make_view(
    buildings: gpd.GeoDataFrame,
    facts: Mapping[str, Any],
    *,
    source: str,
    words: Words = Words(),
    imagery: Imagery | None = None,
    tables: Sequence[Table] = (),
) -> View:
    """Prepare an assessment to be shown.

    Parameters
    ----------
    buildings
        All of them, in any CRS.
    facts
        What the sidecar says.
    source
        Name of the layer.
    words
        What the user says.
    imagery
        The images, or None for a map without.
    tables
        More to show.

    Raises
    ------
    InputError
        If the layer is no result of an assessment, or has no place to show.
    """
    if buildings.empty:  # an empty GeoJSON has neither fields nor a CRS of its own
        buildings = empty_frame(buildings.crs or CRS.from_user_input("OGC:CRS84"))
    missing = [name for name in NEEDED if name not in buildings.columns]
    if missing:
        raise InputError(
            f"{source}: has no field {', '.join(missing)}; give a result of `geodamage assess`"
        )
    if buildings.crs is None:
        raise InputError(f"{source}: has no CRS, so its place is unknown; assess again")
    buildings = buildings.reset_index(drop=True)
    dates, plane = _dates(buildings, facts, imagery, source)
    buildings = buildings.to_crs(plane)
    picked = worst(buildings, MOST_PICKED), least_certain(buildings, MOST_PICKED)
    return View(
        words=words,
        facts=facts,
        source=source,
        findings=summarise(buildings),
        buildings=buildings,
        region=_region(buildings, facts, dates, source),
        dates=dates,
        worst=picked[0],
        uncertain=picked[1],
        chips=_chips(buildings, imagery, np.unique(np.concatenate(picked))),
        tables=tuple(tables),
    )


def _dates(
    buildings: gpd.GeoDataFrame, facts: Mapping[str, Any], imagery: Imagery | None, source: str
) -> tuple[Dates | None, CRS]:
    """Return both dates, and the plane to draw on: the scene's, the buildings' own or a UTM."""
    if imagery is not None:
        with imagery.open() as scene:
            region = region_of(facts, scene.grid.crs)
        dates = read_dates(imagery, region)
        return dates, dates.grid.crs
    if buildings.crs.is_projected and buildings.crs.axis_info[0].unit_name == "metre":
        return None, buildings.crs
    if not np.isfinite(buildings.total_bounds).all():
        return None, CRS.from_epsg(3857)
    try:
        return None, buildings.estimate_utm_crs()
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{source}: its buildings have no location on a map; check its CRS"
        ) from error


def _region(
    buildings: gpd.GeoDataFrame, facts: Mapping[str, Any], dates: Dates | None, source: str
) -> Bounds:
    """Return the box to show: what was assessed, else where the buildings are."""
    if dates is not None:
        return dates.grid.bounds
    region = region_of(facts, buildings.crs)
    if region is not None and np.isfinite(region).all():
        return region
    left, bottom, right, top = (float(value) for value in buildings.total_bounds)
    if not np.isfinite([left, bottom, right, top]).all():
        raise InputError(f"{source}: no building with a location, so there is nothing to map")
    margin = max(MARGIN * max(right - left, top - bottom), LEAST_MARGIN)
    return left - margin, bottom - margin, right + margin, top + margin


def _chips(
    buildings: gpd.GeoDataFrame, imagery: Imagery | None, positions: Positions
) -> dict[int, Chip]:
    if imagery is None:
        return {}
    shapes = buildings.geometry.to_numpy()
    shown = [int(i) for i in positions if shapes[i] is not None and not shapes[i].is_empty]
    chips = read_chips(imagery, [shapes[i] for i in shown], buildings.crs)
    return dict(zip(shown, chips, strict=True))


def day(facts: Mapping[str, Any]) -> str:
    """Return when an assessment was made, as people write it."""
    created = str(facts.get("created", ""))
    moment, _, _ = created.partition("+")
    return f"{moment.replace('T', ' ')[:16]} UTC" if moment else "at a time not recorded"


def place_name(lon: float, lat: float) -> str:
    """Return a place as people write it."""
    return f"{abs(lat):.4f}° {'NS'[lat < 0]}, {abs(lon):.4f}° {'EW'[lon < 0]}"


def ground(view: View) -> str:
    """Return the extent of the region in kilometres."""
    left, bottom, right, top = view.region
    return f"{(right - left) * view.metres / 1e3:.2f} × {(top - bottom) * view.metres / 1e3:.2f} km"


def assessed_km2(facts: Mapping[str, Any]) -> float | None:
    """Return the ground that was assessed, by the sidecar; None where it is not told."""
    value = facts.get("assessed_km2")
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)


def statement(facts: Mapping[str, Any]) -> str:
    """Return the sentence that every product carries."""
    text = facts.get("statement")
    return text if isinstance(text, str) and STATEMENT in text else STATEMENT


def is_post_only(facts: Mapping[str, Any]) -> bool:
    """Say whether grades are of the post image alone."""
    return facts.get("mode") == "post-only"


def noun(facts: Mapping[str, Any]) -> str:
    """Return what the buildings are: those that a model found are candidates."""
    return "candidates" if facts.get("candidates") is True else "buildings"


def image_name(facts: Mapping[str, Any], role: str) -> str:
    """Return the name of an image's file, without its folder."""
    files = part(part(facts, "scene"), role).get("files")
    names = [part(file, "").get("path") for file in files] if isinstance(files, list) else []
    known = [PurePath(str(name)).name for name in names if name]
    if not known:
        return "not recorded"
    return known[0] if len(known) == 1 else f"{known[0]} and {len(known) - 1} more"


def warnings_of(view: View) -> list[str]:
    """Return what a reader should know of the run and of the layer."""
    found = view.facts.get("warnings")
    lines = [str(line) for line in found] if isinstance(found, list) else []
    return lines if view.doubt is None else [view.doubt, *lines]
