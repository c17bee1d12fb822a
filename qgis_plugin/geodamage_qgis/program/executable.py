# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding the geodamage program, and asking it what it is and what it runs on."""

from __future__ import annotations

import json
import os
import re
import shutil

# Programs are started by a list of words, never by a shell.
import subprocess  # nosec B404
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geodamage_qgis.errors import MissingError, PluginError
from geodamage_qgis.program.processes import environment_for, process_group
from geodamage_qgis.translation import tr

#: Oldest geodamage that has every option the plugin uses.
OLDEST = (0, 1, 0)
#: Seconds for a question; the first start of a new environment compiles its modules.
PATIENCE = 60.0
_PATIENCE_LOADING = 180.0

#: Where the program may lie, in words for people.
ORIGINS: Mapping[str, str] = {
    "setting": "named in the settings",
    "environment": "in the plugin's own environment",
    "path": "on the search path",
}

_VERSION = re.compile(r"geodamage, version (?P<version>\S+)")

#: How a script names its Python; pip writes the first where the path is long or has blanks.
_LONG_HEAD = re.compile(r"#!/bin/sh\n'''exec' \"?(?P<path>[^\"\n]+?)\"? ")
_SHORT_HEAD = re.compile(r"#!(?P<path>/\S+)$", re.MULTILINE)

#: Source: `geodamage.model.load_model`, whose `provider` is that of a session that has started.
_ASK_PROVIDER = """
import importlib.metadata as metadata, json, platform, sys
facts = {"python": platform.python_version(), "interpreter": sys.executable}
names = "geodamage onnxruntime onnxruntime-gpu numpy rasterio geopandas shapely pyogrio".split()
facts["packages"] = {}
for name in names:
    try:
        facts["packages"][name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
try:
    from geodamage.model import load_model
    facts["provider"] = load_model("fast").provider
except Exception as error:
    facts["error"] = type(error).__name__ + ": " + " ".join(str(error).split())
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class Executable:
    """A geodamage program that answers.

    Attributes
    ----------
    path
        Of the program.
    version
        As it says it, e.g. `0.1.0`.
    origin
        A key of `ORIGINS`: where it was found.
    """

    path: Path
    version: str
    origin: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"geodamage {self.version}, {tr(ORIGINS[self.origin])}: {self.path}"


@dataclass(frozen=True)
class Installation:
    """What a geodamage program runs on.

    Attributes
    ----------
    python
        Version of its Python.
    interpreter
        Path of its Python.
    packages
        Versions by name, of those that matter for a report.
    provider
        What inference runs on, in one line, as a session that has started says it.
    error
        Why no session could be started; None if one was.
    """

    python: str
    interpreter: str
    packages: Mapping[str, str]
    provider: str | None
    error: str | None


def find_executable(setting: str | None, environment: Path) -> Executable:
    """Find the geodamage program: the one in the settings, else the plugin's own, else on PATH.

    A program that was named, or an environment that was made, is used or refused: another one is
    never taken in its place.

    Parameters
    ----------
    setting
        Path of the program, or None.
    environment
        Folder of the plugin's own environment; it need not be there.

    Raises
    ------
    MissingError
        If there is none.
    PluginError
        If the first that is there is not geodamage, does not work or is too old.
    """
    if setting:
        return question(_named(setting), origin="setting")
    if environment.exists():
        return _own(environment)
    for path in on_path():
        return question(path, origin="path")
    raise MissingError(
        tr(
            "the geodamage program was not found; open GeoDamage > Set up, and name it or "
            "let the plugin make an environment for it"
        )
    )


def _named(setting: str) -> Path:
    path = Path(setting).expanduser()
    if path.is_dir():
        inside = [script_in(path), path / program_name()]
        path = next((candidate for candidate in inside if candidate.is_file()), path)
    if path.is_dir():
        raise PluginError(
            tr("{path}: there is no geodamage in this folder; name the program itself", path=path)
        )
    if not path.exists():
        raise PluginError(
            tr("{path}: no such file; name the geodamage program in GeoDamage > Set up", path=path)
        )
    return path


def _own(environment: Path) -> Executable:
    path = script_in(environment)
    remedy = tr("repair or remove it in GeoDamage > Set up")
    if not path.is_file():
        raise PluginError(
            tr(
                "the plugin's environment is damaged: {path} is missing; {remedy}",
                path=path,
                remedy=remedy,
            )
        )
    try:
        return question(path, origin="environment")
    except PluginError as error:
        # Another program is no remedy here.
        what = str(error).rpartition("; ")[0] or str(error)
        text = tr("the plugin's environment is damaged: {what}; {remedy}", what=what, remedy=remedy)
        raise PluginError(text, error.details) from error


def question(path: Path, *, origin: str = "setting") -> Executable:
    """Ask a program for its version.

    Parameters
    ----------
    path
        Of the program.
    origin
        Where it was found.

    Raises
    ------
    PluginError
        If it does not start, is not geodamage, or is too old.
    """
    answer = ask([str(path), "--version"])
    match = _VERSION.match(answer)
    if match is None:
        said = next(iter(answer.splitlines()), "nothing")[:80]
        raise PluginError(
            tr(
                "{path} is not geodamage: asked for its version it said {said!r}; name another",
                path=path,
                said=said,
            ),
            answer,
        )
    check_version(match["version"], path)
    return Executable(path, match["version"], origin)


def check_version(version: str, path: Path) -> None:
    """Refuse a geodamage that is older than the plugin can use.

    Raises
    ------
    PluginError
        If it is.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise PluginError(
            tr(
                "{path} is geodamage {version}, and the plugin needs {oldest} or newer; update it",
                path=path,
                version=version,
                oldest=oldest,
            )
        )


