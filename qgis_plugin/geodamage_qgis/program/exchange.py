# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines of what a result is exchanged with: `export`, `compare`, `event`, `models import`.

What `compare` found is JSON on stdout.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodamage_qgis.program.commands import option_words
from geodamage_qgis.scale import TITLES
from geodamage_qgis.translation import tr

#: Extensions of exports, the usual one first.
EXPORT_EXTENSIONS = (
    ".gpkg", ".geojson", ".geojsonl", ".fgb", ".parquet", ".shp", ".kml", ".kmz", ".csv", ".xlsx",
    ".pmtiles",
)  # fmt: skip
#: Choices of the tool, the default first.
SCHEMA_CHOICES = ("geodamage", "cems", "unosat", "fema", "ems98", "microsoft", "binary")
GEOMETRY_CHOICES = ("auto", "polygon", "point")
GEOPARQUET_CHOICES = ("1.1", "2.0")
OFFICIAL_CHOICES = (
    "auto", "geodamage", "cems", "unosat", "fema", "ems98", "microsoft", "hot", "binary",
)  # fmt: skip
UNLISTED_CHOICES = ("auto", "undamaged", "unknown")

#: What a comparison says of damaged or not, and how people call it.
_AGREEMENTS = {
    "same": "same answer",
    "kappa": "kappa",
    "precision": "precision",
    "recall": "recall",
}


@dataclass(frozen=True)
class ExportParameters:
    """What `geodamage export` is asked for; None and False leave an option to the tool.

    Attributes
    ----------
    result
        A result, or the layer of an event.
    output
        The export; its extension picks the format.
    schema, geometry
        One of `SCHEMA_CHOICES` and `GEOMETRY_CHOICES`.
    labels
        Words instead of codes.
    wkt
        Outlines in a column of a table.
    geoparquet
        Version of `.parquet`, one of `GEOPARQUET_CHOICES`.
    max_features
        Buildings a file of `.kml` or `.kmz`.
    min_zoom, max_zoom
        Of `.pmtiles`.
    overwrite
        Replace an export that is there.
    """

    result: str
    output: str
    schema: str | None = None
    labels: bool = False
    geometry: str | None = None
    wkt: bool = False
    geoparquet: str | None = None
    max_features: int | None = None
    min_zoom: int | None = None
    max_zoom: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class CompareParameters:
    """What `geodamage compare` is asked for; its figures are JSON on stdout.

    Attributes
    ----------
    result, official
        A result, and the layer that it is compared with.
    output, page
        Files of what differs (`.gpkg`) and of a page with a map (`.html`).
    schema, unlisted
        One of `OFFICIAL_CHOICES` and `UNLISTED_CHOICES`.
    tolerance, cell
        Metres: up to which a point still means a building, and the side of the cells.
    within
        Polygons of what the official layer covers.
    epoch
        Which assessment of a layer that has several.
    overwrite
        Replace files that are there.
    """

    result: str
    official: str
    output: str | None = None
    schema: str | None = None
    tolerance: float | None = None
    unlisted: str | None = None
    within: str | None = None
    epoch: int | None = None
    page: str | None = None
    cell: float | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class EventParameters:
    """What `geodamage event` is asked for.

    Attributes
    ----------
    results
        Results, and folders of a batch.
    output
        The layer of the event, `.gpkg`.
    dates
        Table of the scenes' dates.
    estimate
        File of an estimate, whose totals come with the event.
    admin, admin_name
        Areas to sum up by, and the field with their names.
    cell
        Side of the cells of the grid, metres.
    population
        Raster of people per cell.
    update
        Add to the event that is there.
    overwrite
        Replace an event that is there.
    """

    results: Sequence[str]
    output: str
    dates: str | None = None
    estimate: str | None = None
    admin: str | None = None
    admin_name: str | None = None
    cell: float | None = None
    population: str | None = None
    update: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class ImportParameters:
    """What `geodamage models import` is asked for.

    Attributes
    ----------
    files
        Checkpoints, or ONNX files of other programs.
    output
        Name of the model, by which the program knows it from then on.
    licence
        Of the weights.
    convention
        Name or file of how an ONNX file takes images.
    overwrite
        Replace a model that is there.
    """

    files: Sequence[str]
    output: str
    licence: str | None = None
    convention: str | None = None
    overwrite: bool = False


