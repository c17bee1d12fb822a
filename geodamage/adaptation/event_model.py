"""Event models: what a few answers taught about one event, in a TOML table beside the results.

The table names the model that it starts from and the network of the features by their hashes; all
else in it is numbers. Nothing in it is executed.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.adaptation.head import DIRECTIONS, log_odds, softmax
from geodamage.damage import GRADES
from geodamage.errors import ModelError
from geodamage.model.card import DEEPEST
from geodamage.model.onnx import read_model_bytes
from geodamage.schema import MisfitError, compare_keys, is_deeper, typed_values

EXTENSIONS = (".toml",)
KIND, FORMAT = "event-model", 1
#: Answers that are kept beside the grades: nobody saw the building, or there is none.
NO_BUILDING = 0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Base:
    """The model that an event model starts from.

    Attributes
    ----------
    model
        Name of a bundled model, or path, as `--model` took it.
    name, version, licence, sha256
        What its card says.
    """

    model: str
    name: str
    version: str
    licence: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network of the features: name and hash of its file."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class EventModel:
    """A head for one event.

    Attributes
    ----------
    base, network
        What it starts from.
    scale, offsets
        Factor of the model's log odds, and what is added to those of each grade.
    constants
        What is added in each direction of the head, beside the features.
    weights
        What each feature adds in each direction.
    damaged_threshold
        A building is damaged where its minor, major and destroyed probabilities reach this.
    reviewed
        Answer for each building that was looked at: 1-4, or `NO_BUILDING`.
    card
        How it was made and what it is worth: JSON can hold it.
    sha256
        Hash of the file it was read from.
    """

    base: Base
    network: Network
    scale: float
    offsets: tuple[float, ...]
    constants: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    damaged_threshold: float
    reviewed: Mapping[str, int]
    card: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def probabilities(self, said: Floats, features: npt.NDArray[np.floating]) -> Floats:
        """Return the probabilities of the grades, float64 (n, 4).

        Parameters
        ----------
        said
            float64 (n, 4): what the model that it starts from says.
        features
            (n, d).
        """
        moved = features.astype(np.float64) @ np.array(self.weights).T + np.array(self.constants)
        odds = self.scale * log_odds(said) + np.array(self.offsets)
        return softmax(odds + moved @ DIRECTIONS)

    def as_toml(self) -> str:
        """Return the text of its file."""
        return "\n".join(_lines(self)) + "\n"


def _lines(model: EventModel) -> Iterator[str]:
    yield "# What answers taught about one event. Made by `geodamage adapt`."
    yield f'kind = "{KIND}"'
    yield f"format = {FORMAT}"
    for name in ("scale", "damaged_threshold"):
        yield f"{name} = {_number(getattr(model, name))}"
    for name in ("offsets", "constants"):
        yield f"{name} = {_row(getattr(model, name))}"
    yield f"weights = [{', '.join(map(_row, model.weights))}]"
    yield f"card = {_text(json.dumps(model.card))}"
    for name, table in (("base", model.base), ("network", model.network)):
        yield f"\n[{name}]"
        for key, value in asdict(table).items():
            yield f"{key} = {_text(value)}"
    yield "\n[reviewed]"
    for building, answer in model.reviewed.items():
        yield f"{_text(building)} = {answer}"


def _text(value: str) -> str:
    """Return a text as TOML has it: as JSON, but for one character that JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _row(numbers: Sequence[float]) -> str:
    return f"[{', '.join(map(_number, numbers))}]"


def _number(value: float) -> str:
    """Return a number as TOML has it: always with a point."""
    return repr(float(f"{value:.7g}"))


def is_event_model(path: Path) -> bool:
    """Say whether a file is an event model, and no ensemble; what cannot be read is none."""
    if path.suffix.lower() not in EXTENSIONS:
        return False
    try:
        return _table(path).get("kind") == KIND
    except ModelError:
        return False


def _table(path: Path) -> dict[str, Any]:
    blob = read_model_bytes(path)
    try:
        return tomllib.loads(blob.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: not TOML ({error}); make it again with geodamage adapt"
        ) from error


def read_event_model(path: Path) -> EventModel:
    """Read an event model.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    ModelError
        If it is none, or something in it makes no sense.
    """
    table = _table(path)
    if table.pop("kind", None) != KIND or table.pop("format", None) != FORMAT:
        raise ModelError(f"{path}: is not an event model; give what `geodamage adapt` wrote")
    if is_deeper(table, DEEPEST):
        raise ModelError(f"{path}: nested deeper than {DEEPEST}; make it again")
    for name, kind in (("base", Base), ("network", Network)):
        table[name] = _made(kind, table.get(name), f"{path}: [{name}]")
    table["card"] = _card(table.get("card"), path)
    model: EventModel = _made(EventModel, table, str(path), sha256=_hash(path))
    for good, what in _checks(model):
        if not good:
            raise ModelError(f"{path}: {what}; make it again with geodamage adapt")
    return model


def _hash(path: Path) -> str:
    return hashlib.sha256(read_model_bytes(path)).hexdigest()


def _made(kind: type[Any], table: Any, source: str, **own: Any) -> Any:
    """Return a dataclass of a table; those inside of it are made already."""
    if not isinstance(table, dict):
        raise ModelError(f"{source}: is not there; make the event model again")
    unknown, lacking = compare_keys(kind, table)
    if unknown or lacking:
        what = f"has unknown keys {unknown}" if unknown else f"lacks {lacking}"
        raise ModelError(f"{source}: {what}; make the event model again")
    plain = {key: value for key, value in table.items() if not is_dataclass(value)}
    try:
        values = typed_values(kind, plain)
    except MisfitError as error:
        raise ModelError(f"{source}: {error.key} is of the wrong type; make it again") from error
    return kind(**table | values | own)


def _card(text: Any, path: Path) -> dict[str, Any]:
    try:
        card: Any = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        card = None
    if not isinstance(card, dict):
        raise ModelError(f"{path}: its card is no JSON object; make it again")
    return card


def _checks(model: EventModel) -> Iterator[tuple[bool, str]]:
    rows = [model.offsets, model.constants, *model.weights]
    numbers = [model.scale, model.damaged_threshold, *(n for row in rows for n in row)]
    yield all(map(math.isfinite, numbers)), "a number is not finite"
    yield len(model.offsets) == len(GRADES), "offsets are not four numbers"
    yield len(model.constants) == len(DIRECTIONS), "constants are not two numbers"
    shaped = len(model.weights) == len(DIRECTIONS) and len({*map(len, model.weights)}) == 1
    yield shaped and len(model.weights[0]) > 0, "weights are not two rows of one length"
    yield 0 <= model.damaged_threshold <= 1, "damaged_threshold is outside 0..1"
    known = {NO_BUILDING, *map(int, GRADES)}
    yield set(model.reviewed.values()) <= known, "a reviewed building has no grade of 1 to 4"
