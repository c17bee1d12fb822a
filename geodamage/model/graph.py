"""The graph inside an ONNX file: which tensor is made of which, and parts of it as files.

Read from the bytes: the package onnx is none that a run needs.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from geodamage.model.wire import fields, number_record, read_number, record

# Field numbers of ONNX messages. Source: onnx/onnx.proto.
_MODEL_GRAPH, _MODEL_FUNCTIONS, _MODEL_METADATA = 7, 25, 14
_NODE, _GRAPH_NAME, _INITIALIZER, _INPUT, _OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TEXT, _ATTRIBUTE_TENSOR = 1, 3, 4, 5
_ATTRIBUTE_INTS = 8
_ATTRIBUTE_GRAPHS = (6, 11)
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 2, 8, 9
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR = 1, 2, 1
_TENSOR_ELEMENT, _TENSOR_SHAPE, _SHAPE_SIZE = 1, 2, 1
_FLOAT, _INT64 = 1, 7
#: Bytes of a tensor that may hold sizes and places.
_LONGEST = 256
#: Operators that give 8-bit tensors: between two of them nothing is cut.
_QUANTISING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "Cast"})


class Node(NamedTuple):
    """An operator.

    Attributes
    ----------
    kind
        Which one; empty for one of another domain than ONNX's own.
    inputs, outputs
        Names of its tensors.
    axis
        Its attribute of that name; None without one.
    value
        What a constant of whole numbers holds; None for others.
    raw
        Its message.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axis: int | None
    value: tuple[int, ...] | None
    raw: bytes

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return an attribute of whole numbers; none where there is no such one."""
        found = self._attribute(name)
        wanted = (_ATTRIBUTE_INT, _ATTRIBUTE_INTS)
        return tuple(read_number(value, name) for number, value in found if number in wanted)

    def text(self, name: str) -> str | None:
        """Return an attribute of text; None where there is no such one."""
        found = dict(self._attribute(name))
        return found[_ATTRIBUTE_TEXT].decode() if _ATTRIBUTE_TEXT in found else None

    def _attribute(self, name: str) -> list[tuple[int, bytes]]:
        """Return the fields of an attribute."""
        for number, message in fields(self.raw, name):
            if number == _NODE_ATTRIBUTE and _text(message, _ATTRIBUTE_NAME, name) == name:
                return list(fields(message, name))
        return []


class Graph(NamedTuple):
    """Operators in their order, and what they begin with.

    Attributes
    ----------
    nodes
        The operators.
    inputs, outputs
        Names of those of the graph.
    values
        Whole numbers that the file holds, by name.
    ports, weights
        Messages of inputs and outputs and of stored tensors, by name.
    rest
        Records of the file beside the graph and the metadata.
    """

    nodes: tuple[Node, ...]
    inputs: set[str]
    outputs: set[str]
    values: dict[str, tuple[int, ...]]
    ports: dict[str, bytes]
    weights: dict[str, bytes]
    rest: tuple[bytes, ...]

    @classmethod
    def read(cls, blob: bytes, source: str) -> Self | None:
        """Read a graph; None where operators hold graphs of their own, or functions.

        Raises
        ------
        ModelError
            If it is no ONNX file.
        """
        model = list(fields(blob, source, whole=True))
        numbers = [number for number, _ in model]
        if numbers.count(_MODEL_GRAPH) != 1 or _MODEL_FUNCTIONS in numbers:
            return None
        rest = [part for n, part in model if n not in (_MODEL_GRAPH, _MODEL_METADATA)]
        (inside,) = (value for n, value in fields(blob, source) if n == _MODEL_GRAPH)
        parts = list(fields(inside, source))
        nodes = [_node(value, source) for number, value in parts if number == _NODE]
        weights = {_text(v, _TENSOR_NAME, source): v for n, v in parts if n == _INITIALIZER}
        ports = {_text(v, _VALUE_NAME, source): v for n, v in parts if n in (_INPUT, _OUTPUT)}
        inputs, outputs = (
            {_text(value, _VALUE_NAME, source) for number, value in parts if number == which}
            for which in (_INPUT, _OUTPUT)
        )
        if None in nodes:
            return None
        known = [node for node in nodes if node is not None]
        values = {node.outputs[0]: node.value for node in known if node.value is not None}
        for name, raw in weights.items():
            numbers_of = _whole_numbers(raw, source)
            if numbers_of is not None:
                values[name] = numbers_of
        return cls(tuple(known), inputs, outputs, values, ports, weights, tuple(rest))

    def sources(self, name: str) -> set[str]:
        """Return the inputs of the graph that a tensor is made of."""
        return self._needed({name}, {})[0] & self.inputs

    def scale(self, name: str) -> tuple[float, ...] | None:
        """Return what a stored tensor of few float32 holds; None of any other."""
        tensor = self.weights.get(name)
        for node in self.nodes:
            if node.kind == "Constant" and name in node.outputs:
                tensors = (
                    dict(fields(message, name)).get(_ATTRIBUTE_TENSOR)
                    for number, message in fields(node.raw, name)
                    if number == _NODE_ATTRIBUTE
                )
                tensor = next(filter(None, tensors), None)
        held = {} if tensor is None or len(tensor) > _LONGEST else dict(fields(tensor, name))
        if _TENSOR_RAW not in held or read_number(held[_TENSOR_TYPE], name) != _FLOAT:
            return None
        return tuple(np.frombuffer(held[_TENSOR_RAW], "<f4").tolist())

    def _needed(self, wanted: set[str], bridge: Mapping[str, str]) -> tuple[set[str], list[Node]]:
        """Return the tensors and operators that some tensors are made of.

        Parameters
        ----------
        wanted
            Names of tensors.
        bridge
            What stands for a tensor.
        """
        needed, kept = {bridge.get(name, name) for name in wanted}, []
        for node in reversed(self.nodes):
            if needed & set(node.outputs):
                kept.append(node)
                needed |= {bridge.get(name, name) for name in node.inputs}
        return needed, kept[::-1]

    def part(
        self,
        images: Sequence[str],
        features: Sequence[str],
        outputs: Sequence[str],
        bridge: Mapping[str, str],
        absent: Collection[str] = (),
    ) -> bytes | None:
        """Return the file of what some outputs are made of; None if that takes other inputs.

        Parameters
        ----------
        images
            Inputs of the graph that the part has, too.
        features
            Tensors that it takes instead of making them, float32.
        outputs
            Outputs of the graph or other tensors, float32.
        bridge
            What stands for a tensor.
        absent
            Tensors that it must not make.
        """
        not_made = {*features, *absent}
        makers = [node for node in self.nodes if not not_made & set(node.outputs)]
        needed, nodes = self._replace(nodes=tuple(makers))._needed(set(outputs), bridge)
        made = {name for node in nodes for name in node.outputs}
        begun = {name for name in needed - made if name and name not in self.weights}
        if begun != {*images, *features}:
            return None
        body = [record(_NODE, _renamed(node, bridge)) for node in nodes]
        body.append(record(_GRAPH_NAME, b"part"))
        body += [record(_INITIALIZER, raw) for name, raw in self.weights.items() if name in needed]
        body += [record(_INPUT, self.ports[name]) for name in images]
        body += [record(_INPUT, _float_port(name)) for name in features]
        body += [record(_OUTPUT, self.ports.get(name) or _float_port(name)) for name in outputs]
        return b"".join(self.rest) + record(_MODEL_GRAPH, b"".join(body))


def find_halves(graph: Graph, stack: str) -> dict[str, tuple[str, str]] | None:
    """Return the tensors of both dates that are cut in halves, each with its first and second.

    Parameters
    ----------
    graph
        A graph.
    stack
        Name of the tensor in which the first date is stacked on the second, window by window.

    Returns
    -------
    None where a half cannot be told, or what is stacked comes out.
    """
    stacked, cuts = {stack: ""}, dict[str, list[str]]()
    known = [_Numbers(graph, windows) for windows in (1, 3)]
    for node in graph.nodes:
        if not set(node.inputs) & stacked.keys():
            for numbers in known:
                numbers.follow(node)
        elif node.kind == "Shape":
            for numbers in known:
                numbers.count(node)
        elif node.kind == "Split" and node.axis in (None, 0) and len(node.outputs) == 2:
            cuts[node.inputs[0]] = [*node.outputs]
        elif node.kind == "Slice" and (side := _agreed(n.side(node) for n in known)) is not None:
            cuts.setdefault(node.inputs[0], ["", ""])[side] = node.outputs[0]
        else:
            stacked |= dict.fromkeys(node.outputs, node.kind)
    if not cuts or stacked.keys() & graph.outputs or not all(all(pair) for pair in cuts.values()):
        return None
    if any(stacked[name] in _QUANTISING for name in cuts):
        return None
    return {name: (pair[0], pair[1]) for name, pair in cuts.items()}


class _Numbers:
    """Whole numbers of a graph that depend on how many windows are stacked.

    Parameters
    ----------
    graph
        A graph.
    windows
        Windows of each date.
    """

    #: Operators of whole numbers, as exporters write them.
    ARITHMETIC: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.floor_divide,
    }
    #: Operators that change nothing but the shape.
    SHAPING = frozenset({"Identity", "Unsqueeze", "Squeeze"})

    def __init__(self, graph: Graph, windows: int) -> None:
        self._windows = windows
        self._values = {name: np.array(value) for name, value in graph.values.items()}

    def count(self, node: Node) -> None:
        """Take the shape of what is stacked: of its sizes the first alone is known."""
        self._values[node.outputs[0]] = np.array([2 * self._windows, -1, -1, -1])

    def follow(self, node: Node) -> None:
        """Compute an operator, if it is one of whole numbers that are known."""
        if not node.inputs or any(name not in self._values for name in node.inputs):
            return
        first, *others = (self._values[name] for name in node.inputs)
        if node.kind in self.SHAPING:
            self._values[node.outputs[0]] = first
        elif node.kind == "Gather" and others[0].size == 1 and first.ndim == 1:
            self._values[node.outputs[0]] = first[others[0].ravel()]
        elif node.kind in self.ARITHMETIC and (others[0] != 0).all():
            self._values[node.outputs[0]] = self.ARITHMETIC[node.kind](first, others[0])

    def side(self, node: Node) -> int | None:
        """Return whether a slice takes the first half of the windows, 0, or the second, 1."""
        bounds = [self._values.get(name) for name in node.inputs[1:]]
        if not 3 <= len(bounds) <= 4 or any(b is None or b.size != 1 for b in bounds):
            return None
        start, stop, axis, *step = (int(bound.flat[0]) for bound in bounds if bound is not None)
        if axis != 0 or step not in ([], [1]):
            return None
        half = self._windows
        return {(0, half): 0, (half, 2 * half): 1}.get((start, min(stop, 2 * half)))


def _agreed(sides: Iterable[int | None]) -> int | None:
    """Return what all say; None where they differ."""
    said = set(sides)
    return said.pop() if len(said) == 1 else None


def _node(raw: bytes, source: str) -> Node | None:
    """Read an operator; None where it holds a graph of its own."""
    parts = list(fields(raw, source))
    texts = {
        number: [value.decode() for n, value in parts if n == number]
        for number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND, _NODE_DOMAIN)
    }
    axis, value = None, None
    for number, attribute in parts:
        if number != _NODE_ATTRIBUTE:
            continue
        held = dict(fields(attribute, source))
        if held.keys() & set(_ATTRIBUTE_GRAPHS):
            return None
        if held.get(_ATTRIBUTE_NAME) == b"axis" and _ATTRIBUTE_INT in held:
            axis = read_number(held[_ATTRIBUTE_INT], source)
        if held.get(_ATTRIBUTE_NAME) == b"value" and _ATTRIBUTE_TENSOR in held:
            value = _whole_numbers(held[_ATTRIBUTE_TENSOR], source)
    is_own = not any(texts[_NODE_DOMAIN])
    kind = texts[_NODE_KIND][0] if is_own and texts[_NODE_KIND] else ""
    return Node(kind, (*texts[_NODE_INPUT],), (*texts[_NODE_OUTPUT],), axis, value, raw)


def _whole_numbers(tensor: bytes, source: str) -> tuple[int, ...] | None:
    """Return what a tensor of few 64-bit numbers holds; None of any other."""
    parts = list(fields(tensor, source))
    held = dict(parts)
    if len(tensor) > _LONGEST or read_number(held.get(_TENSOR_TYPE, b"\0"), source) != _INT64:
        return None
    if _TENSOR_RAW in held:
        return tuple(np.frombuffer(held[_TENSOR_RAW], "<i8").tolist())
    return None


def _text(message: bytes, number: int, source: str) -> str:
    """Return a text of a message; empty where it has none."""
    return dict(fields(message, source)).get(number, b"").decode()


def _renamed(node: Node, bridge: Mapping[str, str]) -> bytes:
    """Return the message of an operator that takes what stands for its inputs."""
    if not set(node.inputs) & bridge.keys():
        return node.raw
    kept = [part for number, part in fields(node.raw, "node", whole=True) if number != _NODE_INPUT]
    names = [bridge.get(name, name).encode() for name in node.inputs]
    return b"".join([*(record(_NODE_INPUT, name) for name in names), *kept])


def _float_port(name: str) -> bytes:
    """Return the message of an input or output of float32, of four free sizes."""
    sizes = record(_SHAPE_SIZE, b"") * 4
    tensor = number_record(_TENSOR_ELEMENT, _FLOAT) + record(_TENSOR_SHAPE, sizes)
    kind = record(_VALUE_TYPE, record(_TYPE_TENSOR, tensor))
    return record(_VALUE_NAME, name.encode()) + kind
