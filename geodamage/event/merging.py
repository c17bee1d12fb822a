"""Events: the looks of many scenes merged into one layer with one building per place."""

import hashlib
import json
import warnings
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely

from geodamage._version import __version__
from geodamage.buildings.finding import identity
from geodamage.damage import GRADES
from geodamage.errors import OutputError
from geodamage.fields import NAMES, conform, empty_frame
from geodamage.report.findings import STATEMENT
from geodamage.grid import WGS84
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
from geodamage.output.publication import Publication, check_output, output_errors, read_sidecar
from geodamage.event.places import IOU_DECIMALS, LEAST_IOU, UNKNOWN, Sightings, find_places
from geodamage.event.rollups import (
    GRADE_FIELDS,
    Admin,
    check_cell,
    read_admin,
    roll_up_by_admin,
    roll_up_by_grid,
    tally,
)

Existing = Literal["refuse", "replace", "update"]

DEFAULT_CELL = 500.0
STATUSES = ("assessed", "partial", "not_assessed")

#: Why a building that a model found is partial.
CUT = "cut_by_edge_or_nodata"

#: Fields of a look in front of the building's own.
LOOK_KEYS = ("event_building_id", "scene", "date")

#: Facts of a scene that differ from run to run; without them, equal scenes make equal events.
VOLATILE = ("created", "seconds")


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
        In the event now.
    fresh, redone, unchanged
        Scenes given that it did not know, knew with another result, and knew as they are.
    looks, buildings
        In the event now.
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


class Rollups(NamedTuple):
    """How buildings are counted.

    Attributes
    ----------
    cell
        Side of a cell of the grid, metres.
    admin
        Administrative areas, or None.
    """

    cell: float
    admin: Admin | None


@dataclass(frozen=True)
class Record:
    """What an event keeps: every look and every scene.

    Attributes
    ----------
    looks
        `LOOK_KEYS`, every field and `geometry`, in longitude and latitude.
    scenes
        A row per scene; `geometry` is its outline. `fingerprint` is kept in the sidecar, since
        it differs from run to run.
    """

    looks: gpd.GeoDataFrame
    scenes: gpd.GeoDataFrame

    @property
    def names(self) -> set[str]:
        """Names of its scenes."""
        return set(self.scenes["scene"])

    def without(self, names: Iterable[str]) -> "Record":
        """Return the record without some scenes."""
        names = list(names)
        looks = self.looks[~self.looks["scene"].isin(names)]
        return Record(looks, self.scenes[~self.scenes["scene"].isin(names)])

    def looks_of(self, names: Iterable[str]) -> gpd.GeoDataFrame:
        """Return the looks of some scenes."""
        return self.looks[self.looks["scene"].isin(list(names))]

    def outlines(self, scene: pd.Series) -> np.ndarray:
        """Return the outline of each scene of a column."""
        by_name = dict(zip(self.scenes["scene"], self.scenes.geometry, strict=True))
        outlines = np.empty(len(scene), object)
        outlines[:] = [by_name[name] for name in scene]
        return outlines


