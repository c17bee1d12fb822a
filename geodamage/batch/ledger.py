"""The ledger of a batch: what is to be done, is being done, was done, and went wrong.

One SQLite file in the output folder, one row a scene. A scene is *claimed* before it is run: the
claim is a lease with the owner's name on it, renewed while it works. What a dead owner left is
taken over. Each change is one transaction, so a kill at any moment loses at most the scenes that
were running, and never one that was done.
"""

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from geodamage.batch.owner import LOCAL_FILE_SYSTEMS, Owner, file_system
from geodamage.batch.record import (
    DONE,
    FAILED,
    RUNNING,
    HistoryLine,
    SceneIdentity,
    SceneRecord,
)
from geodamage.errors import LedgerError, one_line

#: Seconds after which the scene of an owner that says nothing any more may be taken over.
LEASE = 120.0
#: Seconds to wait for another process that writes.
BUSY = 30.0

#: "GeoD", in the header of the file; and the version of its tables.
APPLICATION_ID = 0x47656F44
VERSION = 1


_TABLES = """
CREATE TABLE IF NOT EXISTS scenes (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    inputs TEXT NOT NULL,
    model TEXT NOT NULL,
    options TEXT NOT NULL,
    version TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    error_code INTEGER,
    outputs TEXT NOT NULL DEFAULT '{}',
    output_hash TEXT,
    facts TEXT NOT NULL DEFAULT '{}',
    started REAL,
    ended REAL,
    host TEXT,
    pid INTEGER,
    token TEXT,
    heartbeat REAL,
    expires REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    name TEXT NOT NULL,
    event TEXT NOT NULL,
    note TEXT,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL
);
"""


