"""`geodamage buildings`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodamage.cli import arguments
from geodamage.cli.arguments import FILE, parse_bands, parse_memory, parse_scale
from geodamage.cli.progress import Reporter
from geodamage.errors import OptionError

if TYPE_CHECKING:
    from geodamage.localisation import FootprintSummary


def parse_scales(text: str) -> tuple[float, ...]:
    """Return the numbers of `0.75,1,1.5`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"--tta-scales {text}: not numbers separated by commas, such as 0.75,1,1.25"
        ) from error


@click.command(name="buildings")
@click.argument("image")
@click.option(
    "-o", "--output", required=True, type=FILE,
    help="Result: .geojson, .geojsonl, .gpkg, .fgb or .parquet.",
)  # fmt: skip
@arguments.aoi
@click.option("--model", default="fast", show_default=True, metavar="NAME|PATH",
              help="A bundled model, a .onnx file or an ensemble's .toml; its localisation is "
              "used.")  # fmt: skip
@arguments.device
@click.option("--tta", type=click.Choice(["none", "flips", "full"]), default="none",
              show_default=True,
              help="Average over mirror images (flips, four times the work), or over these and the "
              "same transposed (full, eight times).")  # fmt: skip
@click.option("--tta-scales", default="1", show_default=True, metavar="N,N,...",
              help="Average over these sizes of the image, too.")  # fmt: skip
@click.option("--threshold", type=float, metavar="P",
              help="A pixel is building above this probability; the model's own unless "
              "given.")  # fmt: skip
@click.option("--raster", type=FILE, metavar="FILE",
              help="Write the buildings as a COG, too: 1 where there is one.")  # fmt: skip
@click.option("--probabilities", type=FILE, metavar="FILE",
              help="Write the probability of a building as a COG, too.")  # fmt: skip
@click.option("--regularise", is_flag=True,
              help="Give buildings right-angled outlines, where these fit.")  # fmt: skip
@click.option("--bands", metavar="N,N,N", help="Channels of the image, counted from 1.")
@arguments.scale
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
    """Find the buildings of one image.

    IMAGE is a GeoTIFF, a folder of tiles, a glob in quotes, @list.txt, or a URL with
    --allow-remote. Imagery that is finer than the model was made for, such as a drone's, is
    averaged down to the model's pixel size.

    \u0008
    Example:
      geodamage buildings image.tif -o footprints.geojson
      geodamage assess pre.tif post.tif --footprints footprints.geojson -o buildings.geojson
    """
    reporter = Reporter(options["progress"], quiet=options["quiet"], verbose=options["verbose"])
    ctx.meta["geodamage.error"] = reporter.error
    bands = parse_bands(options["bands"])
    scale = parse_scale(options["scale"])
    scales = parse_scales(options["tta_scales"])
    memory = parse_memory(options["memory"])

    # After the options are known to be good: these imports take a second.
    from geodamage.buildings.finding import BuildingOptions
    from geodamage.localisation import LocalisationJob, localise
    from geodamage.scene.options import SceneOptions

    job = LocalisationJob(
        scene=SceneOptions(
            pre_bands=bands,
            scale=scale,
            aoi=options["aoi"],
            allow_remote=options["allow_remote"],
        ),
        buildings=BuildingOptions(options["min_area"], options["simplify"]),
        scales=scales,
        memory=memory,
        **{name: options[name] for name in _DIRECT},
    )
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


#: Options that a job takes by the same name.
_DIRECT = (
    "image", "output", "model", "device", "tta", "threshold", "raster", "probabilities",
    "regularise", "tile", "batch_size", "threads", "overwrite",
)  # fmt: skip
