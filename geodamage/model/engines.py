"""Engines: which runtime answers for a model on the processor, and whether it answers right.

ONNX Runtime is what every model is measured with. OpenVINO answers for a model only where it says
on this machine what ONNX Runtime says. That is looked at once, and kept for the model, the
processor and both versions.
"""

import hashlib
import json
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from geodamage.errors import DeviceError, ModelError
from geodamage.model.card import Card
from geodamage.model.openvino import OpenVinoSession, openvino_version
from geodamage.model.session import (
    available_devices,
    default_threads,
    first_line,
    runtime_version,
    start,
)
from geodamage.options.lookup import check

#: Largest difference of a probability at which two runtimes say the same; the same as of a halo.
LARGEST_DIFFERENCE = 1e-3
#: Times as fast as ONNX Runtime that OpenVINO must be to answer unasked.
WORTH_IT = 1.1
#: Memory of a window in OpenVINO over that in ONNX Runtime, at most; and bytes of its library.
#: `fast` 0.3.0 took 365 for 310 MB, `accurate` 0.3.1 661 for 705 (window 1024, 2026-11-30).
MORE_MEMORY, LIBRARY_BYTES = 1.3, 50_000_000
#: Rows and columns of the window on which both are compared, in strides.
_STRIDES = 16


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of OpenVINO with one model on this machine.

    Attributes
    ----------
    difference
        Largest difference of a probability from ONNX Runtime on the known window.
    speed
        How many times as fast as ONNX Runtime it is; None where `models bench` has not timed it.
    """

    difference: float
    speed: float | None = None

    @property
    def is_right(self) -> bool:
        """Whether it says what ONNX Runtime says."""
        return self.difference <= LARGEST_DIFFERENCE

    @property
    def is_best(self) -> bool:
        """Whether it is right, and known to be faster."""
        return self.is_right and self.speed is not None and self.speed >= WORTH_IT


def open_session(
    blob: bytes, card: Card, path: Path, *, device: str, engine: str, options: Any
) -> tuple[Any, str]:
    """Start a session of the engine that is asked for, or that is best; and say which in a line.

    Raises
    ------
    ModelError
        If OpenVINO was asked for, and refuses the graph or answers otherwise than ONNX Runtime.
    DeviceError
        If OpenVINO was asked for beside a device that is not the processor.
    """
    check("engine", engine)
    threads = options.intra_op_num_threads
    if engine == "openvino":
        if device not in ("auto", "cpu"):
            raise DeviceError(f"--engine openvino: runs on the processor, not on {device}")
        return _openvino(blob, card, path, threads, options)
    if engine == "auto" and on_processor(device):
        verdict = kept_verdict(card)
        if verdict is not None and verdict.is_best:
            return _openvino(blob, card, path, threads, options)
    return start(blob, card, path, device, options)


def on_processor(device: str) -> bool:
    """Say whether a device is the processor, as ONNX Runtime by itself runs on it."""
    return device == "cpu" or (device == "auto" and "cuda" not in available_devices())


def _openvino(
    blob: bytes, card: Card, path: Path, threads: int, options: Any
) -> tuple[OpenVinoSession, str]:
    try:
        session = OpenVinoSession(blob, threads or default_threads())
    except RuntimeError as error:
        raise ModelError(
            f"{path}: refused by OpenVINO: {first_line(error)}; leave --engine out"
        ) from error
    verdict = kept_verdict(card)
    if verdict is None:
        reference, _ = start(blob, card, path, "cpu", options)
        verdict = Verdict(_difference(session, reference, card))
        keep(card, verdict)
    if not verdict.is_right:
        raise ModelError(
            f"{path}: OpenVINO says up to {verdict.difference:.2g} otherwise than ONNX Runtime of "
            "a known window; leave --engine out"
        )
    return session, f"CPU, OpenVINO {openvino_version()}"


def _difference(session: Any, reference: Any, card: Card) -> float:
    """Return the largest difference between two sessions, with one window in a call and two."""
    names = [node.name for node in reference.get_outputs()]
    images = known_windows(card, reference)
    alone = {name: image[:1] for name, image in images.items()}
    try:
        answers = [
            pair
            for feed in (images, alone)
            for pair in zip(session.run(names, feed), reference.run(names, feed), strict=True)
        ]
        largest = float(np.max([np.abs(ours - theirs).max() for ours, theirs in answers]))
    except Exception:  # either runtime's own: it does not run, so it is not right
        return sys.float_info.max
    return largest if np.isfinite(largest) else sys.float_info.max


def known_windows(card: Card, session: Any) -> dict[str, np.ndarray]:
    """Return two windows of a drawn town by the inputs of a session, uint8 (2, c, rows, columns).

    Houses with sharp edges on a speckled ground, some of them lighter after; so no layer is asked
    for one value alone.
    """
    draw = np.random.default_rng(22)
    known = {"pre": card.pre_channels, "post": card.post_channels}
    shapes = {node.name: [*node.shape, None, None][2:4] for node in session.get_inputs()}
    fixed = next(iter(shapes.values()))
    rows, columns = (size if isinstance(size, int) else _STRIDES * card.stride for size in fixed)
    ground = draw.integers(60, 120, (2, 1, rows, columns))
    houses = np.zeros((2, 2, rows, columns), bool)
    for _ in range(24):
        top, left = draw.integers(0, rows), draw.integers(0, columns)
        box = np.s_[:, top : top + draw.integers(6, 24), left : left + draw.integers(6, 24)]
        houses[0][box] = True
        houses[1][box] = draw.random() < 0.5
    images = {}
    for number, (name, channels) in enumerate(known.items()):
        roof = np.where(houses[number][:, None], draw.integers(20, 130), 0)
        noise = draw.integers(-8, 9, (2, len(channels), rows, columns))
        images[name] = np.clip(ground + roof + noise, 0, 255).astype(np.uint8)
    return {name: images[name] for name in shapes}


def kept_verdict(card: Card) -> Verdict | None:
    """Return what is known of OpenVINO with a model; None if nothing, or it is not installed."""
    try:
        if not cache_folder().is_dir() or openvino_version() is None:
            return None
        return msgspec.json.decode(_place(card).read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError):
        return None  # such as the home of somebody else: looked at again


def keep(card: Card, verdict: Verdict) -> None:
    """Keep what is known; where the folder cannot be written, it is looked at again next time."""
    place = _place(card)
    partial = place.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.json.encode(verdict))
        partial.replace(place)


def cache_folder() -> Path:
    """Return the folder of the user's cache where verdicts are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    base = Path(home) if home else Path.home() / ".cache"
    return base / "geodamage" / "engines"


def _place(card: Card) -> Path:
    facts = [card.sha256, _processor(), runtime_version(), openvino_version(), _STRIDES]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return cache_folder() / f"{name[:32]}.json"


def _processor() -> list[str]:
    """Return what a processor is and can do, as far as the system says."""
    known = [platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        for name in ("model name", "flags", "Features"):
            known += [line for line in lines if line.startswith(name)][:1]
    return known