@dataclass
class Ledger:
    """The record of a batch; a context manager.

    Only one thread may use it; `Ledger.renew` may be called from a second one with a ledger of its
    own on the same file.

    Attributes
    ----------
    path
        Path of the SQLite file.
    token
        Marks what this process claims.
    """

    path: Path
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    lease: float = LEASE
    owner: Owner = field(default_factory=Owner.this)

    def __post_init__(self) -> None:
        with _errors(self.path):
            self._base = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)
            try:
                self._base.row_factory = sqlite3.Row
                self._prepare()
            except BaseException:
                self._base.close()
                raise

    def _prepare(self) -> None:
        _check(self._base, self.path)
        self._choose_journal()
        self._base.execute("PRAGMA synchronous = FULL")
        with self._change() as base:
            for statement in _TABLES.split(";"):
                base.execute(statement)
            base.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            base.execute(f"PRAGMA user_version = {VERSION}")

    def _choose_journal(self) -> None:
        """Write ahead on a local file system; that needs shared memory, so nowhere else."""
        wanted = "wal" if file_system(self.path) in LOCAL_FILE_SYSTEMS else "delete"
        until = time.monotonic() + BUSY
        while self._base.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
            try:
                self._base.execute(f"PRAGMA journal_mode = {wanted}")
            except sqlite3.OperationalError:  # SQLite does not wait here for others
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Make a change whole or not at all; other processes wait meanwhile."""
        with _errors(self.path):
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def _tell(self, name: str, event: str, note: str | None = None) -> None:
        self._base.execute(
            "INSERT INTO history (time, name, event, note, host, pid) VALUES (?, ?, ?, ?, ?, ?)",
            (time.time(), name, event, note, self.owner.host, self.owner.pid),
        )

    def enter(
        self, entries: Sequence[SceneIdentity], *, retry_failed: bool = False
    ) -> dict[str, str]:
        """Bring the list up to date: new scenes wait, and so do those that changed.

        Parameters
        ----------
        entries
            All scenes of this batch; rows of others stay as they are.
        retry_failed
            Let those that failed wait again.

        Returns
        -------
        Why each scene that was done or failed waits again, by name.
        """
        again: dict[str, str] = {}
        with self._change() as base:
            rows = {row["name"]: row for row in base.execute("SELECT * FROM scenes")}
            for entry in entries:
                row = rows.get(entry.name)
                if row is None:
                    self._insert(entry)
                    continue
                if row["position"] != entry.position:
                    place = entry.position, entry.name
                    base.execute("UPDATE scenes SET position = ? WHERE name = ?", place)
                why = _changes(row, entry)
                if why is None and retry_failed and row["state"] == FAILED:
                    why = "it failed"
                if why is not None and not _is_held(row):
                    self._reset(entry, why)
                    if row["state"] in (DONE, FAILED):
                        again[entry.name] = why
        return again

    def _insert(self, entry: SceneIdentity) -> None:
        self._base.execute(
            "INSERT INTO scenes (name, position, state, inputs, model, options) "
            "VALUES (?, ?, 'waiting', ?, ?, ?)",
            (entry.name, entry.position, entry.inputs, entry.model, entry.options),
        )
        self._tell(entry.name, "added")

    def _reset(self, entry: SceneIdentity, why: str) -> None:
        self._base.execute(
            "UPDATE scenes SET state = 'waiting', inputs = ?, model = ?, options = ?, "
            "error = NULL, error_code = NULL, token = NULL WHERE name = ?",
            (entry.inputs, entry.model, entry.options, entry.name),
        )
        self._tell(entry.name, "reset", why)

    def wait_again(self, name: str, why: str) -> None:
        """Let a scene that was done wait again, because its result is not as it was."""
        with self._change() as base:
            changed = base.execute(
                "UPDATE scenes SET state = 'waiting' WHERE name = ? AND state = 'done'", (name,)
            )
            if changed.rowcount:
                self._tell(name, "reset", why)

    def adopt(self, record: SceneRecord, source: str) -> None:
        """Take over what another ledger of the same folder says is done."""
        with self._change() as base:
            changed = base.execute(
                "UPDATE scenes SET state = 'done', version = ?, attempts = ?, outputs = ?, "
                "output_hash = ?, facts = ?, started = ?, ended = ? "
                "WHERE name = ? AND state = 'waiting'",
                (
                    record.version,
                    record.attempts,
                    json.dumps(record.outputs),
                    record.output_hash,
                    json.dumps(record.facts),
                    record.started,
                    record.ended,
                    record.name,
                ),
            )
            if changed.rowcount:
                self._tell(record.name, "adopted", source)

    def claim(self, names: Iterable[str]) -> SceneRecord | None:
        """Take the next scene that waits, or whose owner is dead; None if there is none.

        Parameters
        ----------
        names
            Scenes to choose from.
        """
        wanted = set(names)
        with self._change() as base:
            rows = base.execute(
                "SELECT * FROM scenes WHERE state IN ('waiting', 'running') ORDER BY position, name"
            )
            free = (row for row in rows if row["name"] in wanted and not _is_held(row))
            row = next(free, None)
            if row is None:
                return None
            self._take(row)
            name = row["name"]
            return _record(base.execute("SELECT * FROM scenes WHERE name = ?", (name,)).fetchone())

    def _take(self, row: sqlite3.Row) -> None:
        now = time.time()
        self._base.execute(
            "UPDATE scenes SET state = 'running', attempts = attempts + 1, started = ?, "
            "ended = NULL, error = NULL, error_code = NULL, host = ?, pid = ?, token = ?, "
            "heartbeat = ?, expires = ? WHERE name = ?",
            (
                now,
                _packed(self.owner),
                self.owner.pid,
                self.token,
                now,
                now + self.lease,
                row["name"],
            ),
        )
        left = f"process {row['pid']} left it" if row["state"] == RUNNING else None
        self._tell(row["name"], "claimed" if left is None else "taken over", left)

    def renew(self) -> None:
        """Say that this process still works on what it claimed."""
        now = time.time()
        with self._change() as base:
            base.execute(
                "UPDATE scenes SET heartbeat = ?, expires = ? "
                "WHERE token = ? AND state = 'running'",
                (now, now + self.lease, self.token),
            )

    def finish(
        self,
        name: str,
        *,
        outputs: Mapping[str, list[Any]],
        facts: Mapping[str, Any],
        version: str,
    ) -> bool:
        """Record that a scene is done; False if the claim was lost to another process."""
        lines = [f"{path} {entry[2]}" for path, entry in sorted(outputs.items())]
        output_hash = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        values = json.dumps(dict(outputs)), output_hash, json.dumps(dict(facts)), version
        with self._change() as base:
            changed = base.execute(
                "UPDATE scenes SET state = 'done', outputs = ?, output_hash = ?, facts = ?, "
                "version = ?, ended = ?, token = NULL, expires = NULL "
                "WHERE name = ? AND token = ? AND state = 'running'",
                (*values, time.time(), name, self.token),
            )
            if changed.rowcount:
                self._tell(name, "done")
            return bool(changed.rowcount)

    def fail(self, name: str, error: str, code: int, *, version: str) -> bool:
        """Record why a scene failed; False if the claim was lost to another process."""
        with self._change() as base:
            changed = base.execute(
                "UPDATE scenes SET state = 'failed', error = ?, error_code = ?, version = ?, "
                "ended = ?, token = NULL, expires = NULL "
                "WHERE name = ? AND token = ? AND state = 'running'",
                (error, code, version, time.time(), name, self.token),
            )
            if changed.rowcount:
                self._tell(name, "failed", error)
            return bool(changed.rowcount)

    def release(self, why: str) -> list[str]:
        """Let all scenes that this process has claimed wait again; return their names."""
        with self._change() as base:
            rows = base.execute(
                "SELECT name FROM scenes WHERE token = ? AND state = 'running'", (self.token,)
            ).fetchall()
            names = [str(row["name"]) for row in rows]
            for name in names:
                base.execute(
                    "UPDATE scenes SET state = 'waiting', token = NULL, expires = NULL "
                    "WHERE name = ?",
                    (name,),
                )
                self._tell(name, "released", why)
            return names

    def note(self, key: str) -> str | None:
        """Return what was noted of the batch as a whole."""
        with _errors(self.path):
            row = self._base.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row["value"])

    def set_note(self, key: str, value: str) -> None:
        """Note something of the batch as a whole."""
        with self._change() as base:
            base.execute("INSERT OR REPLACE INTO notes (key, value) VALUES (?, ?)", (key, value))

    def records(self) -> list[SceneRecord]:
        """Return all rows, in the order of the list."""
        with _errors(self.path):
            return _records(self._base)

    def history(self) -> list[HistoryLine]:
        """Return all that happened, oldest first."""
        with _errors(self.path):
            return _history(self._base)


def _changes(row: sqlite3.Row, entry: SceneIdentity) -> str | None:
    """Say what of a scene changed since it was entered."""
    changed = [what for what in ("inputs", "model", "options") if row[what] != getattr(entry, what)]
    return f"changed: {', '.join(changed)}" if changed else None


def _is_held(row: sqlite3.Row) -> bool:
    """Say whether somebody who is alive, as far as can be known, works on a scene."""
    if row["state"] != RUNNING:
        return False
    return row["expires"] > time.time() and not _unpacked(row["host"], row["pid"]).is_gone()


def _packed(owner: Owner) -> str:
    return json.dumps([owner.host, owner.begun])


@contextmanager
def _sound() -> Iterator[None]:
    """Call a row damaged whose texts are not those that were written."""
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"a row of it is not what was written: {error}") from error


def _unpacked(text: str, pid: int) -> Owner:
    with _sound():
        host, begun = json.loads(text)
    # Earlier ledgers hold a text there, in another unit.
    return Owner(host, pid, begun if isinstance(begun, float) else None)


def _record(row: sqlite3.Row) -> SceneRecord:
    with _sound():
        values = {name: row[name] for name in SceneRecord.__dataclass_fields__}
        host = None if row["host"] is None else json.loads(row["host"])[0]
        outputs, facts = json.loads(row["outputs"]), json.loads(row["facts"])
        if not isinstance(facts, dict) or not all(len(v) == 3 for v in outputs.values()):
            raise ValueError("its facts or outputs")
    return SceneRecord(**(values | {"host": host, "outputs": outputs, "facts": facts}))


def _records(base: sqlite3.Connection) -> list[SceneRecord]:
    return [_record(row) for row in base.execute("SELECT * FROM scenes ORDER BY position, name")]


def _history(base: sqlite3.Connection) -> list[HistoryLine]:
    rows = base.execute("SELECT time, name, event, note, pid FROM history ORDER BY id")
    return [HistoryLine(*row) for row in rows]


def _check(base: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a sound ledger of ours."""
    (application,) = base.execute("PRAGMA application_id").fetchone()
    (version,) = base.execute("PRAGMA user_version").fetchone()
    (tables,) = base.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise LedgerError(f"{path}: another program's database; choose another output folder")
    if version > VERSION:
        raise LedgerError(f"{path}: written by a newer geodamage; use that one")
    (verdict,) = base.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one line with a way out."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LedgerError(
            f"{path}: {error}; see that no other program holds it, that the folder is there and "
            "may be written to, and that the disk is not full"
        ) from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        reason = one_line(error)
        raise LedgerError(
            f"{path}: the ledger is damaged ({reason}); move it away and run the same command with "
            "--overwrite, which assesses its scenes again"
        ) from error
