"""Models: arrays in, arrays out, by ONNX Runtime; and ensembles of them."""

import ctypes
import dataclasses
import math
import stat
import sys
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

from geodamage.model.averaging import MAP_UNKNOWN, WeightedMean, as_probability, find_outlier
from geodamage.model.card import Card, read_card
from geodamage.errors import DeviceError, MissingExtraError, ModelError, ModelNotFoundError
from geodamage.model.rules import PixelRules

DEFAULT_MODEL = "fast"
#: Of ONNX Runtime, by the kind of device that a user asks for.
PROVIDERS = {"cpu": "CPU", "cuda": "CUDA", "tensorrt": "Tensorrt", "openvino": "OpenVINO"}
#: Kinds of device of which a machine may hold several.
NUMBERED = ("cuda", "tensorrt")
#: What brings each of them; the wheels own the same module, so there is room for one.
_EXTRAS = {"cpu": "cpu", "cuda": "gpu", "tensorrt": "gpu", "openvino": "openvino"}
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

    @property
    def rules(self) -> PixelRules:
        """How its heads become one grade per pixel."""
        ...

    @property
    def resident_bytes(self) -> int:
        """Memory that it holds between two calls: its weights, bytes."""
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


def building_probabilities(heads: Heads) -> np.ndarray:
    """Return the localisation as two channels: background and building.

    Returns
    -------
    float32 (n, 2, rows, columns)

    Raises
    ------
    ModelError
        If there is no such head.
    """
    localisation = heads.localisation
    if localisation is None:
        raise ModelError(
            "the model has no localisation head; give one of the task assess or localisation"
        )
    return np.concatenate([1 - localisation, localisation], 1)


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
    fixed_size
        Rows and columns of the only window that the graph takes; None where it takes any.
    resident_bytes
        Size of the file.
    """

    #: Whether the rules are more than the threshold of the card.
    has_pixel_rules = False
    #: Saved maps that it reads: only an ensemble has them.
    maps: "tuple[SavedMap, ...]" = ()

    def __init__(
        self, path: Path, *, device: str = "auto", threads: int = 0, keeps_memory: bool = True
    ) -> None:
        """Load a model.

        Parameters
        ----------
        path
            Of a `.onnx`.
        device, threads
            As in `load_model`.
        keeps_memory
            Keep the working memory of a call for the next one. Of several sessions each would
            keep its own.

        Raises
        ------
        ModelError
            If it does not fit its card or does not run.
        """
        blob = _read_bytes(path)
        self.path = path
        self._card = read_card(blob, str(path))
        self.resident_bytes = len(blob)
        options = _session_options(threads, keeps_memory)
        self._session, self.provider = _start(blob, self._card, path, device, options)
        del blob
        _return_memory()
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._outputs = [node.name for node in self._session.get_outputs()]
        self.fixed_size = _fixed_size(self._session)
        self._check()

    @property
    def card(self) -> Card:
        """The facts inside the file."""
        return self._card

    @property
    def rules(self) -> PixelRules:
        """The threshold of the card for every grade."""
        return PixelRules.of(self._card)

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
        wanted = set(_heads_of(card))
        if "pre" not in self._inputs or not set(self._inputs) <= {"pre", "post"}:
            raise ModelError(f"{source}: inputs {self._inputs} are not pre and post")
        if set(self._outputs) != wanted:
            raise ModelError(f"{source}: outputs {self._outputs} are not {sorted(wanted)}")
        rows, columns = self._probe_size()
        ramp = np.arange(rows * columns, dtype=np.int64).reshape(1, 1, rows, columns) * 7 % 256
        probe = [
            np.repeat(ramp, len(channels), 1).astype(np.uint8)
            for channels in (card.pre_channels, card.post_channels)
        ]
        heads = self(*probe)
        for name, channels in (("localisation", 1), ("damage", 4)):
            head = getattr(heads, name)
            if head is None:
                continue
            if head.shape != (1, channels, rows, columns) or head.dtype != np.float32:
                raise ModelError(f"{source}: {name} is {head.dtype} {head.shape} for {rows} pixels")
            top = 1.0001 if name == "localisation" else np.inf
            if not (np.isfinite(head).all() and head.min() >= 0 and head.max() <= top):
                raise ModelError(f"{source}: {name} leaves its range; it is no probability")

    def _probe_size(self) -> tuple[int, int]:
        """Return the size of the window that the model is tried on: small, where it may be."""
        card, fixed = self._card, self.fixed_size
        if fixed is None:
            return 4 * card.stride, 4 * card.stride
        if card.context == "local":
            raise ModelError(
                f"{self.path}: takes windows of {fixed[0]} x {fixed[1]} pixels alone, and its card "
                "says that it is local; export it with free rows and columns"
            )
        if fixed != (card.tile, card.tile):
            raise ModelError(
                f"{self.path}: takes windows of {fixed[0]} x {fixed[1]} pixels alone, and its card "
                f"says {card.tile}; mend the card"
            )
        return fixed


def _heads_of(card: Card) -> tuple[str, ...]:
    return ("localisation", "damage") if card.task == "assess" else (card.task,)


def _fixed_size(session: Any) -> tuple[int, int] | None:
    """Return rows and columns of a graph that takes one size of window alone."""
    for node in session.get_inputs():
        rows, columns = [*node.shape, None, None][2:4]
        if isinstance(rows, int) and isinstance(columns, int):
            return rows, columns
    return None


def _return_memory() -> None:
    """Give what was freed back to the system.

    glibc keeps the holes that loading leaves between the weights: of a session at rest it makes
    two sizes of its file one (94 MB of weights: 194 and 101 MB, ONNX Runtime 1.31, 2026-11-21).
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


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


