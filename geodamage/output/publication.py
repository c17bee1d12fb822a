"""Publication of results: all files of a run appear complete, or none of them does.

`vectors` and `rasters` write into partial files; a `Publication` owns these, and moves them to
their final names when all of them are complete. The sidecar comes last: no sidecar, no result.
"""

import errno
import json
import os
import re
import secrets
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyogrio.errors
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geodamage.errors import (
    GeodamageError,
    MissingExtraError,
    OptionError,
    OutputError,
    OutputExistsError,
    install,
    one_line,
)
from geodamage.output.commitment import Moves, commit, finish, retract
from geodamage.output.companions import companions
from geodamage.output.disk import file_state, hash_of, remove, remove_all, sync, sync_folder
from geodamage.output.ending import Completed
from geodamage.output.json_values import json_ready
from geodamage.output.locks import Lock, refuse_locked, signals_held

VECTOR_EXTENSIONS = (".geojson", ".geojsonl", ".ndjson", ".gpkg", ".fgb", ".parquet")
#: What assessing and finding buildings write, too; other commands do not take these for results, as
#: they are for handing on: names and types are cut down in them.
RESULT_EXTENSIONS = (*VECTOR_EXTENSIONS, ".csv", ".shp")
RASTER_EXTENSIONS = (".tif", ".tiff")

#: What drivers leave beside a file; one left by an older file would spoil a new one.
SIBLINGS = ("-journal", "-wal", "-shm", ".aux.xml", ".msk", ".ovr")

#: Longest file name in bytes; 255 is the limit of file systems, and a partial name adds to it.
LONGEST_NAME = 200

#: Bytes of a sidecar: of an event it lists every scene.
LARGEST_SIDECAR = 512 * 2**20

#: What this process has published, for what is said of it at the end.
PUBLISHED: list[Path] = []

PARTIAL_NAME = re.compile(r"\.(?P<name>.+)\.\d+-[0-9a-f]{6}\.partial")

#: What GDAL, through either library, raises while writing.
LOW_LEVEL_ERRORS = (
    OSError,
    RasterioError,
    CPLE_BaseError,
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
    pyogrio.errors.CRSError,
    # Of rasterio, where GDAL fails and does not say why.
    SystemError,
    sqlite3.Error,
)

REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some of your quota or choose another folder",
    errno.EFBIG: "raise the limit on file size (ulimit -f) or choose another file system",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder you may write to",
}


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of the sidecar of an output."""
    return Path(f"{os.fspath(path)}.json")


def final_path(path: str | os.PathLike[str]) -> Path:
    """Return the final path of a partial file; other paths are returned as they are."""
    path = Path(path)
    match = PARTIAL_NAME.fullmatch(path.name)
    return path.with_name(match["name"]) if match else path


def check_output(
    path: str | os.PathLike[str],
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    overwrite: bool = False,
    extensions: tuple[str, ...] = VECTOR_EXTENSIONS,
) -> Path:
    """Check, before any work, that an output can be written.

    Parameters
    ----------
    path
        Where the output is to be.
    inputs
        Files the run reads; paths that do not exist (URLs) are compared as text.
    overwrite
        Allow a file that is there already.
    extensions
        Extensions that have a writer.

    Returns
    -------
    The path.

    Raises
    ------
    OptionError
        If the extension is unknown, the name is too long, or the path is an input, a folder or
        a device.
    OutputError
        If the folder is not there or cannot be written to, or another run writes the output.
    OutputExistsError
        If the output or its sidecar exists and `overwrite` is false.
    MissingExtraError
        If the format needs a package that is not installed.
    """
    path = Path(path)
    _check_name(path, extensions)
    _check_kind(path)
    for source in inputs:
        if any(_is_same_file(target, Path(source)) for target in _targets(path)):
            raise OptionError(f"output {path} is also an input; choose another name")
    _check_folder(path)
    refuse_locked(path)
    finish(path)
    if not overwrite and not is_incomplete(path):
        _refuse_existing(path)
    return path


def check_distinct(paths: Iterable[Path | None]) -> None:
    """Check that the outputs of a run are different files, links followed.

    Raises
    ------
    OptionError
        If two of them are one.
    """
    known: dict[str, Path] = {}
    for path in paths:
        if path is None:
            continue
        for target in (path, sidecar_path(path)):
            other = known.setdefault(os.path.realpath(target), path)
            if other is not path:
                raise OptionError(f"outputs {other} and {path} are one file; give two names")


def _check_name(path: Path, extensions: tuple[str, ...]) -> None:
    extension = path.suffix.lower()
    if extension not in extensions:
        raise OptionError(
            f"output {path}: no format has the extension '{extension}'; use {', '.join(extensions)}"
        )
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise OptionError(f"output name of over {LONGEST_NAME} bytes: {path}; choose a shorter one")
    if extension == ".parquet" and find_spec("pyarrow") is None:
        raise MissingExtraError(
            f"output {path}: GeoParquet needs pyarrow; run {install('parquet')}, or choose another "
            "extension"
        )


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise OptionError(f"output {path} is a folder; give the name of a file")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise OptionError(f"output {path} is a device or a pipe; give the name of a file")


def _check_folder(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(
            f"cannot write {path}: there is no folder {folder}; create it or choose another"
        )
    with output_errors(path), tempfile.TemporaryFile(dir=folder):
        pass


def _targets(path: Path) -> list[Path]:
    """Return all that publishing an output replaces or removes."""
    beside = [sidecar_path(path), *(Path(f"{path}{ending}") for ending in SIBLINGS)]
    return [path, *beside, *companions(path).values()]


def _is_same_file(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.absolute() == other.absolute()


def _refuse_existing(path: Path) -> None:
    for target in _targets(path):
        if os.path.lexists(target):
            raise OutputExistsError(
                f"output {target} exists; choose another name or give --overwrite"
            )


def is_incomplete(path: Path) -> bool:
    """Say whether a file is what a run that was killed while it published left without a sidecar.

    A file of somebody else has no sidecar either; so the sidecar that was to come has to lie there.
    """
    return _has_lost_its_sidecar(path) and bool(_leftovers(sidecar_path(path)))


def _has_lost_its_sidecar(path: Path) -> bool:
    return os.path.lexists(path) and not os.path.lexists(sidecar_path(path))


def _leftovers(*paths: Path) -> list[Path]:
    """Return the partial files of outputs of one folder, and the working files named after them."""
    names, found = {path.name for path in paths}, []
    with suppress(OSError), os.scandir(paths[0].parent) as entries:
        for entry in entries:
            if ".partial" in entry.name:
                match = PARTIAL_NAME.fullmatch(entry.name.partition(".partial")[0] + ".partial")
                if match is not None and match["name"] in names:
                    found.append(paths[0].with_name(entry.name))
    return found


def check_free_space(folder: str | os.PathLike[str], bytes_needed: int) -> None:
    """Check that a folder has room.

    Raises
    ------
    OutputError
        If the file system has fewer than `bytes_needed` bytes free.
    """
    with output_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < bytes_needed:
        raise OutputError(
            f"cannot write to {folder}: about {bytes_needed / 1e6:,.0f} MB are needed and"
            f" {free / 1e6:,.0f} MB are free; {REMEDIES[errno.ENOSPC]}"
        )


@contextmanager
def output_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong below, while an output is written, into `OutputError`."""
    try:
        yield
    except GeodamageError:
        raise
    except LOW_LEVEL_ERRORS as error:
        raise OutputError(_message(final_path(path), error)) from error


