"""Estimates: how many buildings have each grade, from a reviewed sample."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from geodamage._version import __version__
from geodamage.damage import GRADES
from geodamage.errors import OptionError
from geodamage.event.rollups import Admin, read_admin
from geodamage.options.lookup import check_fields
from geodamage.output.json_values import json_ready
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.report.findings import STATEMENT
from geodamage.reviews.agreement import weighted_kappa
from geodamage.reviews.areas import read_missed
from geodamage.reviews.evidence import Evidence, check_origin, read_evidence
from geodamage.reviews.intervals import (
    LEVEL,
    Interval,
    confusions,
    share,
    share_of_weighted,
)
from geodamage.reviews.places import areas_of
from geodamage.reviews.population import Population, read_population
from geodamage.words import counted

#: Grades from which a building is damaged.
_DAMAGED = 2
#: Seed of the random populations behind the interval of kappa, so that it does not change.
_SEED = 0
#: Weight of the whole in what is expected of a stratum: a model is surer than right.
_BLEND = 0.1


@dataclass(frozen=True, kw_only=True)
class EstimateOptions:
    """What an estimate is made of."""

    reviewed: Path
    """The sample, with its answers or without."""
    answers: tuple[Path, ...] = ()
    """Files of answers."""
    conflicts: Any = "majority"
    """Which answer counts where reviewers differ."""
    areas: Path | None = None
    """An area sample that was looked at in full."""
    by: Path | None = None
    """Administrative areas to estimate one by one."""
    admin_name: str | None = None
    """Field with their names."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.admin_name is not None and self.by is None:
            raise OptionError("--admin-name needs --by")


def estimate(results: Sequence[str | os.PathLike[str]], options: EstimateOptions) -> dict[str, Any]:
    """Estimate how many buildings have each grade, with 95 % intervals.

    Parameters
    ----------
    results
        What `read_population` reads.
    options
        The sample and its answers.

    Returns
    -------
    dict
        For `damaged`, each grade and `no building` (a building of the result that is none):
        `total`, `low`, `high`, `share`, `share_low`, `share_high`, `predicted`. Then `model`
        (accuracy and kappas), `missed`, `areas`, what the answers were, and the statement.

    Raises
    ------
    InputError
        If a file cannot be used, or they do not fit together.
    OptionError
        If the options make no sense.
    """
    population = read_population(results)
    admin = None if options.by is None else read_admin(options.by, options.admin_name)
    evidence = read_evidence(population, options.reviewed, options.answers, options.conflicts)
    found: dict[str, Any] = dict(totals(population, evidence))
    if options.areas is not None:
        check_origin(options.areas, population)
        missed = read_missed(options.areas, population)
        found |= {name.replace("_", "-"): _count(total) for name, total in missed.items()}
    return {
        **found,
        "model": _model(population, evidence),
        "areas": None if admin is None else _areas(population, evidence, admin),
        **_facts(population, evidence, options),
    }


def _facts(population: Population, evidence: Evidence, options: EstimateOptions) -> dict[str, Any]:
    return {
        "buildings": len(population),
        "without_grade": population.ungraded,
        "drawn": evidence.drawn,
        "answered": len(evidence.rows),
        "unclear": evidence.unclear,
        "level": LEVEL,
        "strata": [
            {
                "name": name,
                "buildings": int(evidence.sizes[h]),
                "answered": int((evidence.stratum == h).sum()),
            }
            for h, name in enumerate(evidence.names)
        ],
        "reviewers": evidence.reviewers,
        "conflicts": list(evidence.conflicts),
        "conflict_rule": options.conflicts,
        "results": [str(path) for path in population.sources],
        "reviewed": str(options.reviewed),
        "population_sha256": population.fingerprint,
        "models": list(population.models),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"geodamage": __version__},
        "warnings": list(evidence.warnings),
        "says": sentence(population, evidence, missed=options.areas is not None),
        "statement": STATEMENT,
    }


def sentence(population: Population, evidence: Evidence, *, missed: bool) -> str:
    """Return what the intervals count and what they do not."""
    count = "" if not population.ungraded else f" the {population.ungraded:,} without a grade,"
    lacks = "" if missed else " those that the result lacks,"
    return (
        f"The intervals cover that only {len(evidence.rows):,} of"
        f" {counted(len(population), 'building was', 'buildings were')} reviewed. They do not"
        f" cover{count}{lacks} mistakes of reviewers, or damage that images from above do not show."
    )