def ask(argv: Sequence[str], *, seconds: float = PATIENCE) -> str:
    """Run a program that answers soon, and return what it says.

    Parameters
    ----------
    argv
        The program and its arguments.
    seconds
        After which it is ended.

    Raises
    ------
    PluginError
        If it does not start, fails, or takes too long.
    """
    try:
        ended = subprocess.run(  # nosec B603
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
            env=environment_for(os.environ),
            **process_group().options,
        )
    except subprocess.TimeoutExpired as error:
        raise PluginError(
            tr(
                "{program} does not answer for {seconds:.0f} s; try again",
                program=argv[0],
                seconds=seconds,
            )
        ) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise PluginError(
            tr("{program} cannot be started: {why}; name another program", program=argv[0], why=why)
        ) from error
    if ended.returncode != 0:
        lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        said = lines[-1] if lines else tr("it ended with code {code}", code=ended.returncode)
        raise PluginError(
            tr("{program} does not work: {said}; name another", program=argv[0], said=said[:200]),
            ended.stderr,
        )
    return str(ended.stdout)


def inspect(executable: Path) -> Installation:
    """Ask the Python of a geodamage program what it has, and start a session to see what runs.

    Takes some seconds.

    Raises
    ------
    PluginError
        If its Python cannot be found or does not answer.
    """
    python = interpreter_of(executable)
    if python is None:
        raise PluginError(
            tr("{executable}: which Python it runs on could not be told", executable=executable)
        )
    answer = ask([str(python), "-I", "-c", _ASK_PROVIDER], seconds=_PATIENCE_LOADING)
    try:
        facts = json.loads(answer.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise PluginError(
            tr("{python} answered nothing that can be read", python=python), answer
        ) from error
    return Installation(
        python=facts["python"],
        interpreter=facts["interpreter"],
        packages=facts["packages"],
        provider=facts.get("provider"),
        error=facts.get("error"),
    )


def interpreter_of(executable: Path) -> Path | None:
    """Return the Python that a console script runs on, or None if that cannot be told."""
    # What a link points to lies beside its Python; a script in ~/.local/bin may not.
    folders = [executable.parent, executable.resolve().parent]
    for folder in [*folders, *(folder.parent for folder in folders)]:
        for name in ("python.exe", "python", "python3"):
            if (folder / name).is_file() and _is_environment(folder):
                return folder / name
    return _from_first_line(executable)


def _is_environment(folder: Path) -> bool:
    return any((place / "pyvenv.cfg").is_file() for place in (folder, folder.parent))


def _from_first_line(executable: Path) -> Path | None:
    try:
        with executable.open("rb") as script:
            head = script.read(4096).decode("utf-8", errors="replace")
    except OSError:
        return None
    found = _LONG_HEAD.match(head) or _SHORT_HEAD.match(head)
    if found is None:
        return None
    path = Path(found["path"])
    return path if path.is_file() and "python" in path.name else None


def program_name(platform: str = sys.platform) -> str:
    """Return the file name of the program on a platform."""
    return "geodamage.exe" if platform == "win32" else "geodamage"


def scripts_of(environment: Path, platform: str = sys.platform) -> Path:
    """Return the folder of an environment that has its programs."""
    return environment / ("Scripts" if platform == "win32" else "bin")


def script_in(environment: Path, platform: str = sys.platform) -> Path:
    """Return where an environment has the geodamage program."""
    return scripts_of(environment, platform) / program_name(platform)


def python_in(environment: Path, platform: str = sys.platform) -> Path:
    """Return where an environment has its Python."""
    return scripts_of(environment, platform) / ("python.exe" if platform == "win32" else "python")


def on_path(platform: str = sys.platform) -> Iterator[Path]:
    """Yield the geodamage programs on the search path, and where it does not reach on macOS."""
    found = shutil.which(program_name(platform))
    if found is not None:
        yield Path(found)
    for folder in usual_folders(platform):
        path = folder / program_name(platform)
        if path.is_file() and str(path) != found:
            yield path


def usual_folders(platform: str = sys.platform) -> list[Path]:
    """Return folders of programs that a desktop's search path may lack.

    A desktop starts QGIS without what a shell adds; macOS leaves but the system's folders.
    """
    if platform == "win32":
        return []
    folders = [Path.home() / ".local" / "bin", Path("/usr/local/bin")]
    return [*folders, Path("/opt/homebrew/bin")] if platform == "darwin" else folders
