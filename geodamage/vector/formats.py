"""Formats of vector files, recognised by their content; anything else is refused."""

import re
import sqlite3
import struct
import zipfile
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodamage.errors import SceneError, SceneReadError
from geodamage.sources import check_file

#: What is read, for messages.
KNOWN = "GeoJSON, GeoPackage, FlatGeobuf, Shapefile, GML, KML, GeoParquet or CSV"

#: Extensions of GeoJSON with a feature a line; such a file may be empty and good.
SEQUENCES = (".geojsonl", ".geojsons", ".ndjson", ".jsonl")

#: Bytes in which the root element of an XML file has to begin, and of an unpacked archive.
_HEAD = 2**16
_LARGEST_MEMBERS = 8 * 2**30

#: Application ids of SQLite files that are GeoPackages. Source: GeoPackage 1.3, requirement 2.
_PACKAGES = (b"GPKG", b"GP10", b"GP11", b"\0\0\0\0")

#: What reading an archive raises: damaged, cut, encrypted, or packed in a way that Python does not
#: know (`NotImplementedError` is a `RuntimeError`).
_OF_ARCHIVES = zipfile.BadZipFile, RuntimeError, EOFError, zlib.error


@dataclass(frozen=True)
class Format:
    """How a file is read.

    Attributes
    ----------
    name
        `GeoJSON`, `CSV`, `Parquet`, or a driver of GDAL.
    path
        What is opened: the file, or a path of GDAL's into an archive.
    layers
        Names of its layers where the file itself was asked for them; None where GDAL is.
    options
        Open options of the driver: nothing is written, fetched or looked up beside the file.
    """

    name: str
    path: str
    layers: tuple[str, ...] | None = None
    options: tuple[tuple[str, Any], ...] = ()


def format_of(path: Path) -> Format:
    """Return the format of a vector file by its content; no reader of a format opens it.

    Raises
    ------
    SceneReadError
        If it is no readable, regular file, or cut short.
    SceneError
        If it is of no format that is read, or would make its reader open other files.
    """
    if path.is_dir() and path.suffix.lower() == ".gdb":
        return _geodatabase(path)
    is_sequence = path.suffix.lower() in SEQUENCES
    name = check_file(str(path), may_be_empty=is_sequence)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        return _by_content(path, name, head)
    except SceneReadError:
        raise
    except (OSError, sqlite3.Error, UnicodeError, struct.error, *_OF_ARCHIVES) as error:
        raise SceneReadError(f"{path}: cannot be read ({error}); copy it again") from error


def _by_content(path: Path, name: str, head: bytes) -> Format:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"SQLite format 3\0"):
        return _package(path, name, head)
    if head.startswith(b"fgb"):
        return Format("FlatGeobuf", name)
    if head.startswith(b"PAR1"):
        return Format("Parquet", name)
    if head.startswith(b"PK\3\4"):
        return _archive(path, name)
    if head.startswith(b"\0\0\x27\x0a"):
        return _shapefile(path, name, head)
    if text[:1] in (b"{", b"\x1e") or (not text and path.suffix.lower() in SEQUENCES):
        return Format("GeoJSON", name)
    if text.startswith(b"<"):
        return _markup(path, name, text)
    if path.suffix.lower() in (".csv", ".tsv"):
        return Format("CSV", name)
    raise SceneError(f"{path}: not a vector file that is read; give {KNOWN}")


def _package(path: Path, name: str, head: bytes) -> Format:
    """Look into a GeoPackage with SQLite alone: a virtual table could open other files."""
    if head[68:72] not in _PACKAGES:
        raise SceneError(f"{path}: a database, but no GeoPackage; give {KNOWN}")
    with closing(open_database(Path(name))) as base:
        tables = base.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        for table, sql in tables:
            words = " ".join(str(sql).upper().split())
            if words.startswith("CREATE VIRTUAL") and " USING RTREE" not in words:
                raise SceneError(f"{path}: {table!r} is a virtual table; remove it from the file")
        rows = base.execute(
            "SELECT table_name FROM gpkg_contents WHERE data_type = 'features' ORDER BY rowid"
        )
        layers = tuple(str(row[0]) for row in rows)
    # A journal beside it holds what the file does not yet: then SQLite has to look at both.
    waiting = Path(f"{name}-wal")
    is_still = not (waiting.exists() and waiting.stat().st_size)
    options = (("LIST_ALL_TABLES", "NO"), *([("IMMUTABLE", "YES")] if is_still else []))
    return Format("GPKG", name, layers, options)


