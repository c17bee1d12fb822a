"""Events: the looks of many scenes merged into one layer with one building per place."""

import hashlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd

from geodamage.event.layers import GEOMETRY_TYPES, Rollups, make_layers
from geodamage.event.looks import (
    LONLAT,
    Look,
    SceneLooks,
    check_names,
    fingerprint,
    order_key,
    order_looks,
    read_look,
)
from geodamage.event.places import UNKNOWN, Sightings, find_places
from geodamage.event.record import LOOK_KEYS, Record, no_record, read_record, scene_row
from geodamage.event.rollups import read_admin
from geodamage.fields import REVIEWED
from geodamage.options.lookup import check
from geodamage.output.disk import file_state
from geodamage.output.geopackage import write_layers
from geodamage.output.layers import pair_doubt
from geodamage.output.locks import refuse_edited
from geodamage.output.publication import Publication, check_output
from geodamage.sources import check_file
from geodamage.vector.layer import split_layer
from geodamage.work import long_work

Existing = Literal["refuse", "replace", "update"]

DEFAULT_CELL = 500.0

#: Why a building that a model found is partial.
CUT = "cut_by_edge_or_nodata"


@dataclass(frozen=True)
class EventProgress:
    """How far a merge is.

    Attributes
    ----------
    stage
        `read`, `match`, `write` or `done`.
    done, total
        Scenes that are read, and all of them.
    message
        A line for the user, or None; `warning` says that it is one.
    """

    stage: str
    done: int = 0
    total: int = 0
    message: str | None = None
    warning: bool = False


@dataclass(frozen=True)
class EventSummary:
    """What a merge came to.

    Attributes
    ----------
    scenes
        Scenes in the event now.
    fresh, redone, unchanged
        Scenes given that it did not know, knew with another result, and knew as they are.
    looks, buildings
        Looks and buildings in the event now.
    facts
        What the sidecar says.
    """

    scenes: int
    fresh: int
    redone: int
    unchanged: int
    looks: int
    buildings: int
    facts: dict[str, Any]


@long_work
def merge_event(
    looks: Sequence[Look],
    output: Path,
    *,
    admin: Path | None = None,
    admin_name: str | None = None,
    cell: float = DEFAULT_CELL,
    population: Path | None = None,
    estimate: Path | None = None,
    existing: Existing = "refuse",
) -> Generator[EventProgress, None, EventSummary]:
    """Merge the looks of scenes into one layer of the event, as `Work`.

    The result does not depend on the order in which looks are given. Closing the work leaves no
    file, or the file that was there.

    Parameters
    ----------
    looks
        From `find_looks`, or made by hand.
    output
        GeoPackage; its layers are `buildings`, `looks`, `scenes`, `assessed_area`, `grid`, and
        `admin` and `estimate` where these are given.
    admin, admin_name
        Vector file of administrative areas, and the field with their names.
    cell
        Side of the cells of the grid, metres.
    population
        Raster of people per cell; they are shared out among the buildings.
    estimate
        What `geodamage estimate` wrote of the same results, or None; gives people an interval.
    existing
        What becomes of an existing event. `update` keeps its looks and the `event_building_id` of
        its buildings. It replaces the looks of scenes that were assessed again, and adds those of
        new scenes.

    Returns
    -------
    The summary, as the result of the work.

    Raises
    ------
    GeodamageError
        If something is refused: `InputError` for looks and areas, `OutputError` for the event.
    """
    check("cell", cell, "event")
    check_names(looks)
    inputs = [path for look in looks for path in (look.buildings, look.sidecar)]
    inputs += [] if admin is None else [split_layer(admin).path]
    inputs += [path for path in (population, estimate) if path is not None]
    is_replaced = existing != "refuse"
    check_output(output, inputs=inputs, overwrite=is_replaced, extensions=(".gpkg",))
    if population is not None:
        check_file(str(population))
    areas = None if admin is None else read_admin(admin, admin_name)
    is_read = existing == "update" and output.exists()
    with Publication(overwrite=is_replaced) as publication:
        partial = publication.partial(output)  # its lock is held from here on
        if is_read:
            refuse_edited(output)
            publication.expect(output, file_state(output))
        known = read_record(output) if is_read else no_record()
        scenes = yield from _read(looks, known)
        redone = known.names & {scene.look.scene for scene in scenes}
        yield EventProgress("match", len(looks), len(looks))
        record = add_scenes(known, scenes)
        yield EventProgress("write", len(looks), len(looks))
        layers, facts = make_layers(record, Rollups(cell, areas, estimate, population))
        for message in _doubts(facts):
            yield EventProgress("write", len(looks), len(looks), message, warning=True)
        write_layers(layers, partial, GEOMETRY_TYPES)
        publication.sidecar(output, facts)
        if is_read:
            refuse_edited(output)
    yield EventProgress("done", len(looks), len(looks))
    return EventSummary(
        scenes=len(record.scenes),
        fresh=len(scenes) - len(redone),
        redone=len(redone),
        unchanged=len(looks) - len(scenes),
        looks=len(record.looks),
        buildings=len(layers["buildings"]),
        facts=facts,
    )


