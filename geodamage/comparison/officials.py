"""Official layers: what others say of buildings, read from the fields and words that they use."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from geodamage.damage import FROM_SCALE, GRADES, TO_SCALE, DamageGrade
from geodamage.errors import InputError, OptionError, SceneError
from geodamage.output.layers import read_layer
from geodamage.output.shapefile import short_names
from geodamage.vector.formats import format_of
from geodamage.vector.layer import split_layer
from geodamage.vector.reading import read_vector

#: Words that a message repeats.
_NAMED = 5
#: Share of a building that Microsoft could not see, from which it counts as not assessed.
_UNSEEN = 0.5

Words = Mapping[str, DamageGrade | None]


@dataclass(frozen=True)
class Official:
    """A layer of damage, whoever made it.

    Attributes
    ----------
    frame
        `grade` (Int64: 1-4; null where there is none), `damaged` (boolean; null where nobody
        looked), `said` (what the layer says) and `geometry`, points or polygons.
    schema
        Name of the schema with these fields and words.
    field
        The field that says the damage.
    has_grades
        Whether it tells more than damaged or not.
    epoch
        Which assessment of many it is, with its date; None where there is one.
    notes
        What a user should know, a line each.
    """

    frame: gpd.GeoDataFrame
    schema: str
    field: str
    has_grades: bool
    epoch: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def lists_undamaged(self) -> bool:
        """Whether it has undamaged buildings, too."""
        return bool((~self.frame["damaged"].dropna().astype(bool)).any())


def read_official(path: Path, schema: str = "auto", epoch: int | None = None) -> Official:
    """Read a layer of damage.

    Parameters
    ----------
    path
        A vector file, or `file:layer`.
    schema
        Schema of the layer; `auto` tells it by the names of its fields.
    epoch
        Which of several assessments in one layer, counted from 1; the last unless given.

    Raises
    ------
    InputError
        If it cannot be read, or no field says the damage in words that are known.
    OptionError
        If there is no such epoch.
    """
    frame = _frame(path)
    names = {str(name).lower(): str(name) for name in frame.columns}
    found = schema if schema != "auto" else _schema_of(names)
    if found is None or (schema != "auto" and not _READERS[found].knows(names)):
        listed = ", ".join(str(name) for name in frame.columns if name != frame.geometry.name)
        raise InputError(
            f"{path}: no field of {schema if schema != 'auto' else 'a known schema'} says the"
            f" damage; it has {listed}; choose another layer or --schema"
        )
    if epoch is not None and found != "unosat":
        raise OptionError(f"--epoch is for UNOSAT layers of several assessments, not for {found}")
    official = _READERS[found].read(frame, names, path, epoch)
    if official.frame.empty:
        raise InputError(f"{path}: holds no building with a place; give another layer")
    return official


def _frame(path: Path) -> gpd.GeoDataFrame:
    where = split_layer(path)
    if where.path.suffix.lower() == ".shp":
        frame = read_layer(where.path)
    else:
        layer = where.layer or _own_layer(where.path)
        found = read_vector(where.path, layer=layer, refusal=InputError, skip_broken=True)
        frame = found.frame
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    return frame.set_geometry(gpd.GeoSeries(shapes, index=frame.index, crs=frame.crs))


def _own_layer(path: Path) -> str | None:
    """Return the layer of buildings where we wrote the file, and others beside it."""
    try:
        layers = format_of(path).layers or ()
    except SceneError as error:
        raise InputError(str(error)) from error
    return "buildings" if {"buildings", "assessed_area"} <= set(layers) else None


@dataclass(frozen=True)
class _Reader:
    """How a schema is known and read."""

    knows: Callable[[Mapping[str, str]], bool]
    read: Callable[[gpd.GeoDataFrame, Mapping[str, str], Path, int | None], Official]


def _schema_of(names: Mapping[str, str]) -> str | None:
    return next((schema for schema, reader in _READERS.items() if reader.knows(names)), None)


def _first(names: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _normal(value: Any) -> str:
    """Return a word as tables are searched for it: codes are whole, and case does not matter."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return re.sub(r"[\s_-]+", " ", str(value)).strip().lower()


