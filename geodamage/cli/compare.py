"""`geodamage compare`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.cli.tables import NOT_DEFINED, align
from geodamage.options.lookup import taken


@click.command(name="compare")
@click.argument("result", type=FILE)
@click.argument("official", type=FILE)
@takes("compare")
def command(
    result: Path,
    official: Path,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Compare a result with an official layer of damage.

    RESULT is a result of `geodamage assess` or `geodamage event`. OFFICIAL is a layer of
    Copernicus EMS, UNOSAT, Microsoft, HOT or FEMA, or another result. Its fields tell which.
    Agreement is no proof: the other layer was drawn from images as well.

    \u0008
    Example:
      geodamage compare buildings.gpkg builtUpP_v1.json --page compare.html
    """
    # After the options are known to be good: these imports take a second.
    from geodamage.comparison.comparing import CompareOptions
    from geodamage.comparison.writing import write_comparison
    from geodamage.output.json_values import json_ready

    fields = CompareOptions(**taken("CompareOptions", "compare", options))
    found = write_comparison(result, official, output, fields, overwrite=overwrite).facts
    if as_json:
        click.echo(json.dumps(json_ready(found), ensure_ascii=False, allow_nan=False))
    else:
        click.echo("\n".join(_lines(found)))
    if quiet:
        return
    for warning in found["warnings"]:
        click.echo(f"geodamage: warning: {warning}", err=True)
    for path in (output, fields.page):
        if path is not None:
            click.echo(f"wrote {path}", err=True)


def _lines(found: Mapping[str, Any]) -> list[str]:
    """Return what a person reads."""
    match = found["match"]
    epoch = f", epoch {found['epoch']}" if found["epoch"] else ""
    lines = [
        f"{found['official']}: {found['schema']}, field {found['field']}{epoch}; "
        f"{found['features']:,} features, {found['outside']:,} outside the assessed area",
        f"{match['matched']:,} match a building within {found['tolerance_m']:g} m "
        f"({match['matched_at_twice_the_tolerance']:,} within twice that distance); "
        f"{match['inside']:,} lie on it",
    ]
    if match["median_m"] is not None:
        lines.append(
            f"buildings lie {match['east_m']:g} m east and {match['north_m']:g} m north of them"
        )
    lines += ["", *_table("damaged or not", found["damaged"])]
    for name in ("precision", "recall"):
        lines.append(f"{name} of damaged {_share(found['damaged'][name])}")
    if found["grades"] is not None:
        lines += ["", *_table("grades", found["grades"])]
    cells = found["cells"]
    return [
        *lines,
        "",
        f"damaged in the result only {found['only_result']:,}, in the official layer only "
        f"{found['only_official']:,} ({found['only_official_without_building']:,} match no "
        "building of the result)",
        f"cells of {cells['side_m']:g} m with damage: both {cells['both']:,}, only the result "
        f"{cells['only_result']:,}, only the official layer {cells['only_official']:,}",
    ]


def _table(title: str, table: Mapping[str, Any]) -> list[str]:
    rows = [[f"{title}: result, down", *table["names"]]]
    for name, counts in zip(table["names"], table["counts"], strict=True):
        rows.append([name, *(f"{count:,}" for count in counts)])
    kappa = table["kappa"]
    text = NOT_DEFINED
    if kappa is not None:
        text = _ends(kappa, 1, 3)
    said = f"the same for {_share(table['same'])} of {table['buildings']:,}, kappa {text}"
    return [*align(rows, right=set(range(1, len(rows[0])))), said]


def _share(share: Mapping[str, float | None]) -> str:
    return NOT_DEFINED if share["value"] is None else f"{_ends(share, 100, 1)} %"


def _ends(value: Mapping[str, float | None], factor: float, decimals: int) -> str:
    middle, low, high = (value[key] for key in ("value", "low", "high"))
    if middle is None:
        return NOT_DEFINED
    said = f"{factor * middle:.{decimals}f}"
    if low is None or high is None:
        return said
    return f"{said} ({factor * low:.{decimals}f} to {factor * high:.{decimals}f})"
