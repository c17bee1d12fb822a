"""`geodamage batch`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli.assess import FILE, parse_bands, parse_memory, parse_scale
from geodamage.cli.batch_progress import BatchReporter, print_plan

INTERRUPTED = 130


@click.command(name="batch")
@click.argument("manifest")
@click.option("-o", "--output", required=True, type=FILE, metavar="DIR",
              help="Folder of the results.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--event-date", metavar="DATE",
              help="Of the event; sorts the images of a STAC catalogue.")  # fmt: skip
@click.option("--asset", metavar="KEY", help="The image among a STAC item's assets.")
@click.option("--model", default="fast", show_default=True, metavar="NAME|PATH",
              help="A bundled model, a .onnx file or an ensemble's .toml.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, metavar="NAME",
              help="Where it runs: auto, cpu, cuda[:N], tensorrt[:N], openvino; auto and cuda "
              "deal the GPUs out.")  # fmt: skip
@click.option("--tta", type=click.Choice(["none", "flips"]), default="none", show_default=True,
              help="Average over mirror images; four times the work.")  # fmt: skip
@click.option("--vote", type=click.Choice(["probabilities", "pixels"]), default="probabilities",
              show_default=True, help="What grades a building.")  # fmt: skip
@click.option("--footprints", type=FILE, metavar="FILE",
              help="Grade these polygons instead of finding buildings.")  # fmt: skip
@click.option("--id-field", metavar="NAME", help="Field of the footprints with their identity.")
@click.option("--aoi", type=FILE, metavar="FILE",
              help="Report only what lies in these polygons.")  # fmt: skip
@click.option("--bands", metavar="N,N,N", help="Channels of both images, counted from 1.")
@click.option("--scale", metavar="MIN,MAX",
              help="Values that become 0 and 255; for imagery that is not 8-bit.")  # fmt: skip
@click.option("--post-sensor", type=click.Choice(["optical", "sar"]), default="optical",
              show_default=True,
              help="What took the images after; with sar, --bands and --scale are of those "
              "before alone.")  # fmt: skip
@click.option("--post-bands", metavar="N,N,N",
              help="Channels of the images after, where they are others.")  # fmt: skip
@click.option("--post-scale", metavar="MIN,MAX",
              help="Values of the images after that become 0 and 255, where they are "
              "others.")  # fmt: skip
@click.option("--min-area", type=float, default=20.0, show_default=True, metavar="M2",
              help="Smallest building.")  # fmt: skip
@click.option("--simplify", type=float, default=0.0, show_default=True, metavar="METRES",
              help="Simplify polygons by this tolerance.")  # fmt: skip
@click.option("--tile", type=click.IntRange(min=1), metavar="PIXELS", help="Window size.")
@click.option("--batch-size", type=click.IntRange(min=1), default=1, show_default=True,
              help="Windows a call of the model.")  # fmt: skip
@click.option("--raster", is_flag=True, help="Write the grades of each scene as a COG, too.")
@click.option("--probabilities", is_flag=True,
              help="Write the probabilities of each scene as a COG, too.")  # fmt: skip
@click.option("--report", is_flag=True,
              help="Write a page for each scene and one for the event, too.")  # fmt: skip
@click.option("--merge/--no-merge", default=True, show_default=True,
              help="Write the layer of the event at the end.")  # fmt: skip
@click.option("--admin", type=FILE, metavar="FILE",
              help="Areas to sum up the event by, besides cells of a grid.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), metavar="N",
              help="Scenes at a time; as many as fit unless given.")  # fmt: skip
@click.option("--memory", metavar="SIZE",
              help="Memory of all workers; most of what is free unless given.")  # fmt: skip
@click.option("--scene-memory", default="1.5GB", show_default=True, metavar="SIZE",
              help="Memory that each scene is planned for.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=0), default=0, metavar="N",
              help="Of each scene; the processors are dealt out unless given.")  # fmt: skip
@click.option("--shard", metavar="K/N",
              help="Do the K-th of N shares only, with a ledger of its own.")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Try the scenes again that failed.")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler.")
@click.option("--dask-local", type=click.IntRange(min=1), metavar="N",
              help="Run on a Dask cluster of N processes on this machine.")  # fmt: skip
@click.option("--split-scenes", type=click.FloatRange(min=0), metavar="MEGAPIXELS",
              help="Share larger scenes among the cluster's workers, band by band.")  # fmt: skip
@click.option("--allow-remote", is_flag=True, help="Read http(s) and s3 URLs.")
@click.option("--overwrite", is_flag=True, help="Replace results that the ledger does not know.")
@click.option("--progress", type=click.Choice(["auto", "json"]), default="auto", show_default=True,
              help="json: one object a line on stderr, for programs.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Assess many scenes unattended, and go on where it stopped.

    MANIFEST is a list of scenes (.csv, .geojson, .toml), a folder with pre/ and post/, or a STAC
    catalogue. A ledger in the output folder records every scene: after a kill, the same command
    finishes what is missing; a changed image, model or option redoes the scenes it touches. A
    scene that fails does not stop the others (exit code 3).

    \u0008
    Example:
      geodamage batch scenes.csv -o assessed/
    """
    reporter = BatchReporter(
        options["progress"], quiet=options["quiet"], verbose=options["verbose"]
    )
    ctx.meta["geodamage.error"] = reporter.error
    job = _job(options, reporter)
    if options["dry_run"]:
        from geodamage.batch import plan_batch

        print_plan(plan_batch(job), as_json=options["progress"] == "json")
        return

    from geodamage.batch import run_batch

    try:
        reporter.follow_batch(run_batch(job), options["output"])
    except KeyboardInterrupt:
        message = f"interrupted; {reporter.done:,} scenes are done, the same command does the rest"
        reporter.error(message, INTERRUPTED)
        ctx.exit(INTERRUPTED)
    ctx.exit(reporter.exit_code)


