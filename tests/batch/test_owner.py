import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath

import psutil
import pytest

from geodamage.batch.owner import Owner, closest, file_system, is_alive

Partition = namedtuple("Partition", "device mountpoint fstype opts")
LINUX = [
    Partition("/dev/sda", "/", "ext4", "rw"),
    Partition("server:/home", "/home", "nfs4", "rw"),
    Partition("tmpfs", "/home/my scratch", "tmpfs", "rw"),
    Partition("/dev/sdb", "/mnt", "ext3", "rw"),
    Partition("server:/mnt", "/mnt", "nfs", "rw"),
]
WINDOWS = [
    Partition("C:\\", "C:\\", "NTFS", "rw,fixed"),
    Partition("D:\\", "C:\\data", "ReFS", "rw,fixed"),
    Partition("Z:\\", "Z:\\", "NTFS", "rw,remote"),
]


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def owner_of(pid: int) -> Owner:
    return replace(Owner.this(), pid=pid, begun=psutil.Process(pid).create_time())


def test_this_process_is_not_gone():
    assert not Owner.this().is_gone()


@pytest.mark.skipif(sys.platform == "win32", reason="zombies are of POSIX")
def test_a_process_is_gone_when_it_has_ended(child, monkeypatch):
    monkeypatch.setattr(psutil, "LINUX", False)  # so that `begun` is the time of day
    owner = owner_of(child.pid)
    assert not owner.is_gone()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.is_gone(), "a zombie does nothing any more"
    child.wait()
    assert owner.is_gone()


def test_a_process_that_began_at_another_time_is_another():
    this = Owner.this()
    assert replace(this, begun=this.begun - 60).is_gone()
    assert not replace(this, begun=this.begun - 1).is_gone(), "the clock is rounded"
    assert not replace(this, begun=None).is_gone(), "it may be the same"


def test_a_number_that_no_process_can_have_is_gone():
    assert replace(Owner.this(), pid=10**12).is_gone()
    assert not is_alive(10**30)
    assert is_alive(os.getpid())


def test_nothing_is_known_of_another_machine():
    assert not Owner("another machine", 10**12, 0.0).is_gone()


def test_a_clock_of_linux_that_is_set_anew_kills_nobody(monkeypatch):
    this = Owner.this()
    begun, boot = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil, "LINUX", True)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: begun + 3600)
    assert not this.is_gone()


class WindowsProcess:
    """What psutil knows of a process there: the time of its creation, which nothing changes."""

    running = {7: 1_700_000_000.25}  # noqa: RUF012
    hidden = (8,)

    def __init__(self, pid: int) -> None:
        if pid not in self.running and pid not in self.hidden:
            raise psutil.NoSuchProcess(pid)
        self.pid = pid

    def status(self) -> str:
        return psutil.STATUS_RUNNING

    def create_time(self) -> float:
        if self.pid in self.hidden:
            raise psutil.AccessDenied(self.pid)
        return self.running[self.pid]


def test_on_windows_processes_are_asked_without_a_signal(monkeypatch):
    """There signal 0 is Ctrl+C, and any other number ends the process."""
    here = Owner.this()
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.setattr(psutil, "Process", WindowsProcess)
    monkeypatch.setattr(os, "kill", lambda pid, signal: pytest.fail("a signal was sent"))
    this = replace(here, pid=7, begun=1_700_000_000.25)
    assert not this.is_gone()
    assert replace(this, begun=1_600_000_000.0).is_gone(), "its number was given again"
    assert replace(this, pid=9).is_gone()
    assert not replace(this, pid=8).is_gone(), "another user's, of which nothing is told"
    assert (is_alive(7), is_alive(8), is_alive(9)) == (True, True, False)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x", "ext4"),
        ("/home/x", "nfs4"),
        ("/homes", "ext4"),
        ("/home/my scratch/x", "tmpfs"),
        ("/mnt/x", "nfs"),  # what was mounted later hides what was there
    ],
)
def test_a_file_lies_on_the_closest_mount(path, kind):
    assert closest(PurePosixPath(path), LINUX) == kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (r"C:\Users\x", "ntfs"),
        (r"c:\users\x", "ntfs"),
        (r"C:\data\x", "refs"),
        (r"Z:\x", "remote"),
        (r"\\server\share\x", None),
        (r"E:\x", None),
    ],
)
def test_a_file_of_windows_lies_on_its_drive(path, kind):
    assert closest(PureWindowsPath(path), WINDOWS) == kind


def test_where_nothing_is_told_of_file_systems_none_is_known(monkeypatch, tmp_path):
    def refuse(all):
        raise FileNotFoundError("/proc/self/mounts")

    assert file_system(tmp_path) is not None
    monkeypatch.setattr(psutil, "disk_partitions", refuse)
    assert file_system(tmp_path) is None
