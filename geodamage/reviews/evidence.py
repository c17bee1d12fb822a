"""Evidence: a sample with its answers, checked against the population that it was drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geodamage.damage import GRADES
from geodamage.errors import AnswersError, InputError
from geodamage.output.layers import read_facts
from geodamage.output.publication import sidecar_path
from geodamage.reviews.agreement import Rule, agreement, resolve
from geodamage.reviews.answers import (
    UNCLEAR,
    answers_in,
    joined,
    read_answers,
    read_rows,
)
from geodamage.reviews.population import Population, rows_of
from geodamage.words import counted

#: Answers that an estimate needs, unless the population has fewer buildings.
LEAST_ANSWERS = 10

_DESIGN = ("stratum", "stratum_buildings", "inclusion_probability")


@dataclass(frozen=True)
class Evidence:
    """What was looked at, and what was seen.

    Attributes
    ----------
    rows
        Row of each building in the population, int64 (n,).
    truth
        Grade that was answered, 1-4, or 0 where there is no building, int64 (n,).
    stratum
        Number of its stratum, int64 (n,).
    names, sizes
        Name of each stratum, and its buildings, int64 (strata,).
    drawn, unclear
        Buildings that were drawn by chance, and those of them whose answer is unclear.
    reviewers
        Agreement of each two reviewers.
    conflicts
        Buildings on which they differ.
    warnings
        What to know, a line each.
    """

    rows: np.ndarray
    truth: np.ndarray
    stratum: np.ndarray
    names: tuple[str, ...]
    sizes: np.ndarray
    drawn: int
    unclear: int
    reviewers: list[dict[str, Any]]
    conflicts: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def read_evidence(
    population: Population, sample: Path, answers: Sequence[Path], rule: Rule
) -> Evidence:
    """Read a sample and its answers.

    Parameters
    ----------
    population
        What the sample was drawn of.
    sample
        The file that `geodamage sample` wrote, or a copy of it in another format.
    answers
        Files of answers; where there is none, those in the field `reviewed_damage` of the sample,
        and where it has none, those in the journal beside it.
    rule
        Which answer counts where reviewers differ.

    Raises
    ------
    AnswersError
        If the sample is none, or the answers do not fit it.
    InputError
        If it was drawn of another result.
    """
    drawn = _drawn(sample, population)
    said, warnings = _said(sample, drawn, answers)
    _check_names(said, population, answers[0] if answers else sample)
    resolved = resolve(said, rule)
    if resolved.conflicts and rule == "refuse":
        first = resolved.conflicts[0]
        raise AnswersError(
            f"reviewers differ on {counted(len(resolved.conflicts), 'building')}, the first"
            f" {first['building_id']}; let them agree, or give --conflicts majority"
        )
    table, more = _answered(drawn, resolved.answers, population)
    warnings += more
    clear = table[table["damage"] != UNCLEAR]
    least = min(LEAST_ANSWERS, len(population))
    if len(clear) < least:
        raise AnswersError(
            f"{sample}: {counted(len(clear), 'randomly drawn building')} have a clear answer; "
            "review"
            f" {least} or more"
        )
    if clear["damage"].nunique() == 1 and len(clear) < len(population):
        warnings.append(f"all {len(clear):,} answers are {clear['damage'].iloc[0]}")
    names, sizes, stratum = _strata(drawn, clear, warnings)
    return Evidence(
        rows=rows_of(population, clear["building_id"]),
        truth=clear["damage_class"].to_numpy(dtype=np.int64, na_value=0),
        stratum=stratum,
        names=names,
        sizes=sizes,
        drawn=len(drawn),
        unclear=len(table) - len(clear),
        reviewers=agreement(said),
        conflicts=resolved.conflicts,
        warnings=(*population.doubts, *warnings, *_of_conflicts(resolved.conflicts, rule)),
    )


def _of_conflicts(conflicts: Sequence[dict[str, Any]], rule: Rule) -> list[str]:
    if not conflicts:
        return []
    listed = ", ".join(str(conflict["building_id"]) for conflict in conflicts[:5])
    more = f" and {len(conflicts) - 5:,} more" if len(conflicts) > 5 else ""
    differ = f"reviewers differ on {counted(len(conflicts), 'building')}"
    return [f"{differ}, {rule} counts: {listed}{more}"]


# The sample ------------------------------------------------------------------------------------


def _drawn(sample: Path, population: Population) -> pd.DataFrame:
    """Return the buildings of a sample that were drawn by chance, as the file has them."""
    check_origin(sample, population)
    table = read_rows(sample)
    missing = [name for name in ("building_id", *_DESIGN) if name not in table.columns]
    if missing:
        raise AnswersError(
            f"{sample}: is not a sample (no field {missing[0]}); draw one with `geodamage "
            f"sample`, and"
            " give answers in other files by --answers"
        )
    numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in _DESIGN[1:]}
    table = table.assign(**numbers)
    drawn = table[table["inclusion_probability"].notna()].reset_index(drop=True)
    if drawn.empty:
        raise AnswersError(
            f"{sample}: its buildings were chosen for adapt and give no unbiased estimate;"
            " draw a sample without --for adapt, or with --estimate-share"
        )
    _check_drawn(drawn, sample, population)
    return drawn


def check_origin(sample: Path, population: Population) -> None:
    """Check that a sample was drawn of a population, by its sidecar where it has one.

    Raises
    ------
    InputError
        If it was drawn of a result of another model, or the result has changed.
    """
    if not sidecar_path(sample).is_file():
        return
    facts = read_facts(sample)
    models = facts.get("models")
    if isinstance(models, list) and tuple(map(str, models)) != population.models:
        raise InputError(
            f"{sample}: was drawn of a result of another model; draw a sample of this result, or"
            " give the result that it was drawn of"
        )
    known = facts.get("population_sha256")
    if known is not None and known != population.fingerprint:
        raise InputError(
            f"{sample}: the result has changed since it was drawn, or is another one; draw a new"
            " sample"
        )


def _check_drawn(drawn: pd.DataFrame, sample: Path, population: Population) -> None:
    rows = rows_of(population, drawn["building_id"])
    if (rows < 0).any():
        name = drawn["building_id"].to_numpy()[rows < 0][0]
        raise InputError(
            f"{sample}: building {name} is not in the result; give the result that the sample was"
            " drawn of"
        )
    if len(np.unique(rows)) < len(rows):
        name = drawn["building_id"][drawn["building_id"].duplicated()].iloc[0]
        raise AnswersError(f"{sample}: building {name} stands in it twice; remove one row")
    sizes = drawn.groupby("stratum")["stratum_buildings"].agg(["min", "max", "size"])
    fits = (sizes["min"] == sizes["max"]) & (sizes["size"] <= sizes["min"])
    total = float(sizes["min"].sum())
    if drawn["stratum"].isna().any() or not fits.all() or total != len(population):
        raise InputError(
            f"{sample}: its strata have {total:,.0f} buildings and the result {len(population):,};"
            " give the sample as it was written, with all its rows"
        )
    if "damage" not in drawn.columns:
        return
    graded = population.frame["damage"].astype(str).to_numpy()[rows]
    if (graded != drawn["damage"].astype(str).to_numpy()).any():
        raise InputError(f"{sample}: the result has changed since it was drawn; draw a new sample")


# Its answers -----------------------------------------------------------------------------------


def _said(
    sample: Path, drawn: pd.DataFrame, answers: Sequence[Path]
) -> tuple[pd.DataFrame, list[str]]:
    """Return all answers, by whoever gave them, and what to know of them."""
    own = "reviewed_damage" in drawn.columns
    inside = answers_in(drawn, sample) if own else None
    if answers:
        said = joined([read_answers(path) for path in answers])
        ignored = inside is not None and len(inside) > 0
        return said, (
            [f"{sample}: its own answers are ignored, because --answers is given"]
            if ignored
            else []
        )
    if inside is not None and len(inside):
        return inside, []
    journal = Path(f"{sample}.reviews.jsonl")
    if journal.is_file():
        return read_answers(journal), [f"the answers are those of {journal}"]
    raise AnswersError(
        f"{sample}: has no answer yet; fill in reviewed_damage, or give --answers FILE"
    )


def _check_names(said: pd.DataFrame, population: Population, path: Path) -> None:
    unknown = said["building_id"][rows_of(population, said["building_id"]) < 0]
    if len(unknown):
        raise AnswersError(
            f"{path}: {counted(len(unknown), 'answer is', 'answers are')} for buildings that the"
            " result does not grade,"
            f" the first {unknown.iloc[0]}; give the result that was reviewed"
        )


def _answered(
    drawn: pd.DataFrame, answers: pd.DataFrame, population: Population
) -> tuple[pd.DataFrame, list[str]]:
    """Return the answers for buildings that were drawn, with their strata."""
    places = dict(zip(rows_of(population, drawn["building_id"]), drawn["stratum"], strict=True))
    rows = rows_of(population, answers["building_id"])
    inside = np.array([row in places for row in rows], bool)
    table = answers[inside].assign(stratum=[places[row] for row in rows[inside]])
    warnings = []
    if not inside.all():
        warnings.append(
            f"left out: {counted(int((~inside).sum()), 'answer')} for buildings that were not drawn"
            " at random"
        )
    if len(table) < len(drawn):
        warnings.append(
            f"{len(drawn) - len(table):,} of {counted(len(drawn), 'building')} of the sample have "
            "no answer; the other buildings of their stratum represent them"
        )
    if unclear := int((table["damage"] == UNCLEAR).sum()):
        warnings.append(
            f"{counted(unclear, 'unclear answer')}: the clear ones of the same stratum represent"
            " these buildings"
        )
    return table, warnings


def _strata(
    drawn: pd.DataFrame, clear: pd.DataFrame, warnings: list[str]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Return the strata; one without an answer is joined to its neighbour."""
    sizes_of = drawn.groupby("stratum")["stratum_buildings"].first().astype(np.int64)
    names = sorted(sizes_of.index, key=_rank)
    answered = clear["stratum"].value_counts()
    joined_to: dict[str, str] = {}
    for place, name in enumerate(names):
        if answered.get(name, 0):
            joined_to[name] = name
            continue
        others = [other for other in range(len(names)) if answered.get(names[other], 0)]
        nearest = min(others, key=lambda other: (abs(other - place), other))
        joined_to[name] = names[nearest]
        warnings.append(
            f"stratum {name} has no answer; its {sizes_of[name]:,} buildings count as those of"
            f" {names[nearest]}"
        )
    kept = [name for name in names if joined_to[name] == name]
    sizes = np.array(
        [sum(int(sizes_of[n]) for n in names if joined_to[n] == name) for name in kept], np.int64
    )
    number = {name: place for place, name in enumerate(kept)}
    stratum = np.array([number[str(name)] for name in clear["stratum"]], np.int64)
    return tuple(str(name) for name in kept), sizes, stratum


_ORDER = tuple(grade.label for grade in GRADES)
_SURENESS = ("", "unsure", "less sure", "sure")


def _rank(name: str) -> tuple[str, int, int]:
    """Return the order of strata: by area, by grade, unsure before sure."""
    area, _, own = str(name).rpartition(": ")
    grade = next((place for place, label in enumerate(_ORDER) if own.startswith(label)), 9)
    sureness = own.partition(" ")[2]
    return area, grade, _SURENESS.index(sureness) if sureness in _SURENESS else 9
