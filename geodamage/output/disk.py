"""Files on the disk: their state, their bytes, and their end."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path


def file_state(path: Path) -> tuple[int, int]:
    """Return size and time of change of a file and of the journal that SQLite keeps beside it."""
    size = changed = 0
    for name in (path, Path(f"{path}-wal")):
        with suppress(FileNotFoundError):
            found = name.stat()
            size, changed = size + found.st_size, max(changed, found.st_mtime_ns)
    return size, changed


def hash_of(path: Path) -> str:
    """Return the SHA-256 of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make the bytes of a file survive a power failure."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure; Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_all(partial: Path) -> None:
    """Remove a partial file and the working files named after it, as far as possible."""
    with suppress(OSError):
        for path in list(partial.parent.iterdir()):
            if path.name.startswith(partial.name):
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as possible."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()