def merge_event(
    looks: Sequence[Look],
    output: Path,
    *,
    admin: Path | None = None,
    admin_name: str | None = None,
    cell: float = DEFAULT_CELL,
    existing: Existing = "refuse",
) -> Generator[EventProgress, None, EventSummary]:
    """Merge the looks of scenes into one layer of the event; a generator of progress.

    The result does not depend on the order in which looks are given. Closing the generator stops
    the work and leaves no file, or the file that was there.

    Parameters
    ----------
    looks
        From `find_looks`, or made by hand.
    output
        GeoPackage; its layers are `buildings`, `looks`, `scenes`, `assessed_area`, `grid`, and
        `admin` where areas are given.
    admin, admin_name
        Vector file of administrative areas, and the field with their names.
    cell
        Side of the cells of the grid, metres.
    existing
        What becomes of an event that is there: `update` keeps its looks and the
        `event_building_id` of its buildings, replaces the looks of scenes that were redone, and
        adds those of new ones.

    Returns
    -------
    The summary, as the value of the generator.

    Raises
    ------
    GeodamageError
        Of the kind that fits: `InputError` for looks and areas, `OutputError` for the event.
    """
    check_cell(cell)
    check_names(looks)
    inputs = [path for look in looks for path in (look.buildings, look.sidecar)]
    inputs += [] if admin is None else [admin]
    is_replaced = existing != "refuse"
    check_output(output, inputs=inputs, overwrite=is_replaced, extensions=(".gpkg",))
    rollups = Rollups(cell, None if admin is None else read_admin(admin, admin_name))
    known = read_record(output) if existing == "update" and output.exists() else no_record()
    scenes = yield from _read(looks, known)
    redone = known.names & {scene.look.scene for scene in scenes}
    yield EventProgress("match", len(looks), len(looks))
    record = add_scenes(known, scenes)
    yield EventProgress("write", len(looks), len(looks))
    layers, facts = _layers(record, rollups)
    with Publication(overwrite=is_replaced) as publication:
        _write(layers, publication.partial(output))
        publication.sidecar(output, facts)
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
        In any order.
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
    rows = _joined([kept.scenes, *(_scene_row(scene) for scene in scenes)])
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
        given=(looks["source"] != "model").to_numpy(dtype=bool),
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
        plain = identity(lon, lat, area) if np.isfinite(lon) else _hash(f"{source},{building}")
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


def _scene_row(scene: SceneLooks) -> gpd.GeoDataFrame:
    """Return the row of a scene."""
    facts, look = scene.facts, scene.look
    model, images = facts.get("model") or {}, facts.get("scene") or {}
    counted = [(name, scene.statuses.get(name, 0)) for name in STATUSES]
    counted += [(field, scene.grades.get(grade, 0)) for grade, field in GRADE_FIELDS.items()]
    texts = {
        "scene": look.scene,
        "date": look.date,
        "pre": _files(images.get("pre")),
        "post": _files(images.get("post")),
        "crs": images.get("crs"),
        "model": " ".join(str(model[key]) for key in ("name", "version") if key in model) or None,
        "model_sha256": model.get("sha256"),
        "file": str(look.buildings),
        "facts": _as_json({key: facts[key] for key in facts if key not in VOLATILE}),
        "fingerprint": scene.fingerprint,
    }
    columns: dict[str, Any] = {key: pd.array([text], "string") for key, text in texts.items()}
    counted.insert(0, ("buildings", sum(scene.statuses.values())))
    columns |= {name: pd.array([count], "Int32") for name, count in counted}
    for name, source in (("assessed_km2", facts), ("gsd", images)):
        columns[name] = pd.array([source.get(name, np.nan)], "float64")
    geometry = gpd.GeoSeries([scene.outline], crs=LONLAT)
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=LONLAT)


def _as_json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, sort_keys=True)


def _files(image: dict[str, Any] | None) -> str | None:
    paths = [str(file.get("path")) for file in (image or {}).get("files", ())]
    return "; ".join(paths) or None


