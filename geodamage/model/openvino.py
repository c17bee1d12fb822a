"""OpenVINO's own runtime on the processor: a session that is asked as one of ONNX Runtime is."""

import contextlib
import functools
import importlib
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from geodamage.errors import MissingExtraError, install

#: Names of inputs and outputs that a model may have. A graph may give one port several names.
_KNOWN = frozenset({"pre", "post", "localisation", "damage"})
#: What OpenVINO calls the precisions.
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
#: Two threads that ask for the core at first would make two.
_STARTING = threading.Lock()


class Port(NamedTuple):
    """An input or output of a graph.

    Attributes
    ----------
    name
        Its name.
    shape
        Its sizes; None where any size will do.
    """

    name: str
    shape: tuple[int | None, ...]


class OpenVinoSession:
    """A model that OpenVINO runs on the processor.

    Whatever is handed over is copied, both ways: OpenVINO writes the next answer where the last
    one was.

    Parameters
    ----------
    blob
        An ONNX file. It is compiled from memory. OpenVINO's cache knows a file by its path, its
        size and its time to two seconds, and has returned the answers of another file.
    threads
        Threads for one call, 1 or more.
    precision
        `float32` or `bfloat16`.
    features
        Inputs that another session has computed: they are float32, and no images.
    sizes
        Sizes of inputs that the graph leaves open, by name, as `Port.shape` says them: with the
        number of channels known, OpenVINO chooses faster layouts.
    compiled
        What `exported` returned of a session of this graph, precision and version of OpenVINO.
    given
        Outputs that other sessions take as features. In bfloat16 they are handed over in it, and
        so are the features: numpy has no such type, and has them as float16 of the same bits.

    Attributes
    ----------
    precision, threads
        What it computes in, and with how many threads.

    Raises
    ------
    MissingExtraError
        If openvino is not installed.
    RuntimeError
        If OpenVINO refuses the graph, or would compute in another precision.
    """

    def __init__(
        self,
        blob: bytes,
        threads: int,
        precision: str = "float32",
        features: Collection[str] = (),
        sizes: Mapping[str, Sequence[int | None]] | None = None,
        compiled: bytes | None = None,
        given: Collection[str] | None = None,
    ) -> None:
        openvino = _runtime()
        with _STARTING:
            core = _core()
        if precision == "bfloat16" and not _has_bfloat16(core):
            raise RuntimeError("this processor does not compute in bfloat16")
        settings = _settings(threads, precision)
        if compiled is None:
            graph = _graph(core, blob, sizes or {})
            if given is not None and precision == "bfloat16":
                graph = _in_bfloat16(graph, features, given)
            self._model = core.compile_model(graph, "CPU", settings)
        else:
            self._model = core.import_model(compiled, "CPU", settings)
        set_to = self._model.get_property("INFERENCE_PRECISION_HINT")
        if set_to != getattr(openvino.Type, _HINTS[precision]):
            raise RuntimeError(f"OpenVINO would compute in {set_to}")
        self.precision, self.threads = precision, threads
        self._features = frozenset(features)
        is_half = given is not None and precision == "bfloat16"
        self._feature_type = np.dtype(np.float16 if is_half else np.float32)
        self._inputs = {_name(port): port for port in self._model.inputs}
        self._outputs = {_name(port): port for port in self._model.outputs}
        self._request: Any = None
        self._lock = threading.Lock()

    def exported(self) -> bytes:
        """Return the compiled graph, for `compiled` of another session."""
        content = self._model.export_model()
        return bytes(content if isinstance(content, bytes) else content.getvalue())

    def get_inputs(self) -> list[Port]:
        """Return the inputs."""
        return [Port(name, _sizes(port)) for name, port in self._inputs.items()]

    def get_outputs(self) -> list[Port]:
        """Return the outputs."""
        return [Port(name, _sizes(port)) for name, port in self._outputs.items()]

    def run(self, names: Sequence[str], images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs of these names.

        Raises
        ------
        ValueError
            If the images are not those that the graph takes.
        RuntimeError
            If OpenVINO cannot compute it.
        """
        self._check(images)
        with self._lock:
            request, self._request = self._request or self._model.create_infer_request(), None
            for name, image in images.items():
                # A copy into the request's own array: what is handed over is never written to.
                tensor = request.get_tensor(self._inputs[name])
                tensor.shape = image.shape
                tensor.data[...] = image
            request.infer()
            found = [request.get_tensor(self._outputs[name]).data.copy() for name in names]
            # After a failed call a request may fail again: only one that has answered is kept.
            self._request = request
        return found

    def _check(self, images: Mapping[str, np.ndarray]) -> None:
        """Refuse what OpenVINO would complete, repeat or convert without a word."""
        if set(images) != set(self._inputs):
            raise ValueError(f"takes {sorted(self._inputs)}, and not {sorted(images)}")
        pictures = {image.dtype for name, image in images.items() if name not in self._features}
        features = {images[name].dtype for name in self._features}
        if not pictures <= {np.dtype(np.uint8)} or not features <= {self._feature_type}:
            raise ValueError("takes uint8 alone")
        if len({len(image) for image in images.values()}) > 1:
            raise ValueError("takes as many windows of each date")


def openvino_version() -> str | None:
    """Return the version of OpenVINO; None where it is not installed."""
    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:
        return None


def has_bfloat16() -> bool:
    """Say whether OpenVINO is installed, and the processor computes in bfloat16."""
    if openvino_version() is None:
        return False
    with _STARTING:
        core = _core()
    return _has_bfloat16(core)


def _has_bfloat16(core: Any) -> bool:
    # Without it OpenVINO would emulate it: slower than single precision, and no better.
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _graph(core: Any, blob: bytes, sizes: Mapping[str, Sequence[int | None]]) -> Any:
    """Read an ONNX file, and fix the sizes that are known."""
    graph = core.read_model(blob)
    if sizes:
        graph.reshape(
            {name: [-1 if n is None else n for n in shape] for name, shape in sizes.items()}
        )
    return graph


def _in_bfloat16(graph: Any, taken: Collection[str], given: Collection[str]) -> Any:
    """Return a graph that takes and gives some tensors in bfloat16: half the bytes to copy."""
    openvino = _runtime()
    ports = importlib.import_module("openvino.preprocess").PrePostProcessor(graph)
    for port in [*map(ports.input, taken), *map(ports.output, given)]:
        port.tensor().set_element_type(openvino.Type.bf16)
    return ports.build()


def _settings(threads: int, precision: str) -> dict[str, Any]:
    return {
        # Left alone, a processor that has bfloat16 computes in it: 257 becomes 256.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": 1,
        # OMP_NUM_THREADS is not heeded.
        "INFERENCE_NUM_THREADS": threads,
        # Other threads read and vectorise meanwhile.
        "ENABLE_CPU_PINNING": False,
    }


def _name(port: Any) -> str:
    names = port.get_names()
    return str(min(names & _KNOWN, default=min(names)))


def _sizes(port: Any) -> tuple[int | None, ...]:
    return tuple(
        int(size.get_length()) if size.is_static else None for size in port.get_partial_shape()
    )


def _runtime() -> Any:
    """Import OpenVINO without its telemetry.

    OpenVINO 2026.4 tells a server of every import and writes a number into the home folder, unless
    its package for that cannot be imported. Its converter takes a third of the import. It stays,
    since whoever imports geodamage may want `openvino.convert_model` of the same process.
    """
    with _hidden("openvino_telemetry"):
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError(
                f"openvino is not installed; run {install('cpu')}, or leave --engine out"
            ) from error
    return openvino


@functools.cache
def _core() -> Any:
    """Return the one core of this process.

    A second one, and one that ends while models of another are in use, has ended processes by a
    signal (openvinotoolkit/openvino issue 35338, seen with some builds).
    """
    return _runtime().Core()


@contextlib.contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let a package that is not imported yet look as if it was not installed."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # documented: the import then fails
    try:
        yield
    finally:
        del sys.modules[package]
