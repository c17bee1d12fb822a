"""`geodamage models`."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.errors import GeodamageWarning, MissingExtraError, OptionError, install

if TYPE_CHECKING:
    from geodamage.foreign.importing import Wrapped
    from geodamage.model.catalogue import ModelFile
    from geodamage.networks.importing import Imported

#: Characters of a value in a table for people.
LONGEST_VALUE = 120


@click.group(name="models")
def command() -> None:
    """List, show, import, optimise and time models."""


@command.command(name="list")
@takes("models list")
def list_command(as_json: bool, published: bool) -> None:
    """List the models that came with the package and those you installed, or published weights.

    \u0008
    Example:
      geodamage models list
      geodamage models list --published
    """
    from geodamage.model.catalogue import list_models

    if published:
        _list_published(as_json)
        return
    with _warnings_as_lines():
        files = list_models()
    if as_json:
        _write_json([file.as_dict() for file in files])
    else:
        _write_table(
            ("name", "task", "context", "GSD in m", "MB", "licence"),
            [_row(file) for file in files],
        )


def _list_published(as_json: bool) -> None:
    import dataclasses

    from geodamage.model.published import list_published

    known = list_published()
    if as_json:
        _write_json([dataclasses.asdict(weights) for weights in known])
        return
    for weights in known:
        size = f"{weights.size / 1e6:,.1f} MB" if weights.size else "size not stated"
        hashes = zip(weights.files, weights.sha256, strict=True)
        rows = [
            ("from", weights.source),
            ("size", size),
            ("licence", weights.licence),
            ("score", weights.score or "none stated"),
            *(("SHA-256", f"{sha256 or 'not stated'}  {file}") for file, sha256 in hashes),
            ("import", weights.command),
        ]
        click.echo(weights.name)
        _write_table((), [(f"  {key}", value) for key, value in rows])
        if weights.note:
            click.echo(f"  {weights.note}")


@command.command(name="show")
@click.argument("model", metavar="NAME|PATH")
@takes("models show")
def show_command(model: str, as_json: bool, stac: bool) -> None:
    """Print the card of a model, or the members of an ensemble.

    \u0008
    Example:
      geodamage models show fast
      geodamage models show fast --stac > fast.json
    """
    from geodamage.model.catalogue import read_model

    read = read_model(model)
    if stac:
        _write_stac(read)
        return
    facts = read.as_dict()
    if as_json:
        _write_json(facts)
        return
    members = facts.pop("members", [])
    own = facts | facts.pop("card", {}) | facts.pop("ensemble", {})
    told = [key for key in own if key not in ("card", "ensemble") and own[key] not in ("", {})]
    _write_table((), [(key, _text(own[key])) for key in told])
    for member in members:
        card = member.pop("card")
        click.echo()
        _write_table((), [(key, _text(value)) for key, value in member.items()])
        shown = ("task", "context", "halo", "stride", "tile", "licence", "sha256")
        _write_table((), [(f"  {key}", _text(card[key])) for key in shown if card])


def _write_stac(model: "ModelFile") -> None:
    import hashlib

    from geodamage.model.onnx import read_model_bytes
    from geodamage.model.stac import stac_item

    digest = hashlib.sha256(read_model_bytes(model.path)).hexdigest()
    _write_json(stac_item(model, digest))


@command.command(name="networks")
@takes("models networks")
def networks_command(as_json: bool) -> None:
    """List the networks whose checkpoints can be imported.

    GFLOP: operations for 1024 x 1024 pixels, of both dates if the network takes both.

    \u0008
    Example:
      geodamage models networks
    """
    import dataclasses

    with _torch_needed():
        from geodamage.networks.registry import list_networks

    networks = list_networks()
    if as_json:
        _write_json([dataclasses.asdict(facts) for facts in networks])
    else:
        _write_table(
            ("network", "task", "family", "context", "stride", "parameters", "GFLOP"),
            [
                (n.name, n.task, n.family, n.context, f"{n.stride}", f"{n.parameters:,}",
                 f"{n.gflop:,.1f}")
                for n in networks
            ],
        )  # fmt: skip


@command.command(name="import")
@click.argument("files", nargs=-1, required=True, type=FILE)
@takes("models import")
def import_command(files: tuple[Path, ...], output: Path, **options: Any) -> None:
    """Make a model of published weights, or of an ONNX file of another program.

    FILES are checkpoints of the xView2 first place, its distilled students, MetaDamageNet (also
    folders), xView2SiameseUNet, ChangeOS, BRIGHT or Microsoft's siamese network. The weights show
    which network each is for. They may also be ONNX files: --convention tells how each takes
    images; those of beaconGIS and HOT are recognised. One file becomes NAME.onnx. Several become
    the ensemble NAME.toml with its members beside it. --install puts them where NAME is known.

    \u0008
    Example:
      geodamage models import weights/*_best -o first-place
      geodamage models import unet.onnx --convention unet.toml -o unet
    """
    conventions = options.pop("conventions")
    if options.pop("install"):
        output = _installed(output)
    kinds = {path.suffix.lower() == ".onnx" for path in files}
    if len(kinds) > 1:
        raise OptionError(
            f"{', '.join(map(str, files))}: ONNX files and checkpoints; import each kind by itself"
        )
    if kinds == {True}:
        _import_graphs(files, output, conventions, options)
        return
    if conventions:
        raise OptionError(f"--convention is for ONNX files, and {files[0]} is none; leave it out")
    from geodamage.model.weight_files import find_weights

    for file in files:  # torch takes ten times the memory that it takes to refuse
        find_weights(file)
    with _torch_needed():
        from geodamage.networks.importing import import_checkpoints

    with _warnings_as_lines():
        for imported in import_checkpoints(files, output, **options):
            click.echo(_line(imported), err=True)


def _installed(name: Path) -> Path:
    """Return where a model of a name is installed, in a folder that is there."""
    from geodamage.model.loading import bundled_models, models_folder
    from geodamage.output.publication import output_errors

    if name.name != str(name):
        raise OptionError(f"-o {name}: with --install give a name, and no folder")
    if name.stem in bundled_models():
        raise OptionError(f"-o {name}: a model of that name came with the package; give another")
    folder = models_folder()
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _import_graphs(
    files: tuple[Path, ...], output: Path, conventions: tuple[str, ...], options: dict[str, Any]
) -> None:
    from geodamage.foreign.importing import import_graphs

    with _warnings_as_lines():
        for wrapped in import_graphs(files, output, conventions=conventions, **options):
            click.echo(_wrapped_line(wrapped), err=True)


@command.command(name="optimise")
@click.argument("model", metavar="NAME|PATH")
@takes("models optimise")
def optimise_command(as_json: bool, quiet: bool, **options: Any) -> None:
    """Make smaller and faster variants of a model, and keep those that give the same grades.

    With fp16, weights are stored in half precision. With half, the model also computes in it, for a
    GPU. With int8, it computes in integers of 8 bits, for the processor. With bfloat16, the model
    is copied, and its card allows OpenVINO to compute in bfloat16. A variant is kept if it grades
    at least 99.5 % of the labelled buildings like the model. It may also lose at most 0.5 points of
    each F1: localisation, damage, and the official score. Needs pip install ".[optimise]".

    \u0008
    Example:
      geodamage models optimise fast --calibration xbd --split split.csv
    """
    from geodamage.cli.progress import follow
    from geodamage.cli.variants import print_variants, refusal
    from geodamage.optimise.variants import OptimisationJob, optimise

    options["precisions"] = options["precisions"] or ("fp16", "int8")
    with _warnings_as_lines():
        variants = follow(
            optimise(OptimisationJob(**options)),
            lambda step: f"{step.stage} {step.done} of {step.total}  {step.name}",
            quiet=quiet,
        )
    if as_json:
        _write_json([variant.as_dict() for variant in variants])
    else:
        print_variants(variants)
    if error := refusal(variants):
        raise error


@command.command(name="bench")
@click.argument("models", nargs=-1, metavar="[NAME|PATH]...")
@takes("models bench")
def bench_command(as_json: bool, quiet: bool, **options: Any) -> None:
    """Time models on this machine and name the best.

    MP/s: pixels of the pair per second, without the halo; the time includes the halo. Models run in
    turns, so that other work on the machine slows all of them alike.

    \u0008
    Example:
      geodamage models bench fast fast-int8.onnx --threads 2
    """
    from geodamage.cli.progress import follow
    from geodamage.cli.variants import print_timings, timings_as_dict
    from geodamage.optimise.timings import TimingJob, time_models

    timings = follow(
        time_models(TimingJob(**options)),
        lambda step: f"note: {step.note}" if step.note else f"{step.done} of {step.total}",
        quiet=quiet,
    )
    if as_json:
        _write_json(timings_as_dict(timings))
    else:
        print_timings(timings)


@contextmanager
def _torch_needed() -> Iterator[None]:
    """Say which extra to install where a package is missing that networks need."""
    try:
        yield
    except ImportError as error:
        if error.name is None or error.name.startswith("geodamage"):
            raise
        raise MissingExtraError(f"{error.name} is not installed; run {install('train')}") from error


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def say(message: Warning | str, *_: Any, **__: Any) -> None:
        click.echo(f"geodamage: warning: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", GeodamageWarning)
        warnings.showwarning = say
        yield


def _line(imported: "Imported") -> str:
    epoch = "" if imported.epoch is None else f", epoch {imported.epoch}"
    score = "" if imported.best_score is None else f", best score {imported.best_score:.4f}"
    return (
        f"{imported.source}: {imported.network}, {imported.task} ({imported.family}){epoch}{score}"
        f"{', the file as published (SHA-256)' if imported.published else ''}"
        f", {imported.context}, halo {imported.halo}, {imported.size / 1e6:.1f} MB, within "
        f"{imported.difference:.1g} of the network -> {imported.path.name}"
    )


def _wrapped_line(wrapped: "Wrapped") -> str:
    card = wrapped.card
    return (
        f"{wrapped.source}: {wrapped.convention.name or 'a graph'}, "
        f"recognised by {wrapped.known_by}; "
        f"{card.task}, {card.context}{_measured(wrapped)}, window {card.tile}, "
        f"{wrapped.size / 1e6:.1f} MB, within "
        f"{wrapped.difference:.1g} of the original file -> {wrapped.path.name}"
    )


def _measured(wrapped: "Wrapped") -> str:
    """Return how far surroundings matter, where that was measured."""
    if wrapped.influence is None:
        return ""
    return f" (surroundings change {wrapped.influence:.1g})"


def _row(file: "ModelFile") -> tuple[str, ...]:
    cards = file.cards
    return (
        file.path.stem,
        "/".join(sorted({card.task for card in cards})),
        "local" if all(card.context == "local" for card in cards) else "global",
        "/".join(dict.fromkeys(f"{card.gsd_min:g} to {card.gsd_max:g}" for card in cards)),
        f"{file.size / 1e6:.1f}",
        " AND ".join(sorted({card.licence for card in cards})),
    )


def _text(value: Any) -> str:
    """Return a value in one line that is not too long to read."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… (all with --json)"


def _write_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _write_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write columns that are as wide as they need to be."""
    table = [heads, *rows] if heads else [*rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
