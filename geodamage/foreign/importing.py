"""Import of foreign graphs: model files made of ONNX files, one or an ensemble."""

import dataclasses
import json
import sys
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.errors import GeodamageWarning, MissingExtraError, ModelError, OptionError, install
from geodamage.foreign.bare import Bare
from geodamage.foreign.convention import DATES, Convention, OutputTable, read_convention
from geodamage.foreign.field import TOLERANCES as FIELD_TOLERANCES
from geodamage.foreign.field import outer_influence
from geodamage.foreign.graph import Graph, read_graph
from geodamage.foreign.recognition import completed, recognised
from geodamage.foreign.wrapping import channels_of, wrap
from geodamage.model.card import METADATA_KEY, Card, read_card, with_card
from geodamage.model.heads import Heads
from geodamage.model.measuring import measure_memory, oddity, pattern_windows
from geodamage.model.onnx import Model
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.words import counted

#: Largest difference of a probability between a model file and the bare one, by its precision.
TOLERANCES = {"fp32": 1e-5, "half": 2e-3}
#: Rows and columns of the window on which a graph of any size is compared, in strides.
_STRIDES = 8
#: Bytes per pixel where memory cannot be measured.
_ENOUGH_MEMORY = 4000.0


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    """What became of one foreign file."""

    source: Path
    """The file."""
    path: Path
    """The model file."""
    convention: Convention
    """How it was taken."""
    known_by: str
    """What told its convention."""
    card: Card
    """Card of the model."""
    size: int
    """Size of the model file, bytes."""
    difference: float
    """Largest difference of a probability from the bare file."""
    influence: float | None = None
    """Largest change of a probability by what lies outside a window; None if not measured."""


