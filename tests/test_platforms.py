"""What differs on Windows and macOS, where it can be simulated: docs/platforms.md."""

import ctypes
import inspect
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from geodamage.batch import executors
from geodamage.batch.manifest import safe_name
from geodamage.model import session
from geodamage.optimise import timings
from geodamage.output import publication

PACKAGE = Path(publication.__file__).parents[1]
#: Calls that Windows does not have; what uses one must ask first whether it is there.
POSIX_ONLY = ("os.fork(", "os.getuid(", "os.geteuid(", "os.killpg(", "os.mkfifo(", "signal.SIGKILL")


def test_windows_does_not_flush_folders(monkeypatch, tmp_path):
    monkeypatch.setattr(publication, "os", SimpleNamespace(name="nt"))
    publication._sync_folders([tmp_path / "a.gpkg"])  # os.open would be an AttributeError


def test_without_affinity_every_processor_counts(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert session.default_threads() == 3


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_memory_is_given_back_on_linux_only(monkeypatch, platform):
    monkeypatch.setattr(session, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("a library was loaded"))
    session.return_memory()


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_memory_is_measured_on_linux_only(monkeypatch, tmp_path, platform):
    monkeypatch.setattr(timings, "sys", SimpleNamespace(platform=platform))
    assert timings.measure_memory(tmp_path / "no.onnx", 64) is None


@pytest.mark.parametrize("name", ["con", "NUL.tif", "aux", "com1.2026"])
def test_names_that_windows_keeps_for_itself_are_changed(name):
    assert safe_name(name) == f"scene_{name}"


def test_names_end_as_windows_lets_them():
    assert safe_name("storm. ") == "storm"
    assert safe_name('a<b>:"c"|d?*') == "a_b_c_d"


def test_workers_are_started_afresh_as_on_windows():
    assert 'get_context("spawn")' in inspect.getsource(executors)


def test_no_call_is_of_posix_alone():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found = [call for call in POSIX_ONLY if call in text]
        assert not found, f"{path.relative_to(PACKAGE)}: {found}"
