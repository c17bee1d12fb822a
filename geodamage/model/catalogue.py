"""Catalogue of models: their cards, read without running or checking the graphs."""

import dataclasses
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from geodamage.errors import ModelError, ModelNotFoundError
from geodamage.model.card import Card, read_card
from geodamage.model.loading import bundled_models, find_model
from geodamage.model.onnx import LARGEST_MODEL


@dataclass(frozen=True)
class Member:
    """One model of an ensemble."""

    entry: Mapping[str, Any]
    """What the ensemble says about it: file, weight, flips, heads."""
    card: Card
    """The facts inside its file."""


@dataclass(frozen=True)
class Entry:
    """A model or an ensemble."""

    name: str
    """As it is called, by its card or its table."""
    path: Path
    """Its file."""
    size: int
    """Bytes, with all members."""
    card: Card | None
    """The facts inside a model file; None of an ensemble."""
    table: Mapping[str, Any]
    """What an ensemble says about itself."""
    members: tuple[Member, ...]
    """Of an ensemble."""

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards of the model or of all members."""
        return (self.card,) if self.card else tuple(member.card for member in self.members)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
        facts: dict[str, Any] = {"name": self.name, "path": str(self.path), "bytes": self.size}
        if self.card:
            return facts | {"card": dataclasses.asdict(self.card)}
        members = [{**m.entry, "card": dataclasses.asdict(m.card)} for m in self.members]
        return facts | {"ensemble": dict(self.table), "members": members}


def list_models() -> list[Entry]:
    """Return the models that came with the package."""
    return [read_model(path) for path in bundled_models().values()]


def read_model(source: str | PathLike[str]) -> Entry:
    """Read the card of a model, or the table of an ensemble and the cards of its members.

    Parameters
    ----------
    source
        Name of a bundled model, or path of a `.onnx` or of an ensemble's `.toml`.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    ModelError
        If it is no model, or its card or table is damaged.
    """
    path = find_model(source)
    blob = _read(path)
    if path.suffix.lower() == ".toml":
        return _ensemble(path, blob)
    card = read_card(blob, str(path))
    return Entry(card.name, path, len(blob), card, {}, ())


def _ensemble(path: Path, blob: bytes) -> Entry:
    try:
        table = tomllib.loads(blob.decode("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not TOML ({error}); mend the ensemble") from error
    entries = table.pop("member", None)
    if not isinstance(entries, list) or not entries:
        raise ModelError(f"{path}: an ensemble needs at least one [[member]]")
    members, size = [], len(blob)
    for entry in entries:
        name = entry.get("file") if isinstance(entry, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            raise ModelError(f"{path}: a member names no file beside the ensemble; mend it")
        content = _read(path.with_name(name))
        members.append(Member(entry, read_card(content, str(path.with_name(name)))))
        size += len(content)
    return Entry(str(table.get("name", path.stem)), path, size, None, table, tuple(members))


def _read(path: Path) -> bytes:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise ModelNotFoundError(f"{path}: not a regular file; give a .onnx or .toml file")
        if facts.st_size > LARGEST_MODEL:
            raise ModelError(f"{path}: {facts.st_size / 1e9:.1f} GB; an ONNX file ends at 2 GB")
        return path.read_bytes()
    except FileNotFoundError as error:
        if isinstance(error, ModelNotFoundError):
            raise
        raise ModelNotFoundError(f"{path}: no such model file") from error
    except OSError as error:
        raise ModelNotFoundError(f"{path}: cannot be read ({error.strerror})") from error
