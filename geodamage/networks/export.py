"""Export: a network becomes one ONNX graph, and its halo and memory are measured."""

import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geodamage.errors import ModelError
from geodamage.model.heads import Predictor
from geodamage.networks.conventions import Exported

#: Largest change of a probability that counts as none.
TOLERANCE = 1e-3
#: ONNX operators that every ONNX Runtime since 1.12 knows.
OPSET = 17

#: Prints the memory that one run takes beyond the loaded model, in kilobytes. What reading the
#: model left behind is given back first, where the C library can; the run would use it unseen.
_MEASURE = """
import ctypes
import sys
from pathlib import Path
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
size = int(sys.argv[2])
def image(node):
    return np.zeros((1, node.shape[1], size, size), np.uint8)
def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0])
trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
if trim is not None:
    trim(0)
try:
    Path("/proc/self/clear_refs").write_text("5")
except OSError:
    pass  # the peak stays that of reading: too much rather than too little
before = kilobytes("VmRSS:")
session.run(None, {node.name: image(node) for node in session.get_inputs()})
print(kilobytes("VmHWM:") - before)
"""


def to_onnx(exported: Exported, size: int = 64) -> bytes:
    """Export the graph with free batch and size.

    Parameters
    ----------
    exported
        A network with its convention.
    size
        Rows and columns of the example that is traced, pixels; a multiple of the stride.
    """
    inputs, outputs = exported.convention.inputs, exported.convention.outputs
    # Two of them: a batch of one would be taken for a constant.
    example = tuple(
        torch.zeros(2, channels, size, size, dtype=torch.uint8)
        for channels in exported.convention.channels
    )
    buffer = io.BytesIO()
    axes = {0: "n", 2: "rows", 3: "columns"}
    with warnings.catch_warnings():
        # The tracing exporter calls itself old; it folds batch normalisation and keeps sizes free.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported.eval(),
            example,
            buffer,  # type: ignore[arg-type]  # the tracing exporter takes a file object
            input_names=[*inputs],
            output_names=[*outputs],
            dynamic_axes=dict.fromkeys((*inputs, *outputs), axes),
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


