"""What `geodamage models optimise` and `geodamage models bench` say."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geodamage.cli.progress import LINE_EVERY
from geodamage.errors import ModelError

if TYPE_CHECKING:
    from geodamage.optimise.timings import Timing
    from geodamage.optimise.variants import Variant

S = TypeVar("S")
R = TypeVar("R")


def follow(work: Generator[S, None, R], line_of: Callable[[S], str], *, quiet: bool) -> R:
    """Run a generator to its end and say on stderr how it goes.

    Parameters
    ----------
    work
        Of steps; an interrupted one is closed first.
    line_of
        Returns what to say of a step; what begins with `note:` stays.
    quiet
        Say nothing.
    """
    said, terminal = time.monotonic(), sys.stderr.isatty()
    with contextlib.closing(work):
        while True:
            try:
                line = line_of(next(work))
            except StopIteration as stop:
                if terminal and not quiet:
                    click.echo("\r\x1b[K", nl=False, err=True)
                result: R = stop.value
                return result
            if quiet:
                continue
            if line.startswith("note:"):
                click.echo(f"geodamage: {line}", err=True)
            elif terminal:
                click.echo(f"\r{line}\x1b[K", nl=False, err=True)
            elif time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                click.echo(line, err=True)


def print_variants(variants: "Sequence[Variant]") -> None:
    """Print what came of each precision, the loss of each F1 in points."""
    heads = ("variant", "MB", "agreement", "localisation", "damage", "official", "detection",
             "largest", "mean", "float", "")  # fmt: skip
    rows = []
    for variant in variants:
        parity = variant.parity
        losses = [f"{100 * (ours - theirs):+.2f}" for ours, theirs in parity.f1.values()]
        rows.append((
            variant.path.name,
            f"{variant.size / 1e6:.1f}",
            f"{parity.agreement:.2%}",
            *losses,
            f"{parity.largest:.3f}",
            f"{parity.mean:.5f}",
            variant.kept_float or "-",
            "written" if variant.written else "refused",
        ))  # fmt: skip
    _print_table(heads, rows)
    if variants:
        first = variants[0]
        click.echo(
            f"{first.parity.buildings:,} buildings of {first.parity.parent.pairs} pairs; parent "
            f"{first.parent_size / 1e6:.1f} MB; localisation to detection: loss of F1 in points"
        )


def refusal(variants: "Sequence[Variant]") -> ModelError | None:
    """Return the error that names what was not written, with the figures; None if nothing."""
    reasons = [
        f"{variant.path.name} refused: {', '.join(variant.parity.shortfalls())}"
        for variant in variants
        if not variant.written
    ]
    if not reasons:
        return None
    return ModelError(f"{'; '.join(reasons)}; give --keep to write it all the same")


def timings_as_dict(timings: "Sequence[Timing]") -> dict[str, Any]:
    """Return all timings and the best of them as JSON knows them."""
    from geodamage.optimise.timings import best

    chosen = best(timings)
    return {
        "timings": [timing.as_dict() for timing in timings],
        "best": None
        if chosen is None
        else {"path": str(chosen.entry.path), "device": chosen.device},
    }


def print_timings(timings: "Sequence[Timing]") -> None:
    """Print a line for each model and device, and the best of them."""
    from geodamage.optimise.timings import best

    heads = (
        "model",
        "precision",
        "device",
        "window",
        "MP/s",
        "x fp32",
        "model MB",
        "window MB",
        "",
    )
    rows = []
    for timing in timings:
        memory = ("n/a", "n/a")
        if timing.memory is not None:
            memory = tuple(f"{value / 1e6:.0f}" for value in timing.memory)  # type: ignore[assignment]
        rows.append((
            timing.entry.path.name,
            timing.card.precision,
            timing.device,
            f"{timing.tile}",
            f"{timing.rate:.2f}",
            "n/a" if timing.ratio is None else f"{timing.ratio:.2f}",
            *memory,
            "" if timing.is_trusted else "fails parity",
        ))  # fmt: skip
    _print_table(heads, rows)
    chosen = best(timings)
    if chosen is not None:
        click.echo(f"best here: --model {chosen.entry.path} --device {chosen.device}")


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns two blanks apart; all but the first and last are of numbers or words alike."""
    table = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