def _graded(
    frame: gpd.GeoDataFrame, said: pd.Series, words: Words, path: Path, schema: str
) -> tuple[gpd.GeoDataFrame, tuple[str, ...]]:
    """Return what each feature says as grades; words that are not known are left out and named."""
    known = {_normal(word): grade for word, grade in words.items()}
    texts = [None if pd.isna(value) else _normal(value) for value in said]
    unknown = pd.Series([text for text in texts if text is not None and text not in known])
    notes = []
    if len(unknown):
        # A flag that is sometimes 5 is a count of something.
        if words is _FLAGS or len(unknown) == sum(text is not None for text in texts):
            listed = ", ".join(map(repr, unknown.unique()[:_NAMED]))
            raise InputError(f"{path}: says {listed}, which are not terms of {schema}")
        counts = unknown.value_counts()
        listed = ", ".join(f"{word!r} ({n:,})" for word, n in counts.items())
        notes.append(f"{path}: terms that {schema} does not have are left out: {listed}")
    grades = [None if text is None else known.get(text) for text in texts]
    values = pd.array([None if g is None else int(g) for g in grades], dtype="Int64")
    columns = {
        "grade": values,
        "damaged": pd.Series(values).gt(DamageGrade.NO_DAMAGE).astype("boolean"),
        "said": pd.Series(["" if pd.isna(v) else str(v) for v in said], dtype="string"),
    }
    return _placed(pd.DataFrame(columns), frame), tuple(notes)


