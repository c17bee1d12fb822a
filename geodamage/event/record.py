"""The record of an event: what its layer already holds."""

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio

from geodamage.errors import OutputError, SceneError, without_advice
from geodamage.event.looks import (
    LONLAT,
    Look,
    SceneLooks,
)
from geodamage.event.rollups import (
    GRADE_FIELDS,
)
from geodamage.fields import STATUSES, conform, empty_frame
from geodamage.output.publication import read_sidecar
from geodamage.sources import VECTOR_ERRORS
from geodamage.vector.formats import format_of

#: Fields of a look in front of the building's own.
LOOK_KEYS = ("event_building_id", "scene", "date")


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


def no_record() -> Record:
    """Return the record of an event without looks."""
    looks = empty_frame(LONLAT)
    for place, name in enumerate(LOOK_KEYS):
        looks.insert(place, name, pd.Series(dtype="string"))
    empty = SceneLooks(Look("", None, Path(), Path()), empty_frame(LONLAT), {}, None, "")
    return Record(looks, scene_row(empty).iloc[:0])


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
        form = format_of(path)
        if form.name != "GPKG":
            raise SceneError(f"it is {form.name}, and no GeoPackage")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of GDAL; what counts raises below
            looks, scenes = (
                pyogrio.read_dataframe(form.path, layer=layer, **dict(form.options))
                for layer in ("looks", "scenes")
            )
        fields = conform(looks, LONLAT)
        for place, name in enumerate(LOOK_KEYS):
            fields.insert(place, name, looks[name].astype("string"))
        scenes["fingerprint"] = scenes["scene"].map(prints)
        dtypes = blank.scenes.drop(columns="geometry").dtypes.to_dict()
        scenes = scenes[list(blank.scenes.columns)].astype(dtypes)
    except (*VECTOR_ERRORS, KeyError, TypeError, AttributeError) as error:
        why = without_advice(error)
        raise OutputError(
            f"{path}: not an event that can be updated ({why}); give --overwrite to replace it"
        ) from (error)
    return Record(fields, scenes.set_crs(LONLAT, allow_override=True))


#: Facts of a scene that differ from run to run; without them, equal scenes make equal events.
VOLATILE = ("created", "seconds", "result_sha256")


def scene_row(scene: SceneLooks) -> gpd.GeoDataFrame:
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