# Totals ----------------------------------------------------------------------------------------


def _targets(truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return of each thing to estimate which buildings have it, bool (n,)."""
    return {
        "damaged": truth >= _DAMAGED,
        **{grade.label: truth == grade for grade in GRADES},
        "no building": truth == 0,
    }


def totals(population: Population, evidence: Evidence) -> dict[str, dict[str, float]]:
    """Return how many buildings have what, with intervals, and how many the result says.

    Returns
    -------
    dict
        For `damaged`, each grade and `no building`: `total`, `low`, `high`, `share`, `share_low`,
        `share_high` and `predicted`.
    """
    expected = _expected(population, evidence)
    predicted = _predicted(population)
    found = {}
    for name, has in _targets(evidence.truth).items():
        total = _total(_share(evidence, has, expected[name]), len(population))
        found[name] = {**total, "predicted": int(predicted[name].sum())}
    return found


def _predicted(population: Population) -> dict[str, np.ndarray]:
    """Return of each thing which buildings have it by the result: `damaged` is its own field."""
    damaged = population.frame["damaged"].to_numpy(dtype=bool, na_value=False)
    return {**_targets(population.grade), "damaged": damaged}


def _share(
    evidence: Evidence, has: np.ndarray, expected: np.ndarray, own: np.ndarray | None = None
) -> Interval:
    """Return the share of buildings that have something, of all strata or of some."""
    strata = len(evidence.names)
    own = np.arange(strata) if own is None else own
    return share(
        np.bincount(evidence.stratum[has], minlength=strata)[own].astype(np.float64),
        np.bincount(evidence.stratum, minlength=strata)[own].astype(np.float64),
        evidence.sizes[own].astype(np.float64),
        expected[own],
    )


def _expected(population: Population, evidence: Evidence) -> dict[str, np.ndarray]:
    """Return what is expected of each stratum before anyone looks, float64 (strata,) each.

    The sample itself says which building is in which stratum, so the mean of the model's
    probabilities is that over those that were looked at.
    """
    probabilities = population.probabilities
    whole = probabilities.mean(0)
    own = np.stack(
        [
            probabilities[evidence.rows[evidence.stratum == h]].mean(0)
            for h in range(len(evidence.names))
        ]
    )
    none = (np.sum(evidence.truth == 0) + 0.5) / (len(evidence.truth) + 1)
    shares = ((1 - _BLEND) * own + _BLEND * whole) * (1 - none)
    grades = {grade.label: shares[:, grade - 1] for grade in GRADES}
    damaged = shares[:, _DAMAGED - 1 :].sum(1)
    return {"damaged": damaged, **grades, "no building": np.full(len(own), none)}


def _total(part: Interval, buildings: int) -> dict[str, float]:
    total = part.times(buildings)
    return {
        **_count(total),
        "share": _rounded(part.value, 6),
        "share_low": _rounded(part.low, 6),
        "share_high": _rounded(part.high, 6),
    }


def _count(total: Interval) -> dict[str, float]:
    return {
        "total": _rounded(total.value, 1),
        "low": _rounded(total.low, 1),
        "high": _rounded(total.high, 1),
    }


def _rounded(value: float, decimals: int) -> float:
    return round(float(value), decimals)


# The model -------------------------------------------------------------------------------------


def _model(population: Population, evidence: Evidence) -> dict[str, Any]:
    """Return how right the model is, with intervals: of buildings that are some, kappa too."""
    grade = population.grade[evidence.rows]
    confidence = population.probabilities[evidence.rows].max(1)
    expected = np.array(
        [confidence[evidence.stratum == h].mean() for h in range(len(evidence.names))]
    )
    right = _share(evidence, grade == evidence.truth, expected)
    return {"accuracy": _ends(right), **_kappas(population, evidence, grade)}


def _ends(interval: Interval) -> dict[str, float]:
    return {
        "value": _rounded(interval.value, 4),
        "low": _rounded(interval.low, 4),
        "high": _rounded(interval.high, 4),
    }


def _kappas(
    population: Population, evidence: Evidence, grade: np.ndarray
) -> dict[str, dict[str, float] | None]:
    """Return the kappas of model and truth, of all buildings; None where not defined."""
    cells, cell = np.unique(np.column_stack([evidence.stratum, grade]), axis=0, return_inverse=True)
    table = np.zeros((len(cells), len(GRADES) + 1))
    np.add.at(table, (cell.ravel(), evidence.truth), 1)
    answered = np.bincount(evidence.stratum, minlength=len(evidence.names))
    sizes = np.round(table.sum(1) * (evidence.sizes / answered)[cells[:, 0]])
    chance = np.full((len(cells), len(GRADES) + 1), 0.2 / len(GRADES))
    chance[:, 0] = 0.02
    chance[np.arange(len(cells)), cells[:, 1]] += 0.78
    weighted = table / table.sum(1, keepdims=True) * sizes[:, None]
    draws = confusions(table, sizes, chance, np.random.default_rng(_SEED))
    found: dict[str, dict[str, float] | None] = {}
    for name, power in (("linear_kappa", 1), ("quadratic_kappa", 2)):
        value = weighted_kappa(_by_grade(weighted, cells[:, 1]), power)
        drawn = [weighted_kappa(_by_grade(one, cells[:, 1]), power) for one in draws]
        known = [kappa for kappa in drawn if kappa is not None]
        if value is None or not known:
            found[name] = None
            continue
        low, high = np.quantile(known, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        found[name] = _ends(Interval(value, min(float(low), value), max(float(high), value)))
    return found


def _by_grade(table: np.ndarray, grade: np.ndarray) -> np.ndarray:
    """Return predicted grade by true grade, (4, 4), of a table of cells."""
    confusion = np.zeros((len(GRADES), len(GRADES)))
    np.add.at(confusion, grade - 1, table[:, 1:])
    return confusion


# Areas -----------------------------------------------------------------------------------------


def _areas(population: Population, evidence: Evidence, admin: Admin) -> list[dict[str, Any]]:
    """Return the totals of each area that has a building."""
    areas = np.array(areas_of(population.frame, admin), object)
    answered = np.bincount(evidence.stratum, minlength=len(evidence.names))
    weights = (evidence.sizes / answered)[evidence.stratum]
    expected, predicted = _expected(population, evidence), _predicted(population)
    found = []
    for name in sorted(set(areas.tolist())):
        inside = areas[evidence.rows] == name
        size = int((areas == name).sum())
        own = _own_strata(evidence, name, size)
        entry: dict[str, Any] = {"name": name, "buildings": size, "answered": int(inside.sum())}
        for key, has in _targets(evidence.truth).items():
            if own is None:
                part = share_of_weighted(has[inside], weights[inside], size)
            else:
                part = _share(evidence, has, expected[key], own)
            said = int(predicted[key][areas == name].sum())
            entry[key] = {**_total(part, size), "predicted": said}
        found.append(entry)
    return found


def _own_strata(evidence: Evidence, name: str, size: int) -> np.ndarray | None:
    """Return the strata that an area has for itself, as `sample --by` draws them; else None."""
    of = [h for h, own in enumerate(evidence.names) if own == name or own.startswith(f"{name}: ")]
    own = np.array(of, np.int64)
    return own if len(own) and int(evidence.sizes[own].sum()) == size else None


def write_estimate(
    results: Sequence[str | os.PathLike[str]],
    output: Path,
    options: EstimateOptions,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Estimate as `estimate` does, and write it as JSON.

    Raises
    ------
    GeodamageError
        What `estimate` raises; `OutputError` if it cannot be written.
    """
    inputs = [*results, options.reviewed, *options.answers]
    inputs += [path for path in (options.areas, options.by) if path is not None]
    check_output(output, inputs=inputs, overwrite=overwrite, extensions=(".json",))
    found = estimate(results, options)
    with Publication(overwrite=overwrite) as publication:
        text = json.dumps(json_ready(found), ensure_ascii=False, indent=2, allow_nan=False)
        partial = publication.partial(output)
        with output_errors(output):
            partial.write_text(text + "\n", encoding="utf-8")
    return found
