"""`geodamage report`."""

from pathlib import Path
from typing import Any

import click

from geodamage.cli import arguments
from geodamage.cli.arguments import FILE, parse_scale


@click.command(name="report")
@click.argument("buildings", type=FILE)
@click.option("-o", "--output", required=True, type=FILE, help="The page: .html.")
@click.option("--pre", metavar="IMAGE", help="Image before, as `assess` took it.")
@click.option("--post", metavar="IMAGE", help="Image after.")
@click.option("--map", type=FILE, metavar="FILE", help="Write a map as .png, too.")
@click.option("--pdf", type=FILE, metavar="FILE", help="Write one page as .pdf, too.")
@click.option("--title", metavar="TEXT", help="Heading.")
@click.option("--pre-date", metavar="TEXT", help="When the image before was taken.")
@click.option("--post-date", metavar="TEXT", help="When the image after was taken.")
@click.option("--safe-colours", is_flag=True,
              help="Colours that are told apart without red and green.")  # fmt: skip
@click.option("--scale", metavar="MIN,MAX",
              help="Values shown as black and white; for imagery that is not 8-bit.")  # fmt: skip
@arguments.allow_remote
@arguments.overwrite
@arguments.quiet
def command(buildings: Path, output: Path, **options: Any) -> None:
    """Write an assessment as one page that opens offline in any browser.

    BUILDINGS is a result of `geodamage assess`. With --pre and --post the map shows both dates to
    swipe between, and pictures of the buildings to look at first.

    \u0008
    Example:
      geodamage report buildings.gpkg --pre pre.tif --post post.tif -o report.html
    """
    scale = parse_scale(options["scale"])

    # After the options are known to be good: these imports take a second.
    from geodamage.report.view import Words
    from geodamage.report.writing import ReportOptions, write_report

    said = {name: options[name] for name in ("title", "pre_date", "post_date") if options[name]}
    view = write_report(
        buildings,
        output,
        pre=options["pre"],
        post=options["post"],
        options=ReportOptions(
            words=Words(**said, safe_colours=options["safe_colours"]),
            map=options["map"],
            pdf=options["pdf"],
            scale=scale,
            allow_remote=options["allow_remote"],
        ),
        overwrite=options["overwrite"],
    )
    if not options["quiet"]:
        _say(view.findings.buildings, [output, options["map"], options["pdf"]])


def _say(buildings: int, paths: list[Path | None]) -> None:
    written = [str(path) for path in paths if path is not None]
    click.echo(f"{buildings:,} buildings; wrote {', '.join(written)}", err=True)
