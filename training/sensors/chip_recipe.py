"""What to train on chips of two sensors: a flat TOML that holds only what differs from here."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from geodamage.errors import OptionError
from geodamage.sources import read_text
from training.presets import converted, near

CHOICES: Mapping[str, tuple[str, ...]] = {
    "method": ("alone", "teacher", "iterative"),
    "sensor": ("eo", "sar"),
    "eo_augmentation": ("none", "turns", "auto", "crops"),
    "sar_augmentation": ("none", "turns", "auto", "crops"),
    "kl_mean": ("elements", "chips"),
    "metric": ("top_1", "class_mean"),
}
#: Keys that are more than none.
POSITIVE = ("classes", "epochs", "iterations", "batch", "lr", "temperature", "eo_size", "sar_size",
            "eo_deviation", "sar_deviation", "step_epochs")  # fmt: skip
#: Keys that are shares.
SHARES = ("alpha", "sar_alpha", "held_out")


@dataclass(frozen=True, kw_only=True)
class ChipRecipe:
    """One training of CMKD."""

    name: str
    """Name of the run and of its folder."""
    method: str = "alone"
    """`alone`: no teacher; `teacher`: the other sensor's network teaches, frozen (method 1);
    `iterative`: teacher and student swap (method 2)."""
    sensor: str = "eo"
    """What `alone` and `teacher` train; `iterative` begins with it and ends with the other."""
    teacher: str = ""
    """Run or checkpoint of the other sensor; its network may be another."""
    init: str = ""
    """Run or checkpoint of this sensor whose weights come first."""

    network: str = "resnet34"
    """Any classifier of timm; its first layer takes one channel."""
    widths: tuple[int, ...] = ()
    """Channels of the four stages of a ResNet, for a smaller one; empty leaves them."""
    classes: int = 10
    """Number of classes."""
    pretrained: bool = False
    """Start from ImageNet, by timm, where there is no `init`."""

    held_out: float = 0.0
    """Share of each class that is kept from `train` to validate on; 0 takes the part
    `validation`."""
    epochs: int = 100
    """Rounds over the training chips; of `iterative`, in each of its phases."""
    iterations: int = 5
    """iterative: rounds, each a phase of either sensor."""
    batch: int = 512
    """Chips of a step."""
    lr: float = 0.01
    """Learning rate of SGD at the start."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 0.0
    """Weight decay of SGD."""
    step_epochs: int = 20
    """After so many epochs each time the rate is halved, or what `gamma` says."""
    gamma: float = 0.5
    """What the rate falls by."""
    iteration_gamma: float = 0.5
    """iterative: what the first rate of an iteration is multiplied by for the next one's."""
    seed: int = 2019
    """Seed of the weights and of every chip."""
    workers: int = 0
    """Processes that prepare chips; 0 prepares them in this one."""

    class_weights: bool = True
    """Weigh the labels' loss by the inverse of each class's count."""
    mixup: float = 1.0
    """Both numbers of the beta distribution of mixup; 0 mixes nothing."""
    temperature: float = 2.0
    """Temperature of both answers in the teacher's term, which is multiplied by its square."""
    alpha: float = 0.2
    """Share of the teacher's term in the loss of an EO student."""
    sar_alpha: float = 0.8
    """The same of a SAR student."""
    kl_mean: str = "elements"
    """`elements`: the mean over chips and classes, as published; `chips`: over chips alone, the
    divergence itself, as many times as large as there are classes."""
    kl_class_weights: bool = False
    """Weigh the classes of the teacher's term, too, as the published method 2 does."""

    eo_size: int = 30
    """Pixels of a side that EO chips are brought to."""
    eo_mean: float = 0.2913437
    """Mean of EO chips, from 0 to 1."""
    eo_deviation: float = 0.12694514
    """Standard deviation of EO chips."""
    eo_augmentation: str = "auto"
    """`none`; `turns`: mirrored and turned by right angles; `auto`: AutoAugment's CIFAR-10 policy
    and a hole of 16 pixels; `crops`: turned a little, cut and mirrored."""
    sar_size: int = 48
    """Pixels of a side that SAR chips are brought to."""
    sar_mean: float = 0.4062625
    """Mean of SAR chips."""
    sar_deviation: float = 0.12694514
    """Standard deviation of SAR chips."""
    sar_augmentation: str = "crops"
    """The same of SAR; a teacher is shown its chips as they are."""

    metric: str = "top_1"
    """What chooses the best checkpoint: `top_1`, or `class_mean`, which asks every class alike."""

    def __post_init__(self) -> None:
        for key, known in CHOICES.items():
            if getattr(self, key) not in known:
                raise OptionError(
                    f"{key} = {getattr(self, key)!r}{near(getattr(self, key), known)}"
                )
        if self.name in ("", "..") or Path(self.name).name != self.name:
            raise OptionError(
                f"name = {self.name!r}: it names a folder, so it is one word of a path"
            )
        self._check_numbers()
        if (self.method == "alone") == bool(self.teacher):
            raise OptionError(
                f"method = {self.method!r}, teacher = {self.teacher!r}: every method but 'alone' "
                "needs a run or checkpoint of the other sensor, and 'alone' takes none"
            )

    def _check_numbers(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            # Written so that nan is refused, too.
            if type(value) in (int, float) and not 0 <= value < float("inf"):
                raise OptionError(f"{item.name} = {value}: at least 0, and finite")
            if item.name in POSITIVE and value == 0:
                raise OptionError(f"{item.name} = 0: more than none")
            if item.name in SHARES and value > 1:
                raise OptionError(f"{item.name} = {value}: a share, at most 1")

    def size(self, sensor: str) -> int:
        """Return the pixels of a side of a sensor's chips."""
        return self.eo_size if sensor == "eo" else self.sar_size

    def scale(self, sensor: str) -> tuple[float, float]:
        """Return mean and deviation of a sensor's chips, from 0 to 1."""
        if sensor == "eo":
            return self.eo_mean, self.eo_deviation
        return self.sar_mean, self.sar_deviation

    def augmentation(self, sensor: str) -> str:
        """Return what happens to the chips of a student."""
        return self.eo_augmentation if sensor == "eo" else self.sar_augmentation

    @classmethod
    def read(cls, path: Path, overrides: Sequence[str] = ()) -> "ChipRecipe":
        """Read a TOML file and apply `key=value` overrides, the values in TOML.

        Raises
        ------
        OptionError
            For an unknown key (the nearest known one is named), a value of the wrong type or out
            of range, and what is no TOML.
        """
        try:
            values = _parsed(read_text(path), f"{path}: not TOML")
        except OSError as error:
            raise OptionError(f"{path}: no such recipe ({error})") from error
        for override in overrides:
            values |= _parsed(override, f"--set {override}: not key=value with the value in TOML")
        hints = get_type_hints(cls)
        unknown = next((key for key in values if key not in hints), None)
        if unknown is not None:
            raise OptionError(f"{path}: unknown key {unknown!r}{near(unknown, hints)}")
        if "name" not in values:
            raise OptionError(f"{path}: lacks name")
        try:
            return cls(**{key: converted(key, value, hints[key]) for key, value in values.items()})
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from error

    def as_toml(self) -> str:
        """Return every key as TOML; reading it gives the same recipe."""
        # Numbers, texts, truth values and lists of them look the same in JSON.
        values = dataclasses.asdict(self).items()
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values)


def _parsed(text: str, complaint: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{complaint} ({error})") from error
