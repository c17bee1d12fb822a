"""Engines: which runtime answers for a model on the processor, and whether it answers right.

ONNX Runtime is what every model is measured with. OpenVINO answers for a model only where it says
on this machine what ONNX Runtime says, and unasked only where it is faster. That is looked at once,
and kept for the model, the precision, the processor and both versions. It computes in bfloat16 only
for a model whose card says that its buildings then get the same grades.
"""

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from geodamage.errors import DeviceError, ModelError, OptionError
from geodamage.model.card import Card
from geodamage.model.compiled import compiled_once
from geodamage.model.ground import more_ground
from geodamage.model.kept import (
    cache_folder,
    processor,
    write,
)
from geodamage.model.known import STRIDES, difference, known_windows
from geodamage.model.openvino import OpenVinoSession, has_bfloat16, openvino_version
from geodamage.model.parts import PartedSession, Parts, split_graph
from geodamage.model.session import (
    available_devices,
    default_threads,
    first_line,
    runtime_version,
    session_options,
    share_memory,
    start,
)
from geodamage.options.lookup import check

#: Precisions that a caller may ask for. `stored` is that of the file, `auto` the same or, where
#: it was found to be faster on this machine and the card allows it, bfloat16.
PRECISIONS = ("auto", "stored", "float32", "bfloat16", "int8")
#: Precisions of a card that is computed in single precision.
SINGLE = ("fp32", "fp16")
#: Largest difference of a probability at which two runtimes say the same: in single precision that
#: of a halo; in bfloat16 it is to show a graph that is computed wrong, no more. The card has the
#: parity. `fast` 0.4.0 is 0.099 off on the known window, and 0.25 in a pixel of the real pairs on
#: which it passed.
#: A graph in two parts that ONNX Runtime computes says the same to the last digits.
LARGEST_DIFFERENCE = {
    "float32": 1e-3,
    "bfloat16": 0.5,
    "parts": 1e-5,
    "stages of float32": 1e-5,
    "stages of bfloat16": 0.1,
}
#: Times as fast as ONNX Runtime that OpenVINO must be to answer unasked.
WORTH_IT = 1.1
#: Bytes of a file from which it is looked at which engine is faster; smaller ones answer at once.
TIMED_BYTES = 500_000
#: Rows and columns of the window that is timed, at least, and how often, after once for warming up.
_TIMED_SIDE, _TIMED_ROUNDS = 512, 3
#: Memory of a window in OpenVINO over that in ONNX Runtime, at most; and bytes of its library.
#: `fast` 0.3.0 took 365 for 310 MB, `accurate` 0.3.1 661 for 705 (window 1024, 2026-11-30).
MORE_MEMORY, LIBRARY_BYTES = 1.3, 50_000_000
#: The same of a graph in two parts in OpenVINO, which keeps what either needed.
MORE_IN_PARTS = 1.4
#: How a graph is handed to the runtimes; a verdict on another way is none on this one.
_WAY = "parts, of the same ground in the same memory"

