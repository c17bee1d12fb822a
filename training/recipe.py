"""What to train: one frozen dataclass, read from a flat TOML that holds only what differs.

Six groups of keys belong together and share a prefix: `loss` (see `training.losses.options`),
`augmentation` (`training.data.augmentation_options`), `chips` (`training.data.crops`, only for the
compact network), `meta` (`training.meta`, only for meta-learning), `distil`
(`training.teaching.soft_labels`, teachers) and `soft` (`training.teaching.semi_supervision`,
images without labels).
`loss = "NAME"` and `augmentation = "NAME"` take a published preset, of which further keys change
one number each.
"""

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from geodamage.errors import OptionError
from geodamage.sources import read_text
from training.data.augmentation_options import Augmentation
from training.data.augmentation_presets import augmentation_options
from training.data.crops import ChipOptions
from training.losses.options import LossOptions
from training.losses.presets import loss_options
from training.meta import MetaOptions
from training.presets import converted, near, resolve
from training.teaching.semi_supervision import SoftOptions
from training.teaching.soft_labels import DistilOptions

#: Groups of keys by their prefix.
GROUPS = ("loss", "augmentation", "chips", "meta", "distil", "soft")
#: Networks that are trained on chips.
COMPACT = ("compact", "compact_small", "compact_two_sensors", "lite0", "lite1", "lite2")
#: That of them whose post image is of a radar, and the `data` that have such images.
TWO_SENSORS, SENSOR_DATA = "compact_two_sensors", ("two_sensors", "bright")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "algorithm": ("supervised", "maml"),
    "sampling": ("once", "oversample", "oversample_any", "weighted", "chips"),
    "unclassified": ("ignore", "undrawn", "no-damage", "own"),
    "data": ("pairs", "buildings", *SENSOR_DATA),
    "optimiser": ("adamw", "sgd", "lookahead_lamb", "lookahead_radam"),
    "schedule": ("constant", "multistep", "cosine_restarts", "onecycle", "trapezoid"),
    "amp": ("none", "bf16", "fp16"),
    "metric": ("dice", "f1_building", "jaccard", "f1_damage", "score", "loss"),
}

