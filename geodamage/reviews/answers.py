"""Answers: what reviewers said of buildings, read from wherever they wrote it down.

Four forms are read. A journal, `*.reviews.jsonl`, is what the review of the QGIS plugin appends to.
A table is text with the columns `building_id` and `damage`. A sample or another layer has its
answers in the field `reviewed_damage`. The form in the HTML report exports a JSON object. In all of
them a column `reviewer` says who answered; without one the name of the file stands for it.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geodamage.damage import GRADES, UNCLASSIFIED
from geodamage.errors import AnswersError
from geodamage.output.layers import read_layer
from geodamage.output.publication import VECTOR_EXTENSIONS
from geodamage.sources import check_file

#: Answers that are no grade: there is no building, and the images do not show what it is.
NO_BUILDING = "no building"
UNCLEAR = "unclear"
#: All answers.
ANSWERS = (*(grade.label for grade in GRADES), NO_BUILDING, UNCLEAR)

#: Columns of what `read_answers` returns.
COLUMNS = (
    "building_id",
    "damage",
    "damage_class",
    "reviewer",
    "reviewed_at",
    "stratum",
    "inclusion_probability",
)

#: The names of the columns that a file may have for one of ours; the first that is there counts.
_GIVEN = {
    "building_id": ("building_id",),
    "reviewer": ("reviewer",),
    "reviewed_at": ("reviewed_at", "at"),
    "stratum": ("stratum",),
    "inclusion_probability": ("inclusion_probability",),
}
#: A table with one of these is a result: its `damage` is what the model said.
_OF_A_MODEL = ("p_none", "damage_class", "confidence")

#: Other spellings of answers, in lower case with blanks for hyphens and underscores.
_SPELLINGS: Mapping[str, str] = {
    **{answer.replace("-", " "): answer for answer in ANSWERS},
    **{str(int(grade)): grade.label for grade in GRADES},
    "none": "no-damage",
    "undamaged": "no-damage",
    "minor": "minor-damage",
    "major": "major-damage",
    UNCLASSIFIED.replace("-", " "): UNCLEAR,
    "u": UNCLEAR,
    "x": NO_BUILDING,
}

#: Longest text that is read; a million answers have some 100 MB.
_LONGEST = 512 * 2**20


def read_answers(path: Path) -> pd.DataFrame:
    """Read the answers in a file.

    Parameters
    ----------
    path
        A journal (`.jsonl`), a table (`.csv`, `.tsv` or `.txt` with commas, semicolons or tabs), an
        export of the HTML report (`.json`), or a vector file with the field `reviewed_damage`.

    Returns
    -------
    DataFrame
        A row for each building and reviewer, in the order of the file. `building_id`, `reviewer`,
        `reviewed_at` and `stratum` are texts, empty where the file has none. `damage` is one of
        `ANSWERS`. `damage_class` is the grade, Int64 1-4, or null. `inclusion_probability` is
        float64, NaN where the file has none. Buildings without an answer are left out.

    Raises
    ------
    AnswersError
        If it is no such file, an answer is none that is known, or one reviewer gives two to a
        building. In a journal the last one counts.
    SceneReadError, InputError
        If there is no such file, or it is no file of its own.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension in VECTOR_EXTENSIONS and extension != ".ndjson":
        return _from_layer(path)
    text = _text(path)
    if extension in (".jsonl", ".ndjson"):
        return _frame(_from_journal(text, path), path)
    if extension == ".json":
        return _from_json(text, path)
    return answers_in(_from_table(text, path), path)


