# SPDX-License-Identifier: GPL-2.0-or-later
"""What would be installed: read from a wheel, a folder of wheels or the sources, and hashed."""

from __future__ import annotations

import email.parser
import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from geodamage_qgis.errors import PluginError
from geodamage_qgis.translation import tr


@dataclass(frozen=True)
class Package:
    """What is installed.

    Attributes
    ----------
    path
        Wheel, or folder of the sources; None for a package that is asked of a registry by name.
    version
        Of geodamage; empty where only the registry knows it.
    sha256
        Of the wheel, or of the sources by name and content; empty for a package by name.
    requires
        Names of what it needs, which are installed with it.
    """

    path: Path | None
    version: str
    sha256: str
    requires: tuple[str, ...] = ()


def read_package(path: str | Path) -> Package:
    """Read what a wheel, or a folder with one or with the sources, would install.

    Parameters
    ----------
    path
        A wheel of geodamage, a folder with wheels of which the newest of geodamage is taken, or
        the folder of the sources.

    Raises
    ------
    PluginError
        If it is not one of these.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise PluginError(
            tr("{path}: no such file or folder; choose the wheel of geodamage", path=path)
        )
    if path.is_file():
        return _read_wheel(path)
    wheels = sorted(path.glob("geodamage-*.whl"), key=lambda wheel: _numbers(wheel.name))
    if wheels:
        return _read_wheel(wheels[-1])
    if (path / "pyproject.toml").is_file() and (path / "geodamage" / "_version.py").is_file():
        return _read_sources(path)
    raise PluginError(
        tr(
            "{path}: neither a wheel of geodamage in it (geodamage-*.whl) nor its sources "
            "(pyproject.toml); choose another folder",
            path=path,
        )
    )


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name.partition("-py")[0]))


def _read_wheel(path: Path) -> Package:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            name = next(name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            text = archive.read(name).decode("utf-8")
    except (OSError, zipfile.BadZipFile, StopIteration, UnicodeDecodeError) as error:
        raise PluginError(
            tr("{path} is not a wheel; choose a file geodamage-*.whl", path=path)
        ) from error
    headers = email.parser.HeaderParser().parsestr(text)
    if headers.get("Name", "").lower() != "geodamage":
        raise PluginError(
            tr("{path} is a wheel of {name}, not of geodamage", path=path, name=headers.get("Name"))
        )
    requires = headers.get_all("Requires-Dist") or []
    needed = [entry for entry in requires if "extra ==" not in entry]
    return Package(
        path=path.absolute(),
        version=headers.get("Version", ""),
        sha256=_sha256_of_file(path),
        requires=tuple(re.split(r"[\s<>=!~;\[(]", entry)[0] for entry in needed),
    )


def _read_sources(path: Path) -> Package:
    found = re.search(
        r"__version__\s*=\s*[\"']([^\"']+)", (path / "geodamage" / "_version.py").read_text("utf-8")
    )
    return Package(path.absolute(), found[1] if found else "", _sha256_of_sources(path))


def _sha256_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise PluginError(
            tr("{path} cannot be read: {why}", path=path, why=error.strerror)
        ) from error
    return digest.hexdigest()


def _sha256_of_sources(path: Path) -> str:
    digest = hashlib.sha256()
    files = [file for file in (path / "geodamage").rglob("*") if "__pycache__" not in file.parts]
    for file in [path / "pyproject.toml", *sorted(files)]:
        if file.is_file():
            digest.update(
                f"{file.relative_to(path).as_posix()}\n{_sha256_of_file(file)}\n".encode()
            )
    return digest.hexdigest()


def package_by_name(*, allowed: bool) -> Package:
    """Return the package that a registry has under the name geodamage.

    Parameters
    ----------
    allowed
        The setting `allow_registry`, off until geodamage is published: until then, somebody else
        may have the name.

    Raises
    ------
    PluginError
        If it is not allowed.
    """
    if not allowed:
        raise PluginError(
            tr(
                "installing by name is switched off, as geodamage is not published yet; choose "
                "the wheel of geodamage"
            )
        )
    return Package(None, "", "")