def _job(options: dict[str, Any], reporter: BatchReporter) -> Any:
    bands = parse_bands(options["bands"])
    scale = parse_scale(options["scale"])
    post_bands = parse_bands(options["post_bands"], "--post-bands")
    post_scale = parse_scale(options["post_scale"], "--post-scale")
    memory = None if options["memory"] is None else parse_memory(options["memory"])
    scene_memory = parse_memory(options["scene_memory"])
    split = options["split_scenes"]

    # After the options are known to be good: these imports take a second.
    from geodamage.assess import Job
    from geodamage.batch_job import BatchJob
    from geodamage.buildings import BuildingOptions
    from geodamage.ledger import Shard
    from geodamage.manifest import read_manifest
    from geodamage.scene import SceneOptions, choose_bands

    scenes = read_manifest(
        options["manifest"],
        event_date=options["event_date"],
        asset=options["asset"],
        allow_remote=options["allow_remote"],
    )
    for note in scenes.notes:
        reporter.warn(note)
    reading = SceneOptions(
        **choose_bands(bands, post_bands, options["post_sensor"]),
        scale=scale,
        post_scale=post_scale,
        post_sensor=options["post_sensor"],
        aoi=options["aoi"],
        allow_remote=options["allow_remote"],
    )
    defaults = Job(
        pre=(),
        post=(),
        output=Path("buildings.gpkg"),
        scene=reading,
        buildings=BuildingOptions(options["min_area"], options["simplify"]),
        memory=scene_memory,
        **{name: options[name] for name in _OF_SCENES},
    )
    return BatchJob(
        scenes=scenes,
        defaults=defaults,
        memory=memory,
        shard=None if options["shard"] is None else Shard.parse(options["shard"]),
        split=None if split is None else split * 1e6,
        **{name: options[name] for name in _OF_BATCH},
    )


#: Options that a job takes by the same name: of each scene, and of the batch.
_OF_SCENES = (
    "model", "device", "tta", "vote", "footprints", "id_field", "tile", "batch_size", "threads",
)  # fmt: skip
_OF_BATCH = (
    "output", "raster", "probabilities", "report", "merge", "admin", "workers", "retry_failed",
    "dask", "dask_local", "overwrite",
)  # fmt: skip
