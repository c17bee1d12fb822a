"""`geodamage regrade`."""

from pathlib import Path

import click

from geodamage.cli.arguments import FILE, takes


@click.command(name="regrade")
@click.argument("result", type=FILE)
@takes("regrade")
def command(
    result: Path, output: Path, model: Path, features: Path | None, overwrite: bool, quiet: bool
) -> None:
    """Grade a result again with an event model, without the imagery.

    RESULT is a result of `geodamage assess --features`. A reviewed building keeps its
    reviewed grade, and `source` says so.

    \b
    Example:
      geodamage regrade buildings.gpkg --model event-model.toml -o better.gpkg
    """  # noqa: D301
    from geodamage.adaptation.regrading import regrade

    facts = regrade(result, model, output, features=features, overwrite=overwrite)
    if quiet:
        return
    total = max(sum(facts["buildings_per_grade"].values()), 1)
    for label, count in facts["buildings_per_grade"].items():
        click.echo(f"{label:<13}{count:>10,}{100 * count / total:>7.1f} %", err=True)
    click.echo(
        f"{'not assessed':<13}{facts['buildings_per_status']['not_assessed']:>10,}", err=True
    )
    click.echo(f"wrote {output} and {output}.json", err=True)
    click.echo(facts["statement"], err=True)
