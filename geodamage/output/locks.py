"""One run per output, and no signal in the middle of a publication."""

import errno
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from geodamage.errors import OutputError

#: What says that a file is locked; any other error says that this file system has no locks.
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
#: Signals that ask a program to end.
_POLITE = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Lock:
    """A lock on an output, held by one process at a time; the kernel lets go of it at its death.

    Parameters
    ----------
    path
        The output; the lock is a hidden file beside it, which is gone when the lock is.

    Raises
    ------
    OutputError
        If another run holds it.
    """

    def __init__(self, path: Path) -> None:
        self._file = _file_of(path)
        self._descriptor: int | None = None
        while self._descriptor is None:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _lock(descriptor)
            except OSError as error:
                os.close(descriptor)
                if error.errno not in _HELD:  # no locks here, as on some network drives
                    with suppress(OSError):
                        self._file.unlink()
                    return
                raise OutputError(
                    f"{path}: another run is writing it; wait for its end or choose another name"
                ) from error
            if self._is_of(descriptor):
                self._descriptor = descriptor
            else:  # whoever held it has just removed it
                os.close(descriptor)

    @property
    def is_held(self) -> bool:
        """Whether it keeps others out; some network drives have no locks."""
        return self._descriptor is not None

    def _is_of(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._file.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Release it; may be called twice."""
        if self._descriptor is None:
            return
        with suppress(OSError):  # Windows removes no open file
            self._file.unlink()
        os.close(self._descriptor)
        self._descriptor = None
        with suppress(OSError):
            if os.name == "nt":
                self._file.unlink(missing_ok=True)


def refuse_locked(path: Path) -> None:
    """Check that no run is writing an output.

    Raises
    ------
    OutputError
        If one is.
    """
    if _file_of(path).exists():
        Lock(path).release()


def refuse_edited(path: Path) -> None:
    """Check that no other program is editing a GeoPackage; what it saves later would be lost.

    Who edits one, as QGIS does, holds a lock of SQLite on it from the first edit to the end.

    Raises
    ------
    OutputError
        If one is.
    """
    address = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0, isolation_level=None)) as base:
            base.execute("PRAGMA locking_mode = EXCLUSIVE")
            base.execute("BEGIN EXCLUSIVE")
            base.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):  # that it cannot be read is said by who reads it
            return
        raise OutputError(
            f"{path}: is being edited by another program; save and close it there, and run again"
        ) from error
    except sqlite3.DatabaseError:
        return


def clear_locks(folder: Path) -> None:
    """Remove the locks that a killed run has left on outputs of a folder; those held stay."""
    for file in folder.glob(_file_of(folder / "*").name):
        with suppress(OSError, OutputError):
            refuse_locked(folder / file.name[1:].removesuffix(".lock"))


def _file_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        getattr(msvcrt, "locking")(descriptor, getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
        return
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals that ask for the end wait until what is inside is done.

    They arrive afterwards, as if they had come then. Python runs handlers in the main thread only,
    so elsewhere there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    former: dict[int, Any] = {}

    def remember(number: int, frame: FrameType | None) -> None:
        waiting.append(number)

    try:
        for name in _POLITE:
            number = getattr(signal, name, None)
            # None is a handler of another language, which is not ours to put back.
            if number is not None and signal.getsignal(number) not in (None, signal.SIG_IGN):
                former[number] = signal.signal(number, remember)
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
