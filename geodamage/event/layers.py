"""The layers of an event, and the facts about them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geodamage._version import __version__
from geodamage.damage import GRADES
from geodamage.event.estimates import estimate_facts, estimate_rows, with_estimate
from geodamage.event.looks import (
    LONLAT,
)
from geodamage.event.people import (
    People,
    PeopleSource,
    count_people,
    ground_of,
    people_by_grade,
    with_intervals,
)
from geodamage.event.places import IOU_DECIMALS, LEAST_IOU
from geodamage.event.record import Record
from geodamage.event.rollups import (
    GRADE_FIELDS,
    Admin,
    roll_up_by_admin,
    roll_up_by_grid,
    tally,
)
from geodamage.fields import NAMES, STATUSES
from geodamage.grid import geodesic_area
from geodamage.output.seen_ground import read_assessed_area
from geodamage.output.writer import GeometryType
from geodamage.report.estimates import read_estimate
from geodamage.report.findings import STATEMENT


class Rollups(NamedTuple):
    """How buildings are counted.

    Attributes
    ----------
    cell
        Side of a cell of the grid, metres.
    admin
        Administrative areas, or None.
    estimate
        File of totals by people who looked, or None.
    population
        Raster of people per cell, or None.
    """

    cell: float
    admin: Admin | None
    estimate: Path | None = None
    population: Path | None = None


def make_layers(record: Record, rollups: Rollups) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the layers of an event, and what its sidecar says.

    Raises
    ------
    InputError
        If the estimate is none, or one of other buildings.
    """
    buildings = best_looks(record.looks)
    seen, by_rectangle = seen_ground(record.scenes)
    area = _assessed_area(seen)
    found = None
    if rollups.estimate is not None:
        found = read_estimate(rollups.estimate, int(buildings["damage_class"].notna().sum()))
    source, people, totals = None, None, None
    if rollups.population is not None:
        source = PeopleSource(rollups.population, found)
        areas = None if rollups.admin is None else rollups.admin.frame
        people, totals = count_people(buildings, ground_of(record.scenes), source, areas)
        buildings = people.buildings
    layers: dict[str, pd.DataFrame] = {
        "buildings": buildings,
        "looks": record.looks,
        "scenes": record.scenes.drop(columns="fingerprint"),
        "assessed_area": area,
        "grid": roll_up_by_grid(buildings, rollups.cell),
    }
    facts = _facts(record, buildings, float(area["area_km2"].sum()))
    facts["assessed_area_by_rectangle"] = by_rectangle
    facts["grid"] = {"cell": rollups.cell, "cells": len(layers["grid"])}
    facts["admin"] = None
    if rollups.admin is not None:
        layers["admin"], outside = roll_up_by_admin(buildings, rollups.admin)
        facts["admin"] = {
            "file": rollups.admin.source,
            "field": rollups.admin.field,
            "areas": len(layers["admin"]),
            "buildings_outside": outside,
            "doubt": rollups.admin.doubt,
        }
    if rollups.estimate is not None and found is not None:
        layers["estimate"] = estimate_rows(found)
        facts["estimate"] = estimate_facts(found, rollups.estimate.name)
        if rollups.admin is not None:
            layers["admin"] = with_estimate(layers["admin"], rollups.admin.field, found)
    facts["people"] = None
    if people is not None and source is not None:
        facts["people"] = _people_facts(layers, people, source)
        if totals is not None and rollups.admin is not None:
            field = rollups.admin.field
            layers["admin"] = _admin_with_people(layers["admin"], field, totals, found)
    return layers, facts


def _people_facts(
    layers: dict[str, gpd.GeoDataFrame], people: People, source: PeopleSource
) -> dict[str, Any]:
    buildings = layers["buildings"]
    whole = tally(buildings, np.zeros(len(buildings), np.int64), 1).fillna(0.0)
    return {
        **people.facts,
        "not_assessed": round(float(whole["people_not_assessed"].iloc[0]), 3),
        "per_grade": people_by_grade(whole, source.estimate),
        "warnings": people.warnings,
    }


def _admin_with_people(
    areas: gpd.GeoDataFrame, field: str, totals: np.ndarray, found: Mapping[str, Any] | None
) -> gpd.GeoDataFrame:
    """Return areas with all their people, and the intervals of the damaged where there are some."""
    geometry = areas.geometry
    table = areas.drop(columns=geometry.name).assign(people_of_area=np.round(totals, 3))
    areas = gpd.GeoDataFrame(table, geometry=geometry, crs=areas.crs)
    return areas if found is None else with_intervals(areas, field, found)


