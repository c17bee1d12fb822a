"""Fingerprints: what tells whether the result of a scene is still that of its inputs and options.

Inputs are known by path, size and time of change, models and options by their content. The
fingerprint of a result follows its content: the rows of a GeoPackage, and the facts of a sidecar,
because both files also hold the time of writing. The fingerprint of every other file follows its
bytes.
"""

import hashlib
import json
import os
import sqlite3
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from geodamage.assessment import Job
from geodamage.errors import InputError, LedgerError, ModelError
from geodamage.model.loading import find_model
from geodamage.scene.virtual import sources_of
from geodamage.sources import find, is_remote
from geodamage.vector.layer import split_layer

#: Facts of a sidecar that differ between two runs with one result.
VOLATILE_FACTS = ("created", "seconds", "result_sha256")
#: Fields of a job that say where and how fast, not what: the result is the same.
NEUTRAL_FIELDS = frozenset(
    {"pre", "post", "output", "model", "batch_size", "memory", "overwrite"}
    | {"device", "engine", "threads"}
)
#: Of these it matters only whether they are asked for.
PATH_FIELDS = frozenset({"raster", "probabilities", "report", "features"})

_CHUNK = 2**20


def input_fingerprint(job: Job) -> str:
    """Return a hash of path, size and time of change of every file that a job reads.

    What is not there is part of it: the scene will say why it fails, and is tried again as soon
    as the file turns up.
    """
    lines = [line for role in ("pre", "post") for line in _images(role, job)]
    for role, path in (
        ("footprints", job.footprints),
        ("aoi", job.scene.aoi),
        ("pre_unusable", job.scene.pre_unusable),
        ("post_unusable", job.scene.post_unusable),
    ):
        if path is not None:
            lines.append(f"{role} {_state(os.fspath(split_layer(path).path))}")
    return _digest(lines)


def input_bytes(job: Job) -> int:
    """Return the size of the images of a job; those that cannot be seen count nothing."""
    total = 0
    for role in ("pre", "post"):
        for name in _found(role, job):
            for file in (name, *sources_of(name)):
                if not is_remote(file) and Path(file).is_file():
                    total += Path(file).stat().st_size
    return total


def _images(role: str, job: Job) -> Iterator[str]:
    for name in _found(role, job):
        for file in (name, *sources_of(name)):
            yield f"{role} {_state(file)}"


def _found(role: str, job: Job) -> list[str]:
    source = getattr(job, role)
    try:
        return find(source, allow_remote=job.scene.allow_remote)
    except InputError:
        given = [source] if isinstance(source, str | os.PathLike) else list(source)
        return [os.fspath(name) for name in given]


def _state(name: str) -> str:
    if is_remote(name):
        return name
    path = Path(name).absolute()
    try:
        found = path.stat()
    except OSError:
        return f"{path} not there"
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def model_fingerprint(source: str | os.PathLike[str]) -> str:
    """Return a hash of a model with its card; of an ensemble, of its table and all its members.

    Raises
    ------
    ModelError
        If a file is not there or cannot be read.
    """
    path = find_model(source)
    try:
        lines = [file_hash(path)]
        if path.suffix.lower() == ".toml":
            lines += [file_hash(path.with_name(name)) for name in _members(path)]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return _digest(lines)


def _members(path: Path) -> list[str]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return sorted({Path(str(entry["file"])).name for entry in table["member"]})
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not an ensemble ({error}); fix it") from error


def option_fingerprint(job: Job) -> str:
    """Return a hash of all options of a job that its result depends on."""
    chosen = {
        field.name: getattr(job, field.name)
        for field in fields(job)
        if field.name not in NEUTRAL_FIELDS
    }
    for name in PATH_FIELDS & chosen.keys():
        chosen[name] = chosen[name] is not None
    return _digest([json.dumps(_plain(chosen), sort_keys=True)])


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return str(Path(value).absolute())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def output_fingerprint(path: Path) -> str:
    """Return a hash of what a result says, not of when it was written.

    Raises
    ------
    OSError
        If it is not there or cannot be read.
    """
    if path.suffix == ".gpkg":
        return _package_hash(path)
    if path.suffix == ".json":
        return _sidecar_hash(path)
    return file_hash(path)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of the bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _package_hash(path: Path) -> str:
    """Hash names, columns and rows of all layers.

    A viewer that only looks changes other pages. Styles say how a viewer draws, and when they were
    written.
    """
    digest = hashlib.sha256()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as package:
            layers = package.execute(
                "SELECT table_name FROM gpkg_contents WHERE table_name <> 'layer_styles' ORDER BY 1"
            ).fetchall()
            for (layer,) in layers:
                quoted = '"' + str(layer).replace('"', '""') + '"'
                rows = package.execute(f"SELECT * FROM {quoted} ORDER BY 1")
                digest.update(repr([layer, *(column[0] for column in rows.description)]).encode())
                for row in rows:
                    digest.update(repr(row).encode())
    except sqlite3.Error as error:
        raise OSError(f"{path}: not a GeoPackage that can be read ({error})") from error
    return digest.hexdigest()


def _sidecar_hash(path: Path) -> str:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return file_hash(path)
    if isinstance(facts, dict):
        facts = {key: value for key, value in facts.items() if key not in VOLATILE_FACTS}
    return _digest([json.dumps(facts, sort_keys=True)])


def output_record(folder: Path, paths: Iterable[Path]) -> dict[str, list[Any]]:
    """Return size, time of change and hash of results, by their path below a folder.

    Raises
    ------
    LedgerError
        If one of them cannot be read back.
    """
    record: dict[str, list[Any]] = {}
    for path in paths:
        try:
            found = path.stat()
            entry = [found.st_size, found.st_mtime_ns, output_fingerprint(path)]
        except OSError as error:
            raise LedgerError(f"{path}: cannot be read back ({error}); run again") from error
        record[path.relative_to(folder).as_posix()] = entry
    return record


def why_altered(folder: Path, record: Mapping[str, list[Any]]) -> str | None:
    """Say which result is missing or altered; None if all are as they were recorded.

    A file of the recorded size and time is believed; any other is read.
    """
    for name, (size, changed, fingerprint) in record.items():
        path = folder / name
        try:
            found = path.stat()
            same = (found.st_size, found.st_mtime_ns) == (size, changed)
            if not same and output_fingerprint(path) != fingerprint:
                return f"{name} was altered"
        except OSError:
            return f"{name} is missing"
    return None


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
