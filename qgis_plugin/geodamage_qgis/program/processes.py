# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of another Python: their environment variables, and how they are ended."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404
import sys
import time
from collections.abc import Mapping
from typing import Any

#: QGIS sets these for its own Python, GDAL and PROJ; another Python fails by them.
OWN_TO_QGIS = frozenset(
    [
        "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "PYTHONNOUSERSITE",
        "PYTHONUSERBASE", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV", "CONDA_PREFIX", "GDAL_DATA",
        "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA",
    ]
)  # fmt: skip


def environment_for(
    base: Mapping[str, str], variables: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment variables of QGIS, fit for a Python of its own.

    Parameters
    ----------
    base
        Those of this process.
    variables
        Added to them.
    """
    kept = {name: value for name, value in base.items() if name.upper() not in OWN_TO_QGIS}
    # Lines arrive when they are written, and in UTF-8 on Windows, too.
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **(variables or {})}


class PosixGroup:
    """How a program and all that it starts are ended on Linux and macOS."""

    #: For `subprocess.Popen`.
    options: Mapping[str, Any] = {"start_new_session": True}
    #: The process that is started is the one that writes.
    keeps_pid = True

    def ask(self, process: subprocess.Popen[str]) -> bool:
        """Ask all of them to end; return whether they have been reached."""
        return self._signal(process, signal.SIGTERM)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End what is left of them."""
        self._signal(process, getattr(signal, "SIGKILL", 9))

    def _signal(self, process: subprocess.Popen[str], number: int) -> bool:
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of zombies
            return False
        return True


class WindowsGroup:
    """How a program and all that it starts are ended on Windows.

    It has a hidden console of its own, on which Ctrl-C is pressed. Windows has no other signal
    after which a Python program can tidy up.
    """

    #: CREATE_NO_WINDOW. Not CREATE_NEW_PROCESS_GROUP: such a group does not hear Ctrl-C.
    options: Mapping[str, Any] = {"creationflags": 0x08000000}
    #: geodamage.exe starts the Python that writes.
    keeps_pid = False

    def ask(self, process: subprocess.Popen[str]) -> bool:
        """Press Ctrl-C on the program's console; return whether that was possible."""
        return press_ctrl_c(process.pid)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End the program and all that it started."""
        if process.poll() is not None:
            return
        argv = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        try:
            subprocess.run(argv, capture_output=True, check=False, timeout=30, **self.options)  # nosec B603
        except (OSError, subprocess.SubprocessError):
            process.kill()


def press_ctrl_c(pid: int, *, kernel: Any = None) -> bool:
    """Press Ctrl-C on the console of another process.

    Parameters
    ----------
    pid
        A process that has a console of its own.
    kernel
        Windows' kernel32.

    Returns
    -------
    Whether it was pressed: not where this process has a console itself, as in a terminal.
    """
    if kernel is None:
        import ctypes

        kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - only Windows has it
    if not kernel.AttachConsole(pid):
        return False
    try:
        # This process is on that console now, and must not end itself.
        kernel.SetConsoleCtrlHandler(None, True)
        pressed = bool(kernel.GenerateConsoleCtrlEvent(0, 0))
        # It is heard in a thread of its own; who stops ignoring it too early hears it, too.
        time.sleep(0.5)
    finally:
        kernel.FreeConsole()
        kernel.SetConsoleCtrlHandler(None, False)
    return pressed


def process_group(platform: str = sys.platform) -> PosixGroup | WindowsGroup:
    """Return how processes are started and ended on a platform, by its name in `sys.platform`."""
    return WindowsGroup() if platform == "win32" else PosixGroup()