#: A session of OpenVINO.
Started = OpenVinoSession | PartedSession


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of OpenVINO with one model in one precision on this machine.

    Attributes
    ----------
    difference
        Largest difference of a probability from ONNX Runtime on the known window.
    speed
        How many times as fast as ONNX Runtime it is; None where it was not timed.
    precision
        `float32` or `bfloat16`; or `parts`, of ONNX Runtime with the graph in two parts.
    """

    difference: float
    speed: float | None = None
    precision: str = "float32"

    @property
    def is_right(self) -> bool:
        """Whether it says what ONNX Runtime says."""
        return self.difference <= LARGEST_DIFFERENCE.get(self.precision, 0.0)

    @property
    def is_untimed(self) -> bool:
        """Whether it is right, and nobody knows how fast."""
        return self.is_right and self.speed is None

    @property
    def is_best(self) -> bool:
        """Whether it is right, and known to be faster."""
        return self.is_right and self.speed is not None and self.speed >= WORTH_IT


def open_session(
    blob: bytes, card: Card, path: Path, *, device: str, engine: str, precision: str, options: Any
) -> tuple[Any, str]:
    """Start a session of engine and precision that are asked for, or best; and say which.

    Raises
    ------
    ModelError
        If OpenVINO was asked for, and refuses the graph or differs from ONNX Runtime. Also if the
        model has another precision, or may not be computed in that one.
    DeviceError
        If OpenVINO was asked for beside a device that is not the processor.
    OptionError
        If engine or precision is unknown, or they exclude each other.
    """
    check("engine", engine)
    _check_precision(card, path, engine, precision)
    if engine == "openvino" or precision == "bfloat16":
        if device not in ("auto", "cpu"):
            asked = f"--engine {engine}" if engine == "openvino" else f"--precision {precision}"
            raise DeviceError(f"{asked}: runs on the processor, not on {device}")
        best = _best(blob, card, path, precision, options) if precision == "auto" else None
        wanted = precision if best is None else best.precision
        return _openvino(blob, card, path, wanted, options)
    if engine == "auto" and on_processor(device):
        best = _best(blob, card, path, precision, options)
        if best is not None:
            return _openvino(blob, card, path, best.precision, options)
    if engine != "openvino" and on_processor(device):
        return _onnxruntime(blob, card, path, device, options)
    return start(blob, card, path, device, options)


def _onnxruntime(blob: bytes, card: Card, path: Path, device: str, options: Any) -> tuple[Any, str]:
    """Start ONNX Runtime on the processor, with the graph in two parts where that is known good."""
    parts = split_graph(blob, str(path))
    if parts is None:
        return start(blob, card, path, device, options)
    whole, provider = None, ""
    verdict = kept_verdict(card, "parts")
    if verdict is None or not verdict.is_right:
        whole, provider = start(blob, card, path, device, options)
    if verdict is None:
        session, _ = _in_parts(parts, card, path, device, options)
        verdict = Verdict(difference(session, whole, card), precision="parts")
        keep(card, verdict)
    elif verdict.is_right:
        return _in_parts(parts, card, path, device, options)
    return (session, provider) if verdict.is_right else (whole, provider)


def _in_parts(
    parts: Parts, card: Card, path: Path, device: str, options: Any
) -> tuple[PartedSession, str]:
    share_memory(options)
    first, provider = start(parts.first, card, path, device, options)
    second, _ = start(parts.second, card, path, device, options)
    return PartedSession(first, second, parts), provider


def _check_precision(card: Card, path: Path, engine: str, precision: str) -> None:
    """Refuse a precision that the model does not have, or may not be computed in."""
    if precision not in PRECISIONS:
        raise OptionError(f"--precision {precision}: unknown; give {', '.join(PRECISIONS)}")
    if card.precision == "bfloat16":
        raise ModelError(f"{path}: no file is stored in bfloat16; export it in single precision")
    if precision in ("auto", "stored"):
        return
    if (precision == "int8") != (card.precision == "int8") or card.precision == "half":
        raise ModelError(
            f"--precision {precision}: {path} is {card.precision}; leave --precision out, or give "
            "the model in single precision"
        )
    if precision == "bfloat16" and engine == "onnxruntime":
        raise OptionError("--precision bfloat16: only OpenVINO computes in it; leave --engine out")
    if precision == "bfloat16" and not allows_bfloat16(card):
        raise ModelError(
            f"--precision bfloat16: the card of {path} does not say that grades stay the same; "
            "measure it by geodamage models optimise --precision bfloat16"
        )


def allows_bfloat16(card: Card) -> bool:
    """Say whether a card has the parity of the model in bfloat16, and it passed."""
    facts = card.parity.get("bfloat16")
    return isinstance(facts, dict) and facts.get("passed") is True


def as_computed(card: Card, session: Any) -> Card:
    """Return the card of a model as a session computes it: memory, halo, precision, parity.

    What is rounded looks further, so in bfloat16 the halo is another one.
    """
    more = MORE_MEMORY
    if isinstance(session, PartedSession):
        session, more = session.first, MORE_MEMORY * MORE_IN_PARTS
    if not isinstance(session, OpenVinoSession):
        return card
    if session.precision == "float32":
        return dataclasses.replace(card, bytes_per_pixel=card.bytes_per_pixel * more)
    facts = card.parity["bfloat16"]
    numbers = {
        name: max(getattr(card, name), facts[name]) if name == "halo" else facts[name]
        for name in ("halo", "bytes_per_pixel")
        if isinstance(facts.get(name), int | float)
    }
    return dataclasses.replace(
        card,
        precision="bfloat16",
        parent_sha256=card.sha256,
        parity=facts,
        **({"bytes_per_pixel": card.bytes_per_pixel * more} | numbers),
    )


def on_processor(device: str) -> bool:
    """Say whether a device is the processor, as ONNX Runtime by itself runs on it."""
    return device == "cpu" or (device == "auto" and "cuda" not in available_devices())


def _best(blob: bytes, card: Card, path: Path, precision: str, options: Any) -> Verdict | None:
    """Return the way in which OpenVINO is right, and faster by most; None if there is none.

    What is not known of this machine yet is looked at, once.
    """
    known = {name: kept_verdict(card, name) for name in _allowed(card, precision)}
    missing = [name for name, verdict in known.items() if verdict is None or verdict.is_untimed]
    if missing and _is_worth_timing(blob, card):
        known |= _look_at(blob, card, path, missing, options)
    return max(
        (verdict for verdict in known.values() if verdict is not None and verdict.is_best),
        key=lambda verdict: verdict.speed or 0.0,
        default=None,
    )


def _allowed(card: Card, precision: str) -> tuple[str, ...]:
    """Return the precisions that OpenVINO may compute a model in."""
    if precision == "auto" and allows_bfloat16(card) and has_bfloat16():
        return "float32", "bfloat16"
    return ("float32",)


def _is_worth_timing(blob: bytes, card: Card) -> bool:
    is_large = len(blob) >= TIMED_BYTES and card.precision in SINGLE
    return is_large and openvino_version() is not None


def _look_at(
    blob: bytes, card: Card, path: Path, precisions: list[str], options: Any
) -> dict[str, Verdict | None]:
    """Compare OpenVINO with ONNX Runtime and time both; keep what was found, and return it."""
    # Sessions of their own: what they needed at most shall not stay.
    own = session_options(options.intra_op_num_threads, keeps_memory=True)
    reference, _ = start(blob, card, path, "cpu", own)
    found: dict[str, Verdict | None] = {}
    for precision in precisions:
        try:
            threads = own.intra_op_num_threads or default_threads()
            session = _openvino_session(blob, card, str(path), threads, precision)
        except RuntimeError:
            verdict = Verdict(sys.float_info.max, precision=precision)
        else:
            verdict = _verdict(session, reference, card, precision)
        found[precision] = keep_first(card, verdict)
    return found


def _verdict(session: Any, reference: Any, card: Card, precision: str) -> Verdict:
    verdict = Verdict(difference(session, reference, card), precision=precision)
    if not verdict.is_right:
        return verdict
    ground = more_ground(as_computed(card, session), card)
    speed = _times_as_fast(session, reference, card) * ground
    return Verdict(verdict.difference, speed, precision)


def _times_as_fast(
    session: Any, reference: Any, card: Card, clock: Callable[[], float] = time.process_time
) -> float:
    """Return how many times as fast as a reference a session answers, by its best of some rounds.

    In processor time: what else the machine does is no reason to choose an engine for good.
    """
    names = [node.name for node in reference.get_outputs()]
    images = {name: image[:1] for name, image in known_windows(card, reference).items()}
    if _is_free(reference):
        images = {name: np.tile(one, (1, 1, *_often(one))) for name, one in images.items()}
    seconds: list[tuple[float, float]] = []
    for _ in range(1 + _TIMED_ROUNDS):
        begun = clock()
        reference.run(names, images)
        between = clock()
        session.run(names, images)
        seconds.append((between - begun, clock() - between))
    theirs, own = np.transpose(seconds[1:])
    return times_as_fast(theirs, own)


def times_as_fast(theirs: Sequence[float], own: Sequence[float]) -> float:
    """Return how many times as fast an engine is as another, by the best round of each.

    Parameters
    ----------
    theirs, own
        Seconds of processor time of each round.
    """
    return float(min(theirs) / max(min(own), 1e-9))


def _often(image: np.ndarray) -> tuple[int, int]:
    """Return how often a known window lies down and across in the one that is timed."""
    rows, columns = image.shape[2:]
    return -(-_TIMED_SIDE // rows), -(-_TIMED_SIDE // columns)


def _is_free(session: Any) -> bool:
    """Say whether a graph takes windows of any size."""
    shapes = [[*node.shape, None, None][2:4] for node in session.get_inputs()]
    return not any(isinstance(size, int) for shape in shapes for size in shape)


def _openvino(
    blob: bytes, card: Card, path: Path, precision: str, options: Any
) -> tuple[Started, str]:
    computed = "bfloat16" if precision == "bfloat16" else "float32"
    threads = options.intra_op_num_threads or default_threads()
    try:
        session = _openvino_session(blob, card, str(path), threads, computed)
    except RuntimeError as error:
        remedy = "--precision" if computed == "bfloat16" else "--engine"
        raise ModelError(
            f"{path}: refused by OpenVINO: {first_line(error)}; leave {remedy} out"
        ) from error
    verdict = kept_verdict(card, computed)
    if verdict is None:
        reference, _ = start(blob, card, path, "cpu", options)
        verdict = Verdict(difference(session, reference, card), precision=computed)
        keep(card, verdict)
    if not verdict.is_right:
        raise ModelError(
            f"{path}: OpenVINO differs by up to {verdict.difference:.2g}  from ONNX Runtime on "
            "a known window; leave --engine out"
        )
    said = ", bfloat16" if computed == "bfloat16" else ""
    return session, f"CPU, OpenVINO {openvino_version()}{said}"


def _is_parted(card: Card, precision: str) -> bool:
    """Say whether the parts of a graph may stand for the whole.

    In bfloat16 they round otherwise: there the card must say that its parity is of the parts.
    """
    facts = card.parity.get("bfloat16")
    is_measured = isinstance(facts, dict) and facts.get("in_parts") is True
    return precision == "float32" or is_measured


def _openvino_session(
    blob: bytes, card: Card, source: str, threads: int, precision: str
) -> Started:
    """Start OpenVINO, with the graph in two parts where it falls into two and may.

    A small file is compiled each time.
    """
    parts = split_graph(blob, source) if _is_parted(card, precision) else None
    if len(blob) < TIMED_BYTES:
        return _started(blob, parts, threads, precision)
    place = compiled_place([blob] if parts is None else [parts.first, parts.second], precision)

    def begin(compiled: Sequence[bytes]) -> Started:
        return _started(blob, parts, threads, precision, compiled)

    return compiled_once(place, begin, _exported, card)


def _exported(session: Started) -> list[bytes]:
    sessions = [session] if isinstance(session, OpenVinoSession) else session.both
    return [each.exported() for each in sessions]


def _started(
    blob: bytes, parts: Parts | None, threads: int, precision: str, compiled: Sequence[bytes] = ()
) -> Started:
    """Start OpenVINO with a graph or its parts, as they are or compiled before."""
    ready = compiled or (None, None)
    if parts is None:
        return OpenVinoSession(blob, threads, precision, compiled=ready[0])
    first = OpenVinoSession(parts.first, threads, precision, compiled=ready[0])
    shapes = {port.name: port.shape for port in first.get_outputs()}
    sizes = {taken: shapes[given] for given, taken in zip(parts.given, parts.taken, strict=True)}
    second = OpenVinoSession(
        parts.second, threads, precision, parts.taken, sizes, compiled=ready[1]
    )
    return PartedSession(first, second, parts)


def compiled_place(graphs: Sequence[bytes], precision: str) -> Path:
    """Return where the compiled parts of a graph are kept, by what they hold."""
    digests = [hashlib.sha256(graph).hexdigest() for graph in graphs]
    name = _hashed([digests, precision, processor(), openvino_version()])
    return cache_folder().with_name("compiled") / f"{name}.openvino"


def is_openvino(session: Any) -> bool:
    """Say whether OpenVINO answers in a session."""
    inner = session.first if isinstance(session, PartedSession) else session
    return isinstance(inner, OpenVinoSession)


def kept_verdict(card: Card, precision: str = "float32") -> Verdict | None:
    """Return what is known of OpenVINO with a model; None if nothing, or it is not installed."""
    try:
        if not cache_folder().is_dir():
            return None
        if precision not in ("parts", "stages of float32") and openvino_version() is None:
            return None
        verdict = msgspec.json.decode(_place(card, precision).read_bytes(), type=Verdict)
        return verdict if verdict.precision == precision else None
    except (OSError, msgspec.DecodeError):
        return None  # such as the home of somebody else: looked at again


def keep(card: Card, verdict: Verdict) -> None:
    """Keep what is known; where the folder cannot be written, it is looked at again next time."""
    write(_place(card, verdict.precision), msgspec.json.encode(verdict))


def keep_first(card: Card, verdict: Verdict) -> Verdict:
    """Keep what was found, unless another process has found it meanwhile; return what is kept.

    So workers that begin at once choose the same engine.
    """
    known = kept_verdict(card, verdict.precision)
    if known is not None and not known.is_untimed:
        return known
    keep(card, verdict)
    return verdict


def _place(card: Card, precision: str) -> Path:
    versions = runtime_version(), openvino_version(), _WAY
    facts = [card.sha256, precision, processor(), *versions, STRIDES, _is_parted(card, precision)]
    return cache_folder() / f"{_hashed(facts)}.json"


def _hashed(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
