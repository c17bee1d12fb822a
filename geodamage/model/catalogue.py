"""Catalogue of models: their cards, read without running or checking the graphs."""

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from geodamage.errors import GeodamageWarning, ModelError, ModelNotFoundError
from geodamage.model.card import Card, read_card
from geodamage.model.ensemble_table import is_map, map_path, read_ensemble
from geodamage.model.loading import bundled_models, find_model, installed_models
from geodamage.model.onnx import read_model_bytes


@dataclass(frozen=True)
class MemberFile:
    """One member of an ensemble, as its files describe it."""

    table: Mapping[str, Any]
    """What the ensemble says about it: file, weight, flips, heads."""
    card: Card | None
    """The facts inside its file; None of a saved map."""


@dataclass(frozen=True)
class ModelFile:
    """A model or an ensemble, as its files describe it."""

    name: str
    """Name that its card or its table gives it."""
    path: Path
    """Its file."""
    size: int
    """Bytes, with all members."""
    card: Card | None
    """The facts inside a model file; None of an ensemble."""
    table: Mapping[str, Any]
    """What an ensemble says about itself."""
    members: tuple[MemberFile, ...]
    """Members of an ensemble, saved maps included; none of a model."""

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards of the model or of all members; a saved map has none."""
        if self.card:
            return (self.card,)
        return tuple(member.card for member in self.members if member.card)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
        facts: dict[str, Any] = {"name": self.name, "path": str(self.path), "bytes": self.size}
        if self.card:
            return facts | {"card": dataclasses.asdict(self.card)}
        members = [
            {**m.table, "card": dataclasses.asdict(m.card) if m.card else None}
            for m in self.members
        ]
        return facts | {"ensemble": dict(self.table), "members": members}


def list_models() -> list[ModelFile]:
    """Return the models that came with the package, and those in the user's folder.

    What cannot be read of the user's is left out, with a warning.
    """
    found = [read_model(path) for path in bundled_models().values()]
    for name, path in _installed().items():
        try:
            # Its file is what it is asked for by, whatever its card calls it.
            found.append(dataclasses.replace(read_model(path), name=name))
        except ModelError as error:
            warnings.warn(f"{error}; it is not listed", GeodamageWarning, stacklevel=2)
    return found


def _installed() -> dict[str, Path]:
    try:
        return installed_models()
    except ModelNotFoundError as error:
        warnings.warn(str(error), GeodamageWarning, stacklevel=3)
        return {}


def read_model(source: str | PathLike[str]) -> ModelFile:
    """Read the card of a model, or the table of an ensemble and the cards of its members.

    Parameters
    ----------
    source
        Name of a bundled or an installed model, or path of a `.onnx` or of an ensemble's `.toml`.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    ModelError
        If it is no model, or its card or table is damaged.
    """
    path = find_model(source)
    if path.suffix.lower() == ".toml":
        return _ensemble(path)
    blob = read_model_bytes(path)
    card = read_card(blob, str(path))
    return ModelFile(card.name, path, len(blob), card, {}, ())


def _ensemble(path: Path) -> ModelFile:
    read = read_ensemble(path)
    members, size = [], read.size
    for entry in read.written["member"]:
        if is_map(entry):
            members.append(MemberFile(entry, None))
            size += map_path(path, entry["file"]).stat().st_size
            continue
        place = path.with_name(entry["file"])
        content = read_model_bytes(place)
        members.append(MemberFile(entry, read_card(content, str(place))))
        size += len(content)
    table = {key: value for key, value in read.written.items() if key != "member"}
    name = str(read.facts.get("name", path.stem))
    return ModelFile(name, path, size, None, table, tuple(members))
