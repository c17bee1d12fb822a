"""Fingerprints: what tells whether a result still says what it said."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

#: What counts: which building it is, and what was said of it.
_PROBABILITIES: Final = ("p_none", "p_minor", "p_major", "p_destroyed")
_SIZE = 2**256


class Fingerprint:
    """A hash of buildings and their grades that does not depend on format or order.

    It is the sum of a hash of each row, so that rows may come in any order. Columns that others
    add, such as answers, do not change it.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, frame: pd.DataFrame) -> None:
        """Add some buildings."""
        for line in _lines(frame):
            self._sum += int.from_bytes(hashlib.sha256(line.encode()).digest(), "big")

    def hexdigest(self) -> str:
        """Return what was added, as 64 hexadecimal digits."""
        return f"{self._sum % _SIZE:064x}"


def fingerprint(frame: pd.DataFrame) -> str:
    """Return the fingerprint of buildings that are at hand."""
    whole = Fingerprint()
    whole.add(frame)
    return whole.hexdigest()


def _lines(frame: pd.DataFrame) -> list[str]:
    rounded = [_whole(frame[name], 10_000) for name in _PROBABILITIES]
    grades = _whole(frame["damage_class"], 1)
    columns = [frame["building_id"].astype(str), grades, *rounded]
    return ["\x1f".join(map(str, row)) for row in zip(*columns, strict=True)]


def _whole(column: pd.Series, times: int) -> list[int]:
    """Return numbers as whole ones, -1 where there is none."""
    values = pd.to_numeric(column).to_numpy(dtype="float64", na_value=np.nan)
    rounded = np.round(values, 4) * times
    return [int(v) for v in np.where(np.isfinite(rounded), np.rint(rounded), -1)]


def base_of(facts: Mapping[str, Any]) -> str:
    """Return the hash of the model whose grades a result began with, by its sidecar."""
    model = facts.get("model")
    model = model if isinstance(model, Mapping) else {}
    base = model.get("base")
    source = base if isinstance(base, Mapping) else model
    return str(source.get("sha256", ""))