def _session_options(threads: int, keeps_memory: bool) -> Any:
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


def _start(blob: bytes, card: Card, path: Path, device: str, options: Any) -> tuple[Any, str]:
    """Start a session on the device asked for; return it and its provider in one line."""
    runtime = _runtime()
    providers = _providers(runtime, device, card, options.intra_op_num_threads)
    try:
        session = runtime.InferenceSession(blob, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no public root
        raise ModelError(f"{path}: refused by ONNX Runtime: {_first(error)}") from error
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
            'onnxruntime is not installed; run pip install "geodamage[cpu]" '
            'or, with an NVIDIA GPU, pip install "geodamage[gpu]"'
        ) from error
    return onnxruntime


def available_devices() -> tuple[str, ...]:
    """Return the kinds of device that the installed ONNX Runtime has a provider for.

    Whether such a device is in the machine shows when a model is loaded.
    """
    there = _runtime().get_available_providers()
    return tuple(kind for kind, name in PROVIDERS.items() if f"{name}ExecutionProvider" in there)


def _providers(runtime: Any, device: str, card: Card, threads: int) -> list[Any]:
    there = runtime.get_available_providers()
    kind, _, number = device.partition(":")
    numbered = kind in NUMBERED and number.isdigit()
    if kind not in ("auto", *PROVIDERS) or (device != kind and not numbered):
        raise DeviceError(
            f"--device {device}: unknown; give auto, cpu, cuda or cuda:N, tensorrt or tensorrt:N, "
            "or openvino"
        )
    if kind == "auto":
        kind = "cuda" if "CUDAExecutionProvider" in there else "cpu"
    name = PROVIDERS[kind]
    if f"{name}ExecutionProvider" not in there:
        raise DeviceError(
            f"--device {device}: this onnxruntime has no {name} provider (it has "
            f"{', '.join(there)}); replace it by pip uninstall onnxruntime and "
            f'pip install "geodamage[{_EXTRAS[kind]}]", for both own the same module'
        )
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    return [*_accelerators(kind, int(number or 0), card, threads), "CPUExecutionProvider"]


