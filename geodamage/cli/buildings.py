"""`geodamage buildings`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodamage.cli.arguments import takes
from geodamage.cli.importing import importing
from geodamage.cli.progress import Reporter

if TYPE_CHECKING:
    from geodamage.localisation import FootprintSummary


@click.command(name="buildings")
@click.argument("image")
@takes("buildings")
def command(**options: Any) -> None:
    """Find the buildings of one image.

    IMAGE is a GeoTIFF, JPEG 2000 or VRT, a folder of tiles, a glob in quotes, @list.txt, or a URL
    with --allow-remote. Imagery that is finer than the model was made for, such as a drone's, is
    averaged down to the model's pixel size.

    \u0008
    Example:
      geodamage buildings image.tif -o footprints.geojson
      geodamage assess pre.tif post.tif --footprints footprints.geojson -o buildings.geojson
    """
    reporter = Reporter(options["progress"], quiet=options["quiet"], verbose=options["verbose"])

    # After the options are known to be good: these imports take a second.
    with importing():
        from geodamage.job import job_fields
        from geodamage.localisation import LocalisationJob, localise

    fields = job_fields("buildings", "LocalisationJob", options)
    job = LocalisationJob(image=options["image"], **fields)
    reporter.follow(localise(job), options["output"], say=_print_summary)


def _print_summary(summary: "FootprintSummary", output: Path) -> None:
    rate = summary.pixels / 1e6 / max(summary.seconds, 1e-9)
    partial = summary.statuses["partial"]
    noun = "building" if summary.buildings == 1 else "buildings"
    click.echo(
        f"{summary.buildings:,} {noun}{f' ({partial:,} partial)' if partial else ''}, "
        f"{summary.area:,.0f} m², on {summary.assessed_km2:.3g} km²; "
        f"{summary.seconds:.1f} s, {rate:.2f} MP/s\n"
        f"wrote {output} and {output}.json\n"
        "preliminary, automatic, not validated in the field",
        err=True,
    )
