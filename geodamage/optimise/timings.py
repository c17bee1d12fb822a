"""Timings: how fast models answer on this machine, side by side."""

import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from geodamage.errors import DeviceError, ModelError, OptionError
from geodamage.model.card import Card
from geodamage.model.catalogue import ModelFile, read_model
from geodamage.model.engines import (
    Verdict,
    allows_bfloat16,
    keep,
    kept_verdict,
    times_as_fast,
)
from geodamage.model.ensemble import Ensemble
from geodamage.model.ground import more_ground
from geodamage.model.loading import bundled_models, load_model
from geodamage.model.onnx import Model
from geodamage.model.openvino import has_bfloat16, openvino_version
from geodamage.model.session import available_devices
from geodamage.options.lookup import check_fields
from geodamage.work import long_work

#: Prints resident kilobytes: before a model is loaded, when it is, and the most while it answers.
#: What reading the model left behind is given back first, where the C library can.
_MEASURE = """
import ctypes
import sys
from pathlib import Path
import numpy as np
from geodamage.model.loading import load_model
path, size, device, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
engine, precision = sys.argv[5:]
import onnxruntime
def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0])
def trim():
    give = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give is not None:
        give(0)
empty = kilobytes("VmRSS:")
model = load_model(path, device=device, threads=threads, engine=engine, precision=precision)
trim()
try:
    Path("/proc/self/clear_refs").write_text("5")
except OSError:
    pass  # the peak stays that of loading: too much rather than too little
loaded = kilobytes("VmRSS:")
images = [
    np.zeros((1, len(channels), size, size), np.uint8)
    for channels in (model.card.pre_channels, model.card.post_channels)
]
model(*images)
print(empty, loaded, kilobytes("VmHWM:"))
"""


class Memory(NamedTuple):
    """Memory of a process, bytes.

    Attributes
    ----------
    resident
        Bytes of the loaded model.
    working
        More while it answers one window.
    """

    resident: int
    working: int


def measure_memory(
    path: str | PathLike[str],
    size: int,
    *,
    device: str = "cpu",
    threads: int = 0,
    engine: str = "onnxruntime",
    precision: str = "stored",
) -> Memory | None:
    """Measure in a process of its own what a model takes; None where the system does not say.

    Parameters
    ----------
    path
        Path of a model or an ensemble.
    size
        Rows and columns of the window, pixels.
    device, threads, engine, precision
        The same as of `load_model`.

    Raises
    ------
    ModelError
        If the model does not run there.
    """
    if sys.platform != "linux":
        return None
    words = [sys.executable, "-c", _MEASURE, str(path), str(size), device, str(threads)]
    words += [engine, precision]
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{path}: its memory cannot be measured ({reason}); try a smaller --tile")
    empty, loaded, most = (1024 * int(word) for word in done.stdout.split())
    return Memory(max(loaded - empty, 0), max(most - loaded, 0))


