"""`geodamage export`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.options.lookup import taken


@click.command(name="export")
@click.argument("result", type=FILE)
@takes("export")
def command(result: Path, output: Path, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Write a result in the format and the schema that others use.

    RESULT is a result of `geodamage assess`, or a GeoPackage of `geodamage event`. The extension
    of the output picks the format. The sidecar lists what a schema loses.

    \u0008
    Example:
      geodamage export buildings.gpkg -o buildings.kmz --schema cems
    """
    # After the options are known to be good: these imports take a second.
    from geodamage.exports.exporting import ExportOptions, export

    fields = ExportOptions(**taken("ExportOptions", "export", options))
    exported = export(result, output, fields, overwrite=overwrite)
    if quiet:
        return
    for line in (*exported.facts["schema"]["loses"], *exported.facts["schema"]["differs"]):
        click.echo(f"schema {fields.schema}: {line}", err=True)
    for note in exported.notes:
        click.echo(f"geodamage: note: {note}", err=True)
    names = ", ".join(str(path) for path in exported.files)
    click.echo(f"{exported.buildings:,} buildings; wrote {names}", err=True)
