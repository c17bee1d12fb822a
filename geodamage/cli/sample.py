"""`geodamage sample`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.errors import OptionError
from geodamage.options.lookup import taken
from geodamage.words import counted

_WITHOUT_AREAS = {"purpose": "--for", "by": "--by", "estimate_share": "--estimate-share"}


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
    sample = write_sample(results, output, SampleOptions(**fields), overwrite=options["overwrite"])
    if options["quiet"]:
        return
    for stratum in sample.facts["strata"]:
        click.echo(
            f"{stratum['name']:<24}{stratum['drawn']:>7,} of {stratum['buildings']:>9,}", err=True
        )
    for warning in sample.warnings:
        click.echo(f"geodamage: warning: {warning}", err=True)
    click.echo(f"{counted(len(sample.frame), 'building')} to look at; wrote {output}", err=True)


def _draw_areas(results: tuple[Path, ...], output: Path, options: dict[str, Any]) -> None:
    for name, flag in _WITHOUT_AREAS.items():
        if options[name] not in (None, 0.0, "estimate"):
            raise OptionError(f"{flag} chooses buildings, and --areas draws ground; leave one out")

    from geodamage.reviews.areas import write_areas

    frame = write_areas(
        results,
        output,
        number=options["number"],
        cell=options["cell"],
        seed=options["seed"],
        overwrite=options["overwrite"],
    )
    if not options["quiet"]:
        click.echo(f"{counted(len(frame), 'cell')} to look at in full; wrote {output}", err=True)
