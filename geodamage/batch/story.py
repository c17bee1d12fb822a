"""The story of a batch, read from the ledgers of all its shards."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from geodamage.batch.ledger import BUSY, _check, _errors, _history, _records
from geodamage.batch.record import DONE, HistoryLine, SceneRecord
from geodamage.errors import LedgerError


def read_story(folder: Path) -> list[SceneRecord]:
    """Return what all ledgers of a batch say together, one record a scene.

    Where two of them know a scene, what is done counts more than what is not, and the later more
    than the earlier.

    Raises
    ------
    LedgerError
        If there is no ledger, or one of them cannot be read.
    """
    story: dict[str, SceneRecord] = {}
    for path in _ledgers(folder):
        for record in read_ledger(path):
            other = story.get(record.name)
            if other is None or _weight(record) > _weight(other):
                story[record.name] = record
    return sorted(story.values(), key=lambda record: (record.position, record.name))


def _weight(record: SceneRecord) -> tuple[bool, float]:
    return record.state == DONE, record.ended or record.started or 0.0


def _ledgers(folder: Path) -> list[Path]:
    pattern = re.compile(r"ledger(-\d+-of-\d+)?\.sqlite")
    found = []
    if folder.is_dir():
        found = sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))
    if not found:
        raise LedgerError(f"{folder}: no ledger here; give the output folder of geodamage batch")
    return found


def other_ledgers(path: Path) -> list[Path]:
    """Return the ledgers beside one."""
    return [other for other in _ledgers(path.parent) if other != path]


def read_ledger(path: Path) -> list[SceneRecord]:
    """Return the rows of a ledger without writing to it.

    Raises
    ------
    LedgerError
        If it cannot be read.
    """
    with _reading(path) as base:
        return _records(base)


def read_history(folder: Path) -> list[HistoryLine]:
    """Return all that happened in a batch, oldest first.

    Raises
    ------
    LedgerError
        If there is no ledger, or one of them cannot be read.
    """
    lines = []
    for path in _ledgers(folder):
        with _reading(path) as base:
            lines += _history(base)
    return sorted(lines, key=lambda line: line.time)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    address = f"{path.absolute().as_uri()}?mode=ro"
    with _errors(path), closing(sqlite3.connect(address, uri=True, timeout=BUSY)) as base:
        base.row_factory = sqlite3.Row
        _check(base, path)
        yield base
