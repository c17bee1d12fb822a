"""ONNX Runtime sessions: providers, devices, options."""

import ctypes
import functools
import os
import sys
from pathlib import Path
from typing import Any, Protocol

from geodamage.errors import DeviceError, MissingExtraError, ModelError, install
from geodamage.options.lookup import check

# Left alone, ONNX Runtime 1.32 writes a number of the machine into the user's cache and holds the
# address of a server for what it does. `disable_telemetry_events` is too late: the number is there.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

#: Of ONNX Runtime, by the kind of device that a user asks for.
PROVIDERS = {"cpu": "CPU", "cuda": "CUDA", "tensorrt": "Tensorrt", "openvino": "OpenVINO"}


#: What brings each of them; the wheels own the same module, so there is room for one.
_EXTRAS = {"cpu": "cpu", "cuda": "gpu", "tensorrt": "gpu", "openvino": "openvino"}


class Computed(Protocol):
    """What starting a session asks of a card."""

    @property
    def precision(self) -> str:
        """How the numbers of the graph are computed."""
        ...


def return_memory() -> None:
    """Give what was freed back to the system.

    glibc keeps the holes that loading leaves between the weights. Returning them halves the memory
    of a session at rest (94 MB of weights: from 194 to 101 MB, ONNX Runtime 1.31, 2026-11-21).
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def first_line(error: BaseException) -> str:
    """Return the first line of an error of ONNX Runtime."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def session_options(threads: int, keeps_memory: bool) -> Any:
    """Return the options of a session; 0 threads lets ONNX Runtime choose."""
    options = _runtime().SessionOptions()
    options.log_severity_level = 4
    if threads:
        options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = keeps_memory
    # A spinning worker would take the cores that read and vectorise meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Work is handed out in small pieces, so that a core that is busy elsewhere holds up less.
    options.add_session_config_entry("session.dynamic_block_base", "4")
    return options


def share_memory(options: Any) -> None:
    """Let the sessions of these options work in the memory of one another, one at a time.

    Each would else keep what it needed at most, though only one of two parts is ever at work.
    """
    # Blocks that are planned for one size of windows lie idle while another is computed: a whole
    # scene peaked at 1.6 GB with them and at 1.2 GB without, in the same time.
    options.enable_mem_pattern = False
    if options.enable_cpu_mem_arena:
        _shared_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")


@functools.cache
def _shared_memory() -> None:
    runtime = _runtime()
    place = runtime.OrtMemoryInfo(
        "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
    )
    # As ONNX Runtime's own: no limit, and grown by the next power of two.
    runtime.create_and_register_allocator(place, runtime.OrtArenaCfg(0, -1, -1, -1))


def start(blob: bytes, card: Computed, path: Path, device: str, options: Any) -> tuple[Any, str]:
    """Start a session on the device asked for; return it and its provider in one line."""
    runtime = _runtime()
    providers = _providers(runtime, device, card, options.intra_op_num_threads)
    try:
        session = runtime.InferenceSession(blob, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no public root
        raise ModelError(f"{path}: refused by ONNX Runtime: {first_line(error)}") from error
    # The Python side keeps the file for starting it anew on other providers, which we never do.
    session._model_bytes = None
    used = session.get_providers()[0].removesuffix("ExecutionProvider")
    wanted = PROVIDERS.get(device.partition(":")[0], used)
    if used != wanted:
        raise DeviceError(
            f"--device {device}: ONNX Runtime could not start {wanted}; see its own log"
        )
    fallback = " (CUDA did not start)" if len(providers) > 1 and used == "CPU" else ""
    return session, f"{used}{fallback}, ONNX Runtime {runtime.__version__}"


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            f"onnxruntime is not installed; run {install('cpu')} or, with an NVIDIA GPU, "
            'pip install ".[gpu]"'
        ) from error
    return onnxruntime


def runtime_version() -> str:
    """Return the version of ONNX Runtime."""
    return str(_runtime().__version__)


def available_devices() -> tuple[str, ...]:
    """Return the kinds of device that the installed ONNX Runtime has a provider for.

    Whether such a device is in the machine shows when a model is loaded.
    """
    there = _runtime().get_available_providers()
    return tuple(kind for kind, name in PROVIDERS.items() if f"{name}ExecutionProvider" in there)


def _providers(runtime: Any, device: str, card: Computed, threads: int) -> list[Any]:
    there = runtime.get_available_providers()
    kind, _, number = check("device", device).partition(":")
    if kind == "auto":
        kind = "cuda" if "CUDAExecutionProvider" in there else "cpu"
    name = PROVIDERS[kind]
    if f"{name}ExecutionProvider" not in there:
        raise DeviceError(
            f"--device {device}: this onnxruntime has no {name} provider (it has "
            f"{', '.join(there)}); replace it by pip uninstall onnxruntime and "
            f"{install(_EXTRAS[kind])}, because both own the same module"
        )
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    return [*_accelerators(kind, int(number or 0), card, threads), "CPUExecutionProvider"]


def _accelerators(kind: str, number: int, card: Computed, threads: int) -> list[Any]:
    """Return the providers of a device with their options, first the one that is asked first."""
    if kind == "openvino":
        # Where the processor has bfloat16, OpenVINO would round to it unasked.
        options = {"device_type": "CPU", "precision": "FP32"}
        return [
            (
                "OpenVINOExecutionProvider",
                options | ({"num_of_threads": threads} if threads else {}),
            )
        ]
    cuda = ("CUDAExecutionProvider", {"device_id": number})
    if kind == "cuda":
        return [cuda]
    # Half only where the model is: TensorRT would round every model, unasked and unmeasured.
    half = {"trt_fp16_enable": card.precision == "half"}
    return [("TensorrtExecutionProvider", {"device_id": number, **half}), cuda]


def default_threads() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