def _accelerators(kind: str, number: int, card: Card, threads: int) -> list[Any]:
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
    heads
        Of `localisation` and `damage`: which of its heads count.
    """

    model: Predictor
    weight: float = 1.0
    flips: tuple[str, ...] = ("none",)
    transpose: bool = False
    scales: tuple[float, ...] = (1.0,)
    heads: tuple[str, ...] = Heads._fields


@dataclass(frozen=True)
class SavedMap:
    """A member of an ensemble that has spoken already: a raster of the probability of a building.

    Attributes
    ----------
    path
        Of the raster; it has its place on the ground.
    weight
        In the mean of localisation.
    """

    path: Path
    weight: float = 1.0


#: Axes of (n, c, rows, columns) that each flip reverses.
FLIPS: dict[str, tuple[int, ...]] = {
    "none": (),
    "horizontal": (3,),
    "vertical": (2,),
    "both": (2, 3),
}


class Ensemble:
    """Several members; every head is averaged over the members that have it.

    Parameters
    ----------
    card
        Facts about the ensemble: its own thresholds, the halo and stride of its members.
    members
        One or more.
    rules
        How the averaged heads become one grade per pixel; None takes the threshold of the card.
    maps
        Saved maps that count as members of localisation; the scene reads them.
    drops_outliers
        Leave the localisation out that the others speak against; see `averaging.find_outlier`.
        It looks at whole windows, so the card must be global.
    """

    def __init__(
        self,
        card: Card,
        members: Sequence[Member],
        *,
        rules: PixelRules | None = None,
        maps: Sequence[SavedMap] = (),
        drops_outliers: bool = False,
    ) -> None:
        self._members = tuple(members)
        self._card = card
        self._rules = rules
        self.maps = tuple(maps)
        self.drops_outliers = drops_outliers
        self.provider = (
            getattr(members[0].model, "provider", "") if members else "saved probability maps"
        )

    @property
    def members(self) -> tuple[Member, ...]:
        """The models, with the ways they are asked."""
        return self._members

    @property
    def card(self) -> Card:
        """Facts about the ensemble: its own thresholds, the halo and stride of its members."""
        return self._card

    @property
    def rules(self) -> PixelRules:
        """How the averaged heads become one grade per pixel."""
        return PixelRules.of(self._card) if self._rules is None else self._rules

    @property
    def has_pixel_rules(self) -> bool:
        """Whether the rules are its own, and more than the threshold of the card."""
        return self._rules is not None

    @property
    def resident_bytes(self) -> int:
        """Size of the files of its members, each once."""
        models = {id(member.model): member.model for member in self._members}
        return sum(model.resident_bytes for model in models.values())

    def __call__(self, pre: np.ndarray, post: np.ndarray, maps: np.ndarray | None = None) -> Heads:
        """Return the averaged heads for uint8 `(n, c, rows, columns)` of both dates.

        Parameters
        ----------
        maps
            uint8 (n, maps, rows, columns) of the saved maps, as `geodamage.scene.scene.Pixels` holds
            them.

        Raises
        ------
        ModelError
            If saved maps are asked for and not given.
        """
        if self.maps and (maps is None or maps.shape[1] != len(self.maps)):
            raise ModelError(
                f"ensemble {self._card.name!r} reads saved maps, and none came with the scene; "
                "leave them out, or use it with geodamage buildings or assess"
            )
        localisation, damage = WeightedMean(), WeightedMean()
        kept: list[_Answer] = []
        for member in self._members:
            said = _ask(member, pre, post)
            if said.damage is not None and "damage" in member.heads:
                damage.add(said.damage, member.weight)
            if said.localisation is not None and "localisation" in member.heads:
                localisation.add(said.localisation, member.weight)
                kept += [_Answer(said.localisation, member.weight)] * self.drops_outliers
        for number, saved in enumerate(self.maps):
            codes = np.asarray(maps)[:, number : number + 1]
            answer = _Answer(as_probability(codes), saved.weight, codes != MAP_UNKNOWN)
            localisation.add(answer.localisation, answer.weight, known=answer.known)
            kept += [answer] * self.drops_outliers
        mean = localisation.value
        if mean is not None and self.drops_outliers:
            mean = _without_outliers(kept, mean)
        return Heads(mean, damage.value)


class _Answer(NamedTuple):
    """What one member says of localisation, float32 (n, 1, rows, columns), and where it does."""

    localisation: np.ndarray
    weight: float
    known: np.ndarray | None = None


def _without_outliers(answers: Sequence[_Answer], mean: np.ndarray) -> np.ndarray:
    """Return the mean of a batch, each window without the answer that the others speak against."""
    result = mean.copy()
    for n, window in enumerate(mean):
        outlier = find_outlier([a.localisation[n, 0] for a in answers], window[0])
        if outlier is None:
            continue
        rest = WeightedMean()
        for number, (said, weight, known) in enumerate(answers):
            if number != outlier:
                rest.add(said[n], weight, known=None if known is None else known[n])
        result[n] = rest.value
    return result


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


#: Test-time augmentation, by name: whether each way is asked transposed as well, too.
TTA = {"none": False, "flips": False, "full": True}


def with_flips(model: Predictor) -> Ensemble:
    """Return the model asked four ways: as it is, mirrored in each axis, and in both.

    Its rules stay.
    """
    return with_ways(model, "flips")


def with_ways(model: Predictor, tta: str, scales: tuple[float, ...] = (1.0,)) -> Ensemble:
    """Return the model asked in several ways; its rules and its saved maps stay.

    Parameters
    ----------
    model
        Any predictor.
    tta
        Of `TTA`: `none`; `flips`, mirrored in each axis and in both; `full`, these and the same
        again with rows and columns exchanged.
    scales
        Sizes at which it is asked in all these ways, 0.1-10; 1 is the window's own.

    Raises
    ------
    ModelError
        If a scale does not fit the window of the model.
    """
    rules = model.rules if getattr(model, "has_pixel_rules", False) else None
    flips = ("none",) if tta == "none" else tuple(FLIPS)
    way = Member(model, flips=flips, transpose=TTA[tta], scales=scales)
    card = _at_scales(model.card, [way])
    _check_sizes(Path(model.card.name), card, [way])
    if not isinstance(model, Ensemble) or not (model.maps or model.drops_outliers):
        return Ensemble(card, [way], rules=rules)
    members = [_turned(member, way) for member in model.members]
    return Ensemble(
        card, members, rules=rules, maps=model.maps, drops_outliers=model.drops_outliers
    )


def _turned(member: Member, way: Member) -> Member:
    """Return a member asked in its own ways and, of each, in all those of another one."""
    flips = member.flips if way.flips == ("none",) else way.flips
    scales = tuple(mine * other for mine in member.scales for other in way.scales)
    turned = member.transpose or way.transpose
    return dataclasses.replace(member, flips=flips, transpose=turned, scales=scales)


def _at_scales(card: Card, members: Sequence[Member]) -> Card:
    """Return a card whose windows fit the scales at which members are asked."""
    if all(scale == 1 for member in members for scale in member.scales):
        return card
    stride = _common_stride(members)
    return dataclasses.replace(
        card,
        stride=stride,
        halo=max(_seen(m.model.card.halo, scale) for m in members for scale in m.scales),
        tile=-(-card.tile // stride) * stride,
        bytes_per_pixel=_bytes_per_pixel(members),
    )


def _common_stride(members: Sequence[Member]) -> int:
    """Return the least step of windows that suits all members at all their scales.

    What sees its window at once answers otherwise wherever that begins; so there the windows need
    not keep step with the pixels of a scaled one.
    """
    cards = [member.model.card for member in members]
    if any(card.context == "global" for card in cards):
        return math.lcm(*(card.stride for card in cards))
    return math.lcm(*(_aligned(m.model.card.stride, scale) for m in members for scale in m.scales))


def _bytes_per_pixel(members: Sequence[Member]) -> float:
    return max(m.model.card.bytes_per_pixel * max(m.scales) ** 2 for m in members)


def load_model(
    source: str | PathLike[str] = DEFAULT_MODEL,
    *,
    device: str = "auto",
    threads: int = 0,
    tta: str = "none",
    scales: tuple[float, ...] = (1.0,),
) -> Model | Ensemble:
    """Load a model or an ensemble, by the name of a bundled one or by path.

    Parameters
    ----------
    source
        Name of a bundled model, or path of a `.onnx` or of an ensemble's `.toml`.
    device
        `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt`, `tensorrt:N` or `openvino`; `auto` is CUDA
        where ONNX Runtime has it, else the processor.
    threads
        Of inference on the CPU; 0 lets ONNX Runtime choose.
    tta
        `none`, `flips` to average over four mirror images, or `full` to average over these and
        the same transposed.
    scales
        Sizes at which it is asked, too; 1 is the image's own.

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
    return model if tta == "none" and scales == (1.0,) else with_ways(model, tta, scales)


