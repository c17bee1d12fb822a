"""The ledger of a batch: what is to be done, is being done, was done, and went wrong.

One SQLite file in the output folder, one row a scene. A scene is *claimed* before it is run: the
claim is a lease with the owner's name on it, renewed while it works. What a dead owner left is
taken over. Each change is one transaction, so a kill at any moment loses at most the scenes that
were running, and never one that was done.
"""

import hashlib
import json
import os
import re
import secrets
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from geodamage.errors import LedgerError, OptionError

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"

#: Seconds after which the scene of an owner that says nothing any more may be taken over.
LEASE = 120.0
#: Seconds to wait for another process that writes.
BUSY = 30.0

#: "GeoD", in the header of the file; and the version of its tables.
APPLICATION_ID = 0x47656F44
VERSION = 1

#: File systems of one machine, where processes share memory: a write-ahead log works on these
#: only. Source: https://www.sqlite.org/wal.html, section 1.
LOCAL_FILE_SYSTEMS = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"}
)

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


@dataclass(frozen=True)
class SceneIdentity:
    """A scene as a batch wants it: its name, and what its result depends on.

    Attributes
    ----------
    name
        Of the scene.
    position
        In the list: scenes are begun in this order.
    inputs, model, options
        Hashes; see `geodamage.batch.fingerprints`.
    """

    name: str
    position: int
    inputs: str
    model: str
    options: str


@dataclass(frozen=True)
class SceneRecord:
    """What the ledger says of a scene.

    Attributes
    ----------
    name
        Of the scene.
    position
        Of the scene in the list.
    state
        `waiting`, `running`, `done` or `failed`.
    inputs, model, options
        Hashes of what the scene is made from.
    version
        Of geodamage, at the last run.
    attempts
        How often it was begun.
    error, error_code
        One line and the exit code, where it failed.
    outputs
        Size, time of change (ns) and hash of each result, by path below the folder of the batch.
    output_hash
        One hash of all results.
    facts
        Figures of the result: area, buildings, seconds.
    started, ended
        Seconds since 1970.
    host, pid, expires
        Who runs it, and until when that is believed.
    """

    name: str
    position: int
    state: str
    inputs: str
    model: str
    options: str
    version: str
    attempts: int
    error: str | None
    error_code: int | None
    outputs: dict[str, list[Any]]
    output_hash: str | None
    facts: dict[str, Any]
    started: float | None
    ended: float | None
    host: str | None
    pid: int | None
    expires: float | None


@dataclass(frozen=True)
class HistoryLine:
    """One thing that happened to a scene.

    Attributes
    ----------
    time
        Seconds since 1970.
    name
        Of the scene.
    event
        `added`, `reset`, `claimed`, `taken over`, `released`, `done`, `failed` or `adopted`.
    note
        Why, where there is something to say.
    pid
        Of the process that wrote it.
    """

    time: float
    name: str
    event: str
    note: str | None
    pid: int


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


@dataclass(frozen=True)
class Owner:
    """A process that may hold scenes.

    Attributes
    ----------
    host
        Name of the machine, with its boot and its process numbering (that of a container is its
        own): a process number says something there only.
    pid
        Process number.
    begun
        When that process began, in the clock of the system; None where that cannot be known.
    """

    host: str
    pid: int
    begun: str | None

    @classmethod
    def this(cls) -> "Owner":
        """Return this process."""
        return cls(_host(), os.getpid(), _begun(os.getpid()))

    def is_gone(self) -> bool:
        """Say whether it is known to be dead; a process of another machine is not."""
        if self.host != _host():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return _begun(self.pid) != self.begun


def _host() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _begun(pid: int) -> str | None:
    """Return when a process began; a zombie, which does nothing any more, never did."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # Behind the command in brackets: state is the third field, the start time the twenty-second.
    after = stat.rpartition(")")[2].split()
    return "zombie" if after[0] in "ZX" else after[19]


@dataclass
class Ledger:
    """The record of a batch; a context manager.

    Only one thread may use it; `Ledger.renew` may be called from a second one with a ledger of its
    own on the same file.

    Attributes
    ----------
    path
        Of the SQLite file.
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


def _unpacked(text: str, pid: int) -> Owner:
    host, begun = json.loads(text)
    return Owner(host, pid, begun)


def _record(row: sqlite3.Row) -> SceneRecord:
    values = {name: row[name] for name in SceneRecord.__dataclass_fields__}
    host = None if row["host"] is None else json.loads(row["host"])[0]
    outputs, facts = json.loads(row["outputs"]), json.loads(row["facts"])
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
    except sqlite3.DatabaseError as error:
        reason = " ".join(str(error).split())
        raise LedgerError(
            f"{path}: the ledger is damaged ({reason}); move it away and run the same command with "
            "--overwrite, which assesses its scenes again"
        ) from error


def file_system(path: Path) -> str | None:
    """Return the type of the file system a path is on; None where it cannot be known."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    return _file_system(path.resolve(), mounts)


def _file_system(path: Path, mounts: str) -> str | None:
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        # Source: man 5 fstab: blanks, tabs, line ends and backslashes are octal there.
        point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), point)
        if path.is_relative_to(point) and (found is None or len(point) >= found[0]):
            found = len(point), kind
    return None if found is None else found[1]


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
