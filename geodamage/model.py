"""Models: arrays in, arrays out, by ONNX Runtime; and ensembles of them."""

import dataclasses
import math
import stat
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from geodamage.card import Card, read_card
from geodamage.errors import DeviceError, MissingExtraError, ModelError, ModelNotFoundError

DEFAULT_MODEL = "fast"
#: Larger files are refused before they are read.
LARGEST_MODEL = 2**31
#: Localisation is never taken as less: beside 1 - p_loc it is nothing in float32, and without it
#: the grades of a footprint that a model does not see would be lost.
LEAST_LOCALISATION = 1e-9


class Heads(NamedTuple):
    """What a model says of a batch; None where it has no such head.

    Attributes
    ----------
    localisation
        float32 (n, 1, rows, columns), 0-1: probability of a building.
    damage
        float32 (n, 4, rows, columns), not negative: the four grades as the family scores them.
    """

    localisation: np.ndarray | None
    damage: np.ndarray | None


class Predictor(Protocol):
    """Anything that turns windows into heads: a model, an ensemble, a function in a test."""

    @property
    def card(self) -> Card:
        """Facts about the model."""
        ...

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
        """Return the heads for uint8 `(n, c, rows, columns)` of both dates."""
        ...


def probabilities(heads: Heads) -> np.ndarray:
    """Join both heads: background, then the four grades.

    Returns
    -------
    float32 (n, 5, rows, columns)
        Channel 0 is 1 - p_loc, channel c is p_loc * d_c / sum(d).

    Raises
    ------
    ModelError
        If a head is missing.
    """
    localisation, damage = heads
    if localisation is None or damage is None:
        lacking = "localisation" if localisation is None else "damage"
        raise ModelError(f"the model has no {lacking} head; give one with both, or an ensemble")
    total = damage.sum(1, keepdims=True)
    joined = np.empty((len(damage), 5, *damage.shape[2:]), np.float32)
    joined[:, :1] = 1 - localisation
    share = np.maximum(localisation, np.float32(LEAST_LOCALISATION)) / np.maximum(total, 1e-12)
    np.multiply(damage, share, out=joined[:, 1:])
    return joined


