# SPDX-License-Identifier: GPL-2.0-or-later
"""Pack the plugin into the zip that QGIS and its plugin repository take.

    python qgis_plugin/package.py                  dist/geodamage_qgis-0.1.0.zip
    python qgis_plugin/package.py --for-upload     refuse addresses that are only placeholders

The rules of the repository are checked before anything is written: metadata complete, a licence
file, one folder at the top, no binaries, nothing that a run left behind, at most 25 MB. Equal
sources give equal bytes. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

PLUGIN = Path(__file__).resolve().parent / "geodamage_qgis"

# Source of the rules: plugins.qgis.org, "Publish a plugin" (required metadata, size, licence file,
# no binaries) and the PyQGIS cookbook, "Releasing your plugin".
REQUIRED = (
    "name", "qgisMinimumVersion", "description", "about", "version", "author", "email",
    "repository", "tracker", "homepage", "icon", "tags", "changelog",
)  # fmt: skip
LARGEST = 25_000_000  # bytes
#: A QGIS plugin is text; its icon is, too. Anything else would have to argue its case here.
KINDS = (".py", ".txt", ".svg", ".qml", ".md", ".ui", ".json", "LICENSE")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
VERSION = re.compile(r"\d+\.\d+\.\d+")
PLACEHOLDER = re.compile(r"\bexample\.(org|com|net)\b")  # Source: RFC 2606, section 3

#: Zip files cannot hold an older moment; a fixed one makes equal bytes of equal sources.
MOMENT = (1980, 1, 1, 0, 0, 0)


class PackageError(Exception):
    """The plugin breaks a rule of the plugin repository."""


def read_metadata(folder: Path) -> dict[str, str]:
    """Return `metadata.txt` as a mapping.

    Raises
    ------
    PackageError
        If it is missing or not the format that QGIS reads.
    """
    path = folder / "metadata.txt"
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keep capitals
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        return dict(parser["general"])
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from error
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise PackageError(f"{path} is not metadata of a plugin: {error!r}") from error


def check_metadata(metadata: dict[str, str], *, for_upload: bool = False) -> None:
    """Check what the repository asks of `metadata.txt`.

    Raises
    ------
    PackageError
        If something is missing, malformed or, for an upload, a placeholder.
    """
    missing = [key for key in REQUIRED if not metadata.get(key, "").strip()]
    if missing:
        raise PackageError(f"metadata.txt lacks {', '.join(missing)}")
    if not VERSION.fullmatch(metadata["version"]):
        raise PackageError(f"metadata.txt: version {metadata['version']!r} is not like 1.2.3")
    if "plugin" in metadata["name"].lower():
        raise PackageError("metadata.txt: the name must not say 'plugin'")
    if "external dependenc" not in metadata["about"].lower():
        raise PackageError("metadata.txt: about must name the external dependencies")
    placeholders = [key for key, value in metadata.items() if PLACEHOLDER.search(value)]
    if for_upload and placeholders:
        raise PackageError(f"metadata.txt: {', '.join(placeholders)} is a placeholder; put yours")


def list_files(folder: Path) -> list[Path]:
    """Return the files that are packed, sorted by name.

    Left out are caches of Python and hidden files.

    Raises
    ------
    PackageError
        If a file is of a kind that does not belong into a plugin, or is a link.
    """
    files = sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())
    for path in files:
        if path.is_symlink():
            raise PackageError(f"{path} is a link; put the file itself there")
        if not path.name.endswith(KINDS) or b"\0" in path.read_bytes():
            raise PackageError(f"{path} is not a text file of a plugin; binaries are refused")
    return files


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "__pycache__" or path.suffix == ".pyc":
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def pack(folder: Path, output: Path, *, for_upload: bool = False) -> Path:
    """Write the zip of a plugin.

    Parameters
    ----------
    folder
        The installed folder; its name becomes the one folder of the zip.
    output
        The zip, or the folder that it is written into under its own name. A zip that is there is
        replaced: it is made of the same sources, or of older ones.
    for_upload
        Refuse placeholders in the metadata.

    Returns
    -------
    Path of the zip.

    Raises
    ------
    PackageError
        If a rule is broken; then nothing is written.
    """
    if not NAME.fullmatch(folder.name):
        raise PackageError(f"{folder.name} is not a name for a plugin's folder")
    metadata = read_metadata(folder)
    check_metadata(metadata, for_upload=for_upload)
    files = list_files(folder)
    for needed in ("LICENSE", "__init__.py", metadata["icon"]):
        if folder / needed not in files:
            raise PackageError(f"{folder} lacks {needed}")
    if output.suffix != ".zip":
        output = output / f"{folder.name}-{metadata['version']}.zip"
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    try:
        _write(partial, folder, files)
        size = partial.stat().st_size
        if size > LARGEST:
            raise PackageError(f"the zip has {size / 1e6:.1f} MB; at most 25 MB are taken")
        os.replace(partial, output)  # noqa: PTH105  # in one step, over an older zip, on Windows too
    finally:
        partial.unlink(missing_ok=True)
    return output


def _write(path: Path, folder: Path, files: list[Path]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in files:
            name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is packed
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, file.read_bytes())


def main() -> None:
    """Pack the plugin of this repository."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=PLUGIN.parents[1] / "dist")
    parser.add_argument("--for-upload", action="store_true", help="refuse placeholders")
    options = parser.parse_args()
    try:
        path = pack(PLUGIN, options.output, for_upload=options.for_upload)
    except PackageError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"{path}: {path.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
