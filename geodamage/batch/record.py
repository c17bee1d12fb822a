"""What a ledger keeps of a scene, and of its own history."""

from dataclasses import dataclass
from typing import Any

#: States of a scene.
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass(frozen=True)
class SceneIdentity:
    """A scene as a batch wants it: its name, and what its result depends on.

    Attributes
    ----------
    name
        Scene name.
    position
        Place in the list: scenes are begun in this order.
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
        Scene name.
    position
        Place of the scene in the list.
    state
        `waiting`, `running`, `done` or `failed`.
    inputs, model, options
        Hashes of what the scene is made from.
    version
        Version of geodamage at the last run.
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
        Scene name.
    event
        `added`, `reset`, `claimed`, `taken over`, `released`, `done`, `failed` or `adopted`.
    note
        Why, where there is something to say.
    pid
        Number of the process that wrote it.
    """

    time: float
    name: str
    event: str
    note: str | None
    pid: int
