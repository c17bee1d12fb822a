"""Entries: what somebody wrote into a list of scenes (CSV, GeoJSON, TOML), checked."""

import csv
import difflib
import io
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from geodamage.errors import ManifestError, SceneReadError
from geodamage.options.kinds import File, Flag, Name, Text
from geodamage.options.lookup import columns
from geodamage.options.option import Option
from geodamage.sources import check_file, is_remote
from geodamage.words import counted

#: Between several files in one text; no spreadsheet uses it between columns.
SEPARATOR = "|"

#: Bytes of a CSV or TOML list.
LARGEST_LIST = 256 * 2**20

_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Entry:
    """One scene as it was written down.

    Attributes
    ----------
    where
        File and place in it, for messages.
    name
        Scene name as written; None where it was not.
    pre, post
        Absolute paths, globs, `@lists` or URLs; no `pre` where the post image counts alone.
    date
        ISO date of the post image, with its time in UTC where that is known; or None.
    options
        Options by name, of the types that a job takes; those with a column in
        `geodamage.options.table`.
    identity
        What was written for the images: it stays when the folder of the list moves.
    """

    where: str
    name: str | None
    pre: tuple[str, ...]
    post: tuple[str, ...]
    date: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    identity: str = ""


def read_csv(path: Path, *, allow_remote: bool = False) -> list[Entry]:
    """Read scenes from a table: comma, semicolon or tab between the columns, names on top.

    Raises
    ------
    ManifestError
        If it cannot be read, or a column or value makes no sense.
    """
    text = _text(path)
    head = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = next(lines, [])
        keys = _keys(header, str(path))
        rows = [(lines.line_num, cells) for cells in lines if any(map(str.strip, cells))]
    except csv.Error as error:
        raise ManifestError(f"{path}: not a CSV ({error}); save it again as one") from error
    entries = []
    for number, cells in rows:
        where = f"{path}: line {number}"
        if len(cells) != len(keys):
            raise ManifestError(
                f"{where}: {counted(len(cells), 'cell')} under {counted(len(keys), 'column')}; "
                "fix it "
                f"(several files in a cell are separated by {SEPARATOR})"
            )
        given = {key: cell.strip() for key, cell in zip(keys, cells, strict=True) if cell.strip()}
        entries.append(_entry(given, where, path.parent, allow_remote))
    return entries


def read_toml(path: Path, *, allow_remote: bool = False) -> list[Entry]:
    """Read scenes from `[[scene]]` tables; `[defaults]` holds options for all of them.

    Raises
    ------
    ManifestError
        If it cannot be read, or a key or value makes no sense.
    """
    try:
        table = tomllib.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: not TOML ({error}); fix the list") from error
    _check_known(table, ("defaults", "scene"), str(path))
    defaults, scenes = table.get("defaults", {}), table.get("scene", [])
    if not isinstance(defaults, dict) or not isinstance(scenes, list):
        raise ManifestError(f"{path}: write options in [defaults] and each scene in [[scene]]")
    where = f"{path}: [defaults]"
    common = dict(zip(_keys(defaults, where, tuple(columns())), defaults.values(), strict=True))
    return list(_tables(scenes, common, path, "[[scene]]", allow_remote))


def read_features(path: Path, document: Any, *, allow_remote: bool = False) -> list[Entry]:
    """Read scenes from the properties of GeoJSON features; their geometry is for looking at.

    Parameters
    ----------
    path
        The file.
    document
        What is in it.
    allow_remote
        Whether URLs are allowed.

    Raises
    ------
    ManifestError
        If it is no GeoJSON, or a property or value makes no sense.
    """
    features = document.get("features")
    if document.get("type") != "FeatureCollection" or not isinstance(features, list):
        raise ManifestError(f"{path}: no GeoJSON FeatureCollection and nothing of STAC; give one")
    tables = [
        feature.get("properties") if isinstance(feature, dict) else None for feature in features
    ]
    return list(_tables(tables, {}, path, "feature", allow_remote))


def _tables(
    tables: Iterable[Any], common: Mapping[str, object], path: Path, kind: str, allow_remote: bool
) -> Iterator[Entry]:
    for number, table in enumerate(tables, 1):
        where = f"{path}: {kind} {number}"
        if not isinstance(table, dict):
            raise ManifestError(f"{where}: says nothing of a scene; give it pre and post")
        needed = ("post",) if common.get("post_only") else ("pre", "post")
        keys = _keys(table, where, needed=needed)
        given = dict(common) | dict(zip(keys, table.values(), strict=True))
        given = {key: value for key, value in given.items() if not _is_empty(value)}
        yield _entry(given, where, path.parent, allow_remote)


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(path: Path) -> str:
    try:
        check_file(str(path))
        if path.stat().st_size > LARGEST_LIST:
            raise ManifestError(f"{path}: too long for a list of scenes; is it one?")
        return path.read_text(encoding="utf-8-sig")
    except SceneReadError as error:
        raise ManifestError(str(error)) from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not a text in UTF-8; save it as one") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error