#: Least value of each number; 0 of those that are not here.
LEAST = {"fold": -1, "batch": 1, "accumulate": 1, "restart_epochs": 1, "restart_factor": 1}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training."""

    name: str
    """Name of the run and of its folder."""
    group: str = ""
    """What the run is compared with in the table of results; its name unless given."""
    network: str
    """Network by the name that `geodamage.networks.list_networks` gives."""
    task: str
    """`localisation`, `damage` or `assess`."""
    pretrained: bool = False
    """Start the encoder from ImageNet, by timm."""
    init: str = ""
    """Run below `--runs`, path of a run, or checkpoint whose weights come first; the head `res` may
    differ."""
    network_options: tuple[str, ...] = ()
    """What else `create_network` takes, each `name=value` with the value in TOML, such as
    `"drop_connect=0.5"`."""
    algorithm: str = "supervised"
    """`supervised`, or `maml`: learn to learn events."""

    data: str = "pairs"
    """`pairs` of xBD; `buildings`: images with masks, of training.prepare_buildings; `two_sensors`
    or `bright`: pairs with a radar's post image, synthetic or of BRIGHT
    (`training.data.two_sensors`)."""
    split: str = "split.csv"
    """Split file of training.prepare, beside the recipe; `--split` names another."""
    fold: int = -1
    """Part of a split into folds that validates. -1 takes the parts by their names."""
    subset: int = 0
    """Take only so many training pairs, for a look; 0 takes all."""
    validate_on: int = 0
    """Take only so many validation pairs; 0 takes all."""
    sampling: str = "once"
    """How often a pair comes in an epoch (`data.sampling`); `chips` cuts around buildings."""
    unclassified: str = "ignore"
    """What buildings without a grade are: `ignore` (not asked), `undrawn`, `no-damage`, or `own`, a
    class of its own (5)."""

    epochs: float = 0.0
    """Rounds over the training pairs; either this or `steps`."""
    steps: int = 0
    """Optimiser steps."""
    batch: int = 8
    """Samples a step, over all processes."""
    accumulate: int = 1
    """Parts that a step's batch is worked off in, to save memory."""
    workers: int = 0
    """Processes that prepare samples; 0 prepares them in this one."""
    seed: int = 1
    """Seed of the weights and of every sample."""

    optimiser: str = "adamw"
    """`adamw`, `sgd`, or of timm `lookahead_lamb` or `lookahead_radam`."""
    lr: float = 1e-4
    """Learning rate at its highest."""
    encoder_rate: float = 1.0
    """Share of it that parameters below `encoder` learn at, whose weights have been somewhere."""
    frozen: tuple[str, ...] = ()
    """Modules that stay as they are, normalisation and all, such as `"encoder.stem"`."""
    weight_decay: float = 1e-6
    """Decoupled (AdamW)."""
    momentum: float = 0.9
    """Momentum of SGD."""
    schedule: str = "constant"
    """How the rate moves; see `training.schedules`."""
    milestones: tuple[int, ...] = ()
    """multistep: epochs (counted from 0) after which the rate falls."""
    gamma: float = 0.5
    """multistep: what it falls by."""
    restart_epochs: int = 20
    """cosine_restarts: epochs of the first round."""
    restart_factor: int = 1
    """cosine_restarts: each round is so many times as long as the last."""
    lr_min: float = 0.0
    """cosine_restarts: the lowest rate."""
    warmup: int = 0
    """trapezoid: steps of linear rise."""
    decay: float = 0.4
    """trapezoid: share of the steps, at the end, over which the rate falls to nothing."""
    clip: float = 0.0
    """Largest gradient norm; 0 clips nothing."""
    amp: str = "none"
    """Arithmetic of the forward pass: `none` (fp32), `bf16` or `fp16`."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is then what is judged and kept; 0 for
    none."""
    freeze_batch_norm: bool = False
    """Leave the statistics of batch normalisation as they are."""
    all_reduce: bool = False
    """Several processes: take sums over the batch (Dice) over all of them."""

    validate_every: float = 1.0
    """Epochs between two validations; a checkpoint is written with each."""
    checkpoint_every: int = 0
    """Steps between two more checkpoints; 0 writes none between validations."""
    metric: str = "score"
    """What chooses the best checkpoint."""
    patience: int = 0
    """Validations without a better metric before training stops; 0 never stops early."""
    min_delta: float = 0.0
    """Least gain that counts as better."""
    mlflow: bool = False
    """Record the run by MLflow, too."""

    loss: LossOptions = field(default_factory=LossOptions)
    """Keys `loss` and `loss_...`."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Keys `augmentation` and `augmentation_...`."""
    chips: ChipOptions = field(default_factory=ChipOptions)
    """Keys `chips_...`."""
    meta: MetaOptions = field(default_factory=MetaOptions)
    """Keys `meta_...`."""
    distil: DistilOptions = field(default_factory=DistilOptions)
    """Keys `distil_...`."""
    soft: SoftOptions = field(default_factory=SoftOptions)
    """Keys `soft_...`."""

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
        self._check_parts()

    def _check_numbers(self) -> None:
        for item in dataclasses.fields(self):
            value, least = getattr(self, item.name), LEAST.get(item.name, 0)
            # Written so that nan is refused, too.
            if type(value) in (int, float) and not least <= value < float("inf"):
                raise OptionError(f"{item.name} = {value}: at least {least}, and finite")
        if (self.epochs > 0) == (self.steps > 0):
            raise OptionError("give either epochs or steps, and more than none")
        if self.batch % self.accumulate:
            raise OptionError(
                f"batch = {self.batch}, accumulate = {self.accumulate}: the batch is worked off in "
                "equal parts"
            )
        if self.lr == 0 or self.validate_every == 0:
            raise OptionError("lr and validate_every are more than none")
        if self.ema >= 1:
            raise OptionError(f"ema = {self.ema}: less than 1, such as 0.999")

    def _check_parts(self) -> None:
        compact = self.network in COMPACT
        if (self.sampling == "chips") != compact:
            raise OptionError("sampling = 'chips' and network = 'compact' belong together")
        if self.task == "localisation" and self.metric in ("f1_damage", "score"):
            raise OptionError(
                f"metric = {self.metric!r}: a localisation network gives no grades; take 'dice', "
                "'f1_building' or 'loss'"
            )
        if self.distil.teachers and self.algorithm == "maml":
            raise OptionError("algorithm = 'maml' takes no distil_teachers")
        if self.distil.tta != "none" and not compact:
            raise OptionError(
                "distil_tta is for whole pairs, which sampling = 'chips' has; leave it out"
            )
        if self.chips.unlabelled_share and not self.distil.cache:
            raise OptionError(
                "chips_unlabelled_share: of pairs without labels teachers are asked; give "
                "distil_teachers and distil_cache"
            )
        self._check_sensors()
        if self.data == "buildings":
            self._check_buildings()
        elif self.soft.folder:
            raise OptionError("soft_folder goes with data = 'buildings'")
        elif self.metric == "jaccard" and self.task != "localisation":
            raise OptionError("metric = 'jaccard' is of localisation networks")
        if not compact:
            return
        if self.metric == "loss" or self.algorithm == "maml":
            raise OptionError("network = 'compact' has no metric 'loss' and no algorithm 'maml'")
        if self.loss != LossOptions() or self.augmentation != Augmentation():
            raise OptionError(
                "network = 'compact' has its own losses and augmentation, by keys chips_...; leave "
                "out loss... and augmentation..."
            )

    def _check_sensors(self) -> None:
        with_radar = self.data in SENSOR_DATA
        if with_radar != (self.network == TWO_SENSORS):
            data = " or ".join(map(repr, SENSOR_DATA))
            raise OptionError(f"network = {TWO_SENSORS!r} and data = {data} belong together")
        if with_radar and self.distil.teachers and not self.distil.cache:
            raise OptionError(
                "distil_teachers are shown the optical image, which no chip of two sensors holds; "
                "give distil_cache, so that they are asked about whole pairs"
            )
        more = ("half_share", "masked_share", "unlabelled_share", "paste")
        if with_radar and any(getattr(self.chips, share) for share in more):
            raise OptionError(f"chips_{', chips_'.join(more)} have no image of a radar")

    def _check_buildings(self) -> None:
        if self.task != "localisation" or self.fold < 0 or self.sampling != "once":
            raise OptionError(
                "data = 'buildings' goes with task = 'localisation', a fold from 0 and "
                "sampling = 'once'"
            )
        if self.algorithm == "maml":
            raise OptionError("data = 'buildings' has no events, so no algorithm 'maml'")

    @property
    def options(self) -> dict[str, Any]:
        """What `create_network` is given beside name and task."""
        values: dict[str, Any] = {}
        for option in self.network_options:
            values |= _parsed(option, f"network_options: {option}: not name=value in TOML")
        return values

    @property
    def run_name(self) -> str:
        """Name of the run's folder."""
        return self.name if self.fold < 0 else f"{self.name}-fold{self.fold}"

    @classmethod
    def read(cls, path: Path, overrides: Sequence[str] = ()) -> "Recipe":
        """Read a TOML file and apply `key=value` overrides, the values in TOML.

        Raises
        ------
        OptionError
            For an unknown key (the nearest known one is named), a missing one, a value of the wrong
            type, and what is no TOML.
        """
        try:
            text = read_text(path)
        except OSError as error:
            raise OptionError(f"{path}: no such recipe ({error})") from error
        values = _parsed(text, f"{path}: not TOML")
        for override in overrides:
            values |= _parsed(override, f"--set {override}: not key=value with the value in TOML")
        try:
            return cls.from_values(values)
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from error

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Recipe":
        """Make a recipe of the keys and values of a flat table."""
        hints = get_type_hints(cls)
        own: dict[str, Any] = {}
        for key, value in values.items():
            if key.partition("_")[0] in GROUPS:
                continue
            if key not in hints:
                raise OptionError(f"unknown key {key!r}{near(key, hints)}")
            own[key] = converted(key, value, hints[key])
        missing = sorted({"name", "network", "task"} - own.keys())
        if missing:
            raise OptionError(f"lacks {', '.join(missing)}")
        return cls(
            **own,
            loss=loss_options(values),
            augmentation=augmentation_options(values),
            chips=resolve(ChipOptions, values, topic="chips", presets={}),
            meta=resolve(MetaOptions, values, topic="meta", presets={}),
            distil=resolve(DistilOptions, values, topic="distil", presets={}),
            soft=resolve(SoftOptions, values, topic="soft", presets={}),
        )


def _parsed(text: str, complaint: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{complaint} ({error})") from error


def as_values(recipe: Recipe) -> dict[str, Any]:
    """Return a resolved recipe as one flat table."""
    values: dict[str, Any] = {}
    for item in dataclasses.fields(recipe):
        value = getattr(recipe, item.name)
        if item.name in GROUPS:
            group = dataclasses.asdict(value)
            values |= {f"{item.name}_{key}": inner for key, inner in group.items()}
        else:
            values[item.name] = value
    return values


def as_toml(recipe: Recipe) -> str:
    """Return a resolved recipe as TOML; reading it gives the same recipe."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in as_values(recipe).items())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        # A string of JSON is one of TOML, but for characters beyond 16 bits and for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
