"""`geodamage batch`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli.arguments import takes
from geodamage.cli.batch_progress import BatchReporter, print_plan
from geodamage.options.lookup import taken
from geodamage.words import counted

INTERRUPTED = 130


@click.command(name="batch")
@click.argument("manifest")
@takes("batch")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Assess many scenes unattended, and resume after interruptions.

    MANIFEST is a list of scenes (.csv, .geojson, .toml), a folder with pre/ and post/, or a STAC
    catalogue. A ledger in the output folder records every scene. After an interruption, the same
    command finishes what is missing. A changed image, model or option redoes the scenes that it
    concerns. A scene that fails does not stop the others (exit code 3).

    \u0008
    Example:
      geodamage batch scenes.csv -o assessed/
    """
    reporter = BatchReporter(
        options["progress"], quiet=options["quiet"], verbose=options["verbose"]
    )
    job = _job(options, reporter)
    if options["dry_run"]:
        from geodamage.batch.plan import plan_batch

        print_plan(plan_batch(job), as_json=options["progress"] == "json")
        return

    from geodamage.batch.running import run_batch

    try:
        reporter.follow_batch(run_batch(job), options["output"])
    except KeyboardInterrupt:
        message = (
            f"interrupted; {counted(reporter.done, 'scene is', 'scenes are')} done, the "
            f"same command does the rest"
        )
        reporter.error(message, INTERRUPTED)
        ctx.exit(INTERRUPTED)
    ctx.exit(reporter.exit_code)


def _job(options: dict[str, Any], reporter: BatchReporter) -> Any:
    # After the options are known to be good: these imports take a second.
    from geodamage.assessment import Job
    from geodamage.batch.job import BUILDINGS, BatchJob
    from geodamage.batch.manifest import read_manifest
    from geodamage.batch.shard import Shard
    from geodamage.buildings.finding import BuildingOptions
    from geodamage.scene.options import options_given

    scenes = read_manifest(
        options["manifest"],
        event_date=options["event_date"],
        asset=options["asset"],
        max_cloud=options["max_cloud"],
        allow_remote=options["allow_remote"],
    )
    for note in scenes.notes:
        reporter.warn(note)
    defaults = Job(
        pre=(),
        post=(),
        output=Path(BUILDINGS),
        scene=options_given("batch", options),
        buildings=BuildingOptions(**taken("BuildingOptions", "batch", options)),
        **taken("Job", "batch", options),
    )
    shard, split = options["shard"], options["split_scenes"]
    return BatchJob(
        scenes=scenes,
        defaults=defaults,
        shard=None if shard is None else Shard.parse(shard),
        split=None if split is None else split * 1e6,
        **taken("BatchJob", "batch", options),
    )