def _keys(
    written: Iterable[str],
    where: str,
    known: tuple[str, ...] = (),
    needed: tuple[str, ...] = (),
) -> list[str]:
    """Return keys as the package spells them; on the command line they have hyphens."""
    keys = [key.strip().lower().replace("-", "_") for key in written]
    known = known or ("name", "pre", "post", "date", *columns())
    needed = needed or (("pre", "post") if "pre" in known else ())
    if "post_only" in keys:
        needed = tuple(key for key in needed if key != "pre")
    for key in keys:
        if keys.count(key) > 1:
            raise ManifestError(f"{where}: {key!r} twice; keep one")
    _check_known(keys, known, where)
    for key in needed:
        if key not in keys:
            raise ManifestError(f"{where}: no {key!r} in it; name the images pre and post")
    return keys


def _check_known(keys: Iterable[str], known: tuple[str, ...], where: str) -> None:
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ManifestError(f"{where}: unknown {key[:60]!r}; {hint}")


def _entry(given: Mapping[str, object], where: str, folder: Path, allow_remote: bool) -> Entry:
    options = {
        key: _value(_column(option), given, key, where, folder)
        for key, option in columns().items()
        if key in given
    }
    images: dict[str, tuple[str, ...]] = {"pre": ()}
    for key in ("post",) if options.get("post_only") else ("pre", "post"):
        if key not in given:
            raise ManifestError(f"{where}: {key} is empty; name the images pre and post")
        images[key] = _value(_images, given, key, where, folder)
        for name in images[key]:
            if is_remote(name) and not allow_remote:
                raise ManifestError(
                    f"{where}: {name} is remote; remote imagery is read with --allow-remote only"
                )
    return Entry(
        where,
        _value(_word, given, "name", where, folder) if "name" in given else None,
        images["pre"],
        images["post"],
        _value(_date, given, "date", where, folder) if "date" in given else None,
        options,
        f"{given['pre'] if images['pre'] else ''}\0{given['post']}",
    )


def _value(
    parse: "_Parser", given: Mapping[str, object], key: str, where: str, folder: Path
) -> Any:
    try:
        return parse(given[key], folder)
    except (ValueError, TypeError, OverflowError) as error:
        raise ManifestError(f"{where}: {key} is {repr(given[key])[:80]}; {error}") from error


_Parser = Callable[[Any, Path], Any]


def _word(value: Any, folder: Path) -> str:
    return Text().read(value).strip()


def _images(value: Any, folder: Path) -> tuple[str, ...]:
    names = value.split(SEPARATOR) if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"give a path, or several separated by {SEPARATOR}")
    kept = [name.strip() for name in names if name.strip()]
    if not kept or any("\0" in name for name in kept):
        raise ValueError("give the path of an image")
    return tuple(_located(name, folder) for name in kept)


def _located(name: str, folder: Path) -> str:
    """Return a path relative to the list as an absolute one."""
    if is_remote(name):
        return name
    mark = "@" if name.startswith("@") else ""
    return mark + str(folder.absolute() / name.removeprefix("@"))


def _flag(value: Any, folder: Path) -> bool:
    words = {"true": True, "false": False}
    found = words.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError("write true or false")
    return found


def _path(value: Any, folder: Path) -> Path:
    if not isinstance(value, str) or "\0" in value or is_remote(value):
        raise ValueError("give the path of a file on this machine")
    return folder.absolute() / value


def _model(value: Any, folder: Path) -> str:
    name = _word(value, folder)
    is_file = name.lower().endswith((".onnx", ".toml"))
    return str(_path(name, folder)) if is_file else name


def _date(value: Any, folder: Path) -> str:
    if isinstance(value, str):
        has_time = len(value) > len("2026-02-06")
        try:
            value = datetime.fromisoformat(value) if has_time else date.fromisoformat(value)
        except ValueError as error:
            raise ValueError("write 2026-02-06 or 2026-02-06T01:17Z") from error
    if isinstance(value, datetime):
        return iso_time(value)
    if isinstance(value, date):
        return value.isoformat()
    raise ValueError("write 2026-02-06")


def iso_time(moment: datetime) -> str:
    """Return a time in UTC as text, to the second; without a zone it is UTC already."""
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{zoned:%Y-%m-%dT%H:%M:%SZ}"


def _column(option: Option) -> "_Parser":
    """Return how a cell is read: as on the command line, its paths relative to the list."""
    if isinstance(option.kind, File):
        return _path
    if isinstance(option.kind, Name):
        return _model
    if isinstance(option.kind, Flag):
        return _flag

    def parse(value: Any, folder: Path) -> Any:
        return option.kind.read(value.strip() if isinstance(value, str) else value)

    return parse
