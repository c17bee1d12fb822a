"""The card of a model: facts that travel inside the model file."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from geodamage.errors import ChecksumError, ModelError
from geodamage.grid import SENSORS, GsdRange
from geodamage.model.wire import fields, record
from geodamage.schema import MisfitError, compare_keys, is_deeper, shown, typed_values
from geodamage.windows import round_up

#: Key of the card in the metadata of an ONNX file.
METADATA_KEY = "geodamage"
#: Field numbers of ONNX messages. Source: onnx/onnx.proto, ModelProto and StringStringEntryProto.
_METADATA_PROPS, _ENTRY_KEY, _ENTRY_VALUE = 14, 1, 2

TASKS = ("assess", "localisation", "damage")
CONTEXTS = ("local", "global")
#: How the numbers of a graph are stored and computed: `fp32`; `fp16`, weights stored in half and
#: computed in single; `half`, computed in half, too; `int8`, convolutions of 8-bit integers;
#: `bfloat16`, a model of the first two as OpenVINO computes it, which no file says of itself.
PRECISIONS = ("fp32", "fp16", "half", "int8", "bfloat16")
#: Levels of a card; Python cannot write what is nested much deeper than it can read.
DEEPEST = 32
#: Pixels; a card must not make us allocate what no machine has.
LARGEST_TILE = 8192
#: Shifts that `benchmarks.robustness` measures, pixels, and what kappa and F1 may lose by one.
_SHIFTS, _LOST = (4, 8, 16, 32), 0.03
_RGB = ("red", "green", "blue")
#: What a model wants known of a whole scene before it sees a window of it: nothing; each channel of
#: each date stretched from its 2nd to its 98th percentile; or standardised by its own mean and
#: deviation. A graph sees one window, so the engine does it.
SCENE_STATISTICS = ("none", "stretch", "standardise")
#: Deviations from the mean that become 0 and 255 where a scene is standardised; a graph undoes it.
#: Imagery reaches farther above its mean than below.
STANDARD_RANGE = (-4.0, 6.0)


@dataclass(frozen=True, kw_only=True, repr=False)
class Card:
    """Facts that travel with a model.

    Attributes
    ----------
    name
        Name of the model.
    version
        Version of the model, not of the package.
    task
        `assess` (both heads), `localisation` or `damage`.
    gsd_native
        Ground sample distance the model was trained at, metres per pixel.
    gsd_min
        Finest distance it takes unchanged; finer imagery is averaged down to native.
    gsd_max
        Coarsest distance it takes unchanged.
    stride
        Windows start at multiples of this, pixels.
    context
        `local`: every output depends on a bounded field; `global`: on the whole window.
    halo
        Pixels around a core that the model needs to see; measured.
    tile
        Window size, halo included, pixels: the default of a local model, fixed for a global one.
    licence
        Licence of the weights.
    training_data
        What it was trained on.
    sha256
        Hash of the model's bytes without metadata.
    pre_channels
        Spectral channels of `pre`, in order.
    post_channels
        Spectral channels of `post`, in order; not used where there is no damage head.
    pre_sensor
        Sensor of the pre image: `optical` or `sar`.
    post_sensor
        Sensor of the post image: `optical` or `sar`.
    threshold
        A pixel is building where its localisation is above this.
    seed_threshold
        Touching buildings are split at seeds above this; 0 leaves them joined.
    seed_depth
        Pixels from the border of a seed's region to the seed.
    damaged_threshold
        A building is damaged where its minor, major and destroyed probabilities reach this.
    temperature
        Temperature of the buildings' probabilities: above 1 makes them less certain.
    grade_weights
        Weight of each grade in the decision for a building.
    bytes_per_pixel
        Working memory of inference per window pixel; measured.
    scores
        Measured scores: what, on which data, on which date.
    precision
        `fp32`, `fp16` (stored), `half` (computed, too) or `int8`.
    parent_sha256
        Hash of the model that this one was made of by changing its precision.
    parity
        Measured difference from that model, with data and date.
    scene_statistics
        What the engine does with the statistics of a scene: `none`, `stretch` or `standardise`.
    background_competes
        Whether a pixel is also background if 1 minus the sum of the four grades is the largest of
        the five channels of the damage head.
    caution
        What a user has to know before relying on it; each run warns of it.
    """

    name: str
    version: str
    task: str
    gsd_native: float
    gsd_min: float
    gsd_max: float
    stride: int
    context: str
    halo: int
    tile: int
    licence: str
    training_data: str
    sha256: str = ""
    pre_channels: tuple[str, ...] = _RGB
    post_channels: tuple[str, ...] = _RGB
    pre_sensor: str = "optical"
    post_sensor: str = "optical"
    threshold: float = 0.5
    seed_threshold: float = 0.0
    seed_depth: int = 0
    damaged_threshold: float = 0.5
    temperature: float = 1.0
    grade_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    bytes_per_pixel: float = 1500.0
    scores: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "fp32"
    parent_sha256: str = ""
    parity: Mapping[str, Any] = field(default_factory=dict)
    scene_statistics: str = "none"
    background_competes: bool = False
    caution: str = ""

    def __repr__(self) -> str:
        return (
            f"<Card {self.name} {self.version}: {self.task}, {self.gsd_min:g} to {self.gsd_max:g} "
            f"metres per pixel, {self.context}, {self.precision}, {self.licence}>"
        )

    def __post_init__(self) -> None:
        for good, what in self._checks():
            if not good:
                raise ModelError(f"card of model {self.name!r}: {what}; fix the card")

    def _checks(self) -> Iterator[tuple[bool, str]]:
        numbers = [f.name for f in dataclasses.fields(self) if f.type is float]
        values = [*(getattr(self, name) for name in numbers), *self.grade_weights]
        yield all(map(math.isfinite, values)), "a number is not finite"
        gsd = 0 < self.gsd_min <= self.gsd_native <= self.gsd_max
        yield gsd, "0 < gsd_min <= gsd_native <= gsd_max does not hold"
        yield self.task in TASKS, f"task is not one of {', '.join(TASKS)}"
        yield self.context in CONTEXTS, f"context is not one of {', '.join(CONTEXTS)}"
        sensors = {self.pre_sensor, self.post_sensor} <= set(SENSORS)
        yield sensors, f"a sensor is not one of {', '.join(SENSORS)}"
        yield self.precision in PRECISIONS, f"precision is not one of {', '.join(PRECISIONS)}"
        statistics = self.scene_statistics in SCENE_STATISTICS
        yield statistics, f"scene_statistics is not one of {', '.join(SCENE_STATISTICS)}"
        yield self.stride >= 1, "stride is below 1"
        yield self.tile <= LARGEST_TILE, f"tile {self.tile} is above {LARGEST_TILE}"
        yield self.stride <= LARGEST_TILE // 4, f"stride {self.stride} is above {LARGEST_TILE // 4}"
        yield self.tile % self.stride == 0, f"tile {self.tile} is not a multiple of {self.stride}"
        yield self.halo >= 0, "halo is negative"
        core = self.tile > 2 * self.margin
        yield core, f"tile {self.tile} leaves no core inside halo {self.halo}"
        shares = (self.threshold, self.seed_threshold)
        yield all(0 <= share < 1 for share in shares), "a threshold is outside 0..1"
        yield 0 <= self.damaged_threshold <= 1, "damaged_threshold is outside 0..1"
        yield self.bytes_per_pixel >= 0, "bytes_per_pixel is negative"
        yield bool(self.pre_channels and self.post_channels), "an image has no channels"
        yield self.temperature > 0, "temperature is not positive"
        weights = len(self.grade_weights) == 4 and min(self.grade_weights) > 0
        yield weights, "grade_weights are not four positive numbers"

    @property
    def gsd(self) -> GsdRange:
        """The ground sample distances the model was made for."""
        return GsdRange(self.gsd_native, self.gsd_min, self.gsd_max)

    @property
    def standard_range(self) -> tuple[float, float]:
        """Deviations from the mean that become 0 and 255 where a scene is standardised."""
        return STANDARD_RANGE

    @property
    def margin(self) -> int:
        """Pixels read around a core: the halo in whole strides, and never less than one stride.

        A pixel beside missing ones is flagged, so even a model without a halo must see one pixel
        around.
        """
        return round_up(max(self.halo, 1), self.stride)

    @property
    def precision_iou50(self) -> float | None:
        """Share of the buildings it finds that match one, where it was tested; None if unknown."""
        test = self.scores.get("test")
        share: Any = test.get("precision_iou50") if isinstance(test, Mapping) else None
        return float(share) if _is_number(share) and 0 <= share <= 1 else None

    @property
    def stands_shift(self) -> float | None:
        """Largest shift between both dates at which grades hold, metres; None if not measured."""
        rows = self.scores.get("robustness")
        rows = rows if isinstance(rows, Mapping) else {}
        base = _held(rows.get("as it is"))
        if base is None:
            return None
        stood = [0]
        for pixels in _SHIFTS:
            held = _held(rows.get(f"shift of {pixels} pixels"))
            if held is None or any(b - h > _LOST for b, h in zip(base, held, strict=True)):
                break
            stood.append(pixels)
        return round(stood[-1] * self.gsd_native, 2)

    def as_json(self) -> str:
        """Return the card as JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> "Card":
        """Read a card.

        Raises
        ------
        ModelError
            If it is not JSON, or a key is unknown, missing or of the wrong type.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"{source}: its card is not JSON ({error}); export it again"
            ) from error
        if not isinstance(values, dict):
            raise ModelError(f"{source}: its card is no JSON object; export it again")
        if is_deeper(values, DEEPEST):
            raise ModelError(f"{source}: its card is nested deeper than {DEEPEST}; export it again")
        unknown, missing = compare_keys(cls, values)
        if unknown or missing:
            raise ModelError(f"{source}: its card has unknown keys {unknown}, lacks {missing}")
        try:
            return cls(**typed_values(cls, values))
        except MisfitError as error:
            value = shown(values[error.key])
            raise ModelError(
                f"{source}: {error.key} = {value} on its card is of the wrong type"
            ) from error


def _held(row: Any) -> tuple[float, ...] | None:
    """Return what has to hold of a row of `benchmarks.robustness`; None where it is not there."""
    names = ("footprints_quadratic_kappa", "footprints_binary_damaged_f1")
    values: list[Any] = [row.get(n) if isinstance(row, Mapping) else None for n in names]
    return tuple(map(float, values)) if all(map(_is_number, values)) else None


def _is_number(value: Any) -> bool:
    """Say whether a value of a card is a number that a float can hold."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float)


