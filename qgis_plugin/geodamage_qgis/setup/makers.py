# SPDX-License-Identifier: GPL-2.0-or-later
"""What can make an environment: a Python that is new enough, or uv."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.executable import ask, usual_folders
from geodamage_qgis.translation import tr

#: Oldest Python that geodamage runs on.
OLDEST_PYTHON = (3, 11)
#: Newest minor version that is looked for by its own name.
_NEWEST_MINOR = 16

WHERE_TO_GET_PYTHON = (
    "install Python 3.11 or newer from https://www.python.org/downloads, or uv from "
    "https://docs.astral.sh/uv, and try again"
)

_ASK_PYTHON = (
    "import json, sys, platform; found = list(sys.version_info[:3])\n"
    "try:\n    import venv, ensurepip\nexcept ImportError:\n    found.append('no venv')\n"
    "print(json.dumps(found))"
)


class LacksVenvError(PluginError):
    """A Python is new enough, and lacks what makes environments."""


@dataclass(frozen=True)
class Maker:
    """What makes an environment.

    Attributes
    ----------
    kind
        `python` or `uv`.
    path
        Of the program.
    version
        As it says it.
    """

    kind: str
    path: Path
    version: str

    def __str__(self) -> str:
        """Say it in one line."""
        name = "Python" if self.kind == "python" else "uv"
        return f"{name} {self.version} ({self.path})"


def find_maker(setting: str | None = None) -> Maker:
    """Find a Python of at least 3.11 that can make environments, else uv.

    Parameters
    ----------
    setting
        Path of a Python or of uv that is to be used; None looks around.

    Raises
    ------
    PluginError
        If there is none, or the one that was named cannot be used. The message says where to get
        one.
    """
    if setting:
        return _maker(Path(setting).expanduser())
    refused: list[PluginError] = []
    for path in [*pythons(), *uvs()]:
        try:
            return _maker(path)
        except LacksVenvError as error:
            refused.insert(0, error)
        except PluginError as error:
            refused.append(error)
    details = "\n".join(map(str, refused))
    if refused and isinstance(refused[0], LacksVenvError):
        # One package away, as on a fresh Debian: that is easier than another Python.
        raise PluginError(str(refused[0]), details)
    raise PluginError(
        tr(
            "no Python 3.11 or newer was found, and no uv; {remedy}",
            remedy=tr(WHERE_TO_GET_PYTHON),
        ),
        details,
    )


def _maker(path: Path) -> Maker:
    if path.stem.lower() == "uv":
        answer = ask([str(path), "--version"])
        found = re.match(r"uv (\S+)", answer)
        if found is None:
            raise PluginError(tr("{path} is not uv; name another program", path=path), answer)
        return Maker("uv", path, found[1])
    return _python(path)


def _python(path: Path) -> Maker:
    answer = ask([str(path), "-I", "-c", _ASK_PYTHON])
    try:
        *numbers, last = json.loads(answer)
        version = tuple(
            int(number) for number in (numbers if last == "no venv" else [*numbers, last])
        )
    except (ValueError, TypeError) as error:
        raise PluginError(
            tr("{path} is not Python; name another program", path=path), answer
        ) from error
    text = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        raise PluginError(
            tr(
                "{path} is Python {version}, and geodamage needs 3.11; {remedy}",
                path=path,
                version=text,
                remedy=tr(WHERE_TO_GET_PYTHON),
            )
        )
    if last == "no venv":
        raise LacksVenvError(
            tr(
                "{path} cannot make environments; install python3-venv by the system's package "
                "manager, or name another Python",
                path=path,
            )
        )
    return Maker("python", path, text)


def pythons(platform: str = sys.platform) -> Iterator[Path]:
    """Yield programs that may be a Python new enough, the most likely first."""
    names = [f"python3.{minor}" for minor in range(_NEWEST_MINOR, OLDEST_PYTHON[1] - 1, -1)]
    names += ["python3", "python"]
    seen = set()
    for path in [*_on_path(names, platform), *_installed(platform)]:
        if path.is_file() and path not in seen:
            seen.add(path)
            yield path


def _on_path(names: Sequence[str], platform: str) -> Iterator[Path]:
    extra = os.pathsep.join(map(str, usual_folders(platform)))
    for name in names:
        for where in (None, extra):
            found = shutil.which(name, path=where)
            if found:
                yield Path(found)


def _installed(platform: str) -> Iterator[Path]:
    """Yield Pythons where their installers put them, then QGIS's own."""
    if platform == "win32":
        for variable in ("LOCALAPPDATA", "ProgramFiles"):
            base = os.environ.get(variable)
            folder = Path(base or "") / ("Programs/Python" if variable == "LOCALAPPDATA" else "")
            if base:
                yield from sorted(folder.glob("Python3*/python.exe"), reverse=True)
        yield Path(sys.base_prefix) / "python.exe"
    elif platform == "darwin":
        framework = Path("/Library/Frameworks/Python.framework/Versions")
        yield from sorted(framework.glob("3.*/bin/python3"), reverse=True)
        yield Path(sys.base_prefix) / "bin" / "python3"


def uvs(platform: str = sys.platform) -> Iterator[Path]:
    """Yield programs that may be uv."""
    yield from _on_path(["uv"], platform)
    for folder in (".local/bin", ".cargo/bin"):
        path = Path.home() / folder / ("uv.exe" if platform == "win32" else "uv")
        if path.is_file():
            yield path


def find_gpu() -> str | None:
    """Return the name of the NVIDIA GPU that its driver reports, or None if there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        answer = ask([program, "--query-gpu=name", "--format=csv,noheader"], seconds=15)
    except PluginError:
        # A driver that does not answer drives nothing.
        return None
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    return lines[0] if lines else None
