"""What is kept of models on this machine: files in the user's cache, which may go at any time.

A compiled model is sealed: whoever reads it first sees whether it is whole. What is damaged, or
belongs to somebody else, is as if it was not there.
"""

import hashlib
import os
import platform
from contextlib import suppress
from pathlib import Path

#: Files of compiled models that are kept, the newest ones; and bytes of one, at most.
MOST_FILES, LARGEST_BYTES = 32, 200_000_000
#: First bytes of a sealed file. The digest of all that follows comes next.
_SEAL = b"geodamage 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """Return the folder of the user's cache where verdicts on engines are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    base = Path(home) if home else Path.home() / ".cache"
    return base / "geodamage" / "engines"


def processor() -> list[str]:
    """Return what a processor is and can do, as far as the system says."""
    known = [platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        for name in ("model name", "flags", "Features"):
            known += [line for line in lines if line.startswith(name)][:1]
    return known


def make_folder(folder: Path) -> bool:
    """Make a folder, if it is not there; say whether files can be written into it."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK)


def write(place: Path, blob: bytes) -> bool:
    """Write a file whole or not at all; say whether that was possible."""
    partial = place.with_suffix(f".{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(blob)
        partial.replace(place)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        return False
    return True


def write_sealed(place: Path, blob: bytes) -> bool:
    """Write a file with its digest; the oldest files beside it go when there are too many."""
    if len(blob) > LARGEST_BYTES:
        return False
    is_written = write(place, b"".join([_SEAL, hashlib.sha256(blob).digest(), blob]))
    if is_written:
        _leave_newest(place.parent)
    return is_written


def read_sealed(place: Path) -> bytes | None:
    """Return what was sealed; None where there is nothing, or not what this user wrote."""
    try:
        with place.open("rb") as file:
            facts = os.fstat(file.fileno())
            # Others may not put a graph in the place of one that was compared.
            user = getattr(os, "getuid", lambda: facts.st_uid)()
            if facts.st_uid != user or facts.st_size > LARGEST_BYTES + len(_SEAL) + _DIGEST_BYTES:
                return None
            head, blob = file.read(len(_SEAL) + _DIGEST_BYTES), file.read()
    except OSError:
        return None
    return blob if head == _SEAL + hashlib.sha256(blob).digest() else None


def _leave_newest(folder: Path) -> None:
    """Remove the oldest files of a folder beyond the number that is kept."""
    with suppress(OSError):  # such as one that another process has removed meanwhile
        files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[MOST_FILES:]:
            path.unlink()
