# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines of learning an event, and what their figures say: sample, estimate, adapt, regrade.

These commands take seconds and say no progress; what `estimate` and `adapt` found is JSON on
stdout.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.commands import option_words
from geodamage_qgis.scale import TITLES
from geodamage_qgis.translation import tr

#: Choices of the tool, the default first.
DESIGN_CHOICES = ("stratified", "simple")
PURPOSE_CHOICES = ("estimate", "adapt")
CONFLICT_CHOICES = ("majority", "worst", "mildest", "latest", "refuse")

#: Ends of the names of files that learning writes beside a result.
SAMPLE_END, MODEL_END, REGRADED_END = "_sample.gpkg", "_event-model.toml", "_regraded.gpkg"

#: What an estimate has totals of, and how people call it.
_TARGETS = {"damaged": "damaged", **TITLES, "no building": "no building"}
#: Figures of a model before and after learning.
_FIGURES = {
    "auc": "AUC",
    "damaged_f1": "F1",
    "kappa": "kappa",
    "log_loss": "log loss",
}


@dataclass(frozen=True)
class SampleParameters:
    """What `geodamage sample` is asked for; None and False leave an option to the tool.

    Attributes
    ----------
    results
        Results, folders of a batch, or the layer of an event.
    output
        The sample.
    number
        Buildings to look at.
    design, purpose
        One of `DESIGN_CHOICES` and `PURPOSE_CHOICES`.
    estimate_share
        Share of a sample for adapt that is drawn by chance.
    seed
        The same seed draws the same sample.
    by, admin_name
        Areas that have strata of their own, and the field with their names.
    overwrite
        Replace a sample that is there.
    familiarity
        Strata of what looks least like the training imagery.
    """

    results: Sequence[str]
    output: str
    number: int | None = None
    design: str | None = None
    purpose: str | None = None
    estimate_share: float | None = None
    seed: int | None = None
    by: str | None = None
    admin_name: str | None = None
    overwrite: bool = False
    familiarity: bool = False


@dataclass(frozen=True)
class EstimateParameters:
    """What `geodamage estimate` is asked for.

    Attributes
    ----------
    results
        What the sample was drawn of.
    reviewed
        The sample.
    answers
        Files of answers; those of the sample unless given.
    conflicts
        What counts where reviewers differ, one of `CONFLICT_CHOICES`.
    by, admin_name
        Areas to estimate each of, and the field with their names.
    areas
        Cells that were looked at in full.
    output
        File of the figures, `.json`.
    overwrite
        Replace an estimate that is there.
    """

    results: Sequence[str]
    reviewed: str
    answers: Sequence[str] = ()
    conflicts: str | None = None
    by: str | None = None
    admin_name: str | None = None
    areas: str | None = None
    output: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class AdaptParameters:
    """What `geodamage adapt` is asked for.

    Attributes
    ----------
    results
        Results with features, or a folder of a batch.
    reviewed
        Answers: a sample, a journal or a table.
    output
        The event model, `.toml`.
    force
        Write the event model even if it is not shown to help.
    overwrite
        Replace a model that is there.
    """

    results: Sequence[str]
    reviewed: str
    output: str
    force: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class RegradeParameters:
    """What `geodamage regrade` is asked for.

    Attributes
    ----------
    result
        A result with features.
    model
        The event model.
    output
        The result with new grades.
    overwrite
        Replace a result that is there.
    """

    result: str
    model: str
    output: str
    overwrite: bool = False


def sample_command(executable: str | Path, parameters: SampleParameters) -> list[str]:
    """Return the command line that draws a sample."""
    names = (
        "output",
        "number",
        "design",
        "estimate_share",
        "seed",
        "by",
        "admin_name",
        "familiarity",
    )
    words = option_words(parameters, (*names, "overwrite"))
    purpose = [f"--for={parameters.purpose}"] if parameters.purpose else []
    return [str(executable), "sample", *purpose, *words, "--", *parameters.results]


def estimate_command(executable: str | Path, parameters: EstimateParameters) -> list[str]:
    """Return the command line of an estimate, whose figures come as JSON on stdout."""
    names = ("output", "reviewed", "conflicts", "by", "admin_name", "areas", "overwrite")
    words = option_words(parameters, names)
    words += [f"--answers={path}" for path in parameters.answers]
    return [str(executable), "estimate", "--json", *words, "--", *parameters.results]


def adapt_command(executable: str | Path, parameters: AdaptParameters) -> list[str]:
    """Return the command line that learns, whose figures come as JSON on stdout."""
    words = option_words(parameters, ("output", "reviewed", "force", "overwrite"))
    return [str(executable), "adapt", "--json", *words, "--", *parameters.results]


