"""Shards: one ledger for each, so that many machines share a batch."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from geodamage.errors import OptionError


@dataclass(frozen=True)
class Shard:
    """A share of the scenes: the `k`-th of `n`, chosen by a hash of the name.

    The share of a scene does not depend on the others, so the list may grow.
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise OptionError(f"--shard {self.k}/{self.n}: give K/N with K from 1 to N")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `K/N`.

        Raises
        ------
        OptionError
            If it is something else.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if match is None:
            raise OptionError(f"--shard {text}: give K/N with K from 1 to N")
        return cls(int(match[1]), int(match[2]))

    def __contains__(self, name: str) -> bool:
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.n == self.k - 1


def ledger_path(folder: Path, shard: Shard | None = None) -> Path:
    """Return where the ledger of a batch, or of a share of it, is."""
    name = "ledger" if shard is None else f"ledger-{shard.k}-of-{shard.n}"
    return folder / f"{name}.sqlite"
