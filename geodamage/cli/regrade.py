"""`geodamage regrade`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from geodamage.cli.arguments import FILE, takes


@click.command(name="regrade")
@click.argument("results", nargs=-1, required=True, type=FILE, metavar="RESULT...")
@takes("regrade")
def command(
    results: tuple[Path, ...],
    output: Path,
    model: Path,
    features: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Grade results again with an event model, without the imagery.

    RESULT is a result of `geodamage assess --features`, or a folder of `geodamage batch`. A
    reviewed building keeps its reviewed grade, and `source` says so. Several results go into a
    folder, `scenes/NAME/buildings.*`.

    \b
    Examples:
      geodamage regrade buildings.gpkg --model event-model.toml -o better.gpkg
      geodamage regrade results --model event-model.toml -o better
    """  # noqa: D301
    from geodamage.adaptation.regrading import regrade, regrade_scenes
    from geodamage.errors import OptionError

    if len(results) == 1 and not results[0].is_dir():
        told = [regrade(results[0], model, output, features=features, overwrite=overwrite)]
        written = f"{output} and {output}.json"
    elif features is not None:
        raise OptionError("--features: give it with one result; several have theirs beside them")
    else:
        told = regrade_scenes(results, model, output, overwrite=overwrite)
        written = f"{output}/scenes: {len(told)} regraded"
    if not quiet:
        _say(told, written)


def _say(told: Sequence[dict[str, Any]], written: str) -> None:
    """Print how many buildings of all results have each grade."""
    counts = {
        label: sum(facts["buildings_per_grade"][label] for facts in told)
        for label in told[0]["buildings_per_grade"]
    }
    total = max(sum(counts.values()), 1)
    for label, count in counts.items():
        click.echo(f"{label:<13}{count:>10,}{100 * count / total:>7.1f} %", err=True)
    blank = sum(facts["buildings_per_status"]["not_assessed"] for facts in told)
    click.echo(f"{'not assessed':<13}{blank:>10,}", err=True)
    click.echo(f"wrote {written}", err=True)
    click.echo(told[0]["statement"], err=True)
