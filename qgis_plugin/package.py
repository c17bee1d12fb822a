# SPDX-License-Identifier: GPL-2.0-or-later
"""Pack the plugin into the zip that QGIS and its plugin repository take.

    python qgis_plugin/package.py                  dist/geodamage_qgis-0.2.0.zip
    python qgis_plugin/package.py --for-upload --email A --repository B [--homepage C --tracker D]

Only who publishes the plugin knows its addresses, so they are given then and written into the zip;
a zip for one's own use has none. The rules of the repository are checked before anything is
written. The metadata are complete, there is a licence file, and one folder lies at the top. There
are no binaries, no leftovers of a run, and at most 25 MB. The documentation goes along as
README.md, without its pictures. Equal sources give equal bytes. Only the standard library is
needed.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

PLUGIN = Path(__file__).resolve().parent / "geodamage_qgis"

# Source of the rules: plugins.qgis.org, "Publish a plugin" (required metadata, size, licence file,
# no binaries) and the PyQGIS cookbook, "Releasing your plugin".
REQUIRED = (
    "name", "qgisMinimumVersion", "description", "about", "version", "author", "icon", "tags",
    "changelog",
)  # fmt: skip
#: Addresses that the repository asks for, too.
ADDRESSES = ("email", "repository", "tracker", "homepage")
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
    unknown = [key for key in ADDRESSES if not metadata.get(key, "").strip()]
    if for_upload and unknown:
        options = ", ".join(f"--{key}" for key in unknown)
        raise PackageError(f"an upload needs {', '.join(unknown)}; give {options}")
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


def pack(
    folder: Path,
    output: Path,
    *,
    for_upload: bool = False,
    addresses: Mapping[str, str] | None = None,
) -> Path:
    """Write the zip of a plugin.

    Parameters
    ----------
    folder
        The installed folder; its name becomes the one folder of the zip.
    output
        The zip, or the folder that it is written into under its own name. A zip that is there is
        replaced: it is made of the same sources, or of older ones.
    for_upload
        Refuse metadata without addresses, or with placeholders.
    addresses
        Written into the metadata of the zip, by the names of `ADDRESSES`.

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
    addresses = addresses or {}
    metadata = {**read_metadata(folder), **addresses}
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
        contents = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
        lines = "".join(f"{key}={value}\n" for key, value in sorted(addresses.items()))
        contents["metadata.txt"] += lines.encode()
        manual = folder.parent / "README.md"
        if manual.is_file():
            contents["README.md"] = without_pictures(manual.read_text(encoding="utf-8")).encode()
        _write(partial, folder.name, contents)
        size = partial.stat().st_size
        if size > LARGEST:
            raise PackageError(f"the zip has {size / 1e6:.1f} MB; at most 25 MB are taken")
        os.replace(partial, output)  # noqa: PTH105  # in one step, over an older zip, on Windows too
    finally:
        partial.unlink(missing_ok=True)
    return output


def without_pictures(text: str) -> str:
    """Return the documentation as it goes into a zip: no pictures, links from inside the folder."""
    text = re.sub(r"^!\[[^\]]*\]\([^)]*\)\n\n?", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\*All pictures .*?\*\s", "", text, flags=re.MULTILINE | re.DOTALL)
    return text.replace(f"]({PLUGIN.name}/", "](").replace(f"`{PLUGIN.name}/", "`")


def _write(path: Path, name: str, contents: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{name}/{file}", MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is packed
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)


def main() -> None:
    """Pack the plugin of this repository."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=PLUGIN.parents[1] / "dist")
    parser.add_argument("--for-upload", action="store_true", help="refuse placeholders")
    for name in ADDRESSES:
        parser.add_argument(f"--{name}", help="as the plugin repository asks for")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ADDRESSES if getattr(options, name)}
    if "repository" in given:
        given.setdefault("homepage", given["repository"])
        given.setdefault("tracker", f"{given['repository'].rstrip('/')}/issues")
    try:
        path = pack(PLUGIN, options.output, for_upload=options.for_upload, addresses=given)
    except PackageError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"{path}: {path.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
