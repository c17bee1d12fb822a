"""Ensemble tables: what the TOML file of an ensemble says, checked; no model is opened."""

import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from geodamage.errors import ModelError, ModelNotFoundError
from geodamage.model.card import DEEPEST, Card
from geodamage.model.ensemble import FLIPS
from geodamage.model.heads import Heads
from geodamage.model.onnx import read_model_bytes
from geodamage.model.rules import PixelRules
from geodamage.schema import MisfitError, compare_keys, is_deeper, typed_values

#: Sizes at which a member may be asked.
LEAST_SCALE, MOST_SCALE = 0.1, 10.0

_Weight = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
_Scale = Annotated[float, Meta(ge=LEAST_SCALE, le=MOST_SCALE)]
_NotEmpty = Meta(min_length=1)
_MAPS = (".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class MemberTable:
    """What an ensemble says about one of its models."""

    file: str
    """Name of the file beside the ensemble."""
    weight: _Weight = 1.0
    """Weight in the mean of each head."""
    flips: Annotated[tuple[Literal["none", "horizontal", "vertical", "both"], ...], _NotEmpty] = (
        "none",
    )
    """Mirror images that it is shown."""
    transpose: bool = False
    """Whether it is shown each of them with rows and columns exchanged, too."""
    scales: Annotated[tuple[_Scale, ...], _NotEmpty] = (1.0,)
    """Sizes at which it is asked; 1 is the window's own."""
    width: Annotated[int, Meta(ge=1)] | None = None
    """Pixels of the window that it is shown, instead of scales; None shows it the ensemble's."""
    heads: Annotated[tuple[Literal["localisation", "damage"], ...], _NotEmpty] | None = None
    """Heads that count; None counts all that it has."""


@dataclass(frozen=True, kw_only=True)
class MapTable:
    """What an ensemble says about one of its saved probability maps."""

    file: str
    """Name of the raster beside the ensemble."""
    weight: _Weight = 1.0
    """Weight in the mean of localisation."""


@dataclass(frozen=True)
class EnsembleTable:
    """What the file of an ensemble says.

    Attributes
    ----------
    path
        Path of the file.
    size
        Size of the file, bytes.
    written
        The file as TOML has it, all keys.
    facts
        Fields of the card that it sets itself, of their types.
    members, maps
        Its models and its saved maps, at least one in all.
    rules
        Pixel post-processing; None where it has none of its own.
    drops_outliers
        Whether localisation that the others speak against is left out.
    """

    path: Path
    size: int
    written: Mapping[str, Any]
    facts: Mapping[str, Any]
    members: tuple[MemberTable, ...]
    maps: tuple[MapTable, ...]
    rules: PixelRules | None
    drops_outliers: bool


def read_ensemble(path: Path) -> EnsembleTable:
    """Read the file of an ensemble.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    ModelError
        If it is no TOML, or a key or a value makes no sense.
    """
    blob = read_model_bytes(path)
    try:
        written = tomllib.loads(blob.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not TOML ({error}); fix the ensemble") from error
    _check_plain(path, written)
    if written.get("kind") == "event-model":
        raise ModelError(f"{path}: an event model; `geodamage assess` and `regrade` take it")
    entries = written.get("member")
    if not isinstance(entries, list) or not entries:
        raise ModelError(f"{path}: an ensemble needs at least one [[member]]")
    facts = _facts(path, written)
    rules = PixelRules.from_table(written["pixels"], str(path)) if "pixels" in written else None
    drops = written.get("drop_outliers", False)
    if not isinstance(drops, bool):
        raise ModelError(f"{path}: drop_outliers is neither true nor false; fix the ensemble")
    members = tuple(_member(path, entry) for entry in entries if not is_map(entry))
    maps = tuple(_map(path, entry) for entry in entries if is_map(entry))
    return EnsembleTable(path, len(blob), written, facts, members, maps, rules, drops)


def _check_plain(path: Path, written: Mapping[str, Any]) -> None:
    """Refuse what a card cannot say in JSON."""
    if is_deeper(written, DEEPEST):
        raise ModelError(f"{path}: nested deeper than {DEEPEST}; fix the ensemble")
    try:
        json.dumps(written)
    except TypeError as error:
        raise ModelError(f"{path}: holds a date or time; write it in quotes") from error


def _facts(path: Path, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the card that a table sets."""
    own = {k: v for k, v in written.items() if k not in ("member", "pixels", "drop_outliers")}
    unknown, _ = compare_keys(Card, own)
    if unknown:
        raise ModelError(f"{path}: unknown keys {unknown}; fix the ensemble")
    tile = own.get("tile", 1)
    if type(tile) is not int or tile < 1:
        raise ModelError(f"{path}: tile = {tile!r} is not a number of pixels; fix the ensemble")
    try:
        return typed_values(Card, own)
    except MisfitError as error:
        raise ModelError(f"{path}: {error}; fix the ensemble") from error


def is_map(entry: Any) -> bool:
    """Say whether an entry of an ensemble names a raster, and no model."""
    name = entry.get("file") if isinstance(entry, dict) else None
    return isinstance(name, str) and name.lower().endswith(_MAPS)


def map_path(path: Path, name: str) -> Path:
    """Return the path of a saved map that an ensemble names; it is opened with the scene.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    """
    place = path.with_name(name)
    if not place.is_file():
        raise ModelNotFoundError(f"{place}: no such probability map")
    return place


def _map(path: Path, entry: Mapping[str, Any]) -> MapTable:
    name = entry["file"]
    unknown, _ = compare_keys(MapTable, entry)
    if unknown:
        raise ModelError(
            f"{path}: {name} is a saved map and has the keys {unknown}; only its weight can be "
            "given for one"
        )
    return MapTable(**_values(path, MapTable, entry))


def _member(path: Path, entry: Any) -> MemberTable:
    if not isinstance(entry, dict):
        raise ModelError(f"{path}: member {entry!r} is not a table; write [[member]]")
    unknown, _ = compare_keys(MemberTable, entry)
    if unknown or not isinstance(entry.get("file"), str):
        raise ModelError(f"{path}: a member has unknown keys {unknown} or no file")
    if "width" in entry and "scales" in entry:
        raise ModelError(f"{path}: {_said('width', entry['file'])}")
    return MemberTable(**_values(path, MemberTable, entry))


def _values(path: Path, kind: type, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an entry says, of the types that its table has, or refuse it."""
    name = entry["file"]
    if Path(name).name != name:
        raise ModelError(f"{path}: member {name!r} is not beside the ensemble; put it there")
    try:
        return typed_values(kind, entry)
    except MisfitError as error:
        raise ModelError(f"{path}: {_said(error.key, name)}") from error


def _said(key: str, name: str) -> str:
    """Return what is wrong with a key of a member."""
    wrong = {
        "weight": "is not positive",
        "flips": f"are not of {', '.join(FLIPS)}",
        "transpose": "is neither true nor false",
        "scales": f"are not numbers in {LEAST_SCALE:g}..{MOST_SCALE:g}",
        "width": "is not a number of pixels, or is given with scales",
        "heads": f"are not of {', '.join(Heads._fields)}",
    }
    return f"{key} of {name} {wrong[key]}"
