"""Commitment: what a publication is about to do is written down first, so that it can be finished.

Several files cannot get their names in one step. So a record beside each output names the first
output. The record of the first output lists all moves. It appears in one step, when everything else
is on the disk. After a kill, whoever finds the record does the remaining moves. Before that step
the result is the old one, and from it on the new one.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from geodamage.errors import OutputError
from geodamage.output.disk import sync, sync_folder
from geodamage.output.locks import Lock

#: Bytes of the longest record; one of a thousand files has a hundredth of it.
_LONGEST = 16 * 2**20


class Moves(NamedTuple):
    """What a publication does.

    Attributes
    ----------
    outputs
        Final paths of the outputs, the first of which has the record.
    old
        Files that are removed before the first move.
    moves
        Partial and final path of each file, in the order in which they are moved.
    """

    outputs: Sequence[Path]
    old: Sequence[Path]
    moves: Sequence[tuple[Path, Path]]


def record_of(output: Path) -> Path:
    """Return the path of the record of an output; it is there while a publication is not done."""
    return output.with_name(f".{output.name}.publishing")


def commit(planned: Moves) -> None:
    """Write down what a publication is about to do; from the end of this call on it is done."""
    first, *others = planned.outputs
    base = first.parent
    for output in others:
        _write(record_of(output), {"first": _told(first, output.parent)})
    whole = {
        "outputs": [_told(output, base) for output in planned.outputs],
        "old": [_told(file, base) for file in planned.old],
        "moves": [[_told(path, base) for path in move] for move in planned.moves],
    }
    waiting = Path(f"{record_of(first)}.new")
    _write(waiting, whole)
    sync_folder(base)
    waiting.replace(record_of(first))
    sync_folder(base)


def retract(outputs: Sequence[Path]) -> None:
    """Remove the records of a publication, that of the first output first."""
    for output in outputs:
        for file in (record_of(output), Path(f"{record_of(output)}.new")):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def finish(output: Path) -> None:
    """Do what is left of a publication that was killed amid its moves.

    Nothing is done if there is no record, if a living run works on it, or if its files are gone or
    may not be moved. A result without its sidecar is then incomplete.
    """
    if not os.path.lexists(record_of(output)):
        return
    with suppress(OSError, OutputError, ValueError, TypeError, KeyError, RecursionError):
        planned = _read(output)
        locks: list[Lock] = []
        try:
            for path in planned.outputs:
                locks.append(Lock(path))
            # Nobody has been faster, and where there are no locks nobody knows who is alive.
            if all(lock.is_held for lock in locks) and _read(output) == planned:
                _finish(planned)
        finally:
            for lock in locks:
                lock.release()


def _finish(planned: Moves) -> None:
    waiting = [move for move in planned.moves if move[0].exists()]
    if any(not final.exists() for partial, final in planned.moves if not partial.exists()):
        return
    if len(waiting) == len(planned.moves):
        for file in planned.old:
            file.unlink(missing_ok=True)
    for partial, final in waiting:
        partial.replace(final)
    retract(planned.outputs)


def _told(path: Path, base: Path) -> str:
    """Return a path relative to a folder, so that the folder may be moved."""
    try:
        return os.path.relpath(path, base)
    except ValueError:  # another drive of Windows
        return str(path.absolute())


def _write(file: Path, told: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(told), encoding="utf-8")
    sync(file)


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file() or file.stat().st_size > _LONGEST:
        raise ValueError("no record")
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("no record")
    return found


def _read(output: Path) -> Moves:
    """Return what a record says; of files beside outputs alone that name the same record."""
    told = _json(record_of(output))
    first = output
    if "first" in told:
        first = output.parent / told["first"]
        told = _json(record_of(first))
    base = first.parent
    outputs = [base / name for name in told["outputs"]]
    for other in outputs:
        named = _json(record_of(other)).get("first", other.name)
        if not _is_one(other.parent / named, first):
            raise ValueError("no record of this output")
    moves = [(base / partial, base / final) for partial, final in told["moves"]]
    old = [base / name for name in told["old"]]
    folders = {path.parent.resolve() for path in outputs}
    names = tuple(path.stem for path in outputs)
    for partial, final in moves:
        is_partial = partial.name.startswith(".") and ".partial" in partial.name
        if not is_partial or partial.parent.resolve() != final.parent.resolve():
            raise ValueError("moves something else")
    for file in (*old, *(final for _, final in moves)):
        if file.parent.resolve() not in folders or not file.name.startswith(names):
            raise ValueError("moves something else")
    return Moves(outputs, old, moves)


def _is_one(path: Path, other: Path) -> bool:
    return path.parent.resolve() / path.name == other.parent.resolve() / other.name
