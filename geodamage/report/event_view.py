"""An event as people see it: its best looks on a map, its scenes and its cells as tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from geodamage.damage import GRADES
from geodamage.errors import InputError
from geodamage.output.layers import read_facts, read_layer
from geodamage.report.findings import numbers
from geodamage.report.view import Table, View, Words, make_view

#: Rows of a table; an event of thousands of cells has more in its layers.
MOST_ROWS = 200

#: Field of each grade in the layers of an event.
_FIELDS = tuple(grade.label.replace("-", "_") for grade in GRADES)


def is_event(facts: Mapping[str, Any]) -> bool:
    """Say whether a sidecar is that of an event."""
    return isinstance(facts.get("scenes"), int) and "looks" in facts


def view_event(event: Path, *, words: Words) -> View:
    """Prepare an event to be shown.

    Parameters
    ----------
    event
        GeoPackage with the layers `buildings`, `scenes`, `grid` and, where it has one, `admin`.
    words
        What the user says.

    Raises
    ------
    InputError
        If it is no event.
    """
    facts = read_facts(event)
    if not is_event(facts):
        raise InputError(f"{event}: is no event; give a result of `geodamage event`")
    scenes = read_layer(event, "scenes")
    tables = [_scenes(scenes), _units(read_layer(event, "grid"), "cell_id", _cell_title(facts))]
    admin = facts.get("admin")
    if isinstance(admin, Mapping):
        field = str(admin.get("field"))
        tables.append(_units(read_layer(event, "admin"), field, "Administrative areas"))
    return make_view(
        read_layer(event, "buildings"),
        {**facts, "model": _model(scenes)},
        source=event.name,
        words=words,
        tables=tables,
    )


def _scenes(scenes: gpd.GeoDataFrame) -> Table:
    """Return the scenes in order of date, then of name."""
    ordered = scenes.sort_values(["date", "scene"], na_position="last")
    fields = {
        "Scene": _texts(ordered, "scene"),
        "Date": _texts(ordered, "date", "not recorded"),
        "Buildings": _counts(ordered, "buildings"),
        **{grade.label: _counts(ordered, name) for grade, name in _named()},
        "not assessed": _counts(ordered, "not_assessed"),
        "Assessed, km²": [
            f"{v:,.3g}" if np.isfinite(v) else "–" for v in numbers(ordered, "assessed_km2")
        ],
    }
    note = "Buildings of all looks: a building that two scenes show is counted in both."
    return _table("Scenes", fields, note)


def _units(units: gpd.GeoDataFrame, field: str, title: str) -> Table:
    """Return cells or areas, those with most damaged buildings first."""
    ordered = units.assign(_rank=-np.nan_to_num(numbers(units, "damaged")))
    ordered = ordered.sort_values(["_rank", field], kind="stable")
    fields = {
        "Cell" if field == "cell_id" else field: _texts(ordered, field),
        "Buildings": _counts(ordered, "buildings"),
        **{grade.label: _counts(ordered, name) for grade, name in _named()},
        "not assessed": _counts(ordered, "not_assessed"),
        "damaged": _counts(ordered, "damaged"),
        "Share damaged": [
            f"{v:.1%}".replace("%", " %") if np.isfinite(v) else "–"
            for v in numbers(ordered, "share_damaged")
        ],
    }
    return _table(title, fields, "Each building once, by its best look; most damaged first.")


def _cell_title(facts: Mapping[str, Any]) -> str:
    grid = facts.get("grid")
    size = grid.get("cell") if isinstance(grid, Mapping) else None
    return f"Cells of {size:g} m" if isinstance(size, int | float) else "Cells"


def _named() -> list[tuple[Any, str]]:
    return list(zip(GRADES, _FIELDS, strict=True))


def _table(title: str, fields: Mapping[str, list[str]], note: str) -> Table:
    rows = list(zip(*fields.values(), strict=True))
    if len(rows) > MOST_ROWS:
        note += f" The first {MOST_ROWS} of {len(rows):,} are listed; the layer has all."
    return Table(title, tuple(fields), tuple(rows[:MOST_ROWS]), note)


def _texts(frame: pd.DataFrame, name: str, missing: str = "–") -> list[str]:
    if name not in frame:
        return [missing] * len(frame)
    return [missing if pd.isna(value) else str(value) for value in frame[name]]


def _counts(frame: pd.DataFrame, name: str) -> list[str]:
    return [f"{v:,.0f}" if np.isfinite(v) else "–" for v in numbers(frame, name)]


def _model(scenes: gpd.GeoDataFrame) -> dict[str, str]:
    """Return the facts of all models that were used, each fact once."""
    models: list[Mapping[str, Any]] = []
    for text in _texts(scenes, "facts", "{}"):
        try:
            facts = json.loads(text)
        except ValueError:  # a scene that another tool has written still counts
            continue
        model = facts.get("model") if isinstance(facts, dict) else None
        models += [model] if isinstance(model, Mapping) else []
    keys = ("name", "version", "licence", "training_data", "sha256", "tta")
    found = {key: dict.fromkeys(str(m[key]) for m in models if m.get(key)) for key in keys}
    return {key: "; ".join(values) for key, values in found.items() if values}
