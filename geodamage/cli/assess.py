"""`geodamage assess`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli.progress import Reporter
from geodamage.errors import OptionError


def _numbers(text: str | None, option: str, kind: type) -> tuple[Any, ...] | None:
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"{option} {text}: not numbers separated by commas") from error


def parse_bands(text: str | None, option: str = "--bands") -> tuple[int, ...] | None:
    """Return the numbers of `N,N,N`."""
    return _numbers(text, option, int)


def parse_scale(text: str | None, option: str = "--scale") -> tuple[float, float] | None:
    """Return the two numbers of `MIN,MAX`."""
    numbers = _numbers(text, option, float)
    if numbers is not None and (len(numbers) != 2 or not numbers[0] < numbers[1]):
        raise OptionError(f"{option} {text}: give MIN,MAX with MIN below MAX")
    return numbers


def parse_memory(text: str) -> float:
    """Return bytes of a size like `1.5GB`, `800MB` or `2e9`."""
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "B": 1.0}
    upper = text.strip().upper()
    unit = next((u for u in units if upper.endswith(u)), "")
    try:
        size = float(upper.removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError as error:
        raise OptionError(f"--memory {text}: not a size; write 1.5GB or 800MB") from error
    if not 0 < size < 1e15:
        raise OptionError(f"--memory {text}: not a size; write 1.5GB or 800MB")
    return size


#: A path; whether it can be used is for the library to say, in its own words and exit codes.
FILE = click.Path(path_type=Path, readable=False)


@click.command(name="assess")
@click.argument("pre")
@click.argument("post")
@click.option(
    "-o", "--output", required=True, type=FILE,
    help="Result: .geojson, .geojsonl, .gpkg, .fgb or .parquet.",
)  # fmt: skip
@click.option("--footprints", type=FILE, metavar="FILE",
              help="Grade these polygons instead of finding buildings.")  # fmt: skip
@click.option("--id-field", metavar="NAME", help="Field of the footprints with their identity.")
@click.option("--aoi", type=FILE, metavar="FILE",
              help="Report only what lies in these polygons.")  # fmt: skip
@click.option("--model", default="fast", show_default=True, metavar="NAME|PATH",
              help="A bundled model, a .onnx file or an ensemble's .toml.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, metavar="NAME",
              help="Where it runs: auto, cpu, cuda[:N], tensorrt[:N], openvino.")  # fmt: skip
@click.option("--tta", type=click.Choice(["none", "flips"]), default="none", show_default=True,
              help="Average over mirror images; four times the work.")  # fmt: skip
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
@click.option("--bands", metavar="N,N,N", help="Channels of both images, counted from 1.")
@click.option("--scale", metavar="MIN,MAX",
              help="Values that become 0 and 255; for imagery that is not 8-bit.")  # fmt: skip
@click.option("--post-sensor", type=click.Choice(["optical", "sar"]), default="optical",
              show_default=True,
              help="What took POST; with sar, --bands and --scale are of PRE alone.")  # fmt: skip
@click.option("--post-bands", metavar="N,N,N", help="Channels of POST, where they are others.")
@click.option("--post-scale", metavar="MIN,MAX",
              help="Values of POST that become 0 and 255, where they are others.")  # fmt: skip
@click.option("--min-area", type=float, default=20.0, show_default=True, metavar="M2",
              help="Smallest building.")  # fmt: skip
@click.option("--simplify", type=float, default=0.0, show_default=True, metavar="METRES",
              help="Simplify polygons by this tolerance.")  # fmt: skip
@click.option("--tile", type=click.IntRange(min=1), metavar="PIXELS",
              help="Window size; the result does not depend on it.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), default=1, show_default=True,
              help="Windows a call of the model.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=0), default=0, metavar="N",
              help="Of inference; all processors unless given.")  # fmt: skip
@click.option("--memory", default="1.5GB", show_default=True, metavar="SIZE",
              help="Memory that the work is planned for.")  # fmt: skip
@click.option("--allow-remote", is_flag=True, help="Read http(s) and s3 URLs.")
@click.option("--overwrite", is_flag=True, help="Replace results that are there.")
@click.option("--progress", type=click.Choice(["auto", "json"]), default="auto", show_default=True,
              help="json: one object a line on stderr, for programs.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
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
    from geodamage.assess import Job, assess
    from geodamage.buildings import BuildingOptions
    from geodamage.scene import SceneOptions, choose_bands

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
