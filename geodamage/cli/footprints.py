"""`geodamage footprints`."""

import json
from collections.abc import Mapping
from typing import Any

import click

from geodamage.cli.arguments import takes
from geodamage.options.lookup import taken


@click.command(name="footprints")
@takes("footprints")
def command(as_json: bool, quiet: bool, **options: Any) -> None:
    """Collect building footprints from a file or published data.

    SOURCE is overture, osm, microsoft or google, which are read from their servers with
    --allow-remote, or a file: GeoParquet, PMTiles, FlatGeobuf or another vector file. Give several
    to fill the gaps of the first.

    \b
    Example:
      geodamage footprints --like pre.tif --source city.parquet -o footprints.gpkg
    """  # noqa: D301
    # After the options are known to be good: these imports take a second.
    from geodamage.footprints.gathering import FootprintsJob, gather

    job = FootprintsJob(**taken("FootprintsJob", "footprints", options))
    with gather(job) as work:
        for progress in work:
            if not quiet:
                level = "warning: " if progress.warning else ""
                click.echo(f"geodamage: {level}{progress.message}", err=True)
    facts = work.result()
    if as_json:
        click.echo(json.dumps({"output": str(job.output), **facts}, ensure_ascii=False))
    if not quiet:
        for source in facts["sources"]:
            click.echo(_line(source), err=True)
        click.echo(
            f"{facts['footprints']:,} footprints\nwrote {job.output} and {job.output}.json",
            err=True,
        )


def _line(source: Mapping[str, Any]) -> str:
    release = "" if source["release"] is None else f" {source['release']}"
    left = f", {source['left_out']:,} of them in earlier sources" if source["left_out"] else ""
    line = f"{source['source']}{release}: {source['read']:,} footprints{left}"
    return line if source["licence"] is None else f"{line}; {source['licence']}"