@dataclass(frozen=True, kw_only=True)
class TimingJob:
    """What is timed, and how."""

    models: tuple[str | PathLike[str], ...] = ()
    """Names or paths; all bundled models unless given."""
    devices: tuple[str, ...] = ()
    """Devices for `load_model`; every one that ONNX Runtime has a provider for unless given."""
    tile: int | None = None
    """Window with its halo, pixels; None takes the card's."""
    threads: int = 0
    """CPU threads for inference; 0 lets ONNX Runtime choose."""
    rounds: int = 5
    """How often each is asked; the first answer, for warming up, is not counted."""
    with_memory: bool = True
    """Measure memory, too: a process for each model."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass
class Timing:
    """One model on one device, by one engine.

    Attributes
    ----------
    file
        The model.
    card
        Its card; of an ensemble the joined one.
    device, engine, asked, provider
        What was asked for, the precision as `load_model` knows it, and what answers.
    tile
        Rows and columns of the window, pixels.
    seconds, processor
        Seconds of each round, by the clock and of the processor.
    speed
        Times as fast as ONNX Runtime for the same ground, in processor time: `--engine auto` goes
        by it. None where it was not measured.
    ratio
        Rounds of the reference over those of this one, their median; None without reference.
    memory
        What it takes; None where the system does not say.
    """

    file: ModelFile
    card: Card
    device: str
    engine: str
    asked: str
    provider: str
    tile: int
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    speed: float | None = None
    ratio: float | None = None
    memory: Memory | None = None

    @property
    def core_pixels(self) -> int:
        """Pixels of a window that a scene gets from it: all but the halo."""
        return (self.tile - 2 * self.card.margin) ** 2

    @property
    def rate(self) -> float:
        """Core pixels of the pair in a second, in millions; the halo costs time, too."""
        return self.core_pixels / 1e6 / float(np.median(self.seconds))

    @property
    def is_trusted(self) -> bool:
        """Whether it is no variant, or one that says what its parent says."""
        return bool(self.card.parity.get("passed", True))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
        memory = None if self.memory is None else self.memory._asdict()
        return {
            "model": self.file.name,
            "path": str(self.file.path),
            "precision": self.card.precision,
            "device": self.device,
            "engine": self.engine,
            "provider": self.provider,
            "tile": self.tile,
            "halo": self.card.margin,
            "seconds": [round(value, 4) for value in self.seconds],
            "processor_seconds": [round(value, 4) for value in self.processor],
            "speed_for_auto": None if self.speed is None else round(self.speed, 3),
            "megapixels_per_second": round(self.rate, 3),
            "ratio_to_fp32": None if self.ratio is None else round(self.ratio, 3),
            "memory_bytes": memory,
            "parity_passed": self.card.parity.get("passed"),
        }


@dataclass(frozen=True)
class TimingProgress:
    """How far it is: rounds done, and what could not be started.

    Attributes
    ----------
    done, total
        Answers.
    note
        What a reader should know, or None.
    """

    done: int
    total: int
    note: str | None = None


@long_work
def time_models(job: TimingJob) -> Generator[TimingProgress, None, list[Timing]]:
    """Time models in turns, so that what else the machine does meets all alike; as `Work`.

    Returns
    -------
    In the order of the models and devices asked for.

    Raises
    ------
    ModelError
        If a model is none, or does not run.
    DeviceError
        If a device that was asked for is not there.
    OptionError
        If the tile does not fit a model.
    """
    loaded = yield from _load(job)
    timings = [timing for timing, _ in loaded]
    yield from _take_turns(job, loaded)
    loaded.clear()  # measuring memory loads them again
    for timing in timings:
        timing.ratio = _ratio(timing, timings)
        if job.with_memory:
            timing.memory = measure_memory(
                timing.file.path,
                timing.tile,
                device=timing.device,
                threads=job.threads,
                engine=timing.engine,
                precision=timing.asked,
            )
    _keep_speeds(timings)
    return timings


def _keep_speeds(timings: Sequence[Timing]) -> None:
    """Keep how fast OpenVINO is with each model: `--engine auto` goes by it."""
    for timing in timings:
        card = timing.file.card
        precision = "bfloat16" if timing.card.precision == "bfloat16" else "float32"
        verdict = kept_verdict(card, precision) if card and timing.engine == "openvino" else None
        if card is None or verdict is None:
            continue
        for other in timings:
            if (other.file, other.tile, other.engine) == (timing.file, timing.tile, "onnxruntime"):
                ground = more_ground(timing.card, other.card)
                timing.speed = times_as_fast(other.processor, timing.processor) * ground
                keep(card, Verdict(verdict.difference, timing.speed, precision))


def _load(job: TimingJob) -> Generator[TimingProgress, None, list[tuple[Timing, Model | Ensemble]]]:
    """Load every model on every device; one that nobody asked for may be left out."""
    loaded: list[tuple[Timing, Model | Ensemble]] = []
    for file in [read_model(source) for source in job.models or bundled_models()]:
        for device, engine, precision in _places(job, file):
            try:
                model = load_model(
                    file.path,
                    device=device,
                    threads=job.threads,
                    engine=engine,
                    precision=precision,
                )
            except ModelError as error:
                is_absent = isinstance(error, DeviceError) and not job.devices
                if engine == "onnxruntime" and not is_absent:
                    raise
                yield TimingProgress(0, 0, f"{file.name}: {error}")
                continue
            tile = _checked_tile(model.card, job.tile)
            timing = Timing(file, model.card, device, engine, precision, model.provider, tile)
            loaded.append((timing, model))
    return loaded


def _places(job: TimingJob, file: ModelFile) -> Iterator[tuple[str, str, str]]:
    """Yield every device; on the processor every engine that is there, and its precisions."""
    for device in job.devices or available_devices():
        yield device, "onnxruntime", "stored"
        if device == "cpu" and openvino_version() is not None:
            yield device, "openvino", "stored"
            if has_bfloat16() and all(map(allows_bfloat16, file.cards)):
                yield device, "openvino", "bfloat16"


def _checked_tile(card: Card, tile: int | None) -> int:
    """Return the size of a window; a global model takes its own only."""
    if tile is None or card.context == "global":
        return card.tile
    if tile % card.stride or tile <= 2 * card.margin:
        raise OptionError(
            f"--tile {tile}: must be a multiple of {card.stride} and above {2 * card.margin} "
            f"(twice the halo of model {card.name!r})"
        )
    return tile


def _take_turns(
    job: TimingJob, loaded: Sequence[tuple[Timing, Model | Ensemble]]
) -> Iterator[TimingProgress]:
    total = (job.rounds + 1) * len(loaded)
    images = [_images(timing) for timing, _ in loaded]
    for turn in range(job.rounds + 1):
        for number, (timing, model) in enumerate(loaded):
            start, spent = time.perf_counter(), time.process_time()
            model(*images[number])
            if turn:
                timing.processor.append(time.process_time() - spent)
                timing.seconds.append(time.perf_counter() - start)
            yield TimingProgress(turn * len(loaded) + number + 1, total)


def _images(timing: Timing) -> list[np.ndarray]:
    """Return both images of a window; what is on them does not change the time."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (1, len(channels), timing.tile, timing.tile)).astype(np.uint8)
        for channels in (timing.card.pre_channels, timing.card.post_channels)
    ]


def _ratio(timing: Timing, timings: Sequence[Timing]) -> float | None:
    """Return how many times as fast it is as its reference, for the same ground."""
    reference = _reference(timing, timings)
    if reference is None:
        return None
    rounds = np.divide(reference.seconds, timing.seconds)
    return float(np.median(rounds)) * timing.core_pixels / reference.core_pixels


def _reference(timing: Timing, timings: Sequence[Timing]) -> Timing | None:
    """Return what a model is compared with: its parent, or itself, on the first device.

    None where neither is single precision.
    """
    hashes = {card.parent_sha256 or card.sha256 for card in timing.file.cards}
    for other in timings:
        own = {card.sha256 for card in other.file.cards}
        if own == hashes and other.card.precision == "fp32":
            return other
    return None


def best(timings: Sequence[Timing]) -> Timing | None:
    """Return the fastest of those that can be trusted; None if there is none."""
    return max((t for t in timings if t.is_trusted), key=lambda t: t.rate, default=None)
