"""`geodamage georeference`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.errors import LabelError
from geodamage.words import counted

if TYPE_CHECKING:
    from geodamage.xbd.georeferencing import GeoImage, Outcome

#: Exit code where some pairs were written and some refused, as of a batch of scenes.
SOME_FAILED = 3


@click.command(name="georeference")
@click.argument("xbd_dir", type=FILE)
@takes("georeference")
@click.pass_context
def command(
    ctx: click.Context, xbd_dir: Path, output: Path, overwrite: bool, as_json: bool, quiet: bool
) -> None:
    """Make GeoTIFFs of xBD images from their labels.

    XBD_DIR holds images/ and labels/, or train (or tier1), tier3, test and hold with these folders.
    The labels give their vertices in pixels and in degrees. The affine between the two is the
    georeference (EPSG:4326). An image without labels uses those of the other date. A line per image
    says how well the vertices fit. Pairs without a place, or with a bad fit, are listed at the end:
    exit code 3, or 4 if no pair is left.

    \b
    Example:
      geodamage georeference xbd/test -o geotiffs
    """  # noqa: D301
    from geodamage.xbd.georeferencing import find_image_pairs, georeference

    with georeference(find_image_pairs(xbd_dir), output, overwrite=overwrite) as work:
        for outcome in work:
            if not quiet:
                _say(outcome)
    outcomes = work.result()
    refused = [outcome for outcome in outcomes if outcome.why is not None]
    written = [image for outcome in outcomes for image in outcome.images]
    if as_json:
        click.echo(_as_json(written, refused))
    for outcome in refused:
        click.echo(f"geodamage: not georeferenced: {outcome.why}", err=True)
    if not written:
        raise LabelError(
            f"{xbd_dir}: none of {counted(len(refused), 'pair')} could be georeferenced; the "
            f"lines above "
            "say why"
        )
    if not quiet:
        click.echo(
            f"wrote {counted(len(written), 'GeoTIFF')} of "
            f"{counted(len(outcomes) - len(refused), 'pair')} to "
            f"{output}; {counted(len(refused), 'pair')} not georeferenced",
            err=True,
        )
    ctx.exit(SOME_FAILED if refused else 0)


def _say(outcome: "Outcome") -> None:
    for image in outcome.images:
        fit = image.fit
        partner = "" if image.labels_of == image.date else f"; by the labels of {image.labels_of}"
        click.echo(
            f"{image.path.name}: rms {fit.rms:.4f} m, max {fit.maximum:.4f} m, "
            f"{fit.vertices:,} vertices{partner}",
            err=True,
        )


def _as_json(written: "list[GeoImage]", refused: "list[Outcome]") -> str:
    facts = {
        "written": [image.as_dict() for image in written],
        "not_georeferenced": [{"pair": outcome.pair, "why": outcome.why} for outcome in refused],
    }
    return json.dumps(facts, ensure_ascii=False, allow_nan=False)