def _message(path: Path, error: BaseException) -> str:
    """Return one line: what, which file, why, what to do."""
    code = error.errno if isinstance(error, OSError) else None
    code = code or (errno.ENOSPC if _is_full(path.parent) else 0)
    reason = os.strerror(code) if code else _reason(error)
    remedy = f"check the free space and the permissions of {path.parent}"
    return f"cannot write {path}: {reason}; {REMEDIES.get(code, remedy)}"


def _reason(error: BaseException) -> str:
    """Return what was said first; rasterio says "see previous exception"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


def _is_full(folder: Path) -> bool:
    """Say whether a full disk is why GDAL, which does not tell, could not write."""
    with suppress(OSError):
        return shutil.disk_usage(folder).free < 2**20
    return False


def read_sidecar(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the facts in the sidecar of an output.

    Raises
    ------
    OutputError
        If there is no sidecar, so no complete result, or if it is damaged.
    """
    sidecar = sidecar_path(path)
    finish(Path(path))
    try:
        found = sidecar.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_SIDECAR:
            raise ValueError("it is not a sidecar")
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OutputError(
            f"{path} has no sidecar {sidecar.name}, so it is not a complete result; run again"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"cannot read {sidecar}: {error}; run again") from error
    if not isinstance(facts, dict):
        raise OutputError(f"cannot read {sidecar}: it holds no JSON object; run again")
    return facts


