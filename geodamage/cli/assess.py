"""`geodamage assess`."""

from typing import Any

import click

from geodamage.cli import arguments
from geodamage.cli.arguments import FILE, parse_bands, parse_memory, parse_scale
from geodamage.cli.progress import Reporter


@click.command(name="assess")
@click.argument("pre")
@click.argument("post")
@click.option(
    "-o", "--output", required=True, type=FILE,
    help="Result: .geojson, .geojsonl, .gpkg, .fgb or .parquet.",
)  # fmt: skip
@arguments.footprints
@arguments.id_field
@arguments.aoi
@arguments.model
@arguments.device
@arguments.flips
@click.option("--vote", type=click.Choice(["probabilities", "pixels"]), default="probabilities",
              show_default=True,
              help="What grades a building: the probabilities of its pixels, summed, or the grade "
              "that most of its pixels have by the rules of the model.")  # fmt: skip
@click.option("--raster", type=FILE, metavar="FILE",
              help="Write the grades as a COG, too: of the buildings, or of each pixel where the "
              "model has rules for pixels.")  # fmt: skip
@click.option("--probabilities", type=FILE, metavar="FILE",
              help="Write the probabilities as a COG of five channels, too.")  # fmt: skip
@click.option("--report", type=FILE, metavar="FILE",
              help="Write a page for people, too: .html, opens offline.")  # fmt: skip
@arguments.bands
@arguments.scale
@click.option("--post-sensor", type=click.Choice(["optical", "sar"]), default="optical",
              show_default=True,
              help="What took POST; with sar, --bands and --scale are of PRE alone.")  # fmt: skip
@click.option("--post-bands", metavar="N,N,N", help="Channels of POST, where they are others.")
@click.option("--post-scale", metavar="MIN,MAX",
              help="Values of POST that become 0 and 255, where they are others.")  # fmt: skip
@arguments.min_area
@arguments.simplify
@arguments.tile
@arguments.batch_size
@arguments.threads
@arguments.memory
@arguments.allow_remote
@arguments.overwrite
@arguments.progress
@arguments.quiet
@arguments.verbose
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Grade the damage of every building between two images.

    PRE and POST are the images before and after: each a GeoTIFF, a folder of tiles, a glob in
    quotes, @list.txt, or a URL with --allow-remote. They may differ in CRS, pixel size, extent and
    type.

    \u0008
    Example:
      geodamage assess pre.tif post.tif -o buildings.geojson
    """
    reporter = Reporter(options["progress"], quiet=options["quiet"], verbose=options["verbose"])
    ctx.meta["geodamage.error"] = reporter.error
    bands = parse_bands(options["bands"])
    scale = parse_scale(options["scale"])
    post_bands = parse_bands(options["post_bands"], "--post-bands")
    post_scale = parse_scale(options["post_scale"], "--post-scale")
    memory = parse_memory(options["memory"])

    # After the options are known to be good: these imports take a second.
    from geodamage.assessment import Job, assess
    from geodamage.buildings.finding import BuildingOptions
    from geodamage.scene.options import SceneOptions, choose_bands

    job = Job(
        pre=options["pre"],
        post=options["post"],
        scene=SceneOptions(
            **choose_bands(bands, post_bands, options["post_sensor"]),
            scale=scale,
            post_scale=post_scale,
            post_sensor=options["post_sensor"],
            aoi=options["aoi"],
            allow_remote=options["allow_remote"],
        ),
        buildings=BuildingOptions(options["min_area"], options["simplify"]),
        memory=memory,
        **{name: options[name] for name in _DIRECT},
    )
    reporter.follow(assess(job), options["output"])


#: Options that a job takes by the same name.
_DIRECT = (
    "output", "footprints", "id_field", "model", "device", "tta", "vote", "raster", "probabilities",
    "report", "tile", "batch_size", "threads", "overwrite",
)  # fmt: skip
