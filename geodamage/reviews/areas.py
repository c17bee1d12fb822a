"""Area samples: squares of ground that a person looks at in full, to count what was missed.

A sample of buildings shows which of them are none; it can never show those that the result lacks.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from geodamage._version import __version__
from geodamage.errors import AnswersError, InputError, OptionError
from geodamage.fields import Field
from geodamage.grid import transformer, utm_zone
from geodamage.output.publication import Publication, check_output
from geodamage.output.vectors import vector_writer
from geodamage.report.findings import STATEMENT
from geodamage.reviews.answers import read_rows
from geodamage.reviews.design import Strata, allocate, draw
from geodamage.reviews.intervals import Interval, count_of_weighted
from geodamage.reviews.population import Population, read_population
from geodamage.reviews.sampling import Sample, identity

AREA_FIELDS: tuple[Field, ...] = (
    Field("cell_id", "text", "EPSG code of the zone, column and row of the cell"),
    Field("sample_order", "integer", "order in which to look, random"),
    Field("stratum", "text", "cells with buildings of the result, and cells without"),
    Field("stratum_cells", "integer", "cells of the stratum"),
    Field("inclusion_probability", "number", "chance to be drawn, 0-1", decimals=10),
    Field("found", "integer", "buildings of the result whose point lies in the cell"),
    Field("missed", "integer", "answer: buildings that the result lacks", nullable=True),
    Field("missed_damaged", "integer", "answer: how many of them are damaged", nullable=True),
    Field("reviewer", "text", "who answered", nullable=True),
    Field("reviewed_at", "text", "when", nullable=True),
)
#: Cells that ground is cut into at most, and buildings that one lacks; more are a slip of the
#: keyboard.
MOST_CELLS = 1_000_000
#: Share of a cell from which it counts: outlines that are known to a centimetre leave slivers.
LEAST_PART = 0.01


def write_areas(
    results: Sequence[str | os.PathLike[str]],
    output: Path,
    *,
    number: int,
    cell: float,
    seed: int,
    overwrite: bool = False,
) -> Sample:
    """Draw cells of the ground that results assessed, and write them.

    Parameters
    ----------
    results
        What `read_population` reads.
    output
        Vector file.
    number
        Cells.
    cell
        Side, metres.
    seed
        Where chance begins.
    overwrite
        Replace a file that is there.

    Raises
    ------
    GeodamageError
        What `write_sample` raises.
    """
    check_output(output, inputs=results, overwrite=overwrite)
    population = read_population(results)
    check_output(output, inputs=population.sources, overwrite=overwrite)
    frame, strata, drawn = draw_areas(population, number=number, cell=cell, seed=seed)
    facts = {
        "statement": STATEMENT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"geodamage": __version__},
        "sample": "areas",
        "cell": cell,
        "seed": seed,
        **identity(population),
        "warnings": list(population.doubts),
        "strata": [
            {"name": name, "cells": int(size), "drawn": int(count)}
            for name, size, count in zip(strata.names, strata.sizes, drawn, strict=True)
        ],
    }
    with Publication(overwrite=overwrite) as publication:
        with vector_writer(
            publication.partial(output), frame.crs, "areas", fields=AREA_FIELDS
        ) as writer:
            writer.append(frame)
        publication.sidecar(output, facts)
    return Sample(frame, facts, population.doubts)


def draw_areas(
    population: Population, *, number: int, cell: float, seed: int
) -> tuple[gpd.GeoDataFrame, Strata, np.ndarray]:
    """Draw cells; those with buildings of the result are one stratum, those without another.

    Raises
    ------
    InputError
        If no sidecar says what ground was assessed.
    OptionError
        If the cells are too small.
    """
    cells = _cells(population, cell)
    empty = (cells["found"] == 0).to_numpy()
    names = [name for name, some in (("with", ~empty), ("without", empty)) if some.any()]
    of = np.where(empty, len(names) - 1, 0).astype(np.int64)
    strata = Strata(tuple(f"{name} buildings" for name in names), of)
    if number < len(names):
        raise OptionError(f"--number {number}: cells with and without buildings need one each")
    # Where there are many buildings, many can be missed.
    found = cells["found"].to_numpy(dtype=np.float64)
    spreads = np.array([np.sqrt(found[of == h].mean() + 0.1) for h in range(len(names))])
    drawn = allocate(strata.sizes, spreads, number)
    generator = np.random.default_rng(seed)
    points = shapely.centroid(cells.geometry.to_numpy())
    rows = draw(strata, drawn, shapely.get_x(points), shapely.get_y(points), generator)
    chosen = cells.iloc[rows].reset_index(drop=True)
    columns = {
        "sample_order": np.arange(1, len(rows) + 1),
        "stratum": [strata.names[h] for h in of[rows]],
        "stratum_cells": strata.sizes[of[rows]],
        "inclusion_probability": (drawn / strata.sizes)[of[rows]],
        "missed": pd.array([None] * len(rows), dtype="Int64"),
        "missed_damaged": pd.array([None] * len(rows), dtype="Int64"),
        "reviewer": None,
        "reviewed_at": None,
    }
    return gpd.GeoDataFrame(chosen.assign(**columns), crs=cells.crs), strata, drawn


def _cells(population: Population, cell: float) -> gpd.GeoDataFrame:
    """Return the squares of a grid that the assessed ground touches, cut by its outline."""
    if population.ground is None:
        raise InputError(
            f"{population.sources[0]}: its sidecar does not say what ground was assessed; assess"
            " again"
        )
    middle = shapely.get_coordinates(shapely.centroid(population.ground))
    zone = CRS.from_epsg(int(utm_zone(middle[:, 0], middle[:, 1])[0]))
    to_utm = transformer(population.frame.crs, zone)

    def warp(points: np.ndarray) -> np.ndarray:
        return np.column_stack(to_utm.transform(points[:, 0], points[:, 1]))

    ground = shapely.transform(population.ground, warp)
    left, bottom, right, top = shapely.bounds(ground) / cell
    shape = int(np.ceil(right) - np.floor(left)), int(np.ceil(top) - np.floor(bottom))
    if shape[0] * shape[1] > MOST_CELLS:
        raise OptionError(f"--cell {cell:g}: over {MOST_CELLS:,} cells; give a larger one")
    x, y = np.meshgrid(np.arange(shape[0]) + np.floor(left), np.arange(shape[1]) + np.floor(bottom))
    x, y = x.ravel(), y.ravel()
    squares = shapely.box(x * cell, y * cell, (x + 1) * cell, (y + 1) * cell)
    parts = shapely.intersection(squares, ground)
    kept = shapely.area(parts) > LEAST_PART * cell**2
    lon, lat = (population.frame[name].to_numpy(dtype=np.float64) for name in ("lon", "lat"))
    east, north = to_utm.transform(lon, lat)
    columns = np.floor(np.asarray(east) / cell), np.floor(np.asarray(north) / cell)
    found = pd.Series(list(zip(*columns, strict=True))).value_counts()
    keys = list(zip(x[kept], y[kept], strict=True))
    return gpd.GeoDataFrame(
        {
            "cell_id": [f"{zone.to_epsg()}-{a:.0f}-{b:.0f}" for a, b in keys],
            "found": [int(found.get(key, 0)) for key in keys],
        },
        geometry=parts[kept],
        crs=zone,
    )


def read_missed(path: Path, population: Population) -> dict[str, Interval]:
    """Return how many buildings the results lack, by an area sample with its answers.

    Parameters
    ----------
    path
        The area sample, `missed` filled in, and `missed_damaged` where it was told.
    population
        What it was drawn of.

    Returns
    -------
    dict
        `missed` and, where it was told of every cell, `missed_damaged`.

    Raises
    ------
    AnswersError
        If it is no area sample, or has no answer or one that makes no sense.
    """
    rows = read_rows(path)
    needed = {"cell_id", "stratum", "stratum_cells", "inclusion_probability", "missed"}
    if missing := sorted(needed - set(rows.columns)):
        raise AnswersError(
            f"{path}: is not an area sample (no field {missing[0]}); draw one with `geodamage "
            f"sample"
            " --areas`"
        )
    counts = _counts(rows, "missed", path)
    is_told = ~np.isnan(counts)
    for stratum in rows["stratum"].unique():
        if not is_told[(rows["stratum"] == stratum).to_numpy()].any():
            raise AnswersError(
                f"{path}: no cell {stratum} has an answer; fill in missed, 0 where none is"
            )
    rows, counts = rows[is_told], counts[is_told]
    told = {"missed": _total(rows, counts, path)}
    if "missed_damaged" in rows.columns:
        damaged = _counts(rows, "missed_damaged", path)
        damaged = np.where(np.isnan(damaged) & (counts == 0), 0, damaged)
        if (damaged > counts).any():
            raise AnswersError(f"{path}: more missed_damaged than missed in a cell; correct it")
        if not np.isnan(damaged).any():
            told["missed_damaged"] = _total(rows, damaged, path)
    return told


def _counts(rows: pd.DataFrame, name: str, path: Path) -> np.ndarray:
    """Return whole numbers of a field, float64 (n,); NaN where there is none."""
    values = pd.Series(rows[name].replace("", None))
    counts = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = (values.notna().to_numpy() & np.isnan(counts)) | (counts < 0) | (counts > MOST_CELLS)
    wrong |= np.nan_to_num(counts, posinf=0.5, neginf=0.5) % 1 > 0
    if wrong.any():
        where = rows["where"].to_numpy()[wrong][0]
        raise AnswersError(f"{path}, {where}: {name} is not a count; give 0 or a whole number")
    return np.asarray(counts, np.float64)


def _total(rows: pd.DataFrame, counts: np.ndarray, path: Path) -> Interval:
    sizes = pd.to_numeric(rows["stratum_cells"], errors="coerce").to_numpy(dtype=np.float64)
    if not ((sizes >= 1) & (sizes <= MOST_CELLS)).all():
        raise AnswersError(
            f"{path}: stratum_cells is not a count; take it from the sample as it is"
        )
    weights = np.zeros(len(rows))
    variance, unseen = 0.0, 0.0
    for stratum in rows["stratum"].unique():
        own = (rows["stratum"] == stratum).to_numpy()
        size, looked = sizes[own][0], int(own.sum())
        weights[own] = size / looked
        rest = max(1 - looked / size, 0.0)
        unseen += rest
        spread = float(counts[own].var(ddof=1)) if looked > 1 else float(counts[own].sum())
        variance += size**2 * rest * spread / looked
    if not unseen:
        total = float(counts.sum())
        return Interval(total, total, total)
    return count_of_weighted(counts, weights, variance)
