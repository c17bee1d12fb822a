"""Published weights: what exists and where, as the package knows it; nothing is downloaded."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from geodamage.schema import typed_values


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """Weights that others publish.

    Attributes
    ----------
    name
        What they are called.
    source
        Where they are.
    files, bytes, sha256
        Names, sizes and hashes of the files; 0 and an empty text where nobody says.
    licence
        Licence of the weights.
    score
        Score that its authors state; empty where they state none.
    command
        What imports them.
    note
        What else one has to know.
    """

    name: str
    source: str
    files: tuple[str, ...]
    bytes: tuple[int, ...]
    sha256: tuple[str, ...]
    licence: str
    score: str
    command: str
    note: str

    @property
    def size(self) -> int:
        """Bytes of all files; 0 where one is not known."""
        return sum(self.bytes) if all(self.bytes) else 0


@cache
def list_published() -> tuple[PublishedWeights, ...]:
    """Return all weights that are known."""
    text = (resources.files("geodamage") / "model" / "published.toml").read_text(encoding="utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["weights"]
    return tuple(PublishedWeights(**typed_values(PublishedWeights, entry)) for entry in entries)


def find_published(sha256: str) -> PublishedWeights | None:
    """Return the weights that have a file of this hash, or None."""
    if not sha256:
        return None
    return next((weights for weights in list_published() if sha256 in weights.sha256), None)