def bundled_models() -> dict[str, Path]:
    """Return the models that came with the package, by name; the default one comes first."""
    folder = Path(str(resources.files("geodamage") / "models"))
    files = {path.stem: path for path in folder.glob("*") if path.suffix in (".onnx", ".toml")}
    names = sorted(files, key=lambda name: (name != DEFAULT_MODEL, name))
    return {name: files[name] for name in names}


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
    known = {"pixels", "drop_outliers", *(f.name for f in dataclasses.fields(Card))}
    if table.keys() - known:
        raise ModelError(f"{path}: unknown keys {sorted(table.keys() - known)}; mend the ensemble")
    rules = PixelRules.from_table(table.pop("pixels"), str(path)) if "pixels" in table else None
    drops = table.pop("drop_outliers", False)
    if not isinstance(drops, bool):
        raise ModelError(f"{path}: drop_outliers is neither true nor false; mend the ensemble")
    maps = [_read_map(path, entry) for entry in entries if _is_map(entry)]
    entries = [entry for entry in entries if not _is_map(entry)]
    members = _load_members(path, entries, table, device, threads)
    card = _ensemble_card(path, table, members, rules, of_maps=bool(maps), drops_outliers=drops)
    return Ensemble(card, members, rules=rules, maps=maps, drops_outliers=drops)