def best_looks(looks: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the best look at each building of an event.

    A whole one comes before one that is partial, and that before one that is not assessed; then
    the higher valid fraction counts, then the later date, then the larger area, then the higher
    confidence, then the name of the scene.

    Parameters
    ----------
    looks
        `LOOK_KEYS`, every field and `geometry`.

    Returns
    -------
    GeoDataFrame
        `event_building_id`, every field, `looks`, `scene` and `date` of the best look,
        `first_seen` and `last_seen` (dates of the first and last look that is assessed, at least
        in part), and `geometry`; by `event_building_id`.
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


def _layers(record: Record, rollups: Rollups) -> tuple[dict[str, gpd.GeoDataFrame], dict[str, Any]]:
    """Return the layers of an event, and what its sidecar says."""
    buildings = best_looks(record.looks)
    area = _assessed_area(record.scenes)
    layers = {
        "buildings": buildings,
        "looks": record.looks,
        "scenes": record.scenes.drop(columns="fingerprint"),
        "assessed_area": area,
        "grid": roll_up_by_grid(buildings, rollups.cell),
    }
    facts = _facts(record, buildings, float(area["area_km2"].sum()))
    facts["grid"] = {"cell": rollups.cell, "cells": len(layers["grid"])}
    facts["admin"] = None
    if rollups.admin is not None:
        layers["admin"], outside = roll_up_by_admin(buildings, rollups.admin)
        facts["admin"] = {
            "file": rollups.admin.source,
            "field": rollups.admin.field,
            "areas": len(layers["admin"]),
            "buildings_outside": outside,
        }
    return layers, facts


def _assessed_area(scenes: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the union of the outlines of scenes, as one row; none where none is known."""
    shapes = scenes.geometry.to_numpy()
    union = shapely.union_all(shapes[~shapely.is_missing(shapes)])
    geometry = [] if union.is_empty else [union]
    columns = {"area_km2": pd.Series([_km2(shape) for shape in geometry], dtype="float64")}
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(geometry, crs=LONLAT), crs=LONLAT)


def _km2(shape: shapely.Geometry) -> float:
    """Return the geodesic area of a shape in degrees, km²."""
    parts = shapely.orient_polygons(shapely.get_parts(shape))
    return sum(abs(WGS84.geometry_area_perimeter(part)[0]) for part in parts) / 1e6


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

    The union counts the nodata inside a scene, the scenes what they share.
    """
    known = scenes["assessed_km2"]
    return area_km2 if known.isna().any() else min(area_km2, float(known.sum()))


#: Geometry type that each layer declares; a building may have none, or any.
_GEOMETRY_TYPES = {"buildings": "Unknown", "looks": "Unknown"}


def _write(layers: dict[str, gpd.GeoDataFrame], path: Path) -> None:
    """Write the layers of a GeoPackage."""
    with output_errors(path), warnings.catch_warnings():
        # GDAL wishes that a GeoPackage be called `*.gpkg` while it is a partial file.
        warnings.filterwarnings("ignore", message=".*extension", category=RuntimeWarning)
        path.unlink(missing_ok=True)
        for name, frame in layers.items():
            kind = _GEOMETRY_TYPES.get(name, "MultiPolygon")
            pyogrio.write_dataframe(
                frame,
                path,
                layer=name,
                driver="GPKG",
                geometry_type=kind,
                promote_to_multi=kind == "MultiPolygon",
            )
            count = int(pyogrio.read_info(path, layer=name)["features"])
            if count != len(frame):
                raise OutputError(
                    f"cannot write layer {name}: {count:,} of {len(frame):,} rows arrived; check "
                    f"the free space of {path.parent}"
                )


def no_record() -> Record:
    """Return the record of an event without looks."""
    looks = empty_frame(LONLAT)
    for place, name in enumerate(LOOK_KEYS):
        looks.insert(place, name, pd.Series(dtype="string"))
    empty = SceneLooks(Look("", None, Path(), Path()), empty_frame(LONLAT), {}, None, "")
    return Record(looks, _scene_row(empty).iloc[:0])


def read_record(path: Path) -> Record:
    """Read the record of an event.

    Raises
    ------
    OutputError
        If it is not complete, or no event.
    """
    prints = read_sidecar(path).get("fingerprints", {})
    blank = no_record()
    try:
        looks = pyogrio.read_dataframe(path, layer="looks")
        scenes = pyogrio.read_dataframe(path, layer="scenes")
        fields = conform(looks, LONLAT)
        for place, name in enumerate(LOOK_KEYS):
            fields.insert(place, name, looks[name].astype("string"))
        scenes["fingerprint"] = scenes["scene"].map(prints)
        dtypes = blank.scenes.drop(columns="geometry").dtypes.to_dict()
        scenes = scenes[list(blank.scenes.columns)].astype(dtypes)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        why = str(error).partition(";")[0]
        raise OutputError(f"{path}: no event that can be added to ({why}); --overwrite it") from (
            error
        )
    return Record(fields, scenes.set_crs(LONLAT, allow_override=True))
