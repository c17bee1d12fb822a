"""`geodamage event`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.errors import OptionError
from geodamage.words import counted

if TYPE_CHECKING:
    from geodamage.event.merging import EventProgress, EventSummary, Existing
    from geodamage.work import Work


@click.command(name="event")
@click.argument("sources", nargs=-1, required=True, type=FILE, metavar="DIR_OR_FILE...")
@takes("event")
def command(
    sources: tuple[Path, ...],
    output: Path,
    dates: Path | None,
    admin: Path | None,
    admin_name: str | None,
    cell: float,
    population: Path | None,
    estimate: Path | None,
    update: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Merge the assessments of many scenes into one layer of the event.

    DIR is an output folder of `geodamage batch`, FILE a result of `geodamage assess` with its
    sidecar. Each building comes out once, with its best look; all looks, scenes, the assessed area
    and counts by cell and by area are layers beside it.

    \b
    Example:
      geodamage event batch-monday batch-friday -o event.gpkg --admin districts.gpkg
    """  # noqa: D301
    if update and overwrite:
        raise OptionError("--update keeps the event that is there, --overwrite does not; give one")
    if admin_name is not None and admin is None:
        raise OptionError("--admin-name needs --admin")

    from geodamage.event.looks import find_looks, read_dates
    from geodamage.event.merging import merge_event

    looks = find_looks(sources, dates=None if dates is None else read_dates(dates))
    existing: Existing = "update" if update else "replace" if overwrite else "refuse"
    summary = _follow(
        merge_event(
            looks,
            output,
            admin=admin,
            admin_name=admin_name,
            cell=cell,
            population=population,
            estimate=estimate,
            existing=existing,
        ),
        quiet=quiet,
    )
    if as_json:
        click.echo(json.dumps({"output": str(output), **summary.facts}, ensure_ascii=False))
    if not quiet:
        _print(summary, output)


def _follow(work: "Work[EventProgress, EventSummary]", *, quiet: bool) -> "EventSummary":
    """Run a merge to its end, and say what it says."""
    with work:
        for progress in work:
            if progress.message is not None and not quiet:
                level = "warning: " if progress.warning else ""
                click.echo(f"geodamage: {level}{progress.message}", err=True)
    return work.result()


def _print(summary: "EventSummary", output: Path) -> None:
    facts = summary.facts
    graded = max(sum(facts["buildings_per_grade"].values()), 1)
    for label, count in facts["buildings_per_grade"].items():
        click.echo(f"{label:<13}{count:>10,}{100 * count / graded:>7.1f} %", err=True)
    click.echo(
        f"{'not assessed':<13}{facts['buildings_per_status']['not_assessed']:>10,}", err=True
    )
    click.echo(
        f"{counted(summary.buildings, 'building')} on {facts['assessed_km2']:.3f} km² by "
        f"{counted(summary.looks, 'look')} "
        f"of {counted(summary.scenes, 'scene')} ({summary.fresh:,} new, {summary.redone:,} redone, "
        f"{summary.unchanged:,} known)",
        err=True,
    )
    if facts["admin"] is not None and facts["admin"]["buildings_outside"]:
        count = facts["admin"]["buildings_outside"]
        click.echo(
            f"{counted(count, 'building lies', 'buildings lie')} in no area of "
            f"{facts['admin']['file']}",
            err=True,
        )
    if facts["people"] is not None:
        click.echo(_people(facts["people"]), err=True)
    click.echo(f"wrote {output} and {output}.json", err=True)
    click.echo(facts["statement"], err=True)


def _people(facts: Mapping[str, Any]) -> str:
    damaged = facts["per_grade"]["damaged"]
    interval = ""
    if "low" in damaged:
        interval = f" (by the estimate {damaged['total']:,.0f}: {damaged['low']:,.0f} to "
        interval += f"{damaged['high']:,.0f})"
    return (
        f"{damaged['people']:,.0f} people in damaged buildings{interval}, of "
        f"{facts['in_buildings']:,.0f} in buildings; {facts['in_no_building']:,.0f} in cells "
        "without one"
    )