def _is_map(entry: Any) -> bool:
    """Say whether an entry names a raster, and no model."""
    name = entry.get("file") if isinstance(entry, dict) else None
    return isinstance(name, str) and name.lower().endswith((".tif", ".tiff"))


def _read_map(path: Path, entry: dict[str, Any]) -> SavedMap:
    """Return a saved map that an ensemble names, checked; it is opened with the scene."""
    name = entry["file"]
    unknown = sorted(entry.keys() - {"file", "weight"})
    if unknown:
        raise ModelError(
            f"{path}: {name} is a saved map and has the keys {unknown}; it has spoken, so all but "
            "its weight is settled"
        )
    _check_beside(path, name)
    if not path.with_name(name).is_file():
        raise ModelNotFoundError(f"{path.with_name(name)}: no such probability map")
    return SavedMap(path.with_name(name), _weight(path, entry))


def _check_beside(path: Path, name: str) -> None:
    if Path(name).name != name:
        raise ModelError(f"{path}: member {name!r} is not beside the ensemble; put it there")


def _weight(path: Path, entry: dict[str, Any]) -> float:
    weight = entry.get("weight", 1.0)
    if not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise ModelError(f"{path}: weight of {entry['file']} is not positive")
    return float(weight)


def _load_members(
    path: Path, entries: list[Any], table: dict[str, Any], device: str, threads: int
) -> list[Member]:
    """Read all members before the first is loaded; each file is loaded once."""
    asked = [_read_member(path, entry) for entry in entries]
    names = dict.fromkeys(name for name, _ in asked)
    models = {
        name: Model(
            path.with_name(name), device=device, threads=threads, keeps_memory=len(names) == 1
        )
        for name in names
    }
    tile = _tile(path, table, [model.card for model in models.values()])
    return [_member(path, models[name], options, tile) for name, options in asked]