def _doubts(facts: dict[str, Any]) -> list[str]:
    """Return what is odd of the areas and of the people of an event."""
    doubts = list((facts["people"] or {}).get("warnings", ()))
    areas = facts["admin"]
    if areas is not None and areas["doubt"] is not None:
        doubts.append(areas["doubt"])
    if areas is not None and areas["buildings_outside"] == facts["buildings"] > 0:
        doubts.append(
            f"{areas['file']}: no building lies in any of its areas; is it of this place?"
        )
    return doubts


def _read(looks: Sequence[Look], known: Record) -> Generator[EventProgress, None, list[SceneLooks]]:
    """Read the scenes that the event does not know as they are."""
    prints = dict(zip(known.scenes["scene"], known.scenes["fingerprint"], strict=True))
    scenes: list[SceneLooks] = []
    met: set[tuple[Any, ...]] = set()
    for number, look in enumerate(order_looks(looks)):
        yield EventProgress("read", number, len(looks))
        if prints.get(look.scene) == fingerprint(look):
            continue
        scene = read_look(look)
        if doubt := pair_doubt(look.buildings, scene.facts, scene.frame):
            yield EventProgress("read", number, len(looks), doubt, warning=True)
        if scene.facts.get("mode") == "post-only":
            message = (
                f"{look.buildings}: was graded by the post image alone, but counts as much as "
                "the others"
            )
            yield EventProgress("read", number, len(looks), message, warning=True)
        if scene.outline is None:
            message = f"{look.sidecar}: does not say what was assessed; the assessed area lacks it"
            yield EventProgress("read", number, len(looks), message, warning=True)
        scenes.append(scene.without(_met_before(scene.frame, met)))
    return scenes


def _met_before(frame: gpd.GeoDataFrame, met: set[tuple[Any, ...]]) -> np.ndarray:
    """Say which buildings a scene does not reach, as an earlier one does not.

    Every scene that was assessed with the footprints of a whole city has a row for each of them.
    """
    again = np.zeros(len(frame), bool)
    rows = np.flatnonzero(_is_unseen(frame))
    columns = ["building_id", "source", "area_m2", "lon", "lat"]
    keys = frame.iloc[rows][columns].astype(str).itertuples(index=False, name=None)
    for row, key in zip(rows.tolist(), keys, strict=True):
        again[row] = key in met
        met.add(key)
    return again


def _is_unseen(frame: pd.DataFrame) -> np.ndarray:
    """Say which buildings a scene does not reach: given footprints beyond its ground."""
    reason = frame["status_reason"].fillna("")
    beyond = (reason.str.startswith("outside_") | (reason == "no_geometry")).to_numpy(dtype=bool)
    blank = frame["valid_fraction"].fillna(0).to_numpy() == 0
    unseen: np.ndarray = beyond & blank & (frame["status"] == "not_assessed").to_numpy(dtype=bool)
    return unseen