def seen_ground(scenes: gpd.GeoDataFrame) -> tuple[list[shapely.Geometry], list[str]]:
    """Return the ground that each scene shows, by its sidecar.

    Returns
    -------
    list
        Polygons in longitude and latitude, for each scene that shows any.
    list
        Scenes whose sidecar tells a rectangle alone, as those of earlier versions: it stands for
        their ground.
    """
    shapes, by_rectangle = [], []
    rows = zip(scenes["scene"], scenes["facts"], scenes.geometry, strict=True)
    for scene, text, outline in rows:
        facts = json.loads(text)
        if "assessed_area" in facts:
            shapes.append(read_assessed_area(facts))
        elif outline is not None:
            shapes.append(outline)
            by_rectangle.append(scene)
    return [shape for shape in shapes if shape is not None], by_rectangle


def _assessed_area(shapes: Sequence[shapely.Geometry]) -> gpd.GeoDataFrame:
    """Return the union of what scenes show, as one row; none where none shows any."""
    union = shapely.union_all(list(shapes))
    geometry = [] if union.is_empty else [union]
    columns = {
        "area_km2": pd.Series([geodesic_area(shape) / 1e6 for shape in geometry], dtype="float64")
    }
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(geometry, crs=LONLAT), crs=LONLAT)


def _facts(record: Record, buildings: gpd.GeoDataFrame, area_km2: float) -> dict[str, Any]:
    """Return what the sidecar of an event says."""
    whole = tally(buildings, np.zeros(len(buildings), np.int64), 1).iloc[0]
    statuses = buildings["status"].value_counts()
    dates = record.scenes["date"].dropna()
    unplaced = record.scenes.geometry.isna()
    return {
        "statement": STATEMENT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"geodamage": __version__},
        "scenes": len(record.scenes),
        "scenes_without_outline": record.scenes["scene"][unplaced].tolist(),
        "first_date": dates.min() if len(dates) else None,
        "last_date": dates.max() if len(dates) else None,
        "models": sorted(record.scenes["model"].dropna().unique()),
        "matching": {"least_iou": LEAST_IOU, "iou_decimals": IOU_DECIMALS},
        "looks": len(record.looks),
        "assessed_km2": round(_assessed_km2(record.scenes, area_km2), 6),
        "buildings": len(buildings),
        "buildings_per_grade": {g.label: int(whole[GRADE_FIELDS[g]]) for g in GRADES},
        "area_m2_per_grade": {
            g.label: round(float(whole[f"area_m2_{GRADE_FIELDS[g]}"]), 1) for g in GRADES
        },
        "buildings_per_status": {name: int(statuses.get(name, 0)) for name in STATUSES},
        "fingerprints": dict(
            zip(record.scenes["scene"], record.scenes["fingerprint"], strict=True)
        ),
    }


def _assessed_km2(scenes: gpd.GeoDataFrame, area_km2: float) -> float:
    """Return the ground that was assessed, km²: no more than the scenes together, or their union.

    The union is of cells, and of rectangles with their nodata where a sidecar tells no more; the
    scenes count what they share.
    """
    known = scenes["assessed_km2"]
    return area_km2 if known.isna().any() else min(area_km2, float(known.sum()))


#: Geometry type that each layer declares; a building may have none, or any.
GEOMETRY_TYPES: dict[str, GeometryType] = {"buildings": "Unknown", "looks": "Unknown"}


def best_looks(looks: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the best look at each building of an event.

    An assessed look comes before a partial one, and a partial one before one that is not assessed.
    Among equals the higher valid fraction counts, then the later date, the larger area, the higher
    confidence, and the name of the scene.

    Parameters
    ----------
    looks
        `LOOK_KEYS`, every field and `geometry`.

    Returns
    -------
    GeoDataFrame
        `event_building_id`, every field, `looks`, `scene` and `date` of the best look,
        `first_seen`, `last_seen` and `geometry`, in the order of `event_building_id`. `first_seen`
        and `last_seen` are the dates of the first and last look that is assessed, at least in part.
    """
    rank = looks["status"].map({name: n for n, name in enumerate(STATUSES)}).astype("int64")
    ranked = looks.assign(rank=rank, date=looks["date"].fillna(""))
    keys = ["rank", "valid_fraction", "date", "area_m2", "confidence", "scene", "building_id"]
    ranked = ranked.sort_values(
        keys, ascending=[True, False, False, False, False, True, True], kind="stable"
    )
    best = looks.loc[ranked.drop_duplicates("event_building_id").index]
    best = best.sort_values("event_building_id", ignore_index=True)
    names = best["event_building_id"]
    dates = looks[looks["status"] != "not_assessed"].groupby("event_building_id")["date"]
    counts = looks["event_building_id"].value_counts()
    best = best.assign(
        looks=names.map(counts).astype("Int32"),
        first_seen=names.map(dates.min()).astype("string"),
        last_seen=names.map(dates.max()).astype("string"),
    )
    after = ["looks", "scene", "date", "first_seen", "last_seen", "geometry"]
    return best[["event_building_id", *NAMES, *after]]