def read_rows(path: Path) -> pd.DataFrame:
    """Read a table, or a layer without its shapes, as it stands.

    Returns
    -------
    DataFrame
        The columns of the file; from text all values are texts. A column `where` says of each
        row where it stands.

    Raises
    ------
    AnswersError, SceneReadError, SceneError
        If it cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in VECTOR_EXTENSIONS:
        return _layer(path)
    text = _text(path)
    is_layer = path.suffix.lower() == ".json"
    return _layer(path) if is_layer else _from_table(text, path)


def _text(path: Path) -> str:
    check_file(str(path))
    if path.stat().st_size > _LONGEST:
        raise AnswersError(f"{path}: too long for a file of answers; is it one?")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AnswersError(f"{path}: cannot be read as text ({error}); save it as UTF-8") from error


def canonical(answer: Any) -> str | None:
    """Return an answer as `ANSWERS` has it; None where it is none that is known."""
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    plain = " ".join(str(answer).lower().replace("-", " ").replace("_", " ").split())
    return _SPELLINGS.get(plain)


def _is_blank(value: Any) -> bool:
    return value is None or value is pd.NA or value != value or not str(value).strip()


# The journal -----------------------------------------------------------------------------------


def _from_journal(text: str, path: Path) -> list[Mapping[str, Any]]:
    """Return what holds of a journal.

    Its lines are appended. An empty answer takes back what was said of the building, and a line
    that stands there already takes back what came after it: so the plugin writes an undo.
    """
    said: dict[str, list[dict[str, Any]]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        review = _parse(line)
        if review is None:
            if line.strip() and not _is_cut(line):
                raise AnswersError(f"{path}, line {number}: is not a review; fix or remove it")
            continue
        review["where"] = f"line {number}"
        lines = said.setdefault(str(review["building_id"]), [])
        keys = [_key(known) for known in lines]
        if _is_blank(review.get("reviewed_damage")):
            lines.clear()
        elif _key(review) in keys:
            del lines[keys.index(_key(review)) + 1 :]
        else:
            lines.append(review)
    last = {
        (name, _word(review.get("reviewer"))): {**review, "damage": review["reviewed_damage"]}
        for name, lines in said.items()
        for review in lines
    }
    return list(last.values())


def _key(review: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(review.get(name) for name in ("reviewed_damage", "reviewer", "reviewed_at"))


def _parse(line: str) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("building_id"), str):
        return None
    return found if "reviewed_damage" in found and _is_flat(found) else None


def _is_flat(found: Mapping[str, Any]) -> bool:
    return not any(isinstance(value, dict | list) for value in found.values())


def _is_cut(line: str) -> bool:
    """Say whether a line begins as a review does and breaks off, as a crash leaves the last."""
    return line.startswith('{"building_id"') and not line.rstrip().endswith("}")


# The export of the HTML report -----------------------------------------------------------------


def _from_json(text: str, path: Path) -> pd.DataFrame:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswersError(f"{path}: is no JSON ({error}); export the answers again") from error
    if isinstance(found, dict) and found.get("type") == "FeatureCollection":
        return _from_layer(path)
    reviewer = found.get("reviewer") if isinstance(found, dict) else None
    rows = found.get("answers") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and _is_flat(row) and {"building_id", "damage"} <= row.keys()
        for row in rows
    ):
        raise AnswersError(
            f"{path}: has no list `answers` of objects with building_id and damage; export the"
            " answers from the report again"
        )
    said = [
        {"reviewer": reviewer, "reviewed_at": row.get("at"), **row, "where": f"answer {number}"}
        for number, row in enumerate(rows, start=1)
    ]
    return _frame(said, path)


# Tables and layers -----------------------------------------------------------------------------


def _from_table(text: str, path: Path) -> pd.DataFrame:
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise AnswersError(f"{path}: is not a table ({error}); save it as CSV") from error
    names = [name.strip() for name in rows[0]] if rows else []
    if len(set(names)) < len(names):
        raise AnswersError(f"{path}: two columns have one name; rename one of them")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) > len(names):
            raise AnswersError(
                f"{path}, line {number}: has {len(row)} fields and the heading {len(names)};"
                " put texts with a separator into quotes"
            )
    filled = [row + [""] * (len(names) - len(row)) for row in rows[1:]]
    table = pd.DataFrame(filled, columns=names, dtype=object)
    return table.assign(where=[f"line {number}" for number in range(2, len(table) + 2)])


def _from_layer(path: Path) -> pd.DataFrame:
    return answers_in(_layer(path), path)


def _layer(path: Path) -> pd.DataFrame:
    layer = read_layer(path)
    frame = pd.DataFrame(layer.drop(columns=layer.geometry.name))
    return frame.assign(where=[f"row {number}" for number in range(1, len(frame) + 1)])


def answers_in(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the answers of a table of `read_rows`, as `read_answers` does.

    Raises
    ------
    AnswersError
        If it has none that make sense.
    """
    columns = set(table.columns)
    if "building_id" not in columns:
        listed = ", ".join(str(name) for name in table.columns if name != "where") or "none"
        raise AnswersError(f"{path}: has no column building_id; it has {listed}")
    if "reviewed_damage" in columns:
        answer = "reviewed_damage"
    elif "damage" not in columns or columns & set(_OF_A_MODEL):
        raise AnswersError(
            f"{path}: holds no answers; write them into a field reviewed_damage, or into a table of"
            " building_id and damage"
        )
    else:
        answer = "damage"
    kept = {"damage": table[answer], "where": table["where"]}
    for name, spellings in _GIVEN.items():
        own = next((column for column in spellings if column in columns), None)
        if own is not None:
            kept[name] = table[own]
    return _frame(pd.DataFrame(kept).to_dict("records"), path)