def add_scenes(known: Record, scenes: Iterable[SceneLooks]) -> Record:
    """Return the record of an event with the looks of some scenes added or replaced.

    Parameters
    ----------
    known
        What the event has, `no_record()` at first; nothing that it names is renamed.
    scenes
        Scenes to add, in any order.
    """
    scenes = sorted(scenes, key=lambda scene: order_key(scene.look))
    redone = known.names & {scene.look.scene for scene in scenes}
    kept = known.without(redone)
    # Looks that are replaced still say where buildings are, so that these keep their names.
    former = known.looks_of(redone)
    fresh = [_with_keys(scene) for scene in scenes]
    looks = _joined([kept.looks, former, *fresh])
    outlines = [known.outlines(kept.looks["scene"]), known.outlines(former["scene"])]
    outlines += [_repeated(scene.outline, len(scene.frame)) for scene in scenes]
    group = ["kept " + kept.looks["scene"], "former " + former["scene"]]
    group += ["fresh " + frame["scene"] for frame in fresh]
    numbers, _ = pd.factorize(pd.concat(group).astype(object))
    looks["event_building_id"] = _event_identities(looks, numbers, np.concatenate(outlines))
    is_former = np.zeros(len(looks), bool)
    is_former[len(kept.looks) : len(kept.looks) + len(former)] = True
    rows = _joined([kept.scenes, *(scene_row(scene) for scene in scenes)])
    return Record(
        _without_unseen(looks[~is_former]),
        rows.sort_values(["date", "scene"], kind="stable", na_position="first", ignore_index=True),
    )


def _with_keys(scene: SceneLooks) -> gpd.GeoDataFrame:
    frame = scene.frame.copy()
    values = (None, scene.look.scene, scene.look.date)
    for place, (name, value) in enumerate(zip(LOOK_KEYS, values, strict=True)):
        frame.insert(place, name, pd.array([value] * len(frame), dtype="string"))
    return frame


def _repeated(value: object, count: int) -> np.ndarray:
    values = np.empty(count, object)
    values[:] = [value] * count
    return values


def _joined(frames: Sequence[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """Return the rows of several frames; those without any would spoil the types."""
    filled = [frame for frame in frames if len(frame)] or [frames[0]]
    return gpd.GeoDataFrame(pd.concat(filled, ignore_index=True), crs=LONLAT)


def _event_identities(
    looks: gpd.GeoDataFrame, scene: np.ndarray, outline: np.ndarray
) -> "pd.Series[str]":
    """Return the identity of the event's building that each look shows."""
    old = looks["event_building_id"]
    known, names = pd.factorize(old.astype(object))
    _, first = np.unique(scene, return_index=True)
    sightings = Sightings(
        shapes=looks.geometry.to_numpy(),
        scene=scene,
        identity=looks["building_id"].astype(object).to_numpy(),
        given=(looks["source"].str.removesuffix(REVIEWED) != "model").to_numpy(dtype=bool),
        unseen=_is_unseen(looks),
        area=looks["area_m2"].to_numpy(),
        place=np.where(old.notna(), known, UNKNOWN),
        cut=(looks["status_reason"] == CUT).fillna(False).to_numpy(dtype=bool),
        outlines=outline[first],
    )
    place = find_places(sightings)
    fresh, row = np.unique(place, return_index=True)
    unnamed = fresh >= len(names)
    named = _named(looks.iloc[row[unnamed]], names)
    return pd.Series(np.array(named, object)[place], index=looks.index, dtype="string")


def _named(first: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Return the names of buildings and those of new ones, made of the first look at each."""
    named = list(names)
    taken = set(named)
    columns = (first[name] for name in ("lon", "lat", "area_m2", "source", "building_id"))
    for lon, lat, area, source, building in zip(*columns, strict=True):
        # What a user calls a footprint is unique in one file only.
        place = f"{lon:.6f},{lat:.6f},{area:.1f}" if np.isfinite(lon) else f"{source},{building}"
        plain = building if source.removesuffix(REVIEWED) == "model" else _hash(place)
        name, times = plain, 1
        while name in taken:
            times += 1
            name = f"{plain}-{times}"
        taken.add(name)
        named.append(name)
    return named


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _without_unseen(looks: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Drop the rows of scenes that do not reach a building, where any other shows it.

    Of a building that no scene reaches the first row stays, for none is ever dropped.
    """
    looks = _in_order(looks)
    unseen = _is_unseen(looks)
    if not unseen.any():
        return looks
    keys = ["event_building_id", "building_id"]
    order = np.argsort(unseen, kind="stable")
    later = looks.iloc[order].duplicated(keys).to_numpy()
    dropped = np.zeros(len(looks), bool)
    dropped[order] = later
    return looks[~(dropped & unseen)].reset_index(drop=True)


def _in_order(looks: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return looks by date, scene and building."""
    keys = ["date", "scene", "building_id", "lon", "lat", "area_m2"]
    return looks.sort_values(keys, kind="stable", na_position="first", ignore_index=True)
