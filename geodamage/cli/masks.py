"""`geodamage masks`."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.cli.progress import follow
from geodamage.words import counted

if TYPE_CHECKING:
    from geodamage.xbd.masks import Target

#: What became of labels without a grade, for the last line.
SAID = {
    "undrawn": "left undrawn, as in the official targets",
    "no-damage": "drawn as no-damage (1)",
    "own": "drawn as a class of their own (5)",
    "ignore": "drawn to be ignored (255)",
}


@click.command(name="masks")
@click.argument("labels", nargs=-1, required=True, type=FILE)
@takes("masks")
def command(
    labels: tuple[Path, ...], output: Path, unclassified: str, overwrite: bool, quiet: bool
) -> None:
    """Draw xBD labels as masks, exactly like the official targets.

    LABELS are label files (JSON), folders of them, or xBD downloads with train (or tier1), tier3,
    test and hold. A pre mask has the values 0 and 1, a post mask 0 and the grades 1 to 4.
    Masks that were written before an error stay.

    \b
    Example:
      geodamage masks xbd/test -o xbd/test/targets
    """  # noqa: D301
    from geodamage.xbd.masks import find_label_files, write_targets

    files = find_label_files(labels)
    work = write_targets(files, output, unclassified=unclassified, overwrite=overwrite)
    done = itertools.count(1)
    targets = follow(
        work, lambda _: f"{next(done):,} of {counted(len(files), 'mask')}", quiet=quiet
    )
    if not quiet:
        _sum_up(targets, output, unclassified)


def _sum_up(targets: "list[Target]", output: Path, unclassified: str) -> None:
    count = sum(target.labels for target in targets)
    click.echo(
        f"wrote {counted(len(targets), 'mask')} of {counted(count, 'label')} to {output}", err=True
    )
    ungraded = sum(target.unclassified for target in targets)
    if ungraded:
        click.echo(f"{counted(ungraded, 'label')} without a grade: {SAID[unclassified]}", err=True)
    outside = [target for target in targets if target.outside]
    if outside:
        lost = sum(target.outside for target in outside)
        click.echo(
            f"geodamage: warning: {counted(lost, 'label lies', 'labels lie')} outside its image "
            f"and {'is' if lost == 1 else 'are'} not drawn; the first in {outside[0].path.name}",
            err=True,
        )