class Model:
    """One model file, run by ONNX Runtime.

    Attributes
    ----------
    card
        The facts inside the file.
    path
        Where it was read from.
    provider
        The execution provider in use, one line.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int = 0) -> None:
        blob = _read_bytes(path)
        self.path = path
        self._card = read_card(blob, str(path))
        self._session, self.provider = _start(blob, path, device, threads)
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._outputs = [node.name for node in self._session.get_outputs()]
        self._check()

    @property
    def card(self) -> Card:
        """The facts inside the file."""
        return self._card

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
        """Return the heads for uint8 `(n, c, rows, columns)` of both dates."""
        images = {"pre": pre, "post": post}
        try:
            found = self._session.run(self._outputs, {name: images[name] for name in self._inputs})
        except Exception as error:  # ONNX Runtime's errors share no public root
            raise ModelError(
                f"{self.path}: does not run on {pre.shape}: {_first(error)}; "
                "try a smaller --tile or --batch-size"
            ) from error
        named = dict(zip(self._outputs, found, strict=True))
        return Heads(named.get("localisation"), named.get("damage"))

    def _check(self) -> None:
        card, source = self._card, self.path
        wanted = {"assess": {"localisation", "damage"}}.get(card.task, {card.task})
        if "pre" not in self._inputs or not set(self._inputs) <= {"pre", "post"}:
            raise ModelError(f"{source}: inputs {self._inputs} are not pre and post")
        if set(self._outputs) != wanted:
            raise ModelError(f"{source}: outputs {self._outputs} are not {sorted(wanted)}")
        size = 4 * card.stride if card.context == "local" else card.tile
        ramp = np.arange(size * size, dtype=np.int64).reshape(1, 1, size, size) * 7 % 256
        probe = [
            np.repeat(ramp, len(channels), 1).astype(np.uint8)
            for channels in (card.pre_channels, card.post_channels)
        ]
        heads = self(*probe)
        for name, channels in (("localisation", 1), ("damage", 4)):
            head = getattr(heads, name)
            if head is None:
                continue
            if head.shape != (1, channels, size, size) or head.dtype != np.float32:
                raise ModelError(f"{source}: {name} is {head.dtype} {head.shape} for {size} pixels")
            top = 1.0001 if name == "localisation" else np.inf
            if not (np.isfinite(head).all() and head.min() >= 0 and head.max() <= top):
                raise ModelError(f"{source}: {name} leaves its range; it is no probability")


def _first(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _read_bytes(path: Path) -> bytes:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise ModelNotFoundError(f"{path}: not a regular file; give a .onnx or .toml file")
        if facts.st_size > LARGEST_MODEL:
            raise ModelError(f"{path}: {facts.st_size / 1e9:.1f} GB; an ONNX file ends at 2 GB")
        return path.read_bytes()
    except ModelError:
        raise
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{path}: no such model file") from error
    except OSError as error:
        raise ModelNotFoundError(f"{path}: cannot be read ({error.strerror})") from error


def _start(blob: bytes, path: Path, device: str, threads: int) -> tuple[Any, str]:
    """Start a session on the device asked for; return it and its provider in one line."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if threads:
        options.intra_op_num_threads = threads
    # A spinning worker would take the cores that read and vectorise meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Work is handed out in small pieces, so that a core that is busy elsewhere holds up less.
    options.add_session_config_entry("session.dynamic_block_base", "4")
    providers = _providers(runtime, device)
    try:
        session = runtime.InferenceSession(blob, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no public root
        raise ModelError(f"{path}: refused by ONNX Runtime: {_first(error)}") from error
    used = session.get_providers()[0].removesuffix("ExecutionProvider")
    if device.startswith("cuda") and used != "CUDA":
        raise DeviceError(f"--device {device}: ONNX Runtime could not start CUDA; see its own log")
    fallback = " (CUDA did not start)" if len(providers) > 1 and used == "CPU" else ""
    return session, f"{used}{fallback}, ONNX Runtime {runtime.__version__}"


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            'onnxruntime is not installed; run pip install "geodamage[cpu]" '
            'or, with an NVIDIA GPU, pip install "geodamage[gpu]"'
        ) from error
    return onnxruntime


def _providers(runtime: Any, device: str) -> list[Any]:
    there = runtime.get_available_providers()
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        number and not (kind == "cuda" and number.isdigit())
    ):
        raise DeviceError(f"--device {device}: unknown; give auto, cpu, cuda or cuda:N")
    if kind == "cuda" and "CUDAExecutionProvider" not in there:
        raise DeviceError(
            f"--device {device}: this onnxruntime has no CUDA provider (it has "
            f'{", ".join(there)}); replace it by pip install "geodamage[gpu]"'
        )
    if kind == "cpu" or "CUDAExecutionProvider" not in there:
        return ["CPUExecutionProvider"]
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]


@dataclass(frozen=True)
class Member:
    """One model of an ensemble, with the ways it is asked.

    Attributes
    ----------
    model
        Any predictor.
    weight
        In the mean of each head that the member has.
    flips
        Of `none`, `horizontal`, `vertical`, `both`; the answers are flipped back and averaged.
    transpose
        Ask each way a second time with rows and columns exchanged.
    scales
        Sizes at which it is asked, 1 is the window's own.
    """

    model: Predictor
    weight: float = 1.0
    flips: tuple[str, ...] = ("none",)
    transpose: bool = False
    scales: tuple[float, ...] = (1.0,)


#: Axes of (n, c, rows, columns) that each flip reverses.
FLIPS: dict[str, tuple[int, ...]] = {
    "none": (),
    "horizontal": (3,),
    "vertical": (2,),
    "both": (2, 3),
}


class Ensemble:
    """Several members; every head is averaged over the members that have it."""

    def __init__(self, card: Card, members: Sequence[Member]) -> None:
        self._members = tuple(members)
        self._card = card
        self.provider = getattr(members[0].model, "provider", "")

    @property
    def card(self) -> Card:
        """Facts about the ensemble: its own thresholds, the halo and stride of its members."""
        return self._card

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
        """Return the averaged heads for uint8 `(n, c, rows, columns)` of both dates."""
        sums: list[np.ndarray | None] = [None, None]
        weights = [0.0, 0.0]
        for member in self._members:
            for i, head in enumerate(_ask(member, pre, post)):
                if head is not None:
                    weighted = head * np.float32(member.weight)
                    before = sums[i]
                    sums[i] = weighted if before is None else before + weighted
                    weights[i] += member.weight
        means = [s if s is None else s / np.float32(w) for s, w in zip(sums, weights, strict=True)]
        return Heads(*means)


