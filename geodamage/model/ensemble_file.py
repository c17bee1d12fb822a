"""Ensemble files: a TOML table beside its members, loaded."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geodamage.errors import ModelError
from geodamage.model.card import Card
from geodamage.model.ensemble import (
    Ensemble,
    Member,
    SavedMap,
    bytes_per_pixel,
    check_sizes,
    common_stride,
    seen_halo,
)
from geodamage.model.ensemble_table import (
    LEAST_SCALE,
    MOST_SCALE,
    EnsembleTable,
    MemberTable,
    map_path,
    read_ensemble,
)
from geodamage.model.heads import heads_of
from geodamage.model.onnx import Model
from geodamage.model.rules import PixelRules


def load_ensemble(
    path: Path, device: str, threads: int, engine: str = "auto", precision: str = "stored"
) -> Ensemble:
    """Load an ensemble and its members from the table at `path`.

    Raises
    ------
    ModelError
        If the table or a member is refused.
    """
    table = read_ensemble(path)
    maps = [SavedMap(map_path(path, entry.file), entry.weight) for entry in table.maps]
    runtime = {"device": device, "threads": threads, "engine": engine, "precision": precision}
    members = _load_members(table, runtime)
    card = ensemble_card(table, members)
    return Ensemble(
        card, members, rules=table.rules, maps=maps, drops_outliers=table.drops_outliers
    )


def _load_members(table: EnsembleTable, runtime: Mapping[str, Any]) -> list[Member]:
    """Load each file once; `runtime` is what `Model` is told beside its path."""
    names = dict.fromkeys(member.file for member in table.members)
    models = {
        name: Model(table.path.with_name(name), **runtime, keeps_memory=len(names) == 1)
        for name in names
    }
    tile = _tile(table, [model.card for model in models.values()])
    return [_member(table.path, models[entry.file], entry, tile) for entry in table.members]


def _tile(table: EnsembleTable, cards: Sequence[Card]) -> int:
    """Return the window of the ensemble, of which `width` is what a member is shown."""
    if "tile" in table.facts:
        return int(table.facts["tile"])
    return _window(cards, math.lcm(*(card.stride for card in cards)))


def _window(cards: Sequence[Card], stride: int) -> int:
    """Return the window of the largest member, in whole strides."""
    return -(-max((card.tile for card in cards), default=1) // stride) * stride


def _member(path: Path, model: Model, entry: MemberTable, tile: int) -> Member:
    there = heads_of(model.card)
    heads = entry.heads or there
    if not set(heads) <= set(there):
        raise ModelError(
            f"{path}: heads of {model.path.name} are {', '.join(heads)}, and the model has "
            f"{', '.join(there)}; leave out what it lacks"
        )
    return Member(
        model,
        weight=entry.weight,
        flips=entry.flips,
        transpose=entry.transpose,
        scales=entry.scales if entry.width is None else (_scale(path, model, entry.width, tile),),
        heads=heads,
    )


def _scale(path: Path, model: Model, width: int, tile: int) -> float:
    """Return the scale at which a member sees a width of the ensemble's window."""
    if model.card.context == "local":
        raise ModelError(
            f"{path}: width {width} is for models that see their whole window, and "
            f"{model.path.name} is local; give scales, such as 0.5 or 1.5"
        )
    if not LEAST_SCALE <= width / tile <= MOST_SCALE:
        raise ModelError(
            f"{path}: width {width} of {model.path.name} is not a tenth to ten times the tile "
            f"of {tile} pixels; fix the ensemble"
        )
    return width / tile


#: What the card of an ensemble of saved maps alone says, where the ensemble does not. The maps are
#: averaged pixel by pixel, so windows have no bounds to keep.
_MAPS_CARD: Mapping[str, Any] = {
    "version": "1",
    "stride": 16,
    "halo": 0,
    "tile": 512,
    "licence": "that of the saved maps",
    "training_data": "that of the models behind the saved maps",
    "bytes_per_pixel": 16.0,
}


