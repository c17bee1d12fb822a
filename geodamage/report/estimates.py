"""The estimate of a report: totals from a reviewed sample."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geodamage.damage import GRADES
from geodamage.errors import InputError
from geodamage.report.view import Table
from geodamage.sources import check_file

#: What an estimate has totals of, in the order of a report.
TARGETS = (*(grade.label for grade in GRADES), "damaged", "no building")
_ENDS = ("total", "low", "high")
#: Bytes that an estimate has at most; that of a thousand areas has one million.
_LONGEST = 64 * 2**20
#: No count of buildings is larger.
_LARGEST = 1e12
#: Areas that a page lists.
_MOST_AREAS = 200


def read_estimate(path: Path, graded: int) -> dict[str, Any]:
    """Read what `geodamage estimate -o` wrote.

    Parameters
    ----------
    path
        JSON file.
    graded
        Buildings with a grade in the layer that is shown.

    Raises
    ------
    InputError
        If it is no estimate, or one of other buildings.
    """
    check_file(str(path))
    if path.stat().st_size > _LONGEST:
        raise InputError(f"{path}: too long for an estimate; is it one?")
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); estimate again") from error
    if not isinstance(found, dict) or not all(is_total(found.get(name)) for name in TARGETS):
        raise InputError(f"{path}: is not an estimate; write one with `geodamage estimate -o`")
    if found.get("buildings") != graded:
        raise InputError(
            f"{path}: is of {found.get('buildings')} buildings and the layer has {graded:,} with a"
            " grade; estimate again from this layer"
        )
    return found


def is_total(value: Any) -> bool:
    """Say whether a value has the ends of an interval."""
    return isinstance(value, Mapping) and all(_is_number(value.get(end)) for end in _ENDS)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    # A whole number may be too long for a float.
    return is_real and abs(value) < _LARGEST


def estimate_tables(found: Mapping[str, Any]) -> list[Table]:
    """Return the tables of an estimate: the totals, and the areas where it has some."""
    rows = [(name, _predicted(found[name]), *_ends(found[name])) for name in TARGETS]
    rows += [
        (name.replace("-", ", "), "–", *_ends(found[name]))
        for name in ("missed", "missed-damaged")
        if is_total(found.get(name))
    ]
    columns = ("Buildings", "The result says", "Estimate", "From", "To")
    note = f"95 % intervals. {found.get('says', '')}"
    tables = [Table("Totals from a reviewed sample", columns, tuple(rows), note)]
    areas = found.get("areas")
    if isinstance(areas, list) and areas:
        tables.append(_areas([area for area in areas if isinstance(area, Mapping)]))
    return tables


def _areas(areas: list[Mapping[str, Any]]) -> Table:
    rows = [
        (
            str(area.get("name")),
            *(f"{area.get(key)}" for key in ("buildings", "answered")),
            *(_ends(area["damaged"]) if is_total(area.get("damaged")) else ("–", "–", "–")),
        )
        for area in areas[:_MOST_AREAS]
    ]
    columns = ("Area", "Buildings", "Reviewed", "Damaged", "From", "To")
    more = (
        ""
        if len(areas) <= _MOST_AREAS
        else f" These are the first {_MOST_AREAS} of {len(areas):,}."
    )
    note = f"An area without reviewed buildings has no estimate.{more}"
    return Table("Damaged buildings by area, from the review", columns, tuple(rows), note)


def _ends(total: Mapping[str, Any]) -> tuple[str, str, str]:
    value, low, high = (f"{total[end]:,.0f}" for end in _ENDS)
    return value, low, high


def _predicted(total: Mapping[str, Any]) -> str:
    value = total.get("predicted")
    return f"{value:,.0f}" if _is_number(value) else "–"


def estimate_line(found: Mapping[str, Any]) -> str:
    """Return the estimate in one line, for a sheet."""
    value, low, high = _ends(found["damaged"])
    return (
        f"{value} damaged, {low} to {high} with 95 % confidence, from {found.get('answered')} of"
        f" {found.get('buildings')} buildings reviewed"
    )
