import os
import signal
from types import SimpleNamespace

from geodamage_qgis.program import processes
from geodamage_qgis.program.processes import (
    PosixGroup,
    WindowsGroup,
    environment_for,
    press_ctrl_c,
    process_group,
)


def test_what_is_qgis_own_does_not_reach_another_python():
    base = {"PATH": "/bin", "PYTHONHOME": "/qgis", "PYTHONPATH": "/x", "Gdal_Data": "/y"}
    given = environment_for(base, {"HTTPS_PROXY": "http://p:1"})
    assert given["PATH"] == "/bin"
    assert given["HTTPS_PROXY"] == "http://p:1"
    assert given["PYTHONUTF8"] == "1"
    assert not {"PYTHONHOME", "PYTHONPATH", "Gdal_Data"} & set(given)


# The other platforms, by fakes.


def test_each_platform_has_its_way():
    assert isinstance(process_group("linux"), PosixGroup)
    assert isinstance(process_group("darwin"), PosixGroup)
    assert isinstance(process_group("win32"), WindowsGroup)


def test_windows_shows_no_console_and_needs_no_killpg(monkeypatch):
    monkeypatch.delattr(os, "killpg", raising=False)
    monkeypatch.delattr(signal, "SIGKILL", raising=False)
    group, ran = WindowsGroup(), []
    assert group.options == {"creationflags": 0x08000000}
    monkeypatch.setattr(processes, "press_ctrl_c", lambda pid: ran.append(("ctrl-c", pid)) or True)
    monkeypatch.setattr(
        processes.subprocess, "run", lambda argv, **options: ran.append((argv, options))
    )
    process = SimpleNamespace(pid=7, poll=lambda: None, kill=lambda: ran.append("killed"))
    assert group.ask(process)
    group.kill(process)
    assert ran[0] == ("ctrl-c", 7)
    assert ran[1][0] == ["taskkill", "/T", "/F", "/PID", "7"]
    assert ran[1][1]["creationflags"] == 0x08000000


def test_windows_kills_where_taskkill_is_missing(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    ended = []
    monkeypatch.setattr(processes.subprocess, "run", missing)
    process = SimpleNamespace(pid=7, poll=lambda: None, kill=lambda: ended.append(True))
    WindowsGroup().kill(process)
    assert ended


class Kernel:
    """Stands for kernel32: writes down what it is asked."""

    def __init__(self, attached: bool) -> None:
        self.attached, self.asked = attached, []

    def __getattr__(self, name):
        def ask(*arguments):
            self.asked.append((name, *arguments))
            return self.attached if name == "AttachConsole" else 1

        return ask


def test_ctrl_c_is_pressed_on_the_consoles_of_others_only(monkeypatch):
    monkeypatch.setattr(processes.time, "sleep", lambda _: None)
    kernel = Kernel(attached=True)
    assert press_ctrl_c(7, kernel=kernel)
    assert kernel.asked == [
        ("AttachConsole", 7),
        ("SetConsoleCtrlHandler", None, True),
        ("GenerateConsoleCtrlEvent", 0, 0),
        ("FreeConsole",),
        ("SetConsoleCtrlHandler", None, False),
    ]


def test_without_a_console_there_is_nothing_to_press():
    assert not press_ctrl_c(7, kernel=Kernel(attached=False))
