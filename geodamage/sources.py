"""The files of an image: found and checked, and not opened.

A path is checked before GDAL sees it: only regular files, and URLs where they are allowed.
"""

import glob
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from shapely.errors import ShapelyError

from geodamage.errors import SceneReadError

Source = str | os.PathLike[str]

#: What reading a vector file may raise. Errors of pyogrio are of RuntimeError; those of shapely,
#: where a ring holds a NaN, are of nothing.
VECTOR_ERRORS = (OSError, ValueError, RuntimeError, ShapelyError)

#: Endings of images in a folder.
IMAGES = (".tif", ".tiff", ".jp2")

_LONGEST_LIST = 16 * 2**20  # bytes of a list of files

_REMOTE_PREFIXES = {
    "http": "/vsicurl/",
    "https": "/vsicurl/",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "az": "/vsiaz/",
}
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def is_remote(name: str) -> bool:
    """Say whether a name is a URL or a path of GDAL's for one."""
    return "://" in name or name.startswith(tuple(_REMOTE_PREFIXES.values()))


def find(source: Source | Sequence[Source], *, allow_remote: bool = False) -> list[str]:
    """Return the files that make up an image, in the order in which they overlay each other.

    Parameters
    ----------
    source
        A file, a folder (its .tif, .tiff and .jp2), a glob, `@list.txt`, a URL, or a sequence of
        these. In a glob, `**` goes through all folders below. A list has a path per line, relative
        to the list, and `#` begins a comment.
    allow_remote
        Whether http, https, s3, gs and az URLs are allowed.

    Raises
    ------
    SceneReadError
        If there is no such file, or it is not a file.
    """
    items = [source] if isinstance(source, str | os.PathLike) else list(source)
    names = [name for item in items for name in _expand(os.fspath(item))]
    if not names:
        raise SceneReadError("no image given; name a GeoTIFF, a folder, a glob or @list.txt")
    return list(dict.fromkeys(_checked(name, allow_remote) for name in names))


def allow_open_files(count: int) -> None:
    """Raise this process's own limit of open files, so that so many more can be opened.

    Raises
    ------
    SceneReadError
        If the limit of the system is too low.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A file may have an overview and a mask beside it, and both dates are open at once.
    wanted = 6 * count + 512
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return
    granted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if granted < 2 * count + 128:
        raise SceneReadError(
            f"{count:,} files make up an image, and only {most:,} may be open at once; raise the "
            "limit (ulimit -Hn), or join them into one COG"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(granted, limit), most))


def _expand(name: str) -> list[str]:
    if name.startswith("@"):
        return _listed(name[1:])
    if is_remote(name) or "\0" in name:
        return [name]
    if Path(name).is_dir():
        return _in_folder(name)
    if glob.has_magic(name) and not os.path.lexists(name):
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 (an absolute pattern too)
        if not matches:
            raise SceneReadError(f"{name}: no file matches; check the path and quote the pattern")
        return matches
    return [name]


def _in_folder(name: str) -> list[str]:
    try:
        entries = sorted(path.name for path in Path(name).iterdir())
    except OSError as error:
        raise SceneReadError(f"{name}: the folder cannot be listed ({error.strerror})") from error
    files = [str(Path(name, e)) for e in entries if e.lower().endswith(IMAGES)]
    if not files:
        hint = "name the folder of the tiles"
        if any(Path(name, entry).is_dir() for entry in entries):
            hint += f", or all below this one: {Path(name, '**', '*.tif')}, in quotes"
        raise SceneReadError(f"{name}: no .tif, .tiff or .jp2 in this folder; {hint}")
    return files


def _listed(name: str) -> list[str]:
    path = Path(check_file(name))
    if path.stat().st_size > _LONGEST_LIST:
        raise SceneReadError(f"{name}: too long for a list of files; is it one?")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SceneReadError(f"{name}: not a list of files, a UTF-8 text ({error})") from error
    entries = [line.strip() for line in lines]
    entries = [entry for entry in entries if entry and not entry.startswith("#")]
    if not entries:
        raise SceneReadError(f"{name}: the list names no file; write one path per line")
    return [entry if is_remote(entry) else str(path.parent / entry) for entry in entries]


def _checked(name: str, allow_remote: bool) -> str:
    if not is_remote(name):
        return check_file(name)
    scheme, _, rest = name.partition("://")
    prefix = _REMOTE_PREFIXES.get(scheme.lower())
    if prefix is None:
        raise SceneReadError(
            f"{name}: {scheme}:// is not read; use http, https, s3, gs, az or a local file"
        )
    if not allow_remote:
        raise SceneReadError(f"{name}: remote imagery is read with --allow-remote only")
    return prefix + (name if prefix == "/vsicurl/" else rest)


def read_text(path: str | os.PathLike[str], most: int = 256 * 2**20) -> str:
    """Return the text of a file that is one, and no longer than it may be.

    Parameters
    ----------
    path
        A file in UTF-8, with or without a mark of it.
    most
        Bytes.

    Raises
    ------
    SceneReadError
        If it is a pipe or a device, too long, or no text.
    """
    name = check_file(os.fspath(path), may_be_empty=True)
    try:
        if Path(name).stat().st_size > most:
            raise SceneReadError(f"{path}: over {most / 1e6:,.0f} MB; is it the right file?")
        return Path(name).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SceneReadError(f"{path}: not a text in UTF-8 ({error}); save it as one") from error


def check_file(name: str, *, may_be_empty: bool = False) -> str:
    """Return the absolute path of an existing, readable, regular file; never opens it.

    Parameters
    ----------
    name
        Path.
    may_be_empty
        Whether a file without a byte is one.

    Raises
    ------
    SceneReadError
        If it is anything else.
    """
    if name.lower().startswith("/vsi") or "\0" in name:
        raise SceneReadError(f"{name!r}: not a path; name a file on this machine or a URL")
    try:
        found = Path(name).stat()
    except OSError as error:
        broken = Path(name).is_symlink()
        why = "a link that leads nowhere" if broken else (error.strerror or "no such file").lower()
        raise SceneReadError(f"{name}: {why}; check the path") from error
    for test, kind in _KINDS:
        if test(found.st_mode):
            raise SceneReadError(f"{name}: {kind}, not a file; check the path")
    if not os.access(name, os.R_OK):
        raise SceneReadError(f"{name}: permission denied; make the file readable")
    if not found.st_size and not may_be_empty:
        raise SceneReadError(f"{name}: the file is empty; copy or download it again")
    return str(Path(name).absolute())
