"""Foreign graphs: an ONNX file read and looked at, before anything of it runs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from geodamage.errors import MissingExtraError, ModelError, install
from geodamage.model.onnx import read_model_bytes

#: Domains of the operators that every ONNX Runtime has.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
#: Oldest operators that are wrapped as they are; older ones are converted.
OLDEST_OPSET, CONVERTED_OPSET = 11, 17
#: Types of numbers that images may have in a graph, and outputs.
FLOATS = ("float32", "float16", "float64")
_ADVICE = "export it again with a free or a single batch and its weights inside"


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph.

    Attributes
    ----------
    name
        Its name.
    shape
        Its sizes, -1 where any will do.
    dtype
        Name of its type, as NumPy has it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_channels_last(self) -> bool:
        """Whether it is (n, rows, columns, channels): the last size is the one of few."""
        few = range(1, 33)
        return len(self.shape) == 4 and self.shape[3] in few and self.shape[1] not in few

    @property
    def channels(self) -> int:
        """Number of channels; -1 if it is not said."""
        if len(self.shape) == 5:
            return self.shape[2]
        return self.shape[3] if self.is_channels_last else self.shape[1]

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns, -1 where any will do."""
        first = -3 if self.is_channels_last else -2
        return self.shape[first], self.shape[first + 1]


@dataclass(frozen=True)
class Graph:
    """An ONNX file that was looked at.

    Attributes
    ----------
    path, blob
        Where it was read from, and its bytes.
    model
        The same as onnx has it.
    inputs, outputs
        What goes in and comes out.
    """

    path: Path
    blob: bytes
    model: Any
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @cached_property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.blob).hexdigest()

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says of itself: values that are JSON are read as such."""
        return {entry.key: _value(entry.value) for entry in self.model.metadata_props}

    @property
    def is_half(self) -> bool:
        """Whether it computes in half precision."""
        return any(port.dtype == "float16" for port in self.inputs)

    def fits(self, told: Mapping[str, Any]) -> bool:
        """Say whether its inputs and outputs have these shapes, by name; -1 is any size."""
        for ports, wanted in ((self.inputs, told["inputs"]), (self.outputs, told["outputs"])):
            if {port.name for port in ports} != set(wanted):
                return False
            if not all(_fits(port.shape, wanted[port.name]) for port in ports):
                return False
        return True


def read_graph(path: Path) -> Graph:
    """Read an ONNX file; nothing of it is executed.

    Raises
    ------
    ModelNotFoundError
        If it is no readable, regular file.
    ModelError
        If it is no ONNX file, or holds what a model file may not.
    MissingExtraError
        If onnx is not installed.
    """
    onnx = import_onnx()
    blob = read_model_bytes(path)
    try:
        model = onnx.load_from_string(blob)
    except Exception as error:  # protobuf's own, by its version
        raise ModelError(f"{path}: not an ONNX file, or cut off; get it again") from error
    graph = model.graph
    if not graph.node or not graph.output:
        raise ModelError(f"{path}: not an ONNX file, or cut off; get it again")
    outside = [t.name for t in _tensors(graph) if t.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise ModelError(
            f"{path}: {len(outside)} of its weights lie in another file, such as {outside[0]}; "
            "save it as one file: onnx.save(onnx.load(FILE), NEW)"
        )
    strange = sorted(
        {f"{node.domain}.{node.op_type}" for node in _nodes(graph) if node.domain not in _DOMAINS}
        - {f"{function.domain}.{function.name}" for function in model.functions}
    )
    if strange:
        raise ModelError(
            f"{path}: custom operators {', '.join(strange[:3])}; export it with those of ONNX alone"
        )
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [node for node in graph.input if node.name not in weights]
    return Graph(
        path,
        blob,
        model,
        tuple(_port(node, path, onnx) for node in inputs),
        tuple(_port(node, path, onnx) for node in graph.output),
    )


def import_onnx() -> Any:
    """Return onnx, or say which extra brings it."""
    try:
        import onnx
        import onnx.compose
        import onnx.version_converter
    except ImportError as error:
        raise MissingExtraError(f"onnx is not installed; run {install('optimise')}") from error
    return onnx


def opset_of(model: Any) -> int:
    """Return the version of the operators of a model."""
    return int(max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")))


def _port(node: Any, path: Path, onnx: Any) -> Port:
    kind = node.type.tensor_type
    shape = tuple(side.dim_value if side.dim_value > 0 else -1 for side in kind.shape.dim)
    if len(shape) not in (4, 5):
        raise ModelError(
            f"{path}: {node.name} has {len(shape)} dimensions {list(shape)}, and images have four; "
            "a graph of windows is needed"
        )
    return Port(node.name, shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name)


def _graphs(graph: Any) -> Any:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for inner in attribute.graphs:
                yield from _graphs(inner)


def _nodes(graph: Any) -> Any:
    for inner in _graphs(graph):
        yield from inner.node


def _tensors(graph: Any) -> Any:
    for inner in _graphs(graph):
        yield from inner.initializer
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t


def _fits(shape: tuple[int, ...], wanted: Any) -> bool:
    return len(shape) == len(wanted) and all(
        told in (-1, side) for side, told in zip(shape, wanted, strict=True)
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