def read_card(blob: bytes, source: str) -> Card:
    """Read and verify the card inside the bytes of an ONNX file; nothing is executed.

    Raises
    ------
    ModelError
        If the bytes are no ONNX model or have no card.
    ChecksumError
        If the model's bytes are not those that the card names.
    """
    entries = dict(
        _entry(value) for number, value in fields(blob, source) if number == _METADATA_PROPS
    )
    text = entries.get(METADATA_KEY.encode())
    if text is None:
        raise ModelError(
            f"{source}: an ONNX file without a geodamage card (metadata key {METADATA_KEY!r}); "
            "write one with training.export"
        )
    card = Card.from_json(text, source)
    actual = model_hash(blob, source)
    if card.sha256 != actual:
        raise ChecksumError(
            f"{source}: the model's bytes (SHA-256 {actual[:12]}…) are not those its card names "
            f"({card.sha256[:12] or 'none'}…); get the file again"
        )
    return card


def model_hash(blob: bytes, source: str) -> str:
    """Return the SHA-256 of a model's bytes without its metadata."""
    digest = hashlib.sha256()
    for number, value in fields(blob, source, whole=True):
        if number != _METADATA_PROPS:
            digest.update(value)
    return digest.hexdigest()


def with_card(blob: bytes, card: Card) -> bytes:
    """Return the bytes of a model with this card, and its hash on it, as the only metadata."""
    bare = b"".join(v for n, v in fields(blob, card.name, whole=True) if n != _METADATA_PROPS)
    card = dataclasses.replace(card, sha256=hashlib.sha256(bare).hexdigest())
    return with_metadata(bare, card.as_json())


def with_metadata(blob: bytes, text: str) -> bytes:
    """Return the bytes of a model with a text under the key of cards, as the only metadata."""
    bare = b"".join(v for n, v in fields(blob, "model", whole=True) if n != _METADATA_PROPS)
    entry = record(_ENTRY_KEY, METADATA_KEY.encode()) + record(_ENTRY_VALUE, text.encode())
    return bare + record(_METADATA_PROPS, entry)


def _entry(blob: bytes) -> tuple[bytes, bytes]:
    known = dict(fields(blob, "metadata"))
    return known.get(_ENTRY_KEY, b""), known.get(_ENTRY_VALUE, b"")