def export_command(executable: str | Path, parameters: ExportParameters) -> list[str]:
    """Return the command line of an export."""
    names = (
        "output", "schema", "labels", "geometry", "wkt", "geoparquet", "max_features", "min_zoom",
        "max_zoom", "overwrite",
    )  # fmt: skip
    words = option_words(parameters, names)
    return [str(executable), "export", *words, "--", parameters.result]


def compare_command(executable: str | Path, parameters: CompareParameters) -> list[str]:
    """Return the command line of a comparison, whose figures come as JSON on stdout."""
    names = ("output", "schema", "tolerance", "unlisted", "within", "epoch", "page", "cell",
             "overwrite")  # fmt: skip
    words = option_words(parameters, names)
    layers = [parameters.result, parameters.official]
    return [str(executable), "compare", "--json", *words, "--", *layers]


def event_command(executable: str | Path, parameters: EventParameters) -> list[str]:
    """Return the command line that merges results to an event."""
    names = ("output", "dates", "estimate", "admin", "admin_name", "cell", "population", "update",
             "overwrite")  # fmt: skip
    words = option_words(parameters, names)
    return [str(executable), "event", *words, "--", *parameters.results]


def import_command(executable: str | Path, parameters: ImportParameters) -> list[str]:
    """Return the command line that makes a model of other weights."""
    words = option_words(parameters, ("output", "licence", "convention", "overwrite"))
    return [str(executable), "models", "import", "--install", *words, "--", *parameters.files]


def compare_html(figures: Mapping[str, Any]) -> str:
    """Return what a comparison found as tables: agreement with intervals, and each pair of grades.

    Parameters
    ----------
    figures
        What `geodamage compare --json` printed.
    """
    damaged = figures.get("damaged")
    damaged = damaged if isinstance(damaged, Mapping) else {}
    head = f"<tr><th></th><th></th><th>{tr('95 %')}</th></tr>"
    rows = [
        f"<tr><td>{tr(title)}</td><td align='right'><b>{_value(damaged.get(name), 'value')}</b>"
        f"</td><td>&nbsp;{_value(damaged.get(name), 'low')}–{_value(damaged.get(name), 'high')}"
        "</td></tr>"
        for name, title in _AGREEMENTS.items()
    ]
    compared = tr("{count} buildings were compared, as damaged or not.")
    notes = [compared.format(count=f"{int(figures.get('compared') or 0):,}")]
    notes += [str(warning) for warning in figures.get("warnings") or ()]
    notes.append(tr("Agreement is no proof of truth: the other layer was drawn from images, too."))
    paragraphs = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    tables = f"<table cellpadding='3'>{head}{''.join(rows)}</table>{_matrix(figures)}"
    return f"{tables}{paragraphs}"


def _matrix(figures: Mapping[str, Any]) -> str:
    """Return how many buildings have each pair of grades; nothing where there are two answers."""
    grades = figures.get("grades")
    if not isinstance(grades, Mapping):
        return ""
    names = [str(name) for name in grades.get("names") or ()]
    titles = [html.escape(tr(TITLES.get(name, name))) for name in names]
    head = "".join(f"<th>{title}</th>" for title in titles)
    rows = [
        f"<tr><td>{title}</td>{''.join(f'<td align=right>{count:,}</td>' for count in counts)}</tr>"
        for title, counts in zip(titles, grades.get("counts") or ())
    ]
    corner = tr("here ↓, there →")
    return f"<table cellpadding='3'><tr><th>{corner}</th>{head}</tr>{''.join(rows)}</table>"


def _value(part: Any, key: str) -> str:
    value = part.get(key) if isinstance(part, Mapping) else None
    return f"{value:.2f}" if isinstance(value, (int, float)) else "–"
