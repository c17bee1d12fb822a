"""Conventions of foreign graphs: how they take images, what their channels mean; read from TOML."""

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from geodamage.damage import GRADES
from geodamage.errors import ModelError, OptionError
from geodamage.model.onnx import read_model_bytes
from geodamage.schema import MisfitError, compare_keys, typed_values

#: What a channel may mean beside a grade. `ignored` is what no label had, or nothing at all.
BACKGROUND, BUILDING, IGNORED = "background", "building", "ignored"
GRADE_NAMES = tuple(grade.label for grade in GRADES)
MEANINGS = (BACKGROUND, BUILDING, IGNORED, *GRADE_NAMES)
DATES = ("pre", "post")
#: Finest and coarsest pixels that are taken as they are, as shares of the native ones, where a
#: convention does not say. Source: the range of the bundled model, 0.3 and 0.8 m at 0.47 m.
_FINEST, _COARSEST = 0.3 / 0.47, 0.8 / 0.47
#: What nobody can read from a file, as it may look; for messages.
EXAMPLE = (
    'layout = "stacked", dates = ["pre", "post"], order = "rgb", divisor = 255, '
    "mean = [0.485, 0.456, 0.406], deviation = [0.229, 0.224, 0.225], gsd = 0.5, tile = 512, "
    'licence = "CC BY 4.0", [[output]] activation = "softmax", '
    'channels = ["background", "no-damage", "minor-damage", "major-damage", "destroyed"]'
)

_Positive = Annotated[float, Meta(gt=0, le=1e9)]
_Pixels = Annotated[int, Meta(ge=1, le=8192)]