def _ask(member: Member, pre: np.ndarray, post: np.ndarray) -> Heads:
    """Ask one member in all its ways; each answer is brought back in the reverse order."""
    answers: list[Heads] = []
    for scale in member.scales:
        sized = [_resize(image, scale) for image in (pre, post)]
        for turned in (False, True) if member.transpose else (False,):
            for flip in member.flips:
                axes = FLIPS[flip]
                images = [np.swapaxes(i, 2, 3) if turned else i for i in sized]
                images = [np.ascontiguousarray(np.flip(i, axes)) for i in images]
                heads = member.model(*images)
                answers.append(Heads(*(_undo(h, axes, turned, pre.shape[2:]) for h in heads)))
    return Heads(*(_mean([a[i] for a in answers]) for i in range(2)))


def _mean(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    known = [a for a in arrays if a is not None]
    return np.asarray(np.mean(known, axis=0, dtype=np.float32)) if known else None


def _undo(
    head: np.ndarray | None, axes: tuple[int, ...], turned: bool, shape: tuple[int, ...]
) -> np.ndarray | None:
    if head is None:
        return None
    head = np.flip(head, axes)
    head = np.swapaxes(head, 2, 3) if turned else head
    return head if head.shape[2:] == shape else _resize(head, shape=shape)


def _resize(
    images: np.ndarray, scale: float = 1.0, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    if shape is None:
        shape = tuple(round(side * scale) for side in images.shape[2:])
    if shape == images.shape[2:]:
        return images
    rows, columns = shape
    planes = images.reshape(-1, *images.shape[2:])
    sized = [cv2.resize(p, (columns, rows), interpolation=cv2.INTER_LINEAR) for p in planes]
    return np.stack(sized).reshape(*images.shape[:2], rows, columns)


def with_flips(model: Predictor) -> Ensemble:
    """Return the model asked four ways: as it is, mirrored in each axis, and in both."""
    return Ensemble(model.card, [Member(model, flips=tuple(FLIPS))])


def load_model(
    source: str | PathLike[str] = DEFAULT_MODEL,
    *,
    device: str = "auto",
    threads: int = 0,
    tta: str = "none",
) -> Model | Ensemble:
    """Load a model or an ensemble, by the name of a bundled one or by path.

    Parameters
    ----------
    source
        Name of a bundled model, or path of a `.onnx` or of an ensemble's `.toml`.
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    threads
        Of inference on the CPU; 0 lets ONNX Runtime choose.
    tta
        `none`, or `flips` to average over four mirror images.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    ModelError
        If it does not fit its card or does not run.
    DeviceError
        If the device is not there.
    """
    path = find_model(source)
    if path.suffix.lower() == ".toml":
        model: Model | Ensemble = _load_ensemble(path, device, threads)
    else:
        model = Model(path, device=device, threads=threads)
    return with_flips(model) if tta == "flips" else model


def bundled_models() -> dict[str, Path]:
    """Return the models that came with the package, by name."""
    folder = Path(str(resources.files("geodamage") / "models"))
    files = (path for path in folder.glob("*") if path.suffix in (".onnx", ".toml"))
    return {path.stem: path for path in sorted(files)}


def find_model(source: str | PathLike[str]) -> Path:
    """Return the path of a model given by name or path."""
    bundled = bundled_models()
    if str(source) in bundled:
        return bundled[str(source)]
    path = Path(source)
    if path.suffix.lower() not in (".onnx", ".toml"):
        names = ", ".join(bundled) or "none"
        raise ModelNotFoundError(
            f"{source}: no bundled model of that name ({names}), and no .onnx or .toml file"
        )
    return path


def _load_ensemble(path: Path, device: str, threads: int) -> Ensemble:
    try:
        table = tomllib.loads(_read_bytes(path).decode("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not TOML ({error}); mend the ensemble") from error
    entries = table.pop("member", None)
    if not isinstance(entries, list) or not entries:
        raise ModelError(f"{path}: an ensemble needs at least one [[member]]")
    members = [_load_member(path, entry, device, threads) for entry in entries]
    return Ensemble(_ensemble_card(path, table, members), members)


def _load_member(path: Path, entry: Any, device: str, threads: int) -> Member:
    if not isinstance(entry, dict):
        raise ModelError(f"{path}: member {entry!r} is no table; write [[member]]")
    known = {"file", "weight", "flips", "transpose", "scales"}
    unknown = sorted(entry.keys() - known)
    name = entry.get("file")
    if unknown or not isinstance(name, str):
        raise ModelError(f"{path}: a member has unknown keys {unknown} or no file")
    if Path(name).name != name:
        raise ModelError(f"{path}: member {name!r} is not beside the ensemble; put it there")
    flips, scales = entry.get("flips", ["none"]), entry.get("scales", [1.0])
    weight, transpose = entry.get("weight", 1.0), entry.get("transpose", False)
    if not isinstance(flips, list) or not flips or not all(flip in [*FLIPS] for flip in flips):
        raise ModelError(f"{path}: flips of {name} are not of {', '.join(FLIPS)}")
    if not isinstance(scales, list) or not scales or not all(map(_is_scale, scales)):
        raise ModelError(f"{path}: scales of {name} are not numbers in 0.1..10")
    if not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise ModelError(f"{path}: weight of {name} is not positive")
    if not isinstance(transpose, bool):
        raise ModelError(f"{path}: transpose of {name} is neither true nor false")
    model = Model(path.with_name(name), device=device, threads=threads)
    return Member(model, float(weight), tuple(flips), transpose, tuple(scales))


def _is_scale(value: Any) -> bool:
    return isinstance(value, int | float) and 0.1 <= value <= 10


def _ensemble_card(path: Path, table: dict[str, Any], members: Sequence[Member]) -> Card:
    """Make the card of an ensemble: what it says itself, the rest from its members."""
    cards = [member.model.card for member in members]
    channels = {(card.pre_channels, card.post_channels) for card in cards}
    if len(channels) > 1:
        raise ModelError(f"{path}: its members take different channels; use members that agree")
    tasks = {card.task for card in cards}
    strides = [
        _aligned(member.model.card.stride, scale) for member in members for scale in member.scales
    ]
    stride = math.lcm(*strides)
    halo = max(_seen(m.model.card.halo, scale) for m in members for scale in m.scales)
    local = all(card.context == "local" for card in cards)
    joined: dict[str, Any] = {
        "name": path.stem,
        "task": "assess" if tasks != {"localisation"} and tasks != {"damage"} else tasks.pop(),
        "stride": stride,
        "halo": halo,
        "context": "local" if local else "global",
        "tile": -(-max(card.tile for card in cards) // stride) * stride,
        "sha256": "",
        "licence": " AND ".join(sorted({card.licence for card in cards})),
        "training_data": "; ".join(dict.fromkeys(card.training_data for card in cards)),
        "bytes_per_pixel": max(m.model.card.bytes_per_pixel * max(m.scales) ** 2 for m in members),
        "scores": {},
    }
    try:
        own = {f.name: table.pop(f.name) for f in dataclasses.fields(Card) if f.name in table}
        if "grade_weights" in own:
            own["grade_weights"] = tuple(own["grade_weights"])
        if table:
            raise ModelError(f"{path}: unknown keys {sorted(table)}")
        return dataclasses.replace(cards[0], **(joined | own))
    except TypeError as error:
        raise ModelError(f"{path}: {error}; mend the ensemble") from error


def _seen(halo: int, scale: float) -> int:
    """Return the halo in pixels of the window; resizing there and back looks at neighbours, too."""
    return halo if scale == 1 else math.ceil((halo + 1) / scale) + 1


def _aligned(stride: int, scale: float) -> int:
    """Return the least window origin that is a multiple of the stride after scaling, too."""
    step = Fraction(stride) / Fraction(scale).limit_denominator(64)
    return math.lcm(stride, step.numerator)
