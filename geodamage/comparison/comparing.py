"""Comparing: a result and an official layer, building by building and cell by cell."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from geodamage.comparison.agreement import (
    cell_facts,
    damage_table,
    damaged_facts,
    grade_table,
)
from geodamage.comparison.matching import Matches, match, worst_of
from geodamage.comparison.officials import Official, read_official
from geodamage.damage import DamageGrade
from geodamage.errors import InputError
from geodamage.exports.product import Result, read_export
from geodamage.grid import utm_zone
from geodamage.options.lookup import check_fields
from geodamage.output.seen_ground import LONLAT
from geodamage.report.findings import STATEMENT
from geodamage.vector.layer import split_layer
from geodamage.vector.placing import area_near
from geodamage.vector.reading import read_vector
from geodamage.words import counted

#: What both say of a building, or one of them alone.
VERDICTS = ("both_damaged", "both_undamaged", "only_result", "only_official", "not_compared")


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """How a comparison is made.

    Attributes
    ----------
    schema
        Schema of the official layer; `auto` tells it by the names of its fields.
    epoch
        Which of several assessments in one layer; None for the last.
    tolerance
        Metres from a building up to which a point still means it.
    unlisted
        What a building is that the official layer does not have.
    within
        Vector file of what the official layer covers.
    cell
        Side of the cells, metres.
    page
        Page to write, too.
    """

    schema: str = "auto"
    epoch: int | None = None
    tolerance: float = 5.0
    unlisted: str = "auto"
    within: Path | None = None
    cell: float = 100.0
    page: Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to.

    Attributes
    ----------
    buildings
        Buildings of the result in a UTM zone, with `building_id`, `damage_class`, `damaged`,
        `official_class`, `official_damaged`, `difference` (ours less theirs, in grades) and
        `verdict`. `damaged` is minor damage or worse if the official layer has grades, otherwise it
        follows the threshold of the model.
    official
        Features of the official layer there: `said`, `damage_class`, `damaged`, `building_id` and
        `distance_m` of the building that each means, `verdict`.
    cells
        Squares with a building: `result_damaged`, `official_damaged`.
    facts
        Every figure, and the warnings.
    """

    buildings: gpd.GeoDataFrame
    official: gpd.GeoDataFrame
    cells: gpd.GeoDataFrame
    facts: dict[str, Any]


def compare(result: Path, official: Path, options: CompareOptions = CompareOptions()) -> Comparison:
    """Compare a result with an official layer.

    Parameters
    ----------
    result
        Result of `geodamage assess`, or a GeoPackage of `geodamage event`.
    official
        Layer of Copernicus EMS, UNOSAT, Microsoft, HOT, FEMA, or another result; `file:layer`
        where it has several.
    options
        How.

    Raises
    ------
    InputError
        If one of them cannot be read, or they lie in different places.
    OptionError
        If an option makes no sense with the layer.
    """
    ours = read_export(result)
    theirs = read_official(official, options.schema, options.epoch)
    within = options.within
    ground = None if within is None else read_vector(within, refusal=InputError).frame
    return _Comparing(ours, theirs, ground, options).made(official)


