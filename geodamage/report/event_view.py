"""An event as people see it: its best looks and cells on a map, pictures of the worst, tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from geodamage.damage import GRADES
from geodamage.errors import GeodamageError, InputError
from geodamage.output.layers import pair_doubt, read_facts, read_layer
from geodamage.report.findings import numbers
from geodamage.report.pictures import Chip, imagery_of, read_chips
from geodamage.report.view import Table, View, Words, is_post_only, make_view
from geodamage.sources import is_remote

#: Rows of a table; an event of thousands of cells has more in its layers.
MOST_ROWS = 200
#: Cells that a map shows, those with most damaged buildings, and oddities of scenes that are said.
MOST_CELLS = 2_000
MOST_WARNINGS = 20

#: Field of each grade in the layers of an event.
_FIELDS = tuple(grade.label.replace("-", "_") for grade in GRADES)


@dataclass(frozen=True, kw_only=True)
class EventView(View):
    """An event, ready to be shown.

    Attributes
    ----------
    cells
        Cells of the grid, in the CRS of the buildings.
    familiar
        Whether each scene looks like what its model learnt from.
    """

    cells: gpd.GeoDataFrame
    familiar: tuple[str, ...] = ()


def is_event(facts: Mapping[str, Any]) -> bool:
    """Say whether a sidecar is that of an event."""
    return isinstance(facts.get("scenes"), int) and "looks" in facts


def view_event(event: Path, *, words: Words) -> EventView:
    """Prepare an event to be shown, with pictures of the worst where their images are at hand.

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
        raise InputError(f"{event}: is not an event; give a result of `geodamage event`")
    scenes = read_layer(event, "scenes")
    grid = read_layer(event, "grid")
    tables = [_scenes(scenes), _units(grid, "cell_id", _cell_title(facts))]
    admin = facts.get("admin")
    if isinstance(admin, Mapping):
        field = str(admin.get("field"))
        tables.append(_units(read_layer(event, "admin"), field, "Administrative areas"))
    buildings = read_layer(event, "buildings")
    view = make_view(
        buildings,
        {**facts, "model": _model(scenes)},
        source=event.name,
        words=words,
        tables=tables,
    )
    chips, missing = _chips(view, scenes)
    said = [*_warnings(scenes, facts), *missing]
    own = {field.name: getattr(view, field.name) for field in fields(View)}
    own |= {"chips": chips, "facts": {**view.facts, "warnings": said}}
    own |= {"doubt": pair_doubt(event, facts, buildings)}
    cells = _worst_cells(grid).to_crs(view.crs)
    return EventView(**own, cells=cells, familiar=tuple(_familiar(scenes)))


def link_of(view: View, place: str) -> str:
    """Return an address that shows a place: for an event on a map that others keep, if clicked.

    The page of one scene may lie where no server may hear of the place; its link is for the apps
    of the machine.

    Parameters
    ----------
    view
        What is shown.
    place
        Latitude and longitude, `37.067734, -94.488652`.
    """
    lat, lon = place.split(", ")
    if not isinstance(view, EventView):
        return f"geo:{lat},{lon}"
    return f"https://www.openstreetmap.org/?mlat={lat}&mlon={lon}#map=19/{lat}/{lon}"


