"""A graph in two parts: where buildings are is known before anything is graded.

A network that sees both dates one by one stacks them into one batch, and cuts the batch in halves
where it compares them. Without the stack the graph falls into two: `pre` becomes localisation and
features, and `post` with those features becomes the grades. Each part holds what it needs of the
network. Where nothing is found, the second is not asked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from geodamage.errors import ModelError
from geodamage.model.graph import Graph, Node, find_halves

S = TypeVar("S")


class Parts(NamedTuple):
    """Both parts of a graph.

    Attributes
    ----------
    first
        ONNX file of `pre` to `localisation` and features.
    second
        ONNX file of `post` and features to `damage`.
    given, taken
        Names of the features: as outputs of the first part, and as inputs of the second.
    """

    first: bytes
    second: bytes
    given: tuple[str, ...]
    taken: tuple[str, ...]


class Dates(NamedTuple):
    """How a graph that stacks both dates is followed of one of them.

    Attributes
    ----------
    given, taken
        Tensors that are compared: as one date has them, and as halves of `pre`.
    pre, post
        What stands for a tensor, where the graph is followed of that date.
    """

    given: tuple[str, ...]
    taken: tuple[str, ...]
    pre: dict[str, str]
    post: dict[str, str]


def split_graph(blob: bytes, source: str) -> Parts | None:
    """Return the parts of a graph; None where it does not fall into two.

    Parameters
    ----------
    blob
        An ONNX file.
    source
        What it was read from, for errors.
    """
    return split_by_dates(blob, source, _parts)


def _parts(graph: Graph, dates: Dates) -> Parts | None:
    given, taken = dates.given, dates.taken
    one = graph.part(("pre",), (), ("localisation", *given), dates.pre, dates.post)
    two = graph.part(("post",), taken, ("damage",), dates.post)
    return None if one is None or two is None else Parts(one, two, given, taken)


def split_by_dates(blob: bytes, source: str, how: Callable[[Graph, Dates], S | None]) -> S | None:
    """Return what a graph that stacks both dates is split into; None of any other.

    Parameters
    ----------
    how
        Splits it.
    """
    try:
        graph = Graph.read(blob, source)
        dates = None if graph is None else _dates(graph)
        return None if graph is None or dates is None else how(graph, dates)
    except (ModelError, ValueError):
        # What cannot be read here is refused by the runtime, in words that say more.
        return None


def _dates(graph: Graph) -> Dates | None:
    """Return how either date is followed; None where the graph does not stack them."""
    stack = _stack(graph)
    halves = None if stack is None else find_halves(graph, stack.outputs[0])
    if stack is None or halves is None:
        return None
    given, firsts = tuple(halves), tuple(first for first, _ in halves.values())
    seconds = {second: tensor for tensor, (_, second) in halves.items()}
    (together,), (pre, post) = stack.outputs, stack.inputs
    bridge = {together: pre, **dict(zip(firsts, given, strict=True))}
    return Dates(given, firsts, bridge, {together: post, **seconds})


def _stack(graph: Graph) -> Node | None:
    """Return the operator that stacks `pre` on `post`."""
    if graph.inputs != {"pre", "post"} or graph.outputs != {"localisation", "damage"}:
        return None
    for node in graph.nodes:
        is_stack = node.kind == "Concat" and node.axis == 0
        if is_stack and [graph.sources(name) for name in node.inputs] == [{"pre"}, {"post"}]:
            return node
    return None


class PartedSession:
    """The sessions of both parts, which are asked as the session of the whole graph is.

    Parameters
    ----------
    first, second
        Sessions of the parts.
    parts
        Names of the features.
    """

    def __init__(self, first: Any, second: Any, parts: Parts) -> None:
        self._first, self._second, self.parts = first, second, parts
        self._given, self._taken = parts.given, parts.taken

    @property
    def first(self) -> Any:
        """The session of the first part."""
        return self._first

    @property
    def both(self) -> tuple[Any, Any]:
        """The sessions of both parts."""
        return self._first, self._second

    def get_inputs(self) -> list[Any]:
        """Return the inputs of the whole graph."""
        ports = [*self._first.get_inputs(), *self._second.get_inputs()]
        return [port for port in ports if port.name in ("pre", "post")]

    def get_outputs(self) -> list[Any]:
        """Return the outputs of the whole graph."""
        ports = [*self._first.get_outputs(), *self._second.get_outputs()]
        return [port for port in ports if port.name in ("localisation", "damage")]

    def run(self, names: Sequence[str], images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs of these names."""
        localisation, features = self.find(images["pre"])
        found = {"localisation": localisation}
        if "damage" in names:
            found["damage"] = self.grade(images["post"], features)
        return [found[name] for name in names]

    def find(self, pre: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return localisation and features of uint8 `(n, c, rows, columns)`."""
        localisation, *features = self._first.run(["localisation", *self._given], {"pre": pre})
        return localisation, features

    def grade(self, post: np.ndarray, features: Sequence[np.ndarray]) -> np.ndarray:
        """Return the damage head of uint8 `(n, c, rows, columns)`, with the features of `pre`."""
        known = dict(zip(self._taken, features, strict=True))
        (damage,) = self._second.run(["damage"], {"post": post, **known})
        return np.asarray(damage)