def open_database(path: Path) -> sqlite3.Connection:
    """Open a database of SQLite for reading alone; nothing is written beside it."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)


def _shapefile(path: Path, name: str, head: bytes) -> Format:
    if path.suffix.lower() != ".shp":
        raise SceneError(f"{path}: a Shapefile is called .shp and has others beside it; give it so")
    told = 2 * struct.unpack(">i", head[24:28])[0]
    size = path.stat().st_size
    if size < told:
        raise SceneReadError(
            f"{path}: cut short, {size:,} of {told:,} bytes are there; copy it again"
        )
    return Format("ESRI Shapefile", name, (path.stem,))


def _archive(path: Path, name: str) -> Format:
    """Find the one Shapefile of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        shapes = [member for member in members if member.filename.lower().endswith(".shp")]
        shapes = [m for m in shapes if not m.filename.startswith("__MACOSX/")]
        if sum(member.file_size for member in members) > _LARGEST_MEMBERS:
            raise SceneError(f"{path}: unpacks to too much; give the Shapefile itself")
        if len(shapes) != 1:
            raise SceneError(
                f"{path}: an archive with {len(shapes)} Shapefiles; give one with a single one"
            )
        inside = shapes[0].filename
        if ".." in Path(inside).parts or Path(inside).is_absolute():
            raise SceneError(f"{path}: names {inside!r}, which lies outside of it; pack it again")
        with archive.open(shapes[0]) as file:
            start = file.read(28)
    if start[:4] != b"\0\0\x27\x0a":
        raise SceneError(f"{path}: {inside!r} in it is no Shapefile; give {KNOWN}")
    if shapes[0].file_size < 2 * struct.unpack(">i", start[24:28])[0]:
        raise SceneReadError(f"{path}: {inside!r} in it is cut short; pack it again")
    return Format("ESRI Shapefile", f"/vsizip/{{{name}}}/{inside}", (Path(inside).stem,))


def _markup(path: Path, name: str, text: bytes) -> Format:
    """Tell GML and KML by the root element; a document type may name entities and files."""
    place = 0
    while (place := text.find(b"<", place)) >= 0:
        if text.startswith(b"<!--", place):
            place = text.find(b"-->", place)
            if place < 0:
                break
        elif text.startswith(b"<!", place):
            raise SceneError(f"{path}: has a document type (<!DOCTYPE), which is not read")
        elif text.startswith(b"<?", place):
            place += 2
        else:
            root = re.split(rb"[\s/>]", text[place + 1 : place + 200], maxsplit=1)[0]
            return _by_root(path, name, root.rpartition(b":")[2].decode("latin1"))
    raise SceneError(f"{path}: not a vector file that is read; give {KNOWN}")


def _by_root(path: Path, name: str, root: str) -> Format:
    if root == "kml":
        return Format("LIBKML", name)
    if root in ("FeatureCollection", "featureMembers"):
        never = (("DOWNLOAD_SCHEMA", "NO"), ("WRITE_GFS", "NO"))
        return Format("GML", name, options=never)
    if root.startswith("OGRVRT"):
        raise SceneError(f"{path}: a virtual file that names others; give the vector file itself")
    raise SceneError(f"{path}: XML of {root[:40]!r}, which is not read; give {KNOWN}")


def _geodatabase(path: Path) -> Format:
    name = check_file(str(path / "a00000001.gdbtable"))
    return Format("OpenFileGDB", str(Path(name).parent))
