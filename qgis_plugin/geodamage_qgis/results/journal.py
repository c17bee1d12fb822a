# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal of a review, `<output>.reviews.jsonl`: corrections that outlive the result.

Every correction is one line, appended as it is made, so a crash costs nothing that was said before
it. The last line about a building is what holds. The tool does not replace files of this name. A
run with `--overwrite` leaves the journal in place, and its corrections come back to the buildings
with the same `building_id`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geodamage_qgis.errors import PluginError
from geodamage_qgis.scale import CLASSES
from geodamage_qgis.translation import tr

#: Answers that are no grade, as `geodamage estimate` and `adapt` read them.
NO_BUILDING = "no building"
UNCLEAR = "unclear"
#: All that can be said of a building.
ANSWERS = (*CLASSES, NO_BUILDING, UNCLEAR)


@dataclass(frozen=True)
class Review:
    """What a person said about a building.

    Attributes
    ----------
    building_id
        Which building.
    reviewed_damage
        Its grade by xBD spelling, or another of `ANSWERS`; None takes back what was said before.
    reviewer
        Who said it.
    reviewed_at
        When: ISO 8601, UTC, to the second.
    """

    building_id: str
    reviewed_damage: str | None
    reviewer: str
    reviewed_at: str


def journal_path(output: str | os.PathLike[str]) -> Path:
    """Return the path of the journal of a result."""
    return Path(f"{os.fspath(output)}.reviews.jsonl")


def append_reviews(output: str | os.PathLike[str], reviews: Iterable[Review]) -> None:
    """Write reviews at the end of the journal of a result.

    Raises
    ------
    PluginError
        If the journal cannot be written.
    """
    path = journal_path(output)
    lines = "".join(json.dumps(asdict(review), ensure_ascii=False) + "\n" for review in reviews)
    try:
        with path.open("a+b") as file:
            if _is_torn(file):
                lines = "\n" + lines
            file.write(lines.encode())
    except OSError as error:
        raise PluginError(
            tr(
                "cannot write {path}: {why}; the correction would not survive another run",
                path=path,
                why=error.strerror or error,
            )
        ) from error


def read_journal(output: str | os.PathLike[str]) -> dict[str, Review]:
    """Return what holds for each building that was reviewed, by `building_id`.

    A last line that breaks off was cut by a crash, and is left out.

    Raises
    ------
    PluginError
        If the journal cannot be read, or another of its lines makes no sense.
    """
    path = journal_path(output)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(
            tr("cannot read {path}: {why}; corrections are not shown", path=path, why=error)
        ) from error
    lines = text.splitlines()
    holding: dict[str, Review] = {}
    for number, line in enumerate(lines, start=1):
        review = _parse(line)
        if review is not None:
            holding[review.building_id] = review
        elif line.strip() and not _is_cut(line):
            raise PluginError(
                tr(
                    "{path}, line {number}, is not a review; fix or remove that line",
                    path=path,
                    number=number,
                )
            )
    return {name: review for name, review in holding.items() if review.reviewed_damage}


def _parse(line: str) -> Review | None:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("building_id"), str):
        return None
    grade = found.get("reviewed_damage")
    if grade is not None and grade not in ANSWERS:
        return None
    return Review(
        found["building_id"],
        grade,
        str(found.get("reviewer") or ""),
        str(found.get("reviewed_at") or ""),
    )


def _is_cut(line: str) -> bool:
    """Return whether a line begins as a review does and breaks off."""
    return line.startswith('{"building_id"') and not line.rstrip().endswith("}")


def _is_torn(file: Any) -> bool:
    """Return whether a file's last line lacks its end."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")