def ensemble_card(table: EnsembleTable, members: Sequence[Member]) -> Card:
    """Make the card of an ensemble: what it says itself, the rest from its members.

    Raises
    ------
    ModelError
        If the members do not agree, or windows do not fit them.
    """
    if not members:
        return _maps_card(table)
    cards = [member.model.card for member in members]
    _check_inputs(table.path, cards)
    card = dataclasses.replace(
        cards[0],
        **(
            _joined_names(table, members, cards)
            | _joined_windows(table, members, cards)
            | dict(table.facts)
        ),
    )
    if table.rules is not None:
        card = dataclasses.replace(card, halo=_widened(card, table.rules))
    check_sizes(table.path, card, members)
    return card


def _maps_card(table: EnsembleTable) -> Card:
    """Make the card of an ensemble that holds saved maps alone."""
    lacking = [key for key in ("gsd_native", "gsd_min", "gsd_max") if key not in table.facts]
    if lacking:
        raise ModelError(
            f"{table.path}: an ensemble of saved maps alone has no model that knows its pixels; "
            f"add {', '.join(lacking)}, metres"
        )
    context = "global" if table.drops_outliers else "local"
    named = {"name": table.path.stem, "task": "localisation", "context": context}
    return Card(**({**named, **_MAPS_CARD} | dict(table.facts)))


def _check_inputs(path: Path, cards: Sequence[Card]) -> None:
    """Refuse members that are shown other things."""
    channels = {(card.pre_channels, card.post_channels) for card in cards}
    if len(channels) > 1:
        raise ModelError(f"{path}: its members take different channels; use members that agree")
    sensors = {(card.pre_sensor, card.post_sensor) for card in cards}
    if len(sensors) > 1:
        raise ModelError(f"{path}: its members take different sensors; use members that agree")
    statistics = {card.scene_statistics for card in cards}
    if len(statistics) > 1:
        raise ModelError(
            f"{path}: its members want different statistics of the scene: "
            f"{', '.join(sorted(statistics))}; use members that agree"
        )


def _joined_names(
    table: EnsembleTable, members: Sequence[Member], cards: Sequence[Card]
) -> dict[str, Any]:
    """Return what the members together are: task, precision, licence, data."""
    heads = {head for member in members for head in member.heads}
    heads |= {"localisation"} if table.maps else set()
    precisions = {card.precision for card in cards}
    if "bfloat16" in precisions:  # such as under auto, where it is known of one member alone
        precisions = {"bfloat16"}
    return {
        "name": table.path.stem,
        "task": "assess" if len(heads) > 1 else heads.pop(),
        "sha256": "",
        "precision": precisions.pop() if len(precisions) == 1 else "fp32",
        "parent_sha256": "",
        "parity": {},
        "licence": " AND ".join(sorted({card.licence for card in cards})),
        "training_data": "; ".join(dict.fromkeys(card.training_data for card in cards)),
        "scores": {},
        "caution": "; ".join(dict.fromkeys(card.caution for card in cards if card.caution)),
        # Of a mean of several, what is left of 1 means nothing; [pixels] may say otherwise.
        "background_competes": len(cards) == 1 and cards[0].background_competes,
    }


def _joined_windows(
    table: EnsembleTable, members: Sequence[Member], cards: Sequence[Card]
) -> dict[str, Any]:
    """Return the windows that suit all members at all their scales, and their memory."""
    stride = common_stride(members)
    # Which answer is an outlier depends on the whole window, whatever its members look at.
    local = all(card.context == "local" for card in cards) and not table.drops_outliers
    return {
        "stride": stride,
        "halo": max(seen_halo(m.model.card.halo, scale) for m in members for scale in m.scales),
        "context": "local" if local else "global",
        "tile": _window(cards, stride),
        # Of each answer that is kept, a float32.
        "bytes_per_pixel": bytes_per_pixel(members) + 4 * len(members) * table.drops_outliers,
    }


def _widened(card: Card, rules: PixelRules) -> int:
    """Return the halo that the rules need: they look at what the model says around a core."""
    if card.context == "local":
        return card.halo + rules.reach
    return max(card.halo, rules.reach)  # there the halo is an overlap that someone chose