def measure_halo(
    exported: Exported,
    images: np.ndarray,
    *,
    stride: int,
    core: int = 64,
    tolerance: float = TOLERANCE,
) -> int | None:
    """Measure how far from a core a pixel can still change its output.

    What lies beyond a margin is replaced by something else; the halo is the least margin, a
    multiple of the stride, at which no probability of the core moves by more than `tolerance`.
    It is found by bisection: what has no influence has none from farther away, either.

    Parameters
    ----------
    exported
        A network with its convention.
    images
        uint8 (n, 2, 3, size, size): pre and post windows.
    stride
        Stride of the network, pixels.
    core
        Rows and columns of the core, pixels.
    tolerance
        Largest change of a probability that counts as none. Where a pixel lies that near to a
        threshold, another tile may draw it otherwise: the bundled models keep to 1e-4.

    Returns
    -------
    Pixels; None if the core still moves at the largest margin that the windows allow.
    """
    tensors = torch.from_numpy(images)
    far = images.shape[-1] // 2
    others = (
        torch.zeros_like(tensors),
        255 - tensors,
        tensors.roll((1, far, far), (0, -2, -1)),
    )
    with torch.no_grad():
        whole = _core(exported, tensors, core)
        margins = range(0, (images.shape[-1] - core) // 2, stride)
        halos = [
            _least_margin(exported, (tensors, other), whole, (margins, core), tolerance)
            for other in others
        ]
    return None if None in halos else max(halo for halo in halos if halo is not None)


def _least_margin(
    exported: Exported,
    images: tuple[Tensor, Tensor],
    whole: list[Tensor],
    sizes: tuple[range, int],
    tolerance: float,
) -> int | None:
    """Return the least margin inside which nothing but the image decides about the core."""
    tensors, other = images
    margins, core = sizes
    start, middle = (tensors.shape[-1] - core) // 2, (tensors.shape[-1] + core) // 2
    low, high = 0, len(margins)
    while low < high:
        guess = (low + high) // 2
        kept = slice(start - margins[guess], middle + margins[guess])
        changed = other.clone()
        changed[..., kept, kept] = tensors[..., kept, kept]
        heads = zip(_core(exported, changed, core), whole, strict=True)
        if max(float((a - b).abs().max()) for a, b in heads) > tolerance:
            low = guess + 1
        else:
            high = guess
    return margins[low] if low < len(margins) else None


def _core(exported: Exported, images: Tensor, core: int) -> list[Tensor]:
    """Return the heads of the core of windows `(n, 2, 3, size, size)`."""
    middle = slice((images.shape[-1] - core) // 2, (images.shape[-1] + core) // 2)
    dates = dates_of(exported, images)
    return [head[..., middle, middle] for head in exported(*dates)]


def dates_of(exported: Exported, images: Tensor) -> list[Tensor]:
    """Return the images that a network takes of windows `(n, 2, 3, size, size)`."""
    channels = exported.convention.channels
    return [date[:, :count] for date, count in zip(images.unbind(1), channels, strict=False)]


def measure_memory(path: Path, size: int = 768) -> float:
    """Return the working memory of inference on the CPU, bytes per window pixel.

    Parameters
    ----------
    path
        An ONNX file.
    size
        Rows and columns of the window, pixels.

    Raises
    ------
    ModelError
        If it does not run, or the system does not say how much memory a process takes.
    """
    command = [sys.executable, "-c", _MEASURE, str(path), str(size)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{path}: its memory cannot be measured ({reason}); measure it on Linux")
    return round(int(done.stdout) * 1024 / size**2, 1)


def check_parity(exported: Exported, model: Predictor, images: np.ndarray) -> float:
    """Check that a model file says what its network says.

    Parameters
    ----------
    exported
        A network with its convention.
    model
        What was made of it.
    images
        uint8 (n, 2, 3, size, size): pre and post windows.

    Returns
    -------
    The largest difference of a probability.

    Raises
    ------
    ModelError
        If it is above `TOLERANCE`.
    """
    with torch.no_grad():
        dates = dates_of(exported, torch.from_numpy(images))
        expected = exported(*dates)
    shown = [date.numpy() for date in dates]
    heads = model(shown[0], shown[-1])
    worst = 0.0
    for name, theirs in zip(exported.convention.outputs, expected, strict=True):
        apart = float(np.abs(getattr(heads, name) - theirs.numpy()).max())
        # Not >, so that a NaN is refused, too.
        if not apart <= TOLERANCE:
            raise ModelError(
                f"{model.card.name}: {name} of the model file differs from the network's by "
                f"{apart:.2g}; report this network"
            )
        worst = max(worst, apart)
    return worst


def pattern_windows(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Return windows to measure on: blocks with edges on uneven ground, some changed later.

    Parameters
    ----------
    count
        Number of windows.
    size
        Rows and columns, pixels.
    seed
        Seed of the random numbers; the same one gives the same windows.

    Returns
    -------
    uint8 (count, 2, 3, size, size)
        Pre and post.
    """
    rng = np.random.default_rng(seed)
    cells = -(-size // 32)
    ground = rng.uniform(60, 150, (count, 1, 3, cells, cells)).repeat(32, -1).repeat(32, -2)
    windows = ground[..., :size, :size].repeat(2, 1)
    for window in windows:
        for _ in range(size * size // 2048):
            row, column = rng.integers(0, size, 2)
            height, width = rng.integers(8, 40, 2)
            block = slice(row, row + height), slice(column, column + width)
            window[:, :, *block] = rng.uniform(20, 240, (1, 3, 1, 1))
            if rng.random() < 0.3:
                window[1, :, *block] = rng.uniform(20, 240, window[1, :, *block].shape)
    noisy = windows + rng.normal(0, 8, windows.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