def _placed(columns: pd.DataFrame, frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    shapes = frame.geometry.reset_index(drop=True)
    made = gpd.GeoDataFrame(columns.reset_index(drop=True), geometry=shapes, crs=frame.crs)
    there = ~(shapely.is_missing(shapes.to_numpy()) | shapely.is_empty(shapes.to_numpy()))
    return made[there].reset_index(drop=True)


def _by_words(
    schema: str, fields: Sequence[str], words: Words, *, has_grades: bool = True
) -> _Reader:
    """Return a reader of one field of words or codes."""

    def read(
        frame: gpd.GeoDataFrame, names: Mapping[str, str], path: Path, epoch: int | None
    ) -> Official:
        field = _first(names, fields) or ""
        made, notes = _graded(frame, frame[field], words, path, schema)
        return Official(made, schema, field, has_grades, notes=notes)

    return _Reader(lambda names: _first(names, fields) is not None, read)


def _ours(names: Mapping[str, str]) -> bool:
    short = short_names(["damage_class", "p_destroyed"])
    return {"damage_class", "p_destroyed"} <= names.keys() or set(short.values()) <= names.keys()


def _read_ours(
    frame: gpd.GeoDataFrame, names: Mapping[str, str], path: Path, epoch: int | None
) -> Official:
    field = _first(names, ("damage_class", "dmg_class")) or ""
    words = {str(int(grade)): grade for grade in GRADES}
    made, notes = _graded(frame, pd.to_numeric(frame[field]).astype("Int64"), words, path, "ours")
    return Official(made, "geodamage", field, True, notes=notes)


def _read_microsoft(
    frame: gpd.GeoDataFrame, names: Mapping[str, str], path: Path, epoch: int | None
) -> Official:
    field = names["damaged"]
    made, notes = _graded(frame, frame[field], _FLAGS, path, "microsoft")
    if "unknown_pct" in names:
        unseen = pd.to_numeric(frame[names["unknown_pct"]], errors="coerce").to_numpy() > _UNSEEN
        there = ~frame.geometry.isna().to_numpy() & ~frame.geometry.is_empty.to_numpy()
        made.loc[unseen[there], ["grade", "damaged"]] = pd.NA
    return Official(made.assign(grade=pd.NA), "microsoft", field, False, notes=notes)


def _read_binary(
    frame: gpd.GeoDataFrame, names: Mapping[str, str], path: Path, epoch: int | None
) -> Official:
    field = names["damaged"]
    made, notes = _graded(frame, frame[field], _FLAGS, path, "binary")
    return Official(made.assign(grade=pd.NA), "binary", field, False, notes=notes)


#: A field of each assessment; Shapefiles cut it and number what is alike.
_EPOCH = re.compile(r"(?:main_damage_site_class(?:_(\d+))?|main_damag|main_dam_(\d+))$")


def _epochs(names: Mapping[str, str]) -> dict[int, str]:
    """Return the fields of the assessments of UNOSAT by their number, from 1."""
    found: dict[int, str] = {}
    for lower, name in names.items():
        match = _EPOCH.match(lower)
        if match:
            number = int(match[1]) if match[1] else int(match[2]) + 1 if match[2] else 1
            found[number] = name
    return dict(sorted(found.items()))


def _read_unosat(
    frame: gpd.GeoDataFrame, names: Mapping[str, str], path: Path, epoch: int | None
) -> Official:
    """Read UNOSAT: of many epochs each site says what it said last, up to the one asked for."""
    epochs = _epochs(names)
    if epoch is not None and epoch not in epochs:
        raise OptionError(f"--epoch {epoch}: {path} has {', '.join(map(str, epochs))}")
    last = max(epochs) if epoch is None else epoch
    notes: list[str] = []
    grouped = _first(names, ("grouped_damage_classes", "grouped_da"))
    if grouped is not None:
        others = pd.to_numeric(frame[grouped], errors="coerce").fillna(1) != 1
        if others.any():
            notes.append(f"{path}: {int(others.sum()):,} sites are not buildings and are left out")
            frame = frame[~others.to_numpy()].reset_index(drop=True)
    said = pd.Series([None] * len(frame), dtype=object)
    for number, name in epochs.items():
        if number <= last:
            values = frame[name].astype(object).reset_index(drop=True)
            said = values.where(values.notna() & (values.astype(str).str.strip() != ""), said)
    words = {**FROM_SCALE["unosat"], **FROM_SCALE["unosat_words"], "0": None}
    made, more = _graded(frame, said, words, path, "unosat")
    date = _date_of(frame, names, last)
    about = f"{last} of {len(epochs)}" if len(epochs) > 1 else None
    if about and date:
        about += f", {date}"
    return Official(made, "unosat", epochs[last], True, about, (*notes, *more))


def _date_of(frame: gpd.GeoDataFrame, names: Mapping[str, str], epoch: int) -> str | None:
    """Return the date of an epoch, where the layer has it: the last one that it names."""
    name = names.get("sensordate" if epoch == 1 else f"sensordate_{epoch}")
    if name is None:
        return None
    values = frame[name].dropna()
    if pd.api.types.is_numeric_dtype(values.dtype):  # milliseconds, as services of ArcGIS have it
        dates = pd.to_datetime(values, unit="ms", errors="coerce")
    else:
        dates = pd.to_datetime(values.astype(str), errors="coerce", format="mixed", utc=True)
    return None if dates.dropna().empty else f"{dates.max():%Y-%m-%d}"


_FLAGS: Words = {
    **dict.fromkeys(("1", "true", "yes", TO_SCALE["binary"][DamageGrade.DESTROYED]), GRADES[3]),
    **dict.fromkeys(("0", "false", "no", TO_SCALE["binary"][DamageGrade.NO_DAMAGE]), GRADES[0]),
}
_CEMS: Words = {**FROM_SCALE["cems_2016"], **FROM_SCALE["cems"], "Not Applicable": None}

#: In the order in which fields are looked for; whoever has fewer of its own comes later.
_READERS: Mapping[str, _Reader] = {
    "geodamage": _Reader(_ours, _read_ours),
    "cems": _by_words("cems", ("damage_gra", "grading"), _CEMS),
    "unosat": _Reader(lambda names: bool(_epochs(names)), _read_unosat),
    "microsoft": _Reader(
        lambda names: "damaged" in names and bool({"damage_pct_0m", "unknown_pct"} & names.keys()),
        _read_microsoft,
    ),
    "hot": _by_words("hot", ("severity",), FROM_SCALE["hot"]),
    "fema": _by_words("fema", ("damage_level", "dmg_level"), FROM_SCALE["fema"]),
    "ems98": _by_words(
        "ems98",
        ("ems98_grade", "damage_grade"),
        {**FROM_SCALE["ems98"], **{w: g for g, w in TO_SCALE["ems98_words"].items()}},
    ),
    "binary": _Reader(lambda names: "damaged" in names, _read_binary),
}
