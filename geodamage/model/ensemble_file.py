"""Ensemble files: a TOML table beside its members, checked and loaded."""

import dataclasses
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geodamage.errors import ModelError, ModelNotFoundError
from geodamage.model.card import Card
from geodamage.model.ensemble import (
    FLIPS,
    Ensemble,
    Member,
    SavedMap,
    bytes_per_pixel,
    check_sizes,
    common_stride,
    seen_halo,
)
from geodamage.model.heads import Heads, heads_of
from geodamage.model.onnx import Model, read_model_bytes
from geodamage.model.rules import PixelRules


def load_ensemble(path: Path, device: str, threads: int) -> Ensemble:
    """Load an ensemble and its members from the table at `path`.

    Raises
    ------
    ModelError
        If the table or a member is refused.
    """
    try:
        table = tomllib.loads(read_model_bytes(path).decode("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not TOML ({error}); mend the ensemble") from error
    entries = table.pop("member", None)
    if not isinstance(entries, list) or not entries:
        raise ModelError(f"{path}: an ensemble needs at least one [[member]]")
    known = {"pixels", "drop_outliers", *(f.name for f in dataclasses.fields(Card))}
    if table.keys() - known:
        raise ModelError(f"{path}: unknown keys {sorted(table.keys() - known)}; mend the ensemble")
    rules = PixelRules.from_table(table.pop("pixels"), str(path)) if "pixels" in table else None
    drops = table.pop("drop_outliers", False)
    if not isinstance(drops, bool):
        raise ModelError(f"{path}: drop_outliers is neither true nor false; mend the ensemble")
    maps = [_read_map(path, entry) for entry in entries if _is_map(entry)]
    entries = [entry for entry in entries if not _is_map(entry)]
    members = _load_members(path, entries, table, device, threads)
    card = _ensemble_card(path, table, members, rules, of_maps=bool(maps), drops_outliers=drops)
    return Ensemble(card, members, rules=rules, maps=maps, drops_outliers=drops)


def _is_map(entry: Any) -> bool:
    """Say whether an entry names a raster, and no model."""
    name = entry.get("file") if isinstance(entry, dict) else None
    return isinstance(name, str) and name.lower().endswith((".tif", ".tiff"))


def _read_map(path: Path, entry: dict[str, Any]) -> SavedMap:
    """Return a saved map that an ensemble names, checked; it is opened with the scene."""
    name = entry["file"]
    unknown = sorted(entry.keys() - {"file", "weight"})
    if unknown:
        raise ModelError(
            f"{path}: {name} is a saved map and has the keys {unknown}; it has spoken, so all but "
            "its weight is settled"
        )
    _check_beside(path, name)
    if not path.with_name(name).is_file():
        raise ModelNotFoundError(f"{path.with_name(name)}: no such probability map")
    return SavedMap(path.with_name(name), _weight(path, entry))


def _check_beside(path: Path, name: str) -> None:
    if Path(name).name != name:
        raise ModelError(f"{path}: member {name!r} is not beside the ensemble; put it there")


def _weight(path: Path, entry: dict[str, Any]) -> float:
    weight = entry.get("weight", 1.0)
    if not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise ModelError(f"{path}: weight of {entry['file']} is not positive")
    return float(weight)


def _load_members(
    path: Path, entries: list[Any], table: dict[str, Any], device: str, threads: int
) -> list[Member]:
    """Read all members before the first is loaded; each file is loaded once."""
    asked = [_read_member(path, entry) for entry in entries]
    names = dict.fromkeys(name for name, _ in asked)
    models = {
        name: Model(
            path.with_name(name), device=device, threads=threads, keeps_memory=len(names) == 1
        )
        for name in names
    }
    tile = _tile(path, table, [model.card for model in models.values()])
    return [_member(path, models[name], options, tile) for name, options in asked]


def _tile(path: Path, table: dict[str, Any], cards: Sequence[Card]) -> int:
    """Return the window of the ensemble, of which `width` is what a member is shown."""
    tile = table.get("tile")
    if tile is None:
        stride = math.lcm(*(card.stride for card in cards))
        return -(-max((card.tile for card in cards), default=1) // stride) * stride
    if type(tile) is not int or tile < 1:
        raise ModelError(f"{path}: tile = {tile!r} is no number of pixels; mend the ensemble")
    return tile


def _member(path: Path, model: Model, options: dict[str, Any], tile: int) -> Member:
    width = options.pop("width")
    if width is not None:
        if model.card.context == "local":
            raise ModelError(
                f"{path}: width {width} is for models that see their whole window, and "
                f"{model.path.name} is local; give scales, such as 0.5 or 1.5"
            )
        if not _is_scale(width / tile):
            raise ModelError(
                f"{path}: width {width} of {model.path.name} is not a tenth to ten times the tile "
                f"of {tile} pixels; mend the ensemble"
            )
        options["scales"] = (width / tile,)
    there = heads_of(model.card)
    heads = options.pop("heads", there)
    if not set(heads) <= set(there):
        raise ModelError(
            f"{path}: heads of {model.path.name} are {', '.join(heads)}, and the model has "
            f"{', '.join(there)}; leave out what it lacks"
        )
    return Member(model, heads=heads, **options)


_MEMBER_KEYS = {"file", "weight", "flips", "transpose", "scales", "width", "heads"}


def _read_member(path: Path, entry: Any) -> tuple[str, dict[str, Any]]:
    """Return the file of a member and its other options, checked."""
    if not isinstance(entry, dict):
        raise ModelError(f"{path}: member {entry!r} is no table; write [[member]]")
    unknown = sorted(entry.keys() - _MEMBER_KEYS)
    name = entry.get("file")
    if unknown or not isinstance(name, str):
        raise ModelError(f"{path}: a member has unknown keys {unknown} or no file")
    _check_beside(path, name)
    flips, scales = entry.get("flips", ["none"]), entry.get("scales", [1.0])
    weight, transpose = _weight(path, entry), entry.get("transpose", False)
    width = entry.get("width")
    if not _are_of(flips, [*FLIPS]):
        raise ModelError(f"{path}: flips of {name} are not of {', '.join(FLIPS)}")
    if not isinstance(scales, list) or not scales or not all(map(_is_scale, scales)):
        raise ModelError(f"{path}: scales of {name} are not numbers in 0.1..10")
    if width is not None and (type(width) is not int or width < 1 or "scales" in entry):
        raise ModelError(f"{path}: width of {name} is no number of pixels, or beside scales")
    if not isinstance(transpose, bool):
        raise ModelError(f"{path}: transpose of {name} is neither true nor false")
    options: dict[str, Any] = {
        "weight": weight,
        "width": width,
        "flips": tuple(flips),
        "transpose": transpose,
        "scales": tuple(scales),
    }
    if "heads" in entry:
        if not _are_of(entry["heads"], [*Heads._fields]):
            raise ModelError(f"{path}: heads of {name} are not of {', '.join(Heads._fields)}")
        options["heads"] = tuple(entry["heads"])
    return name, options


def _are_of(values: Any, known: list[str]) -> bool:
    return isinstance(values, list) and bool(values) and all(value in known for value in values)


def _is_scale(value: Any) -> bool:
    return isinstance(value, int | float) and 0.1 <= value <= 10


#: What the card of an ensemble of saved maps alone says, where the ensemble does not. The maps are
#: averaged pixel by pixel, so windows have no bounds to keep.
_MAPS_CARD: dict[str, Any] = {
    "version": "1",
    "stride": 16,
    "halo": 0,
    "tile": 512,
    "licence": "that of the saved maps",
    "training_data": "that of the models behind the saved maps",
    "bytes_per_pixel": 16.0,
}


def _maps_card(path: Path, table: dict[str, Any], drops_outliers: bool) -> Card:
    """Make the card of an ensemble that holds saved maps alone."""
    context = "global" if drops_outliers else "local"
    facts = {"name": path.stem, "task": "localisation", "context": context, **_MAPS_CARD}
    lacking = [key for key in ("gsd_native", "gsd_min", "gsd_max") if key not in table]
    if lacking:
        raise ModelError(
            f"{path}: an ensemble of saved maps alone has no model that knows its pixels; "
            f"add {', '.join(lacking)}, metres"
        )
    try:
        return Card(**(facts | table))
    except TypeError as error:
        raise ModelError(f"{path}: {error}; mend the ensemble") from error


def _ensemble_card(
    path: Path,
    table: dict[str, Any],
    members: Sequence[Member],
    rules: PixelRules | None,
    *,
    of_maps: bool,
    drops_outliers: bool,
) -> Card:
    """Make the card of an ensemble: what it says itself, the rest from its members."""
    if not members:
        return _maps_card(path, table, drops_outliers)
    cards = [member.model.card for member in members]
    channels = {(card.pre_channels, card.post_channels) for card in cards}
    if len(channels) > 1:
        raise ModelError(f"{path}: its members take different channels; use members that agree")
    sensors = {(card.pre_sensor, card.post_sensor) for card in cards}
    if len(sensors) > 1:
        raise ModelError(f"{path}: its members take different sensors; use members that agree")
    heads = {head for member in members for head in member.heads}
    heads |= {"localisation"} if of_maps else set()
    stride = common_stride(members)
    halo = max(seen_halo(m.model.card.halo, scale) for m in members for scale in m.scales)
    # Which answer is an outlier depends on the whole window, whatever its members look at.
    local = all(card.context == "local" for card in cards) and not drops_outliers
    joined: dict[str, Any] = {
        "name": path.stem,
        "task": "assess" if len(heads) > 1 else heads.pop(),
        "stride": stride,
        "halo": halo,
        "context": "local" if local else "global",
        "tile": -(-max(card.tile for card in cards) // stride) * stride,
        "sha256": "",
        "precision": cards[0].precision if len({c.precision for c in cards}) == 1 else "fp32",
        "parent_sha256": "",
        "parity": {},
        "licence": " AND ".join(sorted({card.licence for card in cards})),
        "training_data": "; ".join(dict.fromkeys(card.training_data for card in cards)),
        # Of each answer that is kept, a float32.
        "bytes_per_pixel": bytes_per_pixel(members) + 4 * len(members) * drops_outliers,
        "scores": {},
    }
    try:
        if "grade_weights" in table:
            table = table | {"grade_weights": tuple(table["grade_weights"])}
        card = dataclasses.replace(cards[0], **(joined | table))
        if rules is not None:
            card = dataclasses.replace(card, halo=_widened(card, rules))
    except TypeError as error:
        raise ModelError(f"{path}: {error}; mend the ensemble") from error
    check_sizes(path, card, members)
    return card


def _widened(card: Card, rules: PixelRules) -> int:
    """Return the halo that the rules need: they look at what the model says around a core."""
    if card.context == "local":
        return card.halo + rules.reach
    return max(card.halo, rules.reach)  # there the halo is an overlap that someone chose