def import_graphs(
    sources: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    conventions: Sequence[str] = (),
    licence: str | None = None,
    overwrite: bool = False,
) -> Generator[Wrapped, None, None]:
    """Make a model file of one foreign ONNX file, or an ensemble of several; all or nothing.

    Parameters
    ----------
    sources
        ONNX files. One that is a model file already is taken over as it is.
    output
        Name without extension: NAME.onnx for one file, for several NAME.toml beside its members.
    conventions
        Names of built-in ones or TOML files: none, one for all, or one for each file.
    licence
        Licence of the weights, in place of what the convention says.
    overwrite
        Replace files that are there already.

    Yields
    ------
    One result for each file. The files appear after the last.

    Raises
    ------
    ModelError
        If a file is refused, nothing says how to take it, or its model says something else.
    OptionError
        If there are too many conventions, or an extension is wrong.
    OutputError
        If the output exists or cannot be written.
    MissingExtraError
        If onnx or ONNX Runtime is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise MissingExtraError(
            f"onnxruntime is not installed; run {install('cpu')}, so that what was imported can "
            "be compared"
        )
    paths = [Path(source) for source in sources]
    target, names = _places(Path(output), paths)
    given = _given(conventions, len(paths))
    for path in {target, *names}:
        check_output(path, inputs=paths, overwrite=overwrite, extensions=(".onnx", ".toml"))
    with Publication(overwrite=overwrite) as publication:
        made = []
        for source, name, stated in zip(paths, names, given, strict=True):
            partial = publication.partial(name)
            made.append(_import(read_graph(source), stated, (name, partial), licence))
            yield made[-1]
        if len(made) > 1:
            partial = publication.partial(target)
            with output_errors(target):
                partial.write_text(ensemble_text(target.stem, made), encoding="utf-8")


def _places(output: Path, sources: Sequence[Path]) -> tuple[Path, list[Path]]:
    """Return the file that the user will name, and those of the members."""
    if not sources:
        raise OptionError("no file was given; name at least one")
    extension = ".onnx" if len(sources) == 1 else ".toml"
    if output.suffix.lower() in (".onnx", ".toml"):
        if output.suffix.lower() != extension:
            raise OptionError(f"output {output}: {len(sources)} file(s) become a {extension}")
        output = output.with_suffix("")
    target = output.with_name(output.name + extension)
    if len(sources) == 1:
        return target, [target]
    return target, [
        target.with_name(f"{target.stem}-{number}-{source.stem}.onnx")
        for number, source in enumerate(sources, 1)
    ]


def _given(conventions: Sequence[str], count: int) -> list[Convention | None]:
    if not conventions:
        return [None] * count
    if len(conventions) not in (1, count):
        raise OptionError(
            f"{counted(len(conventions), 'convention')} for {counted(count, 'file')}; give one, or "
            "one for each in order"
        )
    read: list[Convention | None] = [read_convention(text) for text in conventions]
    return read * count if len(read) == 1 else read


def _import(
    graph: Graph, stated: Convention | None, places: tuple[Path, Path], licence: str | None
) -> Wrapped:
    if METADATA_KEY in graph.metadata:
        return _taken_over(graph, places)
    convention, known_by = recognised(graph, stated)
    if licence is not None:
        convention = dataclasses.replace(convention, licence=licence)
    convention = completed(graph, convention)
    path, partial = places
    own = convention.layout == "own"
    bare = None if own else Bare(graph, convention)
    if bare is not None and _sides(graph, convention) is None and not _takes_any_size(bare):
        convention = dataclasses.replace(convention, fixed_size=True)
    card, probe = _card(graph, convention, path.stem), _probe(graph, convention)
    said, scale = ({}, 1) if bare is None else _tried(bare, probe)
    sides = _sides(graph, convention)
    blob = graph.blob if own else wrap(graph, convention, sides, scale)
    with output_errors(path):
        partial.write_bytes(with_card(blob, card))
    card = dataclasses.replace(card, bytes_per_pixel=_memory(partial, card))
    with output_errors(path):
        partial.write_bytes(with_card(blob, card))
    model = Model(partial, device="cpu", engine="onnxruntime")
    influence = None
    if sides is None and convention.context != "global":
        influence = _influence(model, card)
        if influence is not None and influence <= FIELD_TOLERANCES[card.precision]:
            card = dataclasses.replace(card, context="local")
            with output_errors(path):
                partial.write_bytes(with_card(blob, card))
            model = Model(partial, device="cpu", engine="onnxruntime")
    only = next(iter(probe.values()))
    heads = model(probe.get("pre", only), probe.get("post", only))
    _look(path, card, heads)
    difference = 0.0
    if bare is not None:
        most = _tolerance(card, said.values())
        difference = _compared(bare.heads(said, scale), heads, most, path)
    return Wrapped(
        source=graph.path,
        path=path,
        convention=convention,
        known_by=known_by,
        card=model.card,
        size=partial.stat().st_size,
        difference=difference,
        influence=influence,
    )


def _takes_any_size(bare: Bare) -> bool:
    """Say whether a graph runs on small windows, as a loaded model has to; warn if it does not."""
    side = 4 * bare.convention.stride
    try:
        bare(_drawn(bare.graph, bare.convention, side))
    except ModelError:
        warnings.warn(
            f"{bare.graph.path}: says that it takes any size, and does not run on {side} pixels; "
            f"its windows are fixed at its tile of {bare.convention.tile}",
            GeodamageWarning,
            stacklevel=2,
        )
        return False
    return True


def _influence(model: Model, card: Card) -> float | None:
    """Return what surroundings change, or say that the graph is right at its tile alone."""
    found = outer_influence(model, card)
    if found is None:
        warnings.warn(
            f"{model.path.name}: does not run on windows larger than its tile of {card.tile}, and "
            "says that it takes any size; its windows stay at that",
            GeodamageWarning,
            stacklevel=2,
        )
    return found


def _taken_over(graph: Graph, places: tuple[Path, Path]) -> Wrapped:
    """Return what became of a file that is a model of the house: the same."""
    path, partial = places
    card = read_card(graph.blob, str(graph.path))
    with output_errors(path):
        partial.write_bytes(graph.blob)
    Model(partial, device="cpu", engine="onnxruntime")
    return Wrapped(
        source=graph.path,
        path=path,
        convention=Convention(name=card.name, layout="own", threshold=card.threshold),
        known_by="its card",
        card=card,
        size=len(graph.blob),
        difference=0.0,
    )


def _sides(graph: Graph, convention: Convention) -> tuple[int, int] | None:
    rows = graph.inputs[0].sides[0]
    if (rows > 0 or convention.fixed_size) and convention.tile:
        return convention.tile, convention.tile
    return None


def _card(graph: Graph, convention: Convention, name: str) -> Card:
    native, finest, coarsest = convention.range
    tile = convention.tile or 0
    sides = _sides(graph, convention)
    stride = convention.stride if sides is None or tile % convention.stride == 0 else 1
    overlap = tile // 4 if convention.overlap is None else convention.overlap
    stated: dict[str, Any] = {}
    if convention.layout == "own":
        stated["task"] = _own_task(graph)
    else:
        channels = {d: channels_of(convention, graph, d) for d in convention.order_of_dates}
        both = {date: channels.get(date, 3) for date in DATES}
        stated["task"] = convention.task
        stated["pre_channels"] = channel_names(both["pre"], "optical")
        stated["post_channels"] = channel_names(both["post"], convention.post_sensor)
    return Card(
        name=name,
        version="1",
        gsd_native=native,
        gsd_min=finest,
        gsd_max=coarsest,
        stride=stride,
        context="global",
        halo=overlap // 2,
        tile=tile,
        licence=convention.licence,
        training_data=convention.training_data,
        threshold=convention.threshold,
        post_sensor=convention.post_sensor,
        precision="half" if graph.is_half else "fp32",
        scene_statistics=convention.statistics,
        background_competes=convention.background_competes,
        scores={
            **({} if convention.layout == "own" else {"dates": list(convention.order_of_dates)}),
            "file": graph.path.name,
            "file_sha256": graph.sha256,
            "convention": convention.name or "stated by the user",
            "published": convention.published or "none stated",
        },
        **stated,
    )


def _own_task(graph: Graph) -> str:
    heads = {port.name for port in graph.outputs}
    return "assess" if len(heads) > 1 else heads.pop()


def channel_names(count: int, sensor: str) -> tuple[str, ...]:
    """Return names of the channels of an image."""
    if sensor == "sar":
        return ("intensity", *(f"intensity {n}" for n in range(2, count + 1)))
    names = ("red", "green", "blue", *(f"band {n}" for n in range(4, count + 1)))
    return names[:count] if count > 1 else ("grey",)


def _probe(graph: Graph, convention: Convention) -> dict[str, np.ndarray]:
    """Return a synthetic pair to run on, uint8 (1, c, rows, columns) by date."""
    side = convention.tile or 0
    if _sides(graph, convention) is None:
        side = min(side, max(_STRIDES * convention.stride, 64))
    return _drawn(graph, convention, side)


def _drawn(graph: Graph, convention: Convention, side: int) -> dict[str, np.ndarray]:
    drawn = pattern_windows(1, side, seed=1)
    if convention.layout == "own":
        return {date: drawn[:, number] for number, date in enumerate(DATES)}
    found = {}
    for date in convention.order_of_dates:
        channels = channels_of(convention, graph, date)
        image = drawn[:, DATES.index(date)]
        found[date] = np.ascontiguousarray(np.resize(image[0], (channels, side, side))[None])
    return found


def _tried(bare: Bare, probe: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """Run the bare file; return what it says, and how many times smaller that is."""
    said = bare(probe)
    side = next(iter(probe.values())).shape[-1]
    path = bare.graph.path
    scales = set()
    for table in bare.convention.output:
        values = said[table.name]
        port = next(p for p in bare.graph.outputs if p.name == table.name)
        rows = values.shape[1] if port.is_channels_last else values.shape[2]
        channels = values.shape[3] if port.is_channels_last else values.shape[1]
        if channels != len(table.channels):
            raise ModelError(
                f"{path}: {table.name} has {counted(channels, 'channel')}, and channels names "
                f"{len(table.channels)}; fix the convention"
            )
        if rows == 0 or side % rows:
            raise ModelError(f"{path}: {table.name} has {rows} rows for {side} of the image")
        _check_range(path, table, values)
        scales.add(side // rows)
    if len(scales) > 1:
        raise ModelError(f"{path}: its outputs have different sizes; export it with one")
    return said, scales.pop()


def _check_range(path: Path, table: OutputTable, values: np.ndarray) -> None:
    """Refuse what is no number, or no probability where it is said to be one."""
    if not np.isfinite(values).all():
        raise ModelError(f"{path}: {table.name} is not finite on a synthetic pair; get it again")
    inside = values.min() >= 0 and values.max() <= 1.001
    if table.activation == "none" and not inside:
        raise ModelError(
            f"{path}: {table.name} goes from {values.min():.3g} to {values.max():.3g}, so it holds "
            'logits; say activation = "softmax" or "sigmoid"'
        )
    if table.activation != "none" and inside and np.ptp(values) > 0:
        sums = values.sum(1)
        if np.abs(sums - 1).max() < 1e-3 and values.shape[1] > 1:
            raise ModelError(
                f"{path}: the channels of {table.name} sum to 1, so they are probabilities "
                'already; say activation = "none"'
            )


def _tolerance(card: Card, said: Iterable[np.ndarray]) -> float:
    """Return the largest difference of a probability that is none.

    The bare file rounds its logits to half precision where it is of that, and a runtime that
    computes on does not: large ones differ by what lies between two numbers there.
    """
    most = TOLERANCES[card.precision]
    if card.precision == "fp32":
        return most
    largest = max(float(np.abs(values).max()) for values in said)
    return max(most, float(np.spacing(np.float16(largest))) / 2)


def _compared(wanted: Mapping[str, np.ndarray], heads: Heads, most: float, path: Path) -> float:
    """Return the largest difference from the bare file.

    Raises
    ------
    ModelError
        If it is above the tolerance.
    """
    worst = 0.0
    for name, theirs in wanted.items():
        apart = float(np.abs(getattr(heads, name) - theirs).max())
        if not apart <= most:  # not >, so that a NaN is refused, too
            raise ModelError(
                f"{path}: {name} differs by {apart:.2g} from the original file; report this graph"
            )
        worst = max(worst, apart)
    return worst


def _look(path: Path, card: Card, heads: Heads) -> None:
    """Warn of what a wrong convention brings about, on a synthetic pair."""
    if found := oddity(card, heads):
        warnings.warn(
            f"{path}: {found} in a synthetic pair; is the convention right (scaling, order, "
            "channels)? Try it on a pair that you know",
            GeodamageWarning,
            stacklevel=2,
        )


def _memory(partial: Path, card: Card) -> float:
    if sys.platform != "linux":
        return _ENOUGH_MEMORY
    return measure_memory(partial, card.tile)


def ensemble_text(name: str, members: Sequence[Wrapped]) -> str:
    """Return the TOML of an ensemble: the plain mean of each head over those that have it."""
    located = [m.card.threshold for m in members if m.card.task != "damage"]
    threshold = located[0] if located else 0.5
    lines = [f"name = {json.dumps(name)}", 'version = "1"', f"threshold = {threshold}"]
    for member in members:
        lines += ["", "[[member]]", f"file = {json.dumps(member.path.name)}"]
    return "\n".join(lines) + "\n"
