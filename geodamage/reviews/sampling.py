"""Samples: files of buildings that a person should look at."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd

from geodamage._version import __version__
from geodamage.errors import OptionError
from geodamage.event.rollups import Admin, read_admin
from geodamage.fields import FIELDS, Field
from geodamage.options.lookup import check_fields
from geodamage.output.publication import Publication, check_output
from geodamage.output.vectors import vector_writer
from geodamage.output.writer import common_type
from geodamage.report.findings import STATEMENT
from geodamage.reviews.design import (
    Floats,
    Numbers,
    Strata,
    allocate,
    draw,
    expected_spread,
    make_strata,
    one_stratum,
)
from geodamage.reviews.places import areas_of
from geodamage.reviews.population import Population, read_population
from geodamage.reviews.teaching import choose_to_teach
from geodamage.words import counted

Design = Literal["stratified", "simple"]
Purpose = Literal["estimate", "adapt"]

#: What a sample says of a building beside the fields of a result.
SAMPLE_FIELDS: tuple[Field, ...] = (
    Field("sample_order", "integer", "order in which to look, random"),
    Field("drawn_for", "text", "estimate: drawn at random; adapt: chosen to teach a model"),
    Field("stratum", "text", "stratum that it was drawn from", nullable=True),
    Field("stratum_buildings", "integer", "buildings of the stratum", nullable=True),
    Field("inclusion_probability", "number", "chance to be drawn, 0-1", nullable=True, decimals=10),
    Field("reviewed_damage", "text", "answer: a grade, no building or unclear", nullable=True),
    Field("reviewer", "text", "who answered", nullable=True),
    Field("reviewed_at", "text", "when", nullable=True),
)
#: Said of a sample that no unbiased estimate can come of.
TEACHES = "chosen for adapt; these give no unbiased estimate"
#: Share of the buildings, the farthest from what the model learnt from, that are less familiar.
LESS_FAMILIAR = 0.25


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How a sample is drawn."""

    number: int = 100
    """Buildings, or cells where areas are asked for."""
    design: Design = "stratified"
    """Strata by predicted grade and certainty, or each building with the same probability."""
    seed: int = 0
    """Where chance begins; the same seed draws the same sample of the same result."""
    purpose: Purpose = "estimate"
    """What the answers are for."""
    estimate_share: float = 0.0
    """Share of a sample for adapt that is drawn by chance, so that it serves an estimate, too."""
    by: Path | None = None
    """Administrative areas to stratify by."""
    admin_name: str | None = None
    """Field with their names."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.admin_name is not None and self.by is None:
            raise OptionError("--admin-name needs --by")
        if self.estimate_share and self.purpose == "estimate":
            raise OptionError("--estimate-share needs --for adapt; without it all of it is")
        if self.purpose == "adapt" and self.by is not None and not self.estimate_share:
            raise OptionError("--by needs buildings drawn at random; also give --estimate-share")


@dataclass(frozen=True)
class Sample:
    """A sample that was written.

    Attributes
    ----------
    frame
        Its buildings, in the order in which to look.
    facts
        What its sidecar says.
    warnings
        What to know of it, a line each.
    """

    frame: gpd.GeoDataFrame
    facts: dict[str, Any]
    warnings: tuple[str, ...]


def write_sample(
    results: Sequence[str | os.PathLike[str]],
    output: Path,
    options: SampleOptions = SampleOptions(),
    *,
    distances: Mapping[str, float] | None = None,
    overwrite: bool = False,
) -> Sample:
    """Draw a sample of the buildings of results, and write it.

    Parameters
    ----------
    results
        What `read_population` reads.
    output
        Vector file.
    options
        How it is drawn.
    distances
        How far each building lies from what the model learnt from, by `building_id`: then less
        familiar buildings have strata of their own.
    overwrite
        Replace a file that is there.

    Raises
    ------
    InputError
        If a result cannot be used.
    OptionError
        If the options do not fit the result.
    OutputError
        If the sample cannot be written.
    """
    check_output(output, inputs=results, overwrite=overwrite)
    population = read_population(results)
    check_output(output, inputs=population.sources, overwrite=overwrite)
    admin = None if options.by is None else read_admin(options.by, options.admin_name)
    sample = draw_sample(population, options, admin, distances)
    with Publication(overwrite=overwrite) as publication:
        fields = (*FIELDS, *SAMPLE_FIELDS)
        with vector_writer(
            publication.partial(output),
            population.frame.crs,
            "sample",
            geometry_type=common_type(sample.frame.geometry),
            fields=fields,
        ) as writer:
            writer.append(sample.frame)
        publication.sidecar(output, sample.facts)
    return sample


def draw_sample(
    population: Population,
    options: SampleOptions,
    admin: Admin | None = None,
    distances: Mapping[str, float] | None = None,
) -> Sample:
    """Draw a sample of a population.

    Parameters
    ----------
    population
        What is sampled.
    options
        How.
    admin
        Areas that have strata of their own, or None.
    distances
        How far each building lies from what the model learnt from, by `building_id`, or None.

    Raises
    ------
    OptionError
        If the sample is too small for the areas.
    """
    generator = np.random.default_rng(options.seed)
    number = min(options.number, len(population))
    by_chance = number
    if options.purpose == "adapt":
        by_chance = min(number, round(options.estimate_share * number))
    if distances is not None and options.purpose == "adapt" and not by_chance:
        raise OptionError(
            "--familiarity needs buildings drawn by chance; give --estimate-share, too"
        )
    groups = _groups(population, admin, distances)
    strata = _strata(population, options, groups, by_chance)
    drawn = _drawn(population, strata, by_chance)
    frame = population.frame
    lon, lat = (frame[name].to_numpy(dtype=np.float64) for name in ("lon", "lat"))
    rows = draw(strata, drawn, lon, lat, generator) if by_chance else np.zeros(0, np.int64)
    taught = choose_to_teach(
        population.probabilities,
        lon,
        lat,
        without=rows,
        number=number - len(rows),
    )
    warnings = _warnings(population, options, number, by_chance)
    return Sample(
        _frame(population, strata, drawn, rows, taught, generator),
        {
            **_facts(population, options, strata, drawn, len(taught)),
            "familiarity": distances is not None,
            "warnings": list(warnings),
        },
        warnings,
    )


def _groups(
    population: Population, admin: Admin | None, distances: Mapping[str, float] | None
) -> list[str] | None:
    """Return the name of the group of each building that has strata of its own; None of none."""
    areas = None if admin is None else areas_of(population.frame, admin)
    if distances is None:
        return areas
    far = np.array([distances.get(str(name), np.nan) for name in population.frame["building_id"]])
    known = np.isfinite(far)
    # A building that nobody measured is nobody's acquaintance.
    limit = np.quantile(far[known], 1 - LESS_FAMILIAR) if known.any() else -np.inf
    kinds = np.where(known & (far <= limit), "familiar", "less familiar").tolist()
    if areas is None:
        return [str(kind) for kind in kinds]
    return [f"{area}: {kind}" for area, kind in zip(areas, kinds, strict=True)]


def _strata(
    population: Population, options: SampleOptions, groups: list[str] | None, number: int
) -> Strata:
    if options.design == "simple" or not number:
        if groups is not None and options.design == "simple":
            raise OptionError(
                "--by and --familiarity have strata, and --design simple has none; leave one out"
            )
        return one_stratum(len(population))
    most = max(number // 3, 1)
    strata = make_strata(population.grade, population.probabilities, groups, most=most)
    if len(strata.names) > number:
        raise OptionError(
            f"--number {number}: fewer than the {len(strata.names):,} areas; give more, or leave"
            " out --by"
        )
    return strata


def _drawn(population: Population, strata: Strata, number: int) -> Numbers:
    if not number:
        return np.zeros(len(strata.names), np.int64)
    probabilities = population.probabilities
    spreads: Floats = np.array(
        [expected_spread(probabilities[strata.of == h]) for h in range(len(strata.names))]
    )
    return allocate(strata.sizes, spreads, number)


def _frame(
    population: Population,
    strata: Strata,
    drawn: Numbers,
    rows: Numbers,
    taught: Numbers,
    generator: np.random.Generator,
) -> gpd.GeoDataFrame:
    order = generator.permutation(len(rows) + len(taught))
    both = np.concatenate([rows, taught])[order]
    by_chance = (order < len(rows)).tolist()
    of = strata.of[both]
    sizes = strata.sizes
    frame = population.frame.iloc[both].reset_index(drop=True)

    def where_drawn(values: Any) -> list[Any]:
        return [
            value if is_drawn else None for value, is_drawn in zip(values, by_chance, strict=True)
        ]

    columns = {
        "sample_order": np.arange(1, len(both) + 1),
        "drawn_for": ["estimate" if is_drawn else "adapt" for is_drawn in by_chance],
        "stratum": where_drawn(strata.names[h] for h in of),
        "stratum_buildings": pd.array(where_drawn(sizes[of].tolist()), dtype="Int64"),
        "inclusion_probability": where_drawn((drawn / sizes)[of].tolist()),
        **dict.fromkeys(("reviewed_damage", "reviewer", "reviewed_at")),
    }
    return gpd.GeoDataFrame(frame.assign(**columns), crs=frame.crs)


def _facts(
    population: Population, options: SampleOptions, strata: Strata, drawn: Numbers, taught: int
) -> dict[str, Any]:
    by_chance = int(drawn.sum())
    return {
        "statement": STATEMENT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"geodamage": __version__},
        "sample": "buildings",
        "drawn_for": {"estimate": by_chance, "adapt": taught},
        "design": options.design if by_chance else None,
        "seed": options.seed,
        "areas": None if options.by is None else options.by.name,
        **identity(population),
        "strata": [
            {"name": name, "buildings": int(size), "drawn": int(count)}
            for name, size, count in zip(strata.names, strata.sizes, drawn, strict=True)
            if by_chance
        ],
    }


def identity(population: Population) -> dict[str, Any]:
    """Return what a sample keeps of a population, so that another one is told apart."""
    return {
        "results": [str(path) for path in population.sources],
        "models": list(population.models),
        "population_buildings": len(population),
        "population_sha256": population.fingerprint,
        "without_grade": population.ungraded,
    }


def _warnings(
    population: Population, options: SampleOptions, number: int, by_chance: int
) -> tuple[str, ...]:
    said = list(population.doubts)
    if number < options.number:
        graded = counted(len(population), "building has", "buildings have")
        said.append(f"only {graded} a grade; the sample is all of them")
    if by_chance < number:
        said.append(f"{counted(number - by_chance, 'building is', 'buildings are')} {TEACHES}")
    return tuple(said)