class _Comparing:
    """One comparison, from two layers to its figures."""

    def __init__(
        self,
        ours: Result,
        official: Official,
        ground: gpd.GeoDataFrame | None,
        options: CompareOptions,
    ) -> None:
        self.options, self.official = options, official
        self.notes = [*([] if ours.doubt is None else [ours.doubt]), *official.notes]
        frame = ours.frame[ours.frame.geometry.notna()].reset_index(drop=True)
        if frame.empty:
            raise InputError(f"{ours.path}: has no building with an outline; nothing to compare")
        self.path = ours.path
        place = shapely.box(*frame.geometry.to_crs(LONLAT).total_bounds).centroid
        self.crs = CRS.from_epsg(int(utm_zone(np.array([place.x]), np.array([place.y]))[0]))
        self.frame = frame.to_crs(self.crs)
        self.theirs = official.frame.to_crs(self.crs)
        self.shapes = self.frame.geometry.to_numpy()
        self.features = self.theirs.geometry.to_numpy()
        # What lies at the other end of the world has no place in the plane of a scene.
        self.features[~np.isfinite(shapely.bounds(self.features)).all(1)] = shapely.Polygon()
        self.assessed = self._assessed(ours)
        self.ground = self._covered(ground)

    def _assessed(self, ours: Result) -> shapely.Geometry:
        """Return what the result speaks of, with the tolerance around."""
        if ours.area is None:
            self.notes.append(
                f"{ours.path}: its sidecar does not say the assessed area; the hull of its"
                " buildings stands for it"
            )
            area = shapely.convex_hull(shapely.geometrycollections(self.shapes))
        else:
            area = gpd.GeoSeries([ours.area], crs=LONLAT).to_crs(self.crs).iloc[0]
        around: shapely.Geometry = shapely.buffer(area, self.options.tolerance)
        return around

    def _covered(self, ground: gpd.GeoDataFrame | None) -> shapely.Geometry:
        """Return what the official layer speaks of, with the tolerance around."""
        if ground is not None:
            shapes, near = ground.geometry.dropna().to_numpy(), shapely.bounds(self.assessed)
            area = area_near(shapes, CRS(ground.crs), self.crs, tuple(near.tolist()))
        else:
            area = shapely.convex_hull(shapely.geometrycollections(self.features))
            if self.unlisted == "undamaged":
                self.notes.append(
                    "the hull of the official features is taken as the area that the layer covers,"
                    " because buildings that it does not list count as undamaged; give its area by"
                    " --within"
                )
        return shapely.buffer(area, self.options.tolerance)

    @property
    def unlisted(self) -> str:
        """What a building is that the official layer does not have."""
        if self.options.unlisted != "auto":
            return self.options.unlisted
        return "unknown" if self.official.lists_undamaged else "undamaged"

    def made(self, path: Path) -> Comparison:
        """Return the comparison."""
        centres = shapely.centroid(self.features)
        inside = shapely.covers(self.assessed, centres)
        told = self.theirs["damaged"].notna().to_numpy()
        if not inside.any():
            raise InputError(
                f"{path}: none of its {counted(len(inside), 'feature')} lies in the assessed area "
                f"of {self.path}; compare layers of one place"
            )
        matches = match(self.shapes, self._inside(inside), self.options.tolerance)
        buildings = self._buildings(matches)
        official = self._features(matches, inside, told, buildings)
        cells = self._cells(buildings, official)
        facts = self._facts(path, matches, buildings, official, cells, inside, told)
        return Comparison(buildings, official, cells, facts)

    def _inside(self, inside: np.ndarray) -> np.ndarray:
        """Return the features that lie inside; None in the place of others."""
        found: np.ndarray = self.features.copy()
        found[~inside] = None
        return found

    def _buildings(self, matches: Matches) -> gpd.GeoDataFrame:
        count = len(self.frame)
        grade = self.theirs["grade"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        damaged = self.theirs["damaged"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        grades = worst_of(grade, matches.building, count)
        flags = worst_of(damaged, matches.building, count)
        if self.unlisted == "undamaged":
            meant = np.isin(np.arange(count), matches.building)
            covered = shapely.covers(self.ground, shapely.centroid(self.shapes))
            flags[covered & ~meant] = 0
            if self.official.has_grades:
                grades[covered & ~meant] = 1
        ours = self.frame["damage_class"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        own = self.frame["damaged"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        if self.official.has_grades:  # like with like: what is damaged there follows from grades
            own = np.where(np.isnan(ours), np.nan, ours > DamageGrade.NO_DAMAGE)
        columns = {
            "building_id": self.frame["building_id"].astype("string"),
            "damage_class": pd.array(ours, dtype="Float64").astype("Int32"),
            "damaged": pd.array(own, dtype="Float64").astype("boolean"),
            "official_class": pd.array(grades, dtype="Float64").astype("Int32"),
            "official_damaged": pd.array(flags, dtype="Float64").astype("boolean"),
            "difference": pd.array(ours - grades, dtype="Float64").astype("Int32"),
            "verdict": pd.array(_verdicts(own, flags), dtype="string"),
        }
        return gpd.GeoDataFrame(columns, geometry=self.shapes, crs=self.crs)

    def _features(
        self, matches: Matches, inside: np.ndarray, told: np.ndarray, buildings: gpd.GeoDataFrame
    ) -> gpd.GeoDataFrame:
        rows = matches.building
        found = rows >= 0
        names = buildings["building_id"].to_numpy(object)
        verdicts = np.where(found, buildings["verdict"].to_numpy(object)[rows], "only_official")
        undamaged = ~self.theirs["damaged"].fillna(False).to_numpy(bool)
        verdicts[~found & undamaged] = "not_compared"
        verdicts[~inside | ~told] = "not_compared"
        columns = {
            "said": self.theirs["said"],
            "damage_class": self.theirs["grade"].astype("Int32"),
            "damaged": self.theirs["damaged"],
            "building_id": pd.Series(names[rows], dtype="string").where(found),
            "distance_m": np.round(matches.distance, 2),
            "verdict": pd.array(verdicts, dtype="string"),
        }
        return gpd.GeoDataFrame(columns, geometry=self.features, crs=self.crs)

    def _cells(self, buildings: gpd.GeoDataFrame, official: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Count the damaged ones of both in squares, where both speak of the ground."""
        ours = buildings["damaged"].notna().to_numpy(copy=True)
        centres = shapely.centroid(self.shapes)
        ours &= shapely.covers(self.ground, centres)
        theirs = (official["verdict"] != "not_compared").to_numpy(bool)
        points = np.concatenate([centres[ours], shapely.centroid(self.features)[theirs]])
        is_ours = np.arange(len(points)) < ours.sum()
        damaged = np.concatenate([
            buildings["damaged"].fillna(False).to_numpy(bool)[ours],
            official["damaged"].fillna(False).to_numpy(bool)[theirs],
        ])  # fmt: skip
        side = self.options.cell
        places = np.floor(shapely.get_coordinates(points) / side).astype(np.int64)
        distinct, cell = np.unique(places, axis=0, return_inverse=True)
        counts = [
            np.bincount(cell.ravel(), damaged & mine, len(distinct)).astype(np.int64)
            for mine in (is_ours, ~is_ours)
        ]
        x, y = (distinct * side).T if len(distinct) else np.zeros((2, 0))
        return gpd.GeoDataFrame(
            {"result_damaged": counts[0], "official_damaged": counts[1]},
            geometry=shapely.box(x, y, x + side, y + side),
            crs=self.crs,
        )

    def _facts(
        self,
        path: Path,
        matches: Matches,
        buildings: gpd.GeoDataFrame,
        official: gpd.GeoDataFrame,
        cells: gpd.GeoDataFrame,
        inside: np.ndarray,
        told: np.ndarray,
    ) -> dict[str, Any]:
        both = buildings["damaged"].notna() & buildings["official_damaged"].notna()
        damaged = damage_table(
            buildings.loc[both, "damaged"].to_numpy(bool),
            buildings.loc[both, "official_damaged"].to_numpy(bool),
        )
        graded = buildings["damage_class"].notna() & buildings["official_class"].notna()
        grades = None
        if self.official.has_grades:
            pair = buildings.loc[graded, ["damage_class", "official_class"]].to_numpy(np.int64)
            grades = grade_table(*pair.T).facts()
        wide = match(self.shapes, self._inside(inside), 2 * self.options.tolerance).facts()
        only_ours = buildings[(buildings["verdict"] == "only_result")]
        only_theirs = official[(official["verdict"] == "only_official").to_numpy()]
        if not both.any():
            self.notes.append("no building was seen by both, so their agreement is unknown")
        return {
            "statement": STATEMENT,
            "result": self.path.name,
            "official": split_layer(path).path.name,
            "schema": self.official.schema,
            "field": self.official.field,
            "epoch": self.official.epoch,
            "scale": "four grades" if self.official.has_grades else "damaged or not",
            "unlisted": self.unlisted,
            "tolerance_m": self.options.tolerance,
            "features": len(official),
            "outside": int((~inside).sum()),
            "without_opinion": int((inside & ~told).sum()),
            "match": matches.facts() | {"matched_at_twice_the_tolerance": wide["matched"]},
            "compared": int(both.sum()),
            "damaged": damaged.facts() | damaged_facts(damaged),
            "grades": grades,
            "only_result": len(only_ours),
            "only_official": len(only_theirs),
            "only_official_without_building": int(only_theirs["building_id"].isna().sum()),
            "not_assessed_here": int(
                (buildings["damaged"].isna() & buildings["official_damaged"].notna()).sum()
            ),
            "cells": cell_facts(
                cells["result_damaged"].to_numpy(np.int64),
                cells["official_damaged"].to_numpy(np.int64),
            )
            | {"side_m": self.options.cell},
            "warnings": self.notes,
        }


def _verdicts(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return what both say of each building, float64 (n,) of 0, 1 or NaN."""
    verdicts = np.full(len(ours), "not_compared", object)
    for first, second, word in (
        (1, 1, "both_damaged"),
        (0, 0, "both_undamaged"),
        (1, 0, "only_result"),
        (0, 1, "only_official"),
    ):
        verdicts[(ours == first) & (theirs == second)] = word
    return verdicts
