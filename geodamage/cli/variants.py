"""What `geodamage models optimise` and `geodamage models bench` print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from geodamage.errors import ModelError
from geodamage.words import counted

if TYPE_CHECKING:
    from geodamage.optimise.timings import Timing
    from geodamage.optimise.variants import Variant


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
            f"{counted(first.parity.buildings, 'building')} of "
            f"{counted(first.parity.parent.pairs, 'pair')}; parent "
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
    return ModelError(f"{'; '.join(reasons)}; give --keep to write it anyway")


def timings_as_dict(timings: "Sequence[Timing]") -> dict[str, Any]:
    """Return all timings and the best of them as JSON knows them."""
    from geodamage.optimise.timings import best

    chosen = best(timings)
    return {
        "timings": [timing.as_dict() for timing in timings],
        "best": None
        if chosen is None
        else {
            "path": str(chosen.file.path),
            "device": chosen.device,
            "engine": chosen.engine,
            "precision": _option(chosen),
        },
    }


def print_timings(timings: "Sequence[Timing]") -> None:
    """Print a line for each model and device, and the best of them."""
    from geodamage.optimise.timings import best

    heads = (
        "model",
        "precision",
        "device",
        "engine",
        "window",
        "MP/s",
        "x fp32",
        "x auto",
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
            timing.file.path.name,
            timing.card.precision,
            timing.device,
            timing.engine,
            f"{timing.tile}",
            f"{timing.rate:.2f}",
            "n/a" if timing.ratio is None else f"{timing.ratio:.2f}",
            "n/a" if timing.speed is None else f"{timing.speed:.2f}",
            *memory,
            "" if timing.is_trusted else "fails parity",
        ))  # fmt: skip
    _print_table(heads, rows)
    chosen = best(timings)
    if chosen is not None:
        click.echo(
            f"best here: --model {chosen.file.path} --device {chosen.device} "
            f"--engine {chosen.engine} --precision {_option(chosen)}"
        )


def _option(timing: "Timing") -> str:
    """Return what `--precision` is to be given for the same."""
    return {"int8": "int8", "bfloat16": "bfloat16"}.get(timing.card.precision, "float32")


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns two blanks apart; all but the first and last are of numbers or words alike."""
    table = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
