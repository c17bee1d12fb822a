"""A graph in stages, each of which sees little around what it gives.

What a network says of a pixel depends on a wide field, but most of it is looked at coarsely. Cut
where it goes from one step of cells to the next, each stage needs a small margin alone. So the
features of a strip can be kept for the next one, and none is computed twice.
"""

from collections.abc import Mapping
from typing import NamedTuple

from geodamage.model.graph import Graph, Node
from geodamage.model.parts import Dates, split_by_dates
from geodamage.windows import round_up

#: Operators that look at one place alone.
_POINTWISE = frozenset(
    {"Add", "Cast", "Clip", "Div", "Identity", "Mul", "Relu", "Sigmoid", "Softmax", "Sub", "Concat"}
)
#: Operators after which nothing is known of where their numbers lie.
_SHAPELESS = frozenset({"Constant", "Shape"})


class Stage(NamedTuple):
    """A part of a graph.

    Attributes
    ----------
    graph
        An ONNX file.
    takes, gives
        Names of its inputs and outputs.
    step
        Rows and columns of the coarsest cell that it gives, pixels: windows begin at multiples.
    margin
        Pixels that it sees around what it gives, a multiple of the step.
    steps
        Rows and columns of a cell of each of its outputs, pixels.
    """

    graph: bytes
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    step: int
    margin: int
    steps: tuple[int, ...]


class Stages(NamedTuple):
    """All stages of a graph.

    Attributes
    ----------
    seeing
        One after the other, from an image to features; each takes what the one before gave.
    finding
        Features of `pre` to localisation, and to what grading takes of it. Its margin is wide
        enough for grading what lies inside.
    grading
        Features of `post` and what `finding` gave, to `damage`. Its margin is that of `finding`.
    """

    seeing: tuple[Stage, ...]
    finding: Stage
    grading: Stage

    @property
    def all(self) -> tuple[Stage, ...]:
        """All of them, in their order."""
        return *self.seeing, self.finding, self.grading


def split_in_stages(blob: bytes, source: str) -> Stages | None:
    """Return the stages of a graph; None where it has none.

    Parameters
    ----------
    blob
        An ONNX file.
    source
        What it was read from, for errors.
    """
    return split_by_dates(blob, source, _stages)


def _stages(graph: Graph, dates: Dates) -> Stages | None:
    steps = _steps(graph, dates)
    coarse = next((node.inputs[0] for node in graph.nodes if node.kind == "Resize"), None)
    if steps is None or coarse is None:
        return None
    encoder = _makers(graph, coarse)
    made = {name for node in encoder for name in node.outputs}
    skipped = {
        name
        for node in graph.nodes
        if node not in encoder
        for name in node.inputs
        if name in made & steps.keys() and name != coarse
    }
    fine = tuple(name for node in encoder for name in node.outputs if name in skipped)
    if not fine:
        return None
    seeing, last = [_stage(graph, dates, steps, ("pre",), dict.fromkeys(fine, 0))], fine[-1]
    for cut in (*_sums(encoder, fine[-1], steps)[:-1], coarse):
        seeing.append(_stage(graph, dates, steps, (last,), {cut: 0}))
        last = cut
    heads = _heads(graph, dates, steps, (*fine, coarse))
    if heads is None or None in seeing:
        return None
    return Stages(tuple(stage for stage in seeing if stage is not None), *heads)


def _heads(
    graph: Graph, dates: Dates, steps: Mapping[str, int], kept: tuple[str, ...]
) -> tuple[Stage, Stage] | None:
    """Return the stages of finding and grading, with one margin."""
    grading = _stage(graph, dates, steps, (*kept, *dates.taken), {"damage": 0})
    inside = None if grading is None else Graph.read(grading.graph, "grading")
    needed = None if inside is None else _needed(inside, steps, {"damage": 0})
    if grading is None or needed is None:
        return None
    wanted = {given: needed[taken] for given, taken in zip(dates.given, dates.taken, strict=True)}
    finding = _stage(graph, dates, steps, kept, {"localisation": 0, **wanted})
    if finding is None:
        return None
    margin = max(finding.margin, grading.margin)
    return finding._replace(margin=margin), grading._replace(margin=margin)


def _makers(graph: Graph, name: str) -> list[Node]:
    """Return the operators that a tensor is made by, in their order."""
    needed, found = {name}, list[Node]()
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            needed |= set(node.inputs)
            found.append(node)
    return found[::-1]


def _sums(encoder: list[Node], start: str, steps: Mapping[str, int]) -> list[str]:
    """Return the sums of residual blocks behind a tensor: what follows is made of the last."""
    names = [node.outputs[0] for node in encoder]
    behind = encoder[names.index(start) + 1 :]
    return [
        node.outputs[0]
        for node in behind
        if node.kind == "Add" and all(name in steps for name in node.inputs)
    ]


