"""`geodamage sample`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.cli.tables import align
from geodamage.errors import OptionError
from geodamage.options.lookup import taken
from geodamage.words import counted

_WITHOUT_AREAS = {
    "purpose": "--for", "by": "--by", "estimate_share": "--estimate-share",
    "familiarity": "--familiarity",
}  # fmt: skip


@click.command(name="sample")
@click.argument("results", nargs=-1, required=True, type=FILE, metavar="RESULT...")
@takes("sample")
def command(results: tuple[Path, ...], output: Path, **options: Any) -> None:
    """Draw a sample of buildings for a person to review.

    RESULT is a result of `geodamage assess`, several of them, an output folder of `geodamage
    batch`, or a layer of `geodamage event`. The sample has a field reviewed_damage for the
    answers; `geodamage estimate` and `geodamage adapt` read it.

    \b
    Example:
      geodamage sample buildings.gpkg -n 100 -o sample.gpkg
    """  # noqa: D301
    if options["areas"]:
        _draw_areas(results, output, options)
        return
    # After the options are known to be good: these imports take a second.
    from geodamage.reviews.sampling import SampleOptions, write_sample

    fields = taken("SampleOptions", "sample", options)
    sample = write_sample(
        results,
        output,
        SampleOptions(**fields),
        distances=_distances(results) if options["familiarity"] else None,
        overwrite=options["overwrite"],
    )
    if options["quiet"]:
        return
    rows = [
        [stratum["name"], f"{stratum['drawn']:,}", "of", f"{stratum['buildings']:,}"]
        for stratum in sample.facts["strata"]
    ]
    for line in align(rows, right={1, 3}):
        click.echo(line, err=True)
    for warning in sample.warnings:
        click.echo(f"geodamage: warning: {warning}", err=True)
    click.echo(f"{counted(len(sample.frame), 'building')} to look at; wrote {output}", err=True)


def _distances(results: tuple[Path, ...]) -> dict[str, float]:
    from geodamage.familiarity.buildings import building_distances

    return building_distances(results)


def _draw_areas(results: tuple[Path, ...], output: Path, options: dict[str, Any]) -> None:
    for name, flag in _WITHOUT_AREAS.items():
        if options[name] not in (None, False, 0.0, "estimate"):
            raise OptionError(f"{flag} chooses buildings, and --areas draws ground; leave one out")

    from geodamage.reviews.areas import write_areas

    areas = write_areas(
        results,
        output,
        number=options["number"],
        cell=options["cell"],
        seed=options["seed"],
        overwrite=options["overwrite"],
    )
    if not options["quiet"]:
        for warning in areas.warnings:
            click.echo(f"geodamage: warning: {warning}", err=True)
        click.echo(
            f"{counted(len(areas.frame), 'cell')} to look at in full; wrote {output}", err=True
        )
