"""People: those of a raster shared out among the buildings of an event.

A cell's people go to its buildings by the ground that these cover (dasymetric). No person is
gained or lost: those of each cell are in its buildings, in no building, or beyond the ground that
was assessed.
"""

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from geodamage.damage import GRADES
from geodamage.errors import MissingExtraError, install
from geodamage.event.rollups import GRADE_FIELDS
from geodamage.report.estimates import is_total

if TYPE_CHECKING:
    from geodamage.event.population import Parts, PopulationRaster

#: What an estimate tells of each area and of the whole.
ENDS = ("total", "low", "high")

#: What figures of people do not say.
SAYS = (
    "The people of each cell of the raster are shared among its buildings by the ground that each"
    " covers. Floors, use, the hour and people who have left are not considered. No interval"
    " includes the error of the raster."
)
_SAYS_ESTIMATE = (
    " The intervals come from the estimate of buildings, times the people per building of a grade"
    " in the result."
)


@dataclass(frozen=True)
class Shared:
    """How the people of cells were shared out.

    Attributes
    ----------
    people
        float64 (n,): people in each building; NaN where the raster has no number for its place.
    raster
        People in all cells that count: those that the assessed ground touches.
    beyond
        How many of these live beyond the assessed ground, by area.
    in_no_building
        How many of these live on the assessed ground in cells without a building.
    """

    people: np.ndarray
    raster: float
    beyond: float
    in_no_building: float

    @property
    def in_buildings(self) -> float:
        """People in buildings."""
        return float(np.nansum(self.people))


def share_out(buildings: "Parts", count: int, ground: "Parts | None" = None) -> Shared:
    """Share out the people of each cell among its buildings, by the part of it that these cover.

    Parameters
    ----------
    buildings
        The cells that buildings cover.
    count
        Number of buildings.
    ground
        The cells that the assessed ground covers, one shape; the people of a cell that lies in it
        in part count by that part. None where the ground is not known: then whole cells count.
    """
    both = [buildings.cell] if ground is None else [buildings.cell, ground.cell]
    cells, number = np.unique(np.concatenate(both), return_inverse=True)
    own = number[: len(buildings.cell)]
    people, seen = np.zeros(len(cells)), np.ones(len(cells))
    people[own] = buildings.people
    if ground is not None:
        touched = number[len(buildings.cell) :]
        people[touched] = ground.people
        seen = np.minimum(np.bincount(touched, ground.covered, minlength=len(cells)), 1.0)
        people[np.bincount(touched, minlength=len(cells)) == 0] = 0.0
    covered = np.bincount(own, buildings.covered, minlength=len(cells))
    here = people * seen
    share = buildings.covered / np.where(covered > 0, covered, 1.0)[own]
    given = np.bincount(buildings.shape, here[own] * share, minlength=count)
    known = np.bincount(buildings.shape, minlength=count) > 0
    return Shared(
        np.where(known, given, np.nan),
        float(people.sum()),
        float((people - here).sum()),
        float(here[covered == 0].sum()),
    )


@dataclass(frozen=True)
class PeopleSource:
    """Where the people of an event come from.

    Attributes
    ----------
    population
        Raster of people per cell.
    estimate
        What `geodamage estimate` found for this event, or None.
    """

    population: Path
    estimate: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class People:
    """The people of an event.

    Attributes
    ----------
    buildings
        The buildings, with the field `people`.
    facts
        What the sidecar says of them.
    warnings
        What is odd.
    """

    buildings: gpd.GeoDataFrame
    facts: dict[str, Any]
    warnings: list[str]


def count_people(
    buildings: gpd.GeoDataFrame,
    ground: BaseGeometry | None,
    source: PeopleSource,
    areas: gpd.GeoDataFrame | None = None,
) -> tuple[People, np.ndarray | None]:
    """Return the buildings of an event with their people, and the people of administrative areas.

    Parameters
    ----------
    buildings
        Every field and `geometry`, in longitude and latitude.
    ground
        The ground that was assessed, in longitude and latitude; None where it is not known.
    source
        Where people come from.
    areas
        Administrative areas, in longitude and latitude.

    Returns
    -------
    people
        Buildings and facts.
    totals
        float64 (areas,): people of each whole area by the raster; None without areas.

    Raises
    ------
    MissingExtraError
        If exactextract is not installed.
    SceneError, SceneReadError
        If the raster cannot be used.
    """
    open_population = _opener()
    shapes = buildings.geometry.to_numpy().copy()
    shapes[_beyond(buildings)] = None
    with open_population(source.population) as raster:
        parts = raster.parts(shapes)
        own = None if ground is None else raster.parts(np.array([ground], object))
        shared = share_out(parts, len(buildings), own)
        totals = None if areas is None else raster.totals(areas.geometry.to_numpy())
        facts = _facts(shared, raster, source)
        warnings = _warnings(shared, raster, ground)
    with_people = buildings.assign(people=shared.people)
    geometry = with_people.pop("geometry")
    with_people = gpd.GeoDataFrame(with_people, geometry=geometry, crs=buildings.crs)
    return People(with_people, facts, warnings), totals