def _stage(
    graph: Graph,
    dates: Dates,
    steps: Mapping[str, int],
    takes: tuple[str, ...],
    wanted: Mapping[str, int],
) -> Stage | None:
    """Return the stage between some tensors; None where it would need others.

    Parameters
    ----------
    wanted
        What it gives, and how far around a window it is wanted, pixels.
    """
    gives = tuple(wanted)
    is_grading = "damage" in gives
    bridge = dates.post if is_grading else dates.pre
    images = tuple(name for name in takes if name == "pre")
    features = tuple(name for name in takes if name != "pre")
    absent = () if is_grading else dates.post
    part = graph.part(images, features, gives, bridge, absent)
    inside = None if part is None else Graph.read(part, "part")
    if part is None or inside is None:
        return None
    coarsest = max(steps.get(name, 1) for name in (*takes, *gives))
    needed = _needed(inside, steps, wanted)
    if needed is None:
        return None
    reach = max(needed[name] for name in takes)
    cells = tuple(steps[name] for name in gives)
    return Stage(part, takes, gives, coarsest, round_up(reach, coarsest), cells)


def _steps(graph: Graph, dates: Dates) -> dict[str, int] | None:
    """Return how many pixels of the image lie along a cell of each tensor; None if untold."""
    steps = {"pre": 1, "post": 1}
    halves = dict(zip(dates.taken, dates.given, strict=True)) | dates.post
    for node in graph.nodes:
        if node.outputs[0] in halves:
            steps[node.outputs[0]] = steps[halves[node.outputs[0]]]
            continue
        before = {steps[name] for name in node.inputs if name in steps}
        if not before or node.kind in _SHAPELESS:
            continue
        step = _step(graph, node, before.pop())
        if before or step is None:
            return None
        steps |= dict.fromkeys(node.outputs, step)
    return steps


def _step(graph: Graph, node: Node, step: int) -> int | None:
    """Return the step of what an operator gives; None of one that is not known."""
    if node.kind in _POINTWISE:
        is_along = node.kind in ("Concat", "Softmax") and node.axis not in (0, 1)
        return None if is_along else step
    if node.kind == "Conv":
        known = _convolution(node)
        return None if known is None else step * known[0]
    factor = _enlargement(graph, node)
    return None if factor is None or step % factor else step // factor


def _convolution(node: Node) -> tuple[int, int] | None:
    """Return stride and padding of a convolution that keeps cells where they are."""
    kernel, strides, pads, dilations = (
        node.numbers(name) for name in ("kernel_shape", "strides", "pads", "dilations")
    )
    if node.text("auto_pad") not in (None, "NOTSET") or len(kernel) != 2:
        return None
    sides = set(zip(kernel, strides or (1, 1), dilations or (1, 1), strict=True))
    around = set(pads or (0,))
    if len(sides) != 1 or len(around) != 1:
        return None
    (side, stride, dilation), pad = sides.pop(), around.pop()
    return (stride, pad) if 2 * pad == (side - 1) * dilation else None


def _enlargement(graph: Graph, node: Node) -> int | None:
    """Return how often a cell is repeated along a side; None of an operator that does another."""
    if node.kind == "DepthToSpace":
        return next(iter(node.numbers("blocksize")), None)
    ways = ("mode", "coordinate_transformation_mode", "nearest_mode")
    if node.kind != "Resize" or len(node.inputs) != 3:
        return None
    if [node.text(name) for name in ways] != ["nearest", "asymmetric", "floor"]:
        return None
    scale = graph.scale(node.inputs[2])
    if scale is None or len(scale) != 4 or scale[:2] != (1, 1) or scale[2] != scale[3]:
        return None
    return int(scale[2]) if scale[2] >= 1 and scale[2] == int(scale[2]) else None


def _needed(
    graph: Graph, steps: Mapping[str, int], wanted: Mapping[str, int]
) -> dict[str, int] | None:
    """Return how far around a window the tensors of a part are needed, pixels.

    Parameters
    ----------
    wanted
        The same of what the part gives.
    """
    needed = dict(wanted)
    for node in reversed(graph.nodes):
        here = max((needed[name] for name in node.outputs if name in needed), default=None)
        if here is None or node.kind in _SHAPELESS:
            continue
        known = _convolution(node) if node.kind == "Conv" else (1, 0)
        if known is None:
            return None
        for name in node.inputs:
            if name in steps:
                # Of a cell that is met all is needed.
                wider = round_up(here + known[1] * steps[name], steps[name])
                needed[name] = max(needed.get(name, 0), wider)
    return needed