def regrade_command(executable: str | Path, parameters: RegradeParameters) -> list[str]:
    """Return the command line that grades a result again."""
    words = option_words(parameters, ("output", "model", "overwrite"))
    return [str(executable), "regrade", *words, "--", parameters.result]


def beside(result: str | Path, end: str) -> Path:
    """Return the path of a file that learning writes beside a result."""
    path = Path(result)
    stem = path.name[: -len(SAMPLE_END)] if path.name.endswith(SAMPLE_END) else path.stem
    return path.with_name(f"{stem}{end}")


def read_figures(output: str) -> dict[str, Any]:
    """Read what a command printed.

    Raises
    ------
    PluginError
        If it is no JSON object.
    """
    try:
        found = json.loads(output)
    except ValueError as error:
        raise PluginError(tr("the figures cannot be read; update geodamage"), output) from error
    if not isinstance(found, dict):
        raise PluginError(tr("the figures cannot be read; update geodamage"), output)
    return found


def estimate_html(figures: Mapping[str, Any]) -> str:
    """Return the totals of an estimate as a table with what it does not count."""
    head = "".join(
        f"<th align='right'>&nbsp;{_unbroken(text)}</th>"
        for text in (tr("model"), tr("estimate"), tr("95 % interval"))
    )
    rows = [f"<tr><th></th>{head}</tr>"]
    for name, title in _TARGETS.items():
        total = figures.get(name)
        if isinstance(total, Mapping):
            cells = (_count(total, "predicted"), f"<b>{_count(total, 'total')}</b>", _ends(total))
            rows.append(_row(tr(title), cells))
    table = f"<table cellpadding='1' cellspacing='0'>{''.join(rows)}</table>"
    return f"{table}<p>{html.escape(str(figures.get('says') or ''))}</p>"


def adapt_html(figures: Mapping[str, Any]) -> str:
    """Return what learning gained as a table: before, after, and the interval of the gain."""
    parts = [figures.get(name) for name in ("before", "after", "gain")]
    before, after, gain = (part if isinstance(part, Mapping) else {} for part in parts)
    titles = (tr("now"), tr("learnt"), tr("gain"))
    head = "".join(f"<th align='right'>&nbsp;{_unbroken(text)}</th>" for text in titles)
    rows = [f"<tr><th></th>{head}</tr>"]
    for name, title in _FIGURES.items():
        cells = (_first(before.get(name)), f"<b>{_first(after.get(name))}</b>", _span(gain, name))
        rows.append(_row(title, cells))
    about = tr("AUC and F1 are of damaged or not; the gain is its interval of 95 %.")
    return f"<table cellpadding='1' cellspacing='0'>{''.join(rows)}</table><p>{about}</p>"


def grades_html(before: Sequence[Mapping[str, int]], after: Sequence[Mapping[str, int]]) -> str:
    """Return the counts of each grade before and after grading again as a table."""
    head = "".join(f"<th align='right'>&nbsp;{text}</th>" for text in (tr("now"), tr("learnt")))
    rows = [f"<tr><th></th>{head}</tr>"]
    for grade, title in TITLES.items():
        counts = [sum(counted.get(grade, 0) for counted in part) for part in (before, after)]
        rows.append(_row(tr(title), [f"{counts[0]:,}", f"<b>{counts[1]:,}</b>"]))
    return f"<table cellpadding='1' cellspacing='0'>{''.join(rows)}</table>"


def _row(title: str, cells: Sequence[str]) -> str:
    listed = "".join(f"<td align='right'>&nbsp;{_unbroken(cell)}</td>" for cell in cells)
    return f"<tr><td>{_unbroken(html.escape(title))}</td>{listed}</tr>"


def _unbroken(text: str) -> str:
    return text.replace(" ", "&nbsp;")


def _count(total: Mapping[str, Any], key: str) -> str:
    value = total.get(key)
    return f"{value:,.0f}" if isinstance(value, (int, float)) else "–"


def _ends(total: Mapping[str, Any]) -> str:
    return f"{_count(total, 'low')}–{_count(total, 'high')}"


def _numbers(values: Any) -> list[float]:
    """Return value, low and high; nothing where a figure is not defined."""
    listed = list(values) if isinstance(values, (list, tuple)) else []
    if len(listed) != 3 or not all(isinstance(value, (int, float)) for value in listed):
        return []
    return [] if any(value != value for value in listed) else listed


def _first(values: Any) -> str:
    numbers = _numbers(values)
    return f"{numbers[0]:.2f}" if numbers else "–"


def _span(gain: Mapping[str, Any], name: str) -> str:
    numbers = _numbers(gain.get(name))
    if not numbers:
        return "–"
    return tr("{low} to {high}", low=f"{numbers[1]:+.2f}", high=f"{numbers[2]:+.2f}")