def _beyond(buildings: pd.DataFrame) -> np.ndarray:
    """Say which buildings lie beyond the assessed ground: others have the people of their cells."""
    reason = buildings["status_reason"].fillna("")
    beyond: np.ndarray = reason.str.startswith("outside_").to_numpy(dtype=bool)
    return beyond


def _facts(shared: Shared, raster: "PopulationRaster", source: PeopleSource) -> dict[str, Any]:
    return {
        "file": source.population.name,
        "crs": raster.crs.to_string()[:80],
        "cell_metres": round(raster.cell_metres, 1),
        "in_cells": round(shared.raster, 3),
        "beyond_the_ground": round(shared.beyond, 3),
        "in_no_building": round(shared.in_no_building, 3),
        "in_buildings": round(shared.in_buildings, 3),
        "buildings_without_number": int(np.isnan(shared.people).sum()),
        "says": SAYS + ("" if source.estimate is None else _SAYS_ESTIMATE),
    }


def _warnings(shared: Shared, raster: "PopulationRaster", ground: BaseGeometry | None) -> list[str]:
    name, found = raster.path, list(raster.notes)
    if raster.undeclared is not None:
        found.append(
            f"{name}: has negative values, down to {raster.undeclared:g}, that no nodata tag "
            "declares; nobody is counted there"
        )
    if ground is None:
        found.append(
            f"{name}: the assessed ground is not known, so cells at its edge count in full"
        )
    if not shared.raster:
        found.append(f"{name}: has nobody on the ground of the event; is it of this place?")
    elif shared.in_no_building > shared.in_buildings:
        found.append(
            f"{name}: {shared.in_no_building:,.0f} people live in cells without a building of the "
            f"event, and {shared.in_buildings:,.0f} in cells with some; footprints may be missing"
        )
    return found


def people_by_grade(
    table: pd.DataFrame, estimate: Mapping[str, Any] | None
) -> dict[str, dict[str, float]]:
    """Return the people in buildings of each grade, and in damaged ones.

    Parameters
    ----------
    table
        One row with `TALLY_FIELDS` and `PEOPLE_FIELDS`.
    estimate
        Totals of the same buildings with intervals, or None.
    """
    row = table.iloc[0].to_dict()
    fields = {grade.label: GRADE_FIELDS[grade] for grade in GRADES} | {"damaged": "damaged"}
    found = {}
    for label, field in fields.items():
        people = float(row[f"people_{field}"])
        found[label] = {"people": round(people, 3)}
        if estimate is not None:
            each = _per_building(row, field)
            found[label] |= {end: round(float(estimate[label][end]) * each, 1) for end in ENDS}
    return found


def _per_building(row: Mapping[Hashable, Any], field: str) -> float:
    """Return the people per building of a grade; of all, where the result has none of it."""
    if row[field]:
        return float(row[f"people_{field}"]) / float(row[field])
    return float(row["people_assessed"]) / float(row["assessed"]) if row["assessed"] else 0.0


def with_intervals(
    areas: gpd.GeoDataFrame, field: str, estimate: Mapping[str, Any]
) -> gpd.GeoDataFrame:
    """Return areas with the people in damaged buildings by the estimate, and its interval.

    Areas of which the estimate says nothing have null there.
    """
    told = estimate.get("areas") or []
    by_name = {
        str(area.get("name")): area.get("damaged") for area in told if isinstance(area, Mapping)
    }
    found = {end: np.full(len(areas), np.nan) for end in ENDS}
    for n, row in enumerate(areas.to_dict("records")):
        damaged: Any = by_name.get(str(row[field]))
        if not is_total(damaged):  # nobody has looked there
            continue
        each = _per_building(row, "damaged")
        for end in ENDS:
            found[end][n] = round(float(damaged[end]) * each, 1)
    names = {"total": "people_damaged_estimate", "low": "people_damaged_low"}
    names["high"] = "people_damaged_high"
    geometry = areas.geometry
    table = areas.drop(columns=geometry.name).assign(**{names[end]: found[end] for end in ENDS})
    return gpd.GeoDataFrame(table, geometry=geometry, crs=areas.crs)


def check_population(path: Path) -> None:
    """Check, before any work, that people can be counted by a raster.

    Raises
    ------
    MissingExtraError
        If exactextract is not installed.
    SceneError, SceneReadError
        If the raster cannot be used.
    """
    with _opener()(path):
        pass


def _opener() -> "Callable[[Path], AbstractContextManager[PopulationRaster]]":
    try:
        from geodamage.event.population import open_population
    except ImportError as error:
        raise MissingExtraError(
            f"exactextract is not installed; run {install('people')}"
        ) from error
    return open_population


def ground_of(scenes: gpd.GeoDataFrame) -> BaseGeometry | None:
    """Return the ground that was assessed; None where a scene does not tell its own."""
    shapes = scenes.geometry.to_numpy()
    if not len(shapes) or shapely.is_missing(shapes).any():
        return None
    union: BaseGeometry = shapely.union_all(shapes)
    return union
