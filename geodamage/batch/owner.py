"""Owners: which process holds a scene, and whether it is still alive."""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

import psutil

#: File systems of one machine, where processes share memory: a write-ahead log works on these
#: only. Source: https://www.sqlite.org/wal.html, section 1.
LOCAL_FILE_SYSTEMS = frozenset(
    {
        *("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs"),
        *("zfs", "apfs", "hfs", "ntfs", "refs"),
    }
)
#: What psutil says of a drive of Windows that another machine shares; its type is told as NTFS.
_REMOTE = "remote"
#: Seconds between two beginnings that are one: the clock that counts from the boot is rounded.
_SAME = 2.0


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
        When that process began, seconds; None where that cannot be known.
    """

    host: str
    pid: int
    begun: float | None

    @classmethod
    def this(cls) -> "Owner":
        """Return this process."""
        return cls(_host(), os.getpid(), _begun(os.getpid()))

    def is_gone(self) -> bool:
        """Say whether it is known to be dead; a process of another machine is not."""
        if self.host != _host():
            return False
        try:
            begun = _begun(self.pid)
        except psutil.NoSuchProcess:
            return True
        if begun is None or self.begun is None:
            return False
        return abs(begun - self.begun) > _SAME


def is_alive(pid: int) -> bool:
    """Say whether this machine has a process of that number, a zombie included."""
    try:
        psutil.Process(pid)
    except psutil.NoSuchProcess:
        return False
    return True


def _host() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _begun(pid: int) -> float | None:
    """Return when a process began, seconds; None where the system does not tell.

    Linux counts from the boot, so that a changed clock kills nobody; the others keep the
    time that it was.

    Raises
    ------
    psutil.NoSuchProcess
        If it is dead. A zombie does nothing any more, and is, too.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            raise psutil.ZombieProcess(pid)
        return float(process.create_time()) - (psutil.boot_time() if psutil.LINUX else 0.0)
    except psutil.AccessDenied:
        return None


class Partition(Protocol):
    """A mounted file system, as psutil tells it."""

    mountpoint: str
    fstype: str
    opts: str


def file_system(path: Path) -> str | None:
    """Return the type of the file system a path is on, in small letters.

    It is `remote` for a drive of Windows that is another machine's, and None where it cannot be
    known.
    """
    try:
        partitions = psutil.disk_partitions(all=True)
    except OSError:
        return None
    return closest(path.resolve(), partitions)


def closest(path: PurePath, partitions: Iterable[Partition]) -> str | None:
    """Return the type of the partition that a path is on; of two on one place the later counts."""
    found: tuple[int, str] | None = None
    for partition in partitions:
        point = type(path)(partition.mountpoint)
        depth = len(point.parts)
        if path.is_relative_to(point) and (found is None or depth >= found[0]):
            shared = _REMOTE in partition.opts.split(",")
            found = depth, _REMOTE if shared else partition.fstype.lower()
    return None if found is None else found[1]
