"""Recognition: the convention of a foreign graph, by the user, its hash or its shapes."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from geodamage.errors import GeodamageWarning, ModelError
from geodamage.foreign.convention import (
    DATES,
    EXAMPLE,
    MEANINGS,
    Convention,
    OutputTable,
    built_in,
    date_of,
)
from geodamage.foreign.graph import FLOATS, Graph
from geodamage.foreign.wrapping import channels_of
from geodamage.words import counted


def recognised(graph: Graph, stated: Convention | None) -> tuple[Convention, str]:
    """Return the convention of a graph, and what told it: the user, its hash or its shapes."""
    known = built_in()
    published = [c for c in known.values() if graph.sha256 in c.sha256]
    if stated is not None:
        hashed = ", the file as published" if graph.sha256 in stated.sha256 else ""
        if stated.layout != "own" and _fits(known["own"], graph):
            stated = dataclasses.replace(stated, layout="own")
        return stated, f"--convention{hashed}"
    if published:
        return published[0], "its SHA-256: the file as published"
    for convention in known.values():
        if _fits(convention, graph):
            if convention.sha256:
                warnings.warn(
                    f"{graph.path}: has the inputs and outputs of {convention.name}, and is not "
                    "the file that its authors published; give --convention if it is another model",
                    GeodamageWarning,
                    stacklevel=2,
                )
            return convention, "its inputs and outputs"
    return Convention(), "the file"


def _fits(convention: Convention, graph: Graph) -> bool:
    if not convention.graph:
        return False
    if convention.layout != "own":
        return graph.fits(convention.graph)
    told = convention.graph
    ports = ((graph.inputs, told["inputs"]), (graph.outputs, told["outputs"]))
    if any(not {port.name for port in found} <= set(wanted) for found, wanted in ports):
        return False
    return {port.dtype for port in graph.inputs} == {"uint8"}


def completed(graph: Graph, convention: Convention) -> Convention:
    """Return a convention with what the file tells itself.

    Raises
    ------
    ModelError
        If something is missing that nobody can read from it, or does not fit it.
    """
    told = {name: value for name, value in _told(graph, convention).items() if value}
    found = {name: value for name, value in told.items() if not getattr(convention, name)}
    convention = dataclasses.replace(convention, **found)
    if convention.layout != "own":
        convention = dataclasses.replace(convention, output=_outputs(graph, convention))
    lacking = convention.lacking()
    if lacking:
        raise ModelError(
            f"{graph.path}: neither the file nor a convention says {', '.join(lacking)}; write "
            f"them into a TOML file and give --convention FILE.toml, such as: {EXAMPLE}"
        )
    convention.check(str(graph.path))
    if convention.layout != "own":
        _check_graph(graph, convention)
    return convention


def _told(graph: Graph, convention: Convention) -> Mapping[str, Any]:
    """Return what the shapes and names of a graph, and its metadata, say."""
    metadata = graph.metadata
    dates = tuple(date_of(port.name) for port in graph.inputs)
    pair = len(dates) == 2 and set(dates) == set(DATES)
    first = graph.inputs[0]
    layout = ""
    if pair:
        layout = "apart"
    elif len(first.shape) == 5:
        layout = "paired"
    elif len(graph.inputs) == 1 and first.channels == 6:
        layout = "stacked"
    gsd = metadata.get("resolution")  # Deepness: centimetres per pixel
    side = max(first.sides)
    fixed = side if side > 0 else metadata.get("tiles_size", 0)
    return {
        "layout": layout,
        "dates": dates if pair and (convention.layout or layout) == "apart" else (),
        "tile": fixed if isinstance(fixed, int) else None,
        "gsd": gsd / 100 if isinstance(gsd, int | float) and gsd > 0 else None,
    }


def _outputs(graph: Graph, convention: Convention) -> tuple[OutputTable, ...]:
    """Return what the outputs mean, completed by their names and by what the file says."""
    tables = convention.output or (OutputTable(),)
    names = [port.name for port in graph.outputs]
    ports = {port.name: port for port in graph.outputs}
    found = []
    for table in tables:
        name = table.name or (names[0] if len(names) == 1 else "")
        if not name:
            raise ModelError(
                f"{graph.path}: has the outputs {', '.join(names)}; say the name of each [[output]]"
            )
        if name not in ports:
            raise ModelError(f"{graph.path}: has no output {name}, but {', '.join(names)}")
        channels = table.channels or _channels(graph, ports[name].channels)
        found.append(dataclasses.replace(table, name=name, channels=channels))
    return tuple(found)


def _channels(graph: Graph, count: int) -> tuple[str, ...]:
    """Return the meanings of channels that a file tells: of one, or by their names."""
    named = graph.metadata.get("class_names")  # Deepness
    if isinstance(named, dict) and len(named) == count:
        listed = tuple(str(named.get(str(n), "")) for n in range(count))
        if set(listed) <= set(MEANINGS):
            return listed
    return ("building",) if count == 1 else ()


def _check_graph(graph: Graph, convention: Convention) -> None:
    """Refuse a convention that cannot be that of a graph."""
    for good, what in _fit_checks(graph, convention):
        if not good:
            raise ModelError(f"{graph.path}: {what}; fix the convention, or export it otherwise")


def _fit_checks(graph: Graph, convention: Convention) -> Sequence[tuple[bool, str]]:
    apart = convention.layout == "apart"
    wanted = 2 if apart else 1
    inputs, first = [port.name for port in graph.inputs], graph.inputs[0]
    told = bool(convention.dates) or not apart
    types = {port.dtype for port in graph.inputs}
    plain = convention.divisor in (None, 1) and not (convention.mean or convention.deviation)
    classes = [port for port in graph.outputs if port.dtype not in FLOATS]
    ports = {port.name: port for port in graph.outputs}
    tables = [(t, ports[t.name].channels) for t in convention.output]
    amiss = [
        f"{t.name} has {counted(n, 'channel')} and channels names {len(t.channels)}"
        for t, n in tables
        if n not in (-1, len(t.channels))
    ]
    sizes = [side for port in graph.inputs for side in port.sides if side > 0]
    one = convention.layout == "post" and not convention.grades
    channels = first.channels
    pairs = convention.layout != "stacked" or convention.post_sensor == "sar" or channels % 2 == 0
    sums = [len(n) for n in (convention.mean, convention.deviation) if n]
    lengths = _lengths(graph, convention) if len(inputs) == wanted and channels > 0 else set(sums)
    return [
        (len(inputs) == wanted, f"takes {', '.join(inputs)}, and layout is {convention.layout}"),
        (channels > 0, f"{first.name} does not say its channels"),
        (told, f"its inputs {', '.join(inputs)} do not say which date each is; give dates"),
        (types <= {*FLOATS, "uint8"}, f"takes {', '.join(sorted(types))}"),
        (types != {"uint8"} or plain, "takes uint8, so that scaling is inside it already"),
        (not classes, f"{', '.join(p.name for p in classes)} holds classes and no probabilities"),
        (not amiss, "; ".join(amiss)),
        (set(sizes) <= {convention.tile}, f"takes {sizes} pixels, and tile is {convention.tile}"),
        (not one, "one image that shows buildings has the layout pre"),
        (pairs, f"{first.name} has {counted(channels, 'channel')}, which cannot be two dates"),
        (set(sums) <= lengths, f"mean or deviation has {sums} numbers, and {[*lengths]} may be"),
    ]


def _lengths(graph: Graph, convention: Convention) -> set[int]:
    """Return how many numbers a mean may have."""
    counts = [channels_of(convention, graph, date) for date in convention.order_of_dates]
    if convention.post_repeat > 1:
        counts[-1] = convention.post_repeat
    return {1, *counts, sum(counts)}