class Publication(Completed):
    """All files of one run: they get their final names together, or not at all.

    Each output is written to a partial file beside it. A clean exit from the context moves the
    partial files to their final names, sidecars last; any other exit removes them.

    Parameters
    ----------
    overwrite
        Replace files that are there already.
    """

    def __init__(self, *, overwrite: bool = False) -> None:
        self._overwrite = overwrite
        self._partials: dict[Path, Path] = {}
        self._sidecars: dict[Path, tuple[Path, Any]] = {}
        self._bytes_needed: dict[Path, int] = {}
        self._locks: dict[Path, Lock] = {}
        self._incomplete: set[Path] = set()
        self._expected: dict[Path, tuple[int, int]] = {}

    def close(self) -> None:
        """Bring all files to the disk, and give them their final names."""
        try:
            sidecars = self._complete()
            with signals_held():
                self._publish(sidecars)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove all partial files."""
        with signals_held():
            retract(list(self._locks))
            for partial in self._partials.values():
                remove_all(partial)
            for lock in self._locks.values():
                lock.release()

    def partial(self, path: str | os.PathLike[str], *, bytes_needed: int = 0) -> Path:
        """Create the partial file of an output, so that a folder that refuses it shows at once.

        Parameters
        ----------
        path
            Final path of the output.
        bytes_needed
            Size the output and its working files are expected to reach.

        Returns
        -------
        Path of a hidden sibling, `.<name>.<pid>-<random>.partial`; `vector_writer` still sees
        its format. Working files are named after it.
        """
        path = Path(path)
        with output_errors(path):
            self._take(path)
        needed = self._bytes_needed.get(path.parent, 0) + bytes_needed
        check_free_space(path.parent, needed)
        self._bytes_needed[path.parent] = needed
        return self._named_partial(path)

    def _named_partial(self, path: Path) -> Path:
        token = f"{os.getpid()}-{secrets.token_hex(3)}"
        partial = path.with_name(f".{path.name}.{token}.partial")
        self._partials[path] = partial
        with output_errors(path):
            partial.touch(exist_ok=False)
        return partial

    def _take(self, path: Path) -> None:
        """Lock an output; what another run has left half written is dead then, and is removed."""
        if path in self._locks:
            return
        finish(path)
        self._locks[path] = Lock(path)
        retract([path])  # of what could not be finished
        sidecar = sidecar_path(path)
        left = _leftovers(path, sidecar)
        if _has_lost_its_sidecar(path) and any(sidecar.name in file.name for file in left):
            self._incomplete.add(path)
        for file in left:
            remove(file)

    def expect(self, path: Path, state: tuple[int, int]) -> None:
        """Refuse to replace an output that is not as it was when it was read.

        Parameters
        ----------
        path
            The output.
        state
            What `file_state` said of it.
        """
        self._expected[path] = state

    def sidecar(self, path: str | os.PathLike[str], facts: Mapping[str, Any]) -> Path:
        """Give the facts about an output; they are written after everything else.

        Numbers that are not finite become null; what JSON does not know becomes text.

        Returns
        -------
        Final path of the sidecar.
        """
        sidecar = sidecar_path(path)
        self._sidecars[sidecar] = Path(path), json_ready(facts)
        return sidecar

    def _complete(self) -> dict[Path, Path]:
        """Bring all files to the disk; return the partial files of the sidecars."""
        for path, partial in self._partials.items():
            with output_errors(path):
                for file in (partial, *self._beside(path).values()):
                    sync(file)
        return {path: self._write_sidecar(path) for path in self._sidecars}

    def _publish(self, sidecars: Mapping[Path, Path]) -> None:
        outputs = {path: file for path, file in self._partials.items() if path not in sidecars}
        old = [file for path in outputs for file in self._in_the_way(path)]
        beside = {final: file for path in outputs for final, file in self._beside(path).items()}
        parts = (beside, outputs, sidecars)
        moves = [(file, path) for part in parts for path, file in part.items()]
        if outputs:
            with output_errors(next(iter(outputs))):
                commit(Moves(list(outputs), old, moves))
        for path in old:  # the old sidecar never stands beside a new file
            with output_errors(path):
                path.unlink(missing_ok=True)
        _sync_folders(outputs)
        for part in parts:
            _move(part)
        PUBLISHED.extend(outputs)

    def _beside(self, path: Path) -> dict[Path, Path]:
        """Return the partial files of the other files of an output, by their final paths."""
        partial = self._partials[path]
        files = {file: Path(f"{partial}{end}") for end, file in companions(path).items()}
        return {final: file for final, file in files.items() if file.exists()}

    def _write_sidecar(self, path: Path) -> Path:
        result, facts = self._sidecars[path]
        # Of the file when it was written: a pair of two runs does not go unnoticed.
        if result in self._partials:
            with output_errors(path):
                facts = {**facts, "result_sha256": hash_of(self._partials[result])}
        partial = self._named_partial(path)
        with output_errors(path):
            text = json.dumps(facts, indent=2, allow_nan=False)
            partial.write_text(f"{text}\n", encoding="utf-8")
            sync(partial)
        return partial

    def _in_the_way(self, path: Path) -> list[Path]:
        """Return what is removed before an output gets its name; refuse what may not be."""
        if path in self._expected and file_state(path) != self._expected[path]:
            raise OutputError(f"{path}: was changed while it was read; close it and run again")
        if not self._overwrite and path not in self._incomplete:
            _refuse_existing(path)
            return []
        return _targets(path)[1:]


def _move(partials: Mapping[Path, Path]) -> None:
    for path, partial in partials.items():
        with output_errors(path):
            partial.replace(path)
    _sync_folders(partials)


def _sync_folders(paths: Iterable[Path]) -> None:
    for folder in {path.parent for path in paths}:
        with output_errors(folder):
            sync_folder(folder)
