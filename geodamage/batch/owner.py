"""Owners: which process holds a scene, and whether it is still alive."""

import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: File systems of one machine, where processes share memory: a write-ahead log works on these
#: only. Source: https://www.sqlite.org/wal.html, section 1.
LOCAL_FILE_SYSTEMS = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"}
)


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
