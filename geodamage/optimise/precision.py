"""Precision: the graph of a model, written again with smaller numbers.

What goes in and what comes out stays as it was: uint8 images in, float32 heads out.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.errors import MissingExtraError, ModelError, install

#: What of a graph stays in single precision when the rest becomes integers, in the order in which
#: it is tried: the first and the last layers; all but products with weights, too.
#: Source: training/EXPERIMENTS.md, where they are compared.
KEPT_FLOAT = ("ends", "others")
#: Operators whose work is a product with weights.
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: What brings each package.
_EXTRAS = {"onnx": "optimise", "sympy": "optimise", "onnxruntime": "cpu"}
#: Numbers below which an initialiser is not worth a cast: biases, scales, sizes.
_FEW = 64

#: One window: the images of a call by their name, uint8 (1, c, rows, columns).
Window = Mapping[str, np.ndarray]


def store_half(blob: bytes, source: str) -> bytes:
    """Store the weights of a graph in half precision; its arithmetic stays in single.

    Every weight gets a cast, which ONNX Runtime does once, when it loads the model.

    Parameters
    ----------
    blob
        An ONNX file.
    source
        What to call it in a message.

    Raises
    ------
    ModelError
        If a weight is beyond what half precision holds.
    MissingExtraError
        If onnx is not installed.
    """
    onnx = _onnx()
    model = onnx.load_from_string(blob)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _FEW:
            continue
        values = _halved(onnx.numpy_helper.to_array(tensor), f"{source}: {tensor.name}")
        name, stored = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, stored))
        casts.append(
            onnx.helper.make_node("Cast", [stored], [name], stored, to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _halved(values: np.ndarray, what: str) -> np.ndarray:
    largest = float(np.abs(values).max(initial=0))
    # Not >, so that a NaN is refused, too.
    if not largest <= float(np.finfo(np.float16).max):
        raise ModelError(
            f"{what} reaches {largest:g}, too large for half precision; leave fp16 out"
        )
    return values.astype(np.float16)


def compute_half(blob: bytes, source: str) -> bytes:
    """Store and compute in half precision; what goes in and comes out stays as it was.

    For CUDA and TensorRT: the processor's ONNX Runtime would cast around every operator.

    Raises
    ------
    ModelError
        If ONNX Runtime's converter refuses the graph.
    MissingExtraError
        If onnx is not installed.
    """
    onnx = _onnx()
    with _quiet(), _extra_named():
        from onnxruntime.transformers.float16 import convert_float_to_float16

        try:
            model = convert_float_to_float16(onnx.load_from_string(blob), keep_io_types=True)
        except ImportError:
            raise
        except Exception as error:  # the converter raises what it meets
            raise ModelError(
                f"{source}: cannot be converted to half precision ({_first(error)}); use fp16"
            ) from error
    return bytes(model.SerializeToString())


def quantise(blob: bytes, windows: Sequence[Window], kept: str, source: str) -> bytes:
    """Make the convolutions of a graph those of 8-bit integers; what to round to is measured.

    Static quantisation. Activations are unsigned, with a zero point and a scale for each tensor.
    Weights are signed, with a scale for each channel. Ranges come from the least and largest value
    over the windows.

    Parameters
    ----------
    blob
        An ONNX file.
    windows
        Real images, of any size that the graph takes.
    kept
        One of `KEPT_FLOAT`: what stays in single precision.
    source
        What to call the model in a message.

    Raises
    ------
    ModelError
        If ONNX Runtime cannot quantise the graph, or no convolution is left to it.
    MissingExtraError
        If onnx is not installed.
    """
    onnx, tools = _onnx(), _tools()
    with tempfile.TemporaryDirectory() as name, _quiet():
        folder = Path(name)
        plain, result = folder / "plain.onnx", folder / "int8.onnx"
        try:
            _write_folded(blob, plain)
            model = onnx.load(plain)
            for number, node in enumerate(model.graph.node):
                node.name = node.name or f"node-{number}"
            onnx.save(model, plain)
            tools.quantize_static(
                plain,
                result,
                _reader(tools, _wanted(model.graph, windows)),
                quant_format=tools.QuantFormat.QDQ,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                per_channel=True,
                reduce_range=False,
                op_types_to_quantize=[*_PRODUCTS] if kept == "others" else None,
                nodes_to_exclude=_ends(model.graph),
            )
            model = onnx.load(result)
        except Exception as error:  # the quantiser raises what it meets
            raise ModelError(
                f"{source}: cannot be converted to int8 ({_first(error)}); use fp16"
            ) from error
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ModelError(f"{source}: has nothing to convert to int8; use fp16")
    return _only_used_domains(model)


def _write_folded(blob: bytes, path: Path) -> None:
    """Write a graph whose constants are worked out: casts of weights, normalisations."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    runtime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])


def _reader(tools: Any, windows: Iterable[Window]) -> Any:
    """Return windows as the quantiser asks for them."""
    waiting = iter(windows)

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]  # known at run time only
        def get_next(self) -> Window | None:
            return next(waiting, None)

    return Reader()


def _wanted(graph: Any, windows: Iterable[Window]) -> Iterator[Window]:
    """Leave out the images that a graph does not take: one that localises needs no second."""
    names = [value.name for value in graph.input]
    return ({name: window[name] for name in names} for window in windows)


def _only_used_domains(model: Any) -> bytes:
    """Return the bytes of a model that asks for no operators that it does not have.

    ONNX Runtime writes all that it knows, and other runtimes may refuse them.
    """
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.metadata_props[:]
    return bytes(model.SerializeToString())


def _ends(graph: Any) -> list[str]:
    """Return the nodes from the inputs to the first products, and from the last to the outputs."""
    return sorted(_up_to_products(graph, forward=True) | _up_to_products(graph, forward=False))


def _up_to_products(graph: Any, *, forward: bool) -> set[str]:
    """Return the nodes that the images, or the heads, reach without passing a product."""
    ends = {value.name for value in (graph.input if forward else graph.output)}
    found: set[str] = set()
    for node in graph.node if forward else reversed(graph.node):
        near, far = (node.input, node.output) if forward else (node.output, node.input)
        if ends.isdisjoint(near):
            continue
        found.add(node.name)
        # A size that is worked out from a shape leads anywhere.
        if node.op_type not in (*_PRODUCTS, "Shape"):
            ends.update(far)
    return found


def _onnx() -> Any:
    with _extra_named():
        import onnx
        import onnx.numpy_helper
    return onnx


def _tools() -> Any:
    with _extra_named():
        import onnxruntime.quantization
    return onnxruntime.quantization


@contextmanager
def _extra_named() -> Iterator[None]:
    """Say which extra to install where a package is missing."""
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        raise MissingExtraError(
            f"{missing} is not installed; run {install(_EXTRAS[missing])}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the advice that ONNX Runtime's tools log to themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