@dataclass(frozen=True, kw_only=True)
class OutputTable:
    """What one output of a graph means."""

    name: str = ""
    """Its name in the graph; may be left out where there is one."""
    channels: tuple[str, ...] = ()
    """Meaning of each channel: `background`, `building`, `ignored` or a grade; several channels may
    have one meaning, and a grade may be missing."""
    activation: Literal["softmax", "sigmoid", "none", ""] = ""
    """What makes probabilities of the channels; `none` where the graph has done it."""
    temperature: _Positive = 1.0
    """Logits are divided by it."""


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How a foreign graph takes images, and what its channels mean."""

    name: str = ""
    """What it is called."""
    layout: Literal["apart", "stacked", "paired", "difference", "pre", "post", "own", ""] = ""
    """`apart`: an input for each date; `stacked`: both in the channels of one; `paired`: one input
    (n, 2, c, h, w); `difference`: the second date taken from the first; `pre`, `post`: one date;
    `own`: the graph keeps the contract of a model file already, and lacks a card."""
    dates: tuple[Literal["pre", "post"], ...] = ()
    """Dates in the order of the inputs or of the stack; of a difference the first loses."""
    order: Literal["rgb", "bgr", ""] = ""
    """Order of the colours of each date."""
    divisor: _Positive | None = None
    """Pixels of 0 to 255 are divided by this, ..."""
    mean: tuple[float, ...] = ()
    """... this is taken away, for the channels of one date, or of pre and then of post, ..."""
    deviation: tuple[_Positive, ...] = ()
    """... what is left is divided by this, ..."""
    clip: tuple[float, float] | None = None
    """... and cut to this range."""
    statistics: Literal["none", "stretch", "standardise"] = "none"
    """What was done to the whole scene first; see `Card.scene_statistics`."""
    post_sensor: Literal["optical", "sar"] = "optical"
    """What takes the post image."""
    post_repeat: Annotated[int, Meta(ge=1, le=16)] = 1
    """How often the one channel of a radar is repeated."""
    output: tuple[OutputTable, ...] = ()
    """Its outputs."""
    gsd: _Positive | None = None
    """Native ground sample distance, metres per pixel."""
    gsd_min: _Positive | None = None
    """Finest that is taken as it is, metres per pixel."""
    gsd_max: _Positive | None = None
    """Coarsest that is taken as it is, metres per pixel."""
    tile: _Pixels | None = None
    """Window, pixels."""
    overlap: Annotated[int, Meta(ge=0, le=4096)] | None = None
    """Pixels that two windows share; a quarter of the window unless given."""
    stride: _Pixels = 32
    """Rows and columns must be multiples of it, pixels."""
    fixed_size: bool = False
    """Whether the graph is right at its tile alone, though it says that it takes any size."""
    context: Literal["global", ""] = ""
    """`global` where it is known to look at its whole window; else that is measured."""
    threshold: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    """A pixel is building above this."""
    background_competes: bool = False
    """Whether a pixel is background where that is the largest channel of damage."""
    licence: str = ""
    """Licence of the weights."""
    training_data: str = "not stated"
    """What they were trained on."""
    published: str = ""
    """Score that its authors state, and of what."""
    sha256: tuple[str, ...] = ()
    """Hashes of the files as published."""
    graph: Mapping[str, Any] = field(default_factory=dict)
    """How its graphs are told from others: `inputs` and `outputs`, each a table of shapes by name,
    -1 where any size will do."""

    @property
    def order_of_dates(self) -> tuple[str, ...]:
        """The dates as the graph takes them."""
        if self.layout in DATES:
            return (self.layout,)
        return self.dates

    @property
    def range(self) -> tuple[float, float, float]:
        """Native, finest and coarsest ground sample distance, metres per pixel."""
        native = self.gsd or 0.0
        return native, self.gsd_min or native * _FINEST, self.gsd_max or native * _COARSEST

    @property
    def meanings(self) -> set[str]:
        """What the channels of all outputs mean."""
        return {channel for output in self.output for channel in output.channels}

    @property
    def localises(self) -> bool:
        """Whether it tells buildings from background."""
        return bool({BACKGROUND, BUILDING} & self.meanings)

    @property
    def grades(self) -> bool:
        """Whether it tells grades apart."""
        return bool(set(GRADE_NAMES) & self.meanings)

    @property
    def task(self) -> str:
        """What a model of it does: `assess`, `localisation` or `damage`."""
        if self.localises and self.grades:
            return "assess"
        return "localisation" if self.localises else "damage"

    def lacking(self) -> list[str]:
        """Return what is missing, as keys of its table."""
        card = {"gsd": self.gsd, "tile": self.tile, "licence": self.licence}
        said = (
            card
            if self.layout == "own"
            else {
                "layout": self.layout,
                "dates": self.dates or self.layout in (*DATES, ""),
                "order": self.order,
                "divisor": self.divisor or self.statistics == "standardise",
                **card,
                "[[output]] channels": self.output and all(o.channels for o in self.output),
                "[[output]] activation": self.output and all(o.activation for o in self.output),
            }
        )
        return [name for name, value in said.items() if not value]

    def check(self, source: str) -> None:
        """Refuse what makes no sense.

        Raises
        ------
        ModelError
            If something contradicts something else.
        """
        for good, what in self._checks():
            if not good:
                raise ModelError(f"{source}: {what}; fix the convention")

    def _checks(self) -> Sequence[tuple[bool, str]]:
        unknown = sorted(self.meanings - set(MEANINGS))
        numbers = [*self.mean, *self.deviation, *(self.clip or ())]
        native, finest, coarsest = self.range
        dates = not self.dates or sorted(self.dates) == sorted(DATES)
        standard = self.statistics != "standardise" or not (self.mean or self.deviation)
        return [
            (not unknown, f"channels {unknown} are not among {', '.join(MEANINGS)}"),
            (
                not self.meanings or self.localises or self.grades,
                "no channel is building or a grade",
            ),
            (all(map(math.isfinite, numbers)), "a number is not finite"),
            (dates, f"dates {[*self.dates]} are not pre and post"),
            (self.clip is None or self.clip[0] < self.clip[1], "clip has no range"),
            (finest <= native <= coarsest, "gsd_min <= gsd <= gsd_max does not hold"),
            (standard, "a scene that is standardised has no other mean and deviation"),
            (self.post_repeat == 1 or self.post_sensor == "sar", "post_repeat is for a radar"),
        ]


def read_convention(given: str) -> Convention:
    """Read a convention: the name of a built-in one, or a TOML file.

    Raises
    ------
    OptionError
        If there is not one of that name.
    ModelError
        If the file cannot be read, or a key or a value makes no sense.
    """
    known = built_in()
    if given in known:
        return known[given]
    path = Path(given)
    if path.suffix.lower() != ".toml":
        names = ", ".join(known)
        raise OptionError(f"--convention {given}: neither one of {names} nor a .toml file")
    try:
        table = tomllib.loads(read_model_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not TOML ({error}); fix the convention") from error
    return from_table(table, str(path))


def from_table(table: Mapping[str, Any], source: str) -> Convention:
    """Return the convention of a table.

    Raises
    ------
    ModelError
        If a key or a value makes no sense.
    """
    entries = table.get("output", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ModelError(f"{source}: output is not a list of tables; write [[output]]")
    outputs = tuple(_typed(OutputTable, entry, f"{source}: [[output]]") for entry in entries)
    rest = {key: value for key, value in table.items() if key != "output"}
    convention: Convention = _typed(Convention, rest, source)
    convention = dataclasses.replace(convention, output=outputs)
    convention.check(source)
    return convention


def _typed(kind: Any, table: Mapping[str, Any], source: str) -> Any:
    unknown, _ = compare_keys(kind, table)
    if unknown:
        keys = ", ".join(f.name for f in dataclasses.fields(kind))
        raise ModelError(f"{source}: unknown keys {unknown}; the keys are {keys}")
    try:
        return kind(**typed_values(kind, table))
    except MisfitError as error:
        raise ModelError(f"{source}: {error}; fix the convention") from error


def built_in() -> dict[str, Convention]:
    """Return the conventions that came with the package, by name."""
    folder = Path(str(resources.files("geodamage") / "foreign" / "bundled"))
    found = {}
    for path in sorted(folder.glob("*.toml")):
        found[path.stem] = from_table(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
    return found


def date_of(name: str) -> str | None:
    """Return the date that the name of an input tells, or None."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    told = [
        date
        for date, said in (("pre", {"pre", "before"}), ("post", {"post", "after"}))
        if words & said
    ]
    return told[0] if len(told) == 1 else None
