"""Measuring a model file: the memory of a run, and synthetic windows to run it on."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from geodamage.errors import ModelError
from geodamage.model.card import Card
from geodamage.model.heads import Heads

#: Share of a synthetic pair up to which localisation finds nothing, and from which it finds all.
NOTHING, EVERYTHING = 0.0005, 0.98

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


def oddity(card: Card, heads: Heads) -> str:
    """Return what is odd about the localisation of a synthetic pair; nothing where nothing is.

    Right names and shapes do not prove right weights, nor right scaling.
    """
    if heads.localisation is None:
        return ""
    share = float((heads.localisation > card.threshold).mean())
    if share <= NOTHING:
        return "its localisation finds nothing"
    return "its localisation finds a building everywhere" if share >= EVERYTHING else ""


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
