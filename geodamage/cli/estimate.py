"""`geodamage estimate`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.cli.tables import NOT_DEFINED, align
from geodamage.damage import GRADES
from geodamage.options.lookup import taken
from geodamage.words import counted


@click.command(name="estimate")
@click.argument("results", nargs=-1, required=True, type=FILE, metavar="RESULT...")
@takes("estimate")
def command(
    results: tuple[Path, ...],
    output: Path | None,
    as_json: bool,
    quiet: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Estimate how many buildings have each grade, with 95 % intervals.

    RESULT is the result that `geodamage sample` drew from. --reviewed names the sample with the
    answers of the reviewers: no-damage, minor-damage, major-damage, destroyed, no building, or
    unclear.

    \b
    Example:
      geodamage estimate buildings.gpkg --reviewed sample.gpkg --answers answers.csv
    """  # noqa: D301
    # After the options are known to be good: these imports take a second.
    from geodamage.output.json_values import json_ready
    from geodamage.reviews.estimation import EstimateOptions, estimate, write_estimate

    fields = EstimateOptions(**taken("EstimateOptions", "estimate", options))
    if output is None:
        found = estimate(results, fields)
    else:
        found = write_estimate(results, output, fields, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(json_ready(found), ensure_ascii=False, allow_nan=False))
    else:
        click.echo("\n".join(_lines(found)))
    if not quiet:
        for warning in found["warnings"]:
            click.echo(f"geodamage: warning: {warning}", err=True)
        if output is not None:
            click.echo(f"wrote {output}", err=True)
        click.echo(found["statement"], err=True)


def _lines(found: Mapping[str, Any]) -> list[str]:
    """Return what a person reads."""
    rows = [["", "the result", "estimate", "from", "to", "share", "from", "to"]]
    names = [*(grade.label for grade in GRADES), "damaged", "no building"]
    rows += [[name, f"{found[name]['predicted']:,}", *_figures(found[name])] for name in names]
    for name in ("missed", "missed-damaged"):
        if name in found:
            rows.append([name.replace("-", ", "), "", *_figures(found[name])])
    lines = align(rows, right=set(range(1, 8)))
    lines += ["", *_of_the_model(found["model"])]
    for pair in found["reviewers"]:
        lines.append(
            f"{pair['reviewers'][0]} and {pair['reviewers'][1]} on "
            f"{counted(pair['buildings'], 'building')}:"
            f" linear kappa {_rate(pair['linear_kappa'])}, quadratic"
            f" {_rate(pair['quadratic_kappa'])}"
        )
    if found["areas"] is not None:
        lines += ["", *_areas(found["areas"])]
    return [*lines, "", found["says"]]


def _figures(total: Mapping[str, float]) -> list[str]:
    counts = [f"{total[key]:,.0f}" for key in ("total", "low", "high")]
    if "share" not in total:
        return counts
    return [*counts, *(f"{100 * total[k]:.1f} %" for k in ("share", "share_low", "share_high"))]


def _of_the_model(model: Mapping[str, Any]) -> list[str]:
    names = {
        "accuracy": "accuracy", "linear_kappa": "linear kappa",
        "quadratic_kappa": "quadratic kappa",
    }  # fmt: skip
    rows = [["the model", "", "from", "to"]]
    for key, name in names.items():
        figures = model[key] or dict.fromkeys(("value", "low", "high"))
        rows.append([name, *(_rate(figures[end]) for end in ("value", "low", "high"))])
    return align(rows, right={1, 2, 3})


def _areas(areas: list[Mapping[str, Any]]) -> list[str]:
    rows = [["area", "buildings", "reviewed", "damaged", "from", "to"]]
    for area in areas:
        total = area["damaged"]["total"]
        known = NOT_DEFINED if total != total else f"{total:,.0f}"
        ends = (f"{area['damaged'][end]:,.0f}" for end in ("low", "high"))
        rows.append([area["name"], f"{area['buildings']:,}", f"{area['answered']:,}", known, *ends])
    return align(rows, right=set(range(1, 6)))


def _rate(value: float | None) -> str:
    return NOT_DEFINED if value is None else f"{value:.3f}"
