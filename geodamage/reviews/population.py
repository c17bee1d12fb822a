"""The population: the buildings of one or more results that an estimate speaks of."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geodamage.damage import GRADES
from geodamage.errors import InputError
from geodamage.event.layers import best_looks
from geodamage.event.looks import find_looks, read_look
from geodamage.event.merging import add_scenes
from geodamage.event.record import no_record
from geodamage.fields import NAMES
from geodamage.output.layers import pair_doubt, read_facts, read_layer
from geodamage.report.event_view import is_event
from geodamage.sources import check_file

#: Fields with the probability of each grade.
PROBABILITIES = ("p_none", "p_minor", "p_major", "p_destroyed")


@dataclass(frozen=True)
class Population:
    """Buildings with a grade, each once.

    Attributes
    ----------
    frame
        Every field and `geometry`, in longitude and latitude, in the order of `building_id`.
    names
        `building_id` of every look, and that of the building which it shows.
    ungraded
        Buildings without a grade: nothing is said of them.
    sources
        Files of the results.
    models
        SHA-256 of the models that graded them, in order.
    ground
        What was assessed, in longitude and latitude; None where no sidecar says it.
    doubts
        Which files are not those that their sidecars were written with.
    """

    frame: gpd.GeoDataFrame
    names: Mapping[str, str]
    ungraded: int
    sources: tuple[Path, ...]
    models: tuple[str, ...]
    ground: shapely.Geometry | None
    doubts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def grade(self) -> np.ndarray:
        """Grade of each building by the model, int64 (n,), 1-4."""
        return np.asarray(self.frame["damage_class"].to_numpy(dtype=np.int64))

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probabilities of the four grades, float64 (n, 4); each row sums to 1."""
        values = self.frame[list(PROBABILITIES)].to_numpy(dtype=np.float64, na_value=0.0)
        graded = np.eye(len(GRADES))[self.grade - 1]
        total = values.sum(1, keepdims=True)
        shares = np.where(total > 0, values / np.where(total > 0, total, 1), graded)
        return np.asarray(shares, np.float64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what was said of the buildings; equal for equal results in any format."""
        digest = hashlib.sha256()
        columns = self.frame[["building_id", "damage", *PROBABILITIES]]
        for row in columns.itertuples(index=False, name=None):
            said = [row[0], row[1], *(f"{float(value):.3f}" for value in row[2:])]
            digest.update("\t".join(said).encode() + b"\n")
        return digest.hexdigest()


def read_population(results: Sequence[str | os.PathLike[str]]) -> Population:
    """Read the buildings of results.

    Buildings that several results show are counted once, by the best look, as `geodamage event`
    counts them.

    Parameters
    ----------
    results
        Results of `geodamage assess` with their sidecars, output folders of `geodamage batch`,
        or one GeoPackage of `geodamage event`.

    Raises
    ------
    InputError
        If a result cannot be used, none of its buildings has a grade, or two buildings in
        different places have one id.
    """
    paths = [Path(result) for result in results]
    for path in paths:
        if not path.is_dir():  # else the lack of its sidecar would be named
            check_file(str(path), may_be_empty=True)
    if len(paths) == 1 and paths[0].is_file() and is_event(facts := read_facts(paths[0])):
        frame = read_layer(paths[0], "buildings")
        ground = _union(read_layer(paths[0], "assessed_area").geometry)
        doubts = _doubts([(paths[0], facts, frame)])
        return _population(frame, {}, (paths[0],), (facts,), ground, doubts)
    looks = find_looks(paths)
    scenes = [read_look(look) for look in looks]
    doubts = _doubts((scene.look.buildings, scene.facts, scene.frame) for scene in scenes)
    files = tuple(look.buildings for look in looks)
    facts_of = tuple(scene.facts for scene in scenes)
    ground = _union(scene.outline for scene in scenes)
    if len(scenes) == 1:
        return _population(scenes[0].frame, {}, files, facts_of, ground, doubts)
    record = add_scenes(no_record(), scenes)
    best = best_looks(record.looks)
    shown = dict(zip(best["event_building_id"], best["building_id"], strict=True))
    of_look = record.looks["event_building_id"].map(shown)
    names = dict(zip(record.looks["building_id"], of_look, strict=True))
    return _population(best, names, files, facts_of, ground, doubts)


def _population(
    frame: gpd.GeoDataFrame,
    names: Mapping[str, str],
    sources: tuple[Path, ...],
    facts: tuple[Mapping[str, Any], ...],
    ground: shapely.Geometry | None,
    doubts: tuple[str, ...],
) -> Population:
    where = sources[0] if len(sources) == 1 else f"{sources[0]} and {len(sources) - 1} more"
    graded = frame["damage_class"].notna()
    kept = frame[graded].sort_values("building_id", ignore_index=True)
    if kept.empty:
        raise InputError(f"{where}: no building has a grade, so there is nothing to review")
    twice = kept["building_id"][kept["building_id"].duplicated()]
    if len(twice):
        raise InputError(
            f"{where}: two buildings in different places are called {twice.iloc[0]}; give"
            " footprints ids that are unique over all results"
        )
    columns = gpd.GeoDataFrame(kept[[*NAMES, "geometry"]], crs=frame.crs)
    known = {str(name): str(name) for name in columns["building_id"]}
    return Population(
        columns,
        {**{str(key): str(value) for key, value in names.items()}, **known},
        int((~graded).sum()),
        sources,
        tuple(sorted({model for entry in facts for model in _models(entry)})),
        ground,
        doubts,
    )


def _doubts(
    found: Iterable[tuple[Path, Mapping[str, Any], gpd.GeoDataFrame]],
) -> tuple[str, ...]:
    """Return what is wrong with pairs of a file and its sidecar."""
    doubts = (pair_doubt(*pair) for pair in found)
    return tuple(doubt for doubt in doubts if doubt is not None)


def _union(outlines: Iterable[shapely.Geometry | None]) -> shapely.Geometry | None:
    known = [outline for outline in outlines if outline is not None]
    union = shapely.union_all(known)
    return None if union.is_empty else union


def _models(facts: Mapping[str, Any]) -> list[str]:
    model = facts.get("model")
    if isinstance(model, Mapping):
        return [str(model.get("sha256") or model.get("name"))]
    named = facts.get("models")
    return [str(name) for name in named] if isinstance(named, list) else []


def rows_of(population: Population, names: pd.Series) -> np.ndarray:
    """Return the row of each building by its id, int64 (n,); -1 where there is no such building."""
    places = {name: row for row, name in enumerate(population.frame["building_id"].astype(str))}
    shown = [population.names.get(str(name), "") for name in names]
    return np.array([places.get(name, -1) for name in shown], np.int64)