def people_cards(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what an event says of people in damaged buildings: value, label and note; or none."""
    damaged = _part(_part(_part(facts, "people"), "per_grade"), "damaged")
    people, low, high = (damaged.get(key) for key in ("people", "low", "high"))
    if not isinstance(people, int | float):
        return []
    note = "shared among buildings by the ground that each covers"
    if isinstance(low, int | float) and isinstance(high, int | float):
        note = f"{low:,.0f} to {high:,.0f} from a reviewed sample"
    return [(f"{people:,.0f}", "people in damaged buildings", note)]


def _worst_cells(grid: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    ordered = np.argsort(-np.nan_to_num(numbers(grid, "damaged")), kind="stable")
    return grid.iloc[ordered[:MOST_CELLS]].reset_index(drop=True)


def _chips(view: View, scenes: gpd.GeoDataFrame) -> tuple[dict[int, Chip], list[str]]:
    """Return pictures of the buildings to look at first, each from the scene of its best look.

    Images on servers and those that are gone have none; a line names their scenes.
    """
    picked = np.unique(np.concatenate([view.worst, view.uncertain])).tolist()
    facts = dict(zip(_texts(scenes, "scene"), _facts(scenes), strict=True))
    by_scene: dict[str, list[int]] = {}
    for position, scene in zip(picked, _texts(view.buildings.iloc[picked], "scene"), strict=True):
        by_scene.setdefault(scene, []).append(position)
    chips: dict[int, Chip] = {}
    missing = []
    for scene, positions in by_scene.items():
        try:
            chips |= _chips_of(view, facts.get(scene, {}), positions)
        except (GeodamageError, OSError, ValueError) as error:
            missing.append(f"scene {scene}: no pictures ({error})")
    return chips, missing


def _chips_of(view: View, facts: Mapping[str, Any], positions: Sequence[int]) -> dict[int, Chip]:
    roles = ("post",) if is_post_only(facts) else ("pre", "post")
    images = {role: _paths(facts, role) for role in roles}
    for role, paths in images.items():
        gone = [path for path in paths if is_remote(path) or not Path(path).is_file()]
        if gone or not paths:
            what = gone[0] if gone else f"image {role}"
            raise InputError(f"{what} is not on this machine")
    shapes = view.buildings.geometry.to_numpy()
    shown = [i for i in positions if shapes[i] is not None and not shapes[i].is_empty]
    imagery = imagery_of(facts, images.get("pre"), images["post"])
    chips = read_chips(imagery, [shapes[i] for i in shown], view.crs)
    return dict(zip(shown, chips, strict=True))


def _paths(facts: Mapping[str, Any], role: str) -> list[str]:
    """Return the files of an image, by the facts of its scene."""
    image = _part(_part(facts, "scene"), role)
    files = image.get("files")
    known = [file for file in files if isinstance(file, Mapping)] if isinstance(files, list) else []
    return [str(file.get("path")) for file in known]


def _part(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = facts.get(name)
    return value if isinstance(value, Mapping) else {}


def _warnings(scenes: gpd.GeoDataFrame, facts: Mapping[str, Any]) -> list[str]:
    """Return what was odd about scenes and people, in words."""
    told = _part(facts, "people").get("warnings")
    said = [str(line) for line in told] if isinstance(told, list) else []
    for name, own in zip(_texts(scenes, "scene"), _facts(scenes), strict=True):
        lines = own.get("warnings")
        said += [f"scene {name}: {line}" for line in lines] if isinstance(lines, list) else []
    more = len(said) - MOST_WARNINGS
    return said if more <= 0 else [*said[:MOST_WARNINGS], f"and {more:,} more in the sidecars"]


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
        "Hidden before": _hidden(ordered, "ground_pre"),
        "Hidden after": _hidden(ordered, "ground_post"),
        "Familiarity": _familiar(ordered),
        "Model": _texts(ordered, "model"),
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
        "Share damaged": [_percent(v) for v in numbers(ordered, "share_damaged")],
    }
    if "people_damaged" in ordered:
        fields |= {
            "People": _counts(ordered, "people"),
            "People in damaged": _counts(ordered, "people_damaged"),
        }
    if field == "cell_id":
        fields["Middle"] = _middles(ordered)
    return _table(
        title, fields, "Each building counts once, by its best look. The most damaged come first."
    )


def _middles(units: gpd.GeoDataFrame) -> list[str]:
    """Return the middles of units, latitude first, as maps take them."""
    left, bottom, right, top = units.bounds.to_numpy().T
    places = zip((bottom + top) / 2, (left + right) / 2, strict=True)
    return [f"{lat:.5f}, {lon:.5f}" for lat, lon in places]


def _hidden(scenes: gpd.GeoDataFrame, role: str) -> list[str]:
    """Return which share of the ground of each scene was hidden by cloud, smoke or fill."""
    shares = [_part(facts, "obscured").get(role) for facts in _facts(scenes)]
    return [_percent(v) if isinstance(v, int | float) else "–" for v in shares]


def _familiar(scenes: gpd.GeoDataFrame) -> list[str]:
    """Return whether each scene looks like what its model learnt from, and how far it lies off."""
    found = []
    for facts in _facts(scenes):
        told = _part(facts, "familiarity")
        verdict, distance = told.get("verdict"), told.get("distance")
        far = f" ({distance:.2f})" if isinstance(distance, int | float) else ""
        found.append(f"{verdict}{far}" if isinstance(verdict, str) else "–")
    return found


def trust_cards(view: View) -> list[tuple[str, str, str]]:
    """Return how much of an event was hidden, and how many scenes are strange: value, label, note.

    Parameters
    ----------
    view
        What is shown; of one scene there is no such card.
    """
    if not isinstance(view, EventView):
        return []
    reason = view.buildings["status_reason"].fillna("").astype(str)
    hidden = int(reason.str.startswith("obscured_").sum())
    cards = [
        (f"{hidden:,}", "hidden by cloud, smoke or fill", "of all buildings; they have no grade")
    ]
    unlike = [verdict.startswith("unlike") for verdict in view.familiar]
    if any(unlike):
        note = f"of {len(unlike):,}, by how they look; expect less of their grades"
        cards.append((f"{sum(unlike):,}", "scenes unlike what the model learnt from", note))
    return cards


def _percent(value: float) -> str:
    return f"{value:.1%}".replace("%", " %") if np.isfinite(value) else "–"


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


def _facts(scenes: gpd.GeoDataFrame) -> list[Mapping[str, Any]]:
    """Return what the sidecars of scenes say; one that another tool has written may say nothing."""
    found: list[Mapping[str, Any]] = []
    for text in _texts(scenes, "facts", "{}"):
        try:
            facts = json.loads(text)
        except ValueError:
            facts = None
        found.append(facts if isinstance(facts, dict) else {})
    return found


def _model(scenes: gpd.GeoDataFrame) -> dict[str, str]:
    """Return the facts of all models that were used, each fact once."""
    models = [_part(facts, "model") for facts in _facts(scenes)]
    keys = ("name", "version", "licence", "training_data", "sha256", "tta")
    found = {key: dict.fromkeys(str(m[key]) for m in models if m.get(key)) for key in keys}
    return {key: "; ".join(values) for key, values in found.items() if values}
