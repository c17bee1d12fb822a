"""Schemas: the fields and words by which others hand on damage, made of the fields of a result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import geopandas as gpd
import pandas as pd

from geodamage.damage import COLOURS, GRADES, SCALE_SOURCES, TO_SCALE
from geodamage.fields import DTYPES, FIELDS, Field, attribute_fields

Shape = Literal["polygon", "point"]

#: Text of each grade for people.
PLAIN_WORDS = dict(
    zip(GRADES, ("No damage", "Minor damage", "Major damage", "Destroyed"), strict=True)
)

_OURS = {field.name: field for field in FIELDS}
#: Fields that every schema ends with, for without them nobody can tell what was not seen.
_ALWAYS = tuple(_OURS[name] for name in ("confidence", "status", "status_reason", "lon", "lat"))
_BUILDING_ID = _OURS["building_id"]

#: What becomes of the grades in most schemas.
_NO_PROBABILITIES = "the four probabilities and damage_score are left out; confidence stays"


@dataclass(frozen=True)
class Schema:
    """What a result is turned into.

    Attributes
    ----------
    name
        Name of the schema, which `--schema` takes.
    fields
        What is written of each building; the first is its identity.
    value
        The field that says the damage; maps are coloured by it.
    literals
        What it says, by grade; without an entry it follows the threshold of the model.
    make
        Returns the columns that are not fields of ours: (buildings, date, labels).
    shape
        What a building is drawn as, unless somebody asks for the other.
    loses
        What this schema cannot say, a line each.
    differs
        What a field means here that its maker means otherwise, a line each.
    """

    name: str
    fields: tuple[Field, ...]
    value: str
    literals: Mapping[Any, Any]
    make: Callable[[gpd.GeoDataFrame, str | None, bool], Mapping[str, pd.Series]]
    shape: Shape = "polygon"
    loses: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()

    def categories(self, labels: bool) -> list[tuple[Any, str, str]]:
        """Return what is coloured: value, words, colour; the worst last."""
        if self.literals:
            return [
                (_said(self, grade, labels), PLAIN_WORDS[grade], COLOURS[grade]) for grade in GRADES
            ]
        words = TO_SCALE["binary"]
        ends = ((False, GRADES[0]), (True, GRADES[3]))
        return [(words[g] if labels else int(flag), words[g], COLOURS[g]) for flag, g in ends]

    def facts(self, labels: bool) -> dict[str, Any]:
        """Return what the sidecar says: source and date of the words, mapping, what is lost."""
        source = SCALE_SOURCES.get("xbd" if self.name == "geodamage" else self.name)
        mapping: dict[str, Any] = {
            grade.label: _said(self, grade, labels) for grade in (GRADES if self.literals else ())
        }
        return {
            "name": self.name,
            "source": None if source is None else source.title,
            "source_date": None if source is None else source.date,
            "field": self.value,
            "mapping": mapping or {"damaged": "by the threshold of the model, not by the grade"},
            "loses": list(self.loses),
            "differs": list(self.differs),
        }


def _said(schema: Schema, grade: Any, labels: bool) -> Any:
    """Return what a schema says of a grade: its code, or its words."""
    words = TO_SCALE.get(f"{schema.name}_words")
    return words[grade] if labels and words is not None else schema.literals[grade]


def _literals(frame: gpd.GeoDataFrame, literals: Mapping[Any, Any], kind: str) -> pd.Series:
    """Return what is said of each building; null where it has no grade."""
    grades = frame["damage_class"].astype("Int64")
    said: list[Any] = [None if pd.isna(grade) else literals[int(grade)] for grade in grades]
    return pd.Series(said, index=frame.index, dtype=DTYPES[kind])  # type: ignore[index]


def _constant(frame: gpd.GeoDataFrame, value: Any, kind: str) -> pd.Series:
    return pd.Series([value] * len(frame), index=frame.index, dtype=DTYPES[kind])  # type: ignore[index]


def _geodamage(frame: gpd.GeoDataFrame, date: str | None, labels: bool) -> dict[str, pd.Series]:
    return {"damage_label": _literals(frame, PLAIN_WORDS, "text")} if labels else {}


def _cems(frame: gpd.GeoDataFrame, date: str | None, labels: bool) -> dict[str, pd.Series]:
    return {
        "damage_gra": _literals(frame, TO_SCALE["cems"], "text").where(
            frame["damage_class"].notna(), "Not Analysed"
        ),
        "det_method": _constant(frame, "Automatic extraction", "text"),
        "notation": frame["source"],
    }


def _unosat(frame: gpd.GeoDataFrame, date: str | None, labels: bool) -> dict[str, pd.Series]:
    words = TO_SCALE["unosat_words"]
    codes = {grade: int(code) for grade, code in TO_SCALE["unosat"].items()}
    said = _literals(frame, words, "text") if labels else _literals(frame, codes, "integer")
    return {
        "SensorDate": _constant(frame, date, "text"),
        "Main_Damage_Site_Class": said,
        "Grouped_Damage_Classes": _constant(frame, 1, "integer"),
    }


def _fema(frame: gpd.GeoDataFrame, date: str | None, labels: bool) -> dict[str, pd.Series]:
    return {"damage_level": _literals(frame, TO_SCALE["fema"], "text")}


def _ems98(frame: gpd.GeoDataFrame, date: str | None, labels: bool) -> dict[str, pd.Series]:
    if labels:
        return {"ems98_grade": _literals(frame, TO_SCALE["ems98_words"], "text")}
    codes = {grade: int(code) for grade, code in TO_SCALE["ems98"].items()}
    return {"ems98_grade": _literals(frame, codes, "integer")}


def _is_damaged(frame: gpd.GeoDataFrame, labels: bool) -> pd.Series:
    """Return whether each building is damaged, by the threshold of the model."""
    flags = frame["damaged"].astype("boolean")
    words = TO_SCALE["binary"]
    said = {False: words[GRADES[0]], True: words[GRADES[3]]}
    found: pd.Series = flags.map(said).astype(DTYPES["text"]) if labels else flags.astype("Int32")
    return found


def _microsoft(frame: gpd.GeoDataFrame, date: str | None, labels: bool) -> dict[str, pd.Series]:
    probability = (
        frame[["p_minor", "p_major", "p_destroyed"]].astype("float64").sum(axis=1, min_count=3)
    )
    return {
        "id": frame["building_id"].astype(DTYPES["text"]),
        "damage_pct_0m": probability,
        "damaged": _is_damaged(frame, labels),
        "unknown_pct": 1 - frame["valid_fraction"].astype("float64"),
    }


def _binary(frame: gpd.GeoDataFrame, date: str | None, labels: bool) -> dict[str, pd.Series]:
    return {"damaged": _is_damaged(frame, labels)}


def _number(name: str, description: str) -> Field:
    return Field(name, "number", description, nullable=True, decimals=4)


def _text(name: str, description: str) -> Field:
    return Field(name, "text", description, nullable=True)


def _integer(name: str, description: str) -> Field:
    return Field(name, "integer", description, nullable=True)


_DAMAGED = _integer("damaged", "1 damaged, 0 not, by the threshold of the model")

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        schema.name: schema
        for schema in (
            Schema("geodamage", FIELDS, "damage", TO_SCALE["xbd"], _geodamage),
            Schema(
                "cems",
                (
                    _BUILDING_ID,
                    _text("damage_gra", "damage grading of Copernicus EMS"),
                    _text("det_method", "how it was detected"),
                    _text("notation", "where the footprint comes from"),
                    *_ALWAYS,
                ),
                "damage_gra",
                TO_SCALE["cems"],
                _cems,
                loses=(
                    _NO_PROBABILITIES,
                    "obj_type, simplified, or_src_id, dmg_src_id and cd_value are left out: they "
                    "belong to the product of an activation",
                ),
                differs=(
                    "minor-damage becomes Possibly damaged, which means doubt rather than slight "
                    "damage",
                    "products of the service show most buildings as points; --geometry point does",
                ),
            ),
            Schema(
                "unosat",
                (
                    _BUILDING_ID,
                    _text("SensorDate", "date of the post image"),
                    _integer("Main_Damage_Site_Class", "damage class of UNOSAT"),
                    _integer("Grouped_Damage_Classes", "1: a building"),
                    *_ALWAYS,
                ),
                "Main_Damage_Site_Class",
                {grade: int(code) for grade, code in TO_SCALE["unosat"].items()},
                _unosat,
                shape="point",
                loses=(
                    _NO_PROBABILITIES,
                    "outlines become points",
                    "Damage_Status is left out: its codes are not documented",
                    "classes 4 and 11 (possible damage) are never given",
                ),
                differs=("minor-damage becomes Moderate Damage (3)",),
            ),
            Schema(
                "fema",
                (_BUILDING_ID, _text("damage_level", "damage level of FEMA"), *_ALWAYS),
                "damage_level",
                TO_SCALE["fema"],
                _fema,
                loses=(
                    _NO_PROBABILITIES,
                    "the level Affected is never given",
                ),
                differs=(
                    "the name of the field is ours; those of FEMA's database are not published",
                ),
            ),
            Schema(
                "ems98",
                (_BUILDING_ID, _integer("ems98_grade", "grade of EMS-98, 1 to 5"), *_ALWAYS),
                "ems98_grade",
                {grade: int(code) for grade, code in TO_SCALE["ems98"].items()},
                _ems98,
                loses=(
                    _NO_PROBABILITIES,
                    "grade 3 is never given, and grade 1 includes undamaged buildings",
                ),
                differs=(
                    "EMS-98 assesses the structure from the ground; this model looks from above",
                ),
            ),
            Schema(
                "microsoft",
                (
                    _text("id", "id of the building"),
                    _number("damage_pct_0m", "probability that it is damaged, 0-1"),
                    _DAMAGED,
                    _number("unknown_pct", "share of it that the images do not show, 0-1"),
                    *_ALWAYS,
                ),
                "damaged",
                {},
                _microsoft,
                loses=(
                    "four grades become two",
                    "damage_pct_10m and damage_pct_20m are left out: nothing around the building "
                    "is graded",
                ),
                differs=(
                    "damage_pct_0m is a probability here; in Microsoft's layers it is a share of "
                    "damaged area",
                ),
            ),
            Schema(
                "binary",
                (_BUILDING_ID, _DAMAGED, *_ALWAYS),
                "damaged",
                {},
                _binary,
                loses=("four grades become two", _NO_PROBABILITIES),
            ),
        )
    }
)


def fields_of(schema: Schema, frame: gpd.GeoDataFrame, labels: bool) -> tuple[Field, ...]:
    """Return what is written of a result; its own schema keeps attributes of footprints.

    Parameters
    ----------
    schema
        The schema.
    frame
        The buildings.
    labels
        Whether words stand for codes.
    """
    if schema.name == "geodamage":
        words = (_text("damage_label", "damage in words"),) if labels else ()
        return (*FIELDS, *words, *attribute_fields(frame))
    if not labels or (schema.literals and f"{schema.name}_words" not in TO_SCALE):
        return schema.fields
    return tuple(
        _text(field.name, field.description) if field.name == schema.value else field
        for field in schema.fields
    )


def apply_schema(
    schema: Schema, frame: gpd.GeoDataFrame, *, date: str | None, labels: bool
) -> gpd.GeoDataFrame:
    """Return the buildings of a result in a schema, with every field that it writes.

    Parameters
    ----------
    schema
        The schema.
    frame
        Buildings with every field of ours.
    date
        Date of the post image; None if unknown.
    labels
        Whether words stand for codes.
    """
    made = schema.make(frame, date, labels)
    columns = {
        field.name: made[field.name] if field.name in made else frame[field.name]
        for field in fields_of(schema, frame, labels)
    }
    return gpd.GeoDataFrame(columns, geometry=frame.geometry, crs=frame.crs)
