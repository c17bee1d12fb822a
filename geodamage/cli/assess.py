"""`geodamage assess`."""

from typing import Any

import click

from geodamage.cli.arguments import takes
from geodamage.cli.importing import importing
from geodamage.cli.progress import Reporter


class Assess(click.Command):
    """A command of two images, or of the one after alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; without `--post-only` both images have to be there."""
        rest = super().parse_args(ctx, args)
        if ctx.params["post"] is None and not ctx.params["post_only"]:
            raise click.UsageError("Missing argument 'POST'.", ctx)
        return rest


@click.command(name="assess", cls=Assess)
@click.argument("pre")
@click.argument("post", required=False)
@takes("assess")
def command(**options: Any) -> None:
    """Grade the damage of every building between two images.

    PRE and POST are the images from before and after the event. Each is a GeoTIFF, JPEG 2000 or
    VRT, a folder of tiles, a glob in quotes, @list.txt, or a URL with --allow-remote. They may
    differ in CRS, pixel size, extent and type. With --post-only, give the post image alone.

    \u0008
    Example:
      geodamage assess pre.tif post.tif -o buildings.geojson
      geodamage assess --post-only post.tif --footprints city.gpkg -o buildings.gpkg
    """
    reporter = Reporter(options["progress"], quiet=options["quiet"], verbose=options["verbose"])

    # After the options are known to be good: these imports take a second.
    with importing():
        from geodamage.assessment import Job, assess
        from geodamage.job import job_fields

    pre, post = options["pre"], options["post"]
    if options["post_only"] and post is None:
        pre, post = (), pre
    job = Job(pre=pre, post=post, **job_fields("assess", "Job", options))
    reporter.follow(assess(job), options["output"])
