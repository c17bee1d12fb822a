"""`geodamage batch`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli import arguments
from geodamage.cli.arguments import FILE, parse_bands, parse_memory, parse_scale
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
@arguments.model
@click.option("--device", default="auto", show_default=True, metavar="NAME",
              help="Where it runs: auto, cpu, cuda[:N], tensorrt[:N], openvino; auto and cuda "
              "deal the GPUs out.")  # fmt: skip
@arguments.flips
@click.option("--vote", type=click.Choice(["probabilities", "pixels"]), default="probabilities",
              show_default=True, help="What grades a building.")  # fmt: skip
@arguments.footprints
@arguments.id_field
@arguments.aoi
@arguments.bands
@arguments.scale
@click.option("--post-sensor", type=click.Choice(["optical", "sar"]), default="optical",
              show_default=True,
              help="What took the images after; with sar, --bands and --scale are of those "
              "before alone.")  # fmt: skip
@click.option("--post-bands", metavar="N,N,N",
              help="Channels of the images after, where they are others.")  # fmt: skip
@click.option("--post-scale", metavar="MIN,MAX",
              help="Values of the images after that become 0 and 255, where they are "
              "others.")  # fmt: skip
@arguments.min_area
@arguments.simplify
@click.option("--tile", type=click.IntRange(min=1), metavar="PIXELS", help="Window size.")
@arguments.batch_size
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
@arguments.allow_remote
@click.option("--overwrite", is_flag=True, help="Replace results that the ledger does not know.")
@arguments.progress
@arguments.quiet
@arguments.verbose
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
        from geodamage.batch.plan import plan_batch

        print_plan(plan_batch(job), as_json=options["progress"] == "json")
        return

    from geodamage.batch.running import run_batch

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
    from geodamage.assessment import Job
    from geodamage.batch.job import BatchJob
    from geodamage.batch.manifest import read_manifest
    from geodamage.batch.shard import Shard
    from geodamage.buildings.finding import BuildingOptions
    from geodamage.scene.options import SceneOptions, choose_bands

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