# What all forms have in common -----------------------------------------------------------------


def _frame(rows: Iterable[Mapping[Any, Any]], path: Path) -> pd.DataFrame:
    """Return answers as a table; those that are empty are left out."""
    said = [row for row in rows if not _is_blank(row.get("damage"))]
    answers = [_answer(row, path) for row in said]
    frame = pd.DataFrame(answers, columns=[*COLUMNS, "where"])
    _refuse_second_answers(frame, path)
    classes = {grade.label: int(grade) for grade in GRADES}
    texts = ("building_id", "damage", "reviewer", "reviewed_at", "stratum")
    return frame.assign(
        **{name: frame[name].astype("string") for name in texts},
        damage_class=frame["damage"].map(classes).astype("Int64"),
        inclusion_probability=frame["inclusion_probability"].astype("float64"),
    )[list(COLUMNS)]


def _answer(row: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    answer = canonical(row["damage"])
    words = {
        name: _word(row.get(name)) for name in ("building_id", "reviewer", "reviewed_at", "stratum")
    }
    broken = [name for name, word in words.items() if not _is_text(word)]
    if broken:
        raise AnswersError(
            f"{path}, {row['where']}: {broken[0]} holds half a character, which no file can keep; "
            "write it anew"
        )
    name = words["building_id"]
    if not name:
        raise AnswersError(f"{path}, {row['where']}: names no building; fill in building_id")
    if answer is None:
        raise AnswersError(
            f"{path}, {row['where']}: {_shown(row['damage'])} is no answer; give"
            f" {', '.join(ANSWERS[:-1])} or {ANSWERS[-1]}"
        )
    return {
        "building_id": name,
        "damage": answer,
        "reviewer": words["reviewer"] or name_of(path),
        "reviewed_at": words["reviewed_at"],
        "stratum": words["stratum"],
        "inclusion_probability": _probability(row, path),
        "where": row["where"],
    }


def name_of(path: Path) -> str:
    """Return what stands for a reviewer without a name: the name of the file."""
    return path.name.removesuffix(".reviews.jsonl") if path.suffix == ".jsonl" else path.stem


def _word(value: Any) -> str:
    if _is_blank(value):
        return ""
    # A column of numbers with a gap in it is one of floats.
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def _is_text(word: str) -> bool:
    """Return whether a word can be written; JSON may hold one half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


def _shown(value: Any) -> str:
    return repr(" ".join(str(value).split())[:40])


def _probability(row: Mapping[Any, Any], path: Path) -> float:
    value = row.get("inclusion_probability")
    if _is_blank(value):
        return np.nan
    try:
        number = float(str(value))
    except ValueError:
        number = np.nan
    if not 0 < number <= 1:
        raise AnswersError(
            f"{path}, {row['where']}: inclusion_probability {_shown(value)} is not above 0 and at"
            " most 1; take it from the sample as it is"
        )
    return number


def _refuse_second_answers(frame: pd.DataFrame, path: Path) -> None:
    twice = frame.duplicated(["building_id", "reviewer"])
    if not twice.any():
        return
    second = frame[twice].iloc[0]
    both = frame["building_id"] == second["building_id"]
    first = frame[both & (frame["reviewer"] == second["reviewer"])].iloc[0]
    raise AnswersError(
        f"{path}: two answers for building {second['building_id']}, {first['where']} and"
        f" {second['where']}; keep one, or say in a column reviewer who gave each"
    )


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the answers of several files as one table; all of them have `COLUMNS`.

    What a reviewer answered alike in two files stands in it once.

    Raises
    ------
    AnswersError
        If a reviewer answered otherwise in two files.
    """
    filled = [table for table in tables if len(table)] or list(tables[:1])
    said = pd.concat(filled, ignore_index=True)
    once = said.drop_duplicates(["building_id", "reviewer", "damage"], ignore_index=True)
    twice = once[once.duplicated(["building_id", "reviewer"])]
    if len(twice):
        first = twice.iloc[0]
        raise AnswersError(
            f"two answers of {first['reviewer']} for building {first['building_id']} in different"
            " files; keep one"
        )
    return once