def _tile(path: Path, table: dict[str, Any], cards: Sequence[Card]) -> int:
    """Return the window of the ensemble, of which `width` is what a member is shown."""
    tile = table.get("tile")
    if tile is None:
        stride = math.lcm(*(card.stride for card in cards))
        return -(-max((card.tile for card in cards), default=1) // stride) * stride
    if type(tile) is not int or tile < 1:
        raise ModelError(f"{path}: tile = {tile!r} is no number of pixels; mend the ensemble")
    return tile


def _member(path: Path, model: Model, options: dict[str, Any], tile: int) -> Member:
    width = options.pop("width")
    if width is not None:
        if model.card.context == "local":
            raise ModelError(
                f"{path}: width {width} is for models that see their whole window, and "
                f"{model.path.name} is local; give scales, such as 0.5 or 1.5"
            )
        if not _is_scale(width / tile):
            raise ModelError(
                f"{path}: width {width} of {model.path.name} is not a tenth to ten times the tile "
                f"of {tile} pixels; mend the ensemble"
            )
        options["scales"] = (width / tile,)
    there = _heads_of(model.card)
    heads = options.pop("heads", there)
    if not set(heads) <= set(there):
        raise ModelError(
            f"{path}: heads of {model.path.name} are {', '.join(heads)}, and the model has "
            f"{', '.join(there)}; leave out what it lacks"
        )
    return Member(model, heads=heads, **options)


_MEMBER_KEYS = {"file", "weight", "flips", "transpose", "scales", "width", "heads"}


def _read_member(path: Path, entry: Any) -> tuple[str, dict[str, Any]]:
    """Return the file of a member and its other options, checked."""
    if not isinstance(entry, dict):
        raise ModelError(f"{path}: member {entry!r} is no table; write [[member]]")
    unknown = sorted(entry.keys() - _MEMBER_KEYS)
    name = entry.get("file")
    if unknown or not isinstance(name, str):
        raise ModelError(f"{path}: a member has unknown keys {unknown} or no file")
    _check_beside(path, name)
    flips, scales = entry.get("flips", ["none"]), entry.get("scales", [1.0])
    weight, transpose = _weight(path, entry), entry.get("transpose", False)
    width = entry.get("width")
    if not _are_of(flips, [*FLIPS]):
        raise ModelError(f"{path}: flips of {name} are not of {', '.join(FLIPS)}")
    if not isinstance(scales, list) or not scales or not all(map(_is_scale, scales)):
        raise ModelError(f"{path}: scales of {name} are not numbers in 0.1..10")
    if width is not None and (type(width) is not int or width < 1 or "scales" in entry):
        raise ModelError(f"{path}: width of {name} is no number of pixels, or beside scales")
    if not isinstance(transpose, bool):
        raise ModelError(f"{path}: transpose of {name} is neither true nor false")
    options: dict[str, Any] = {
        "weight": weight,
        "width": width,
        "flips": tuple(flips),
        "transpose": transpose,
        "scales": tuple(scales),
    }
    if "heads" in entry:
        if not _are_of(entry["heads"], [*Heads._fields]):
            raise ModelError(f"{path}: heads of {name} are not of {', '.join(Heads._fields)}")
        options["heads"] = tuple(entry["heads"])
    return name, options


def _are_of(values: Any, known: list[str]) -> bool:
    return isinstance(values, list) and bool(values) and all(value in known for value in values)


def _is_scale(value: Any) -> bool:
    return isinstance(value, int | float) and 0.1 <= value <= 10


#: What the card of an ensemble of saved maps alone says, where the ensemble does not. The maps are
#: averaged pixel by pixel, so windows have no bounds to keep.
_MAPS_CARD: dict[str, Any] = {
    "version": "1",
    "stride": 16,
    "halo": 0,
    "tile": 512,
    "licence": "that of the saved maps",
    "training_data": "that of the models behind the saved maps",
    "bytes_per_pixel": 16.0,
}


def _maps_card(path: Path, table: dict[str, Any], drops_outliers: bool) -> Card:
    """Make the card of an ensemble that holds saved maps alone."""
    context = "global" if drops_outliers else "local"
    facts = {"name": path.stem, "task": "localisation", "context": context, **_MAPS_CARD}
    lacking = [key for key in ("gsd_native", "gsd_min", "gsd_max") if key not in table]
    if lacking:
        raise ModelError(
            f"{path}: an ensemble of saved maps alone has no model that knows its pixels; "
            f"add {', '.join(lacking)}, metres"
        )
    try:
        return Card(**(facts | table))
    except TypeError as error:
        raise ModelError(f"{path}: {error}; mend the ensemble") from error


def _ensemble_card(
    path: Path,
    table: dict[str, Any],
    members: Sequence[Member],
    rules: PixelRules | None,
    *,
    of_maps: bool,
    drops_outliers: bool,
) -> Card:
    """Make the card of an ensemble: what it says itself, the rest from its members."""
    if not members:
        return _maps_card(path, table, drops_outliers)
    cards = [member.model.card for member in members]
    channels = {(card.pre_channels, card.post_channels) for card in cards}
    if len(channels) > 1:
        raise ModelError(f"{path}: its members take different channels; use members that agree")
    sensors = {(card.pre_sensor, card.post_sensor) for card in cards}
    if len(sensors) > 1:
        raise ModelError(f"{path}: its members take different sensors; use members that agree")
    heads = {head for member in members for head in member.heads}
    heads |= {"localisation"} if of_maps else set()
    stride = _common_stride(members)
    halo = max(_seen(m.model.card.halo, scale) for m in members for scale in m.scales)
    # Which answer is an outlier depends on the whole window, whatever its members look at.
    local = all(card.context == "local" for card in cards) and not drops_outliers
    joined: dict[str, Any] = {
        "name": path.stem,
        "task": "assess" if len(heads) > 1 else heads.pop(),
        "stride": stride,
        "halo": halo,
        "context": "local" if local else "global",
        "tile": -(-max(card.tile for card in cards) // stride) * stride,
        "sha256": "",
        "precision": cards[0].precision if len({c.precision for c in cards}) == 1 else "fp32",
        "parent_sha256": "",
        "parity": {},
        "licence": " AND ".join(sorted({card.licence for card in cards})),
        "training_data": "; ".join(dict.fromkeys(card.training_data for card in cards)),
        # Of each answer that is kept, a float32.
        "bytes_per_pixel": _bytes_per_pixel(members) + 4 * len(members) * drops_outliers,
        "scores": {},
    }
    try:
        if "grade_weights" in table:
            table = table | {"grade_weights": tuple(table["grade_weights"])}
        card = dataclasses.replace(cards[0], **(joined | table))
        if rules is not None:
            card = dataclasses.replace(card, halo=_widened(card, rules))
    except TypeError as error:
        raise ModelError(f"{path}: {error}; mend the ensemble") from error
    _check_sizes(path, card, members)
    return card


def _widened(card: Card, rules: PixelRules) -> int:
    """Return the halo that the rules need: they look at what the model says around a core."""
    if card.context == "local":
        return card.halo + rules.reach
    return max(card.halo, rules.reach)  # there the halo is an overlap that someone chose


def _check_sizes(path: Path, card: Card, members: Sequence[Member]) -> None:
    """Refuse a member that takes another size of window than it would be asked for."""
    for member in members:
        fixed = getattr(member.model, "fixed_size", None)
        for scale in member.scales:
            side = round(card.tile * scale)
            step = member.model.card.stride
            if side % step:
                raise ModelError(
                    f"{path}: {member.model.card.name} would be asked for windows of {side} pixels "
                    f"(scale {scale:g}), and takes multiples of {step}; change scales, width or "
                    "tile"
                )
            if fixed not in (None, (side, side)):
                raise ModelError(
                    f"{path}: {member.model.card.name} takes windows of {fixed[0]} pixels alone, "
                    f"and would be asked for {side}; set tile, or export it with free rows"
                )


def _seen(halo: int, scale: float) -> int:
    """Return the halo in pixels of the window; resizing there and back looks at neighbours, too."""
    return halo if scale == 1 else math.ceil((halo + 1) / scale) + 1


def _aligned(stride: int, scale: float) -> int:
    """Return the least window origin that is a multiple of the stride after scaling, too."""
    step = Fraction(stride) / Fraction(scale).limit_denominator(64)
    return math.lcm(stride, step.numerator)
