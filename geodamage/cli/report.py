"""`geodamage report`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.options.lookup import taken
from geodamage.words import counted


@click.command(name="report")
@click.argument("buildings", type=FILE)
@takes("report")
def command(buildings: Path, output: Path, **options: Any) -> None:
    """Write a result as one page that opens offline in any browser.

    BUILDINGS is a result of `geodamage assess`. With --pre and --post the map shows both dates to
    swipe between, and pictures of the buildings to look at first.

    \u0008
    Example:
      geodamage report buildings.gpkg --pre pre.tif --post post.tif -o report.html
    """
    # After the options are known to be good: these imports take a second.
    from geodamage.report.view import Words
    from geodamage.report.writing import ReportOptions, write_report

    said = {name: word for name, word in taken("Words", "report", options).items() if word}
    view = write_report(
        buildings,
        output,
        pre=options["pre"],
        post=options["post"],
        options=ReportOptions(words=Words(**said), **taken("ReportOptions", "report", options)),
        overwrite=options["overwrite"],
    )
    if not options["quiet"]:
        if view.doubt is not None:
            click.echo(f"geodamage: warning: {view.doubt}", err=True)
        _say(view.findings.buildings, [output, options["map"], options["pdf"]])


def _say(buildings: int, paths: list[Path | None]) -> None:
    written = [str(path) for path in paths if path is not None]
    click.echo(f"{counted(buildings, 'building')}; wrote {', '.join(written)}", err=True)
