"""What to train: one frozen dataclass, read from a flat TOML that holds only what differs."""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from geodamage.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training."""

    name: str
    """Name of the model and of its run folder."""
    split: str
    """Split file made by training.prepare, beside the recipe."""
    steps: int = 3600
    """Optimiser steps."""
    batch: int = 6
    """Crops a step."""
    crop: int = 320
    """Rows and columns of a crop, pixels; a multiple of the network's stride."""
    lr: float = 6e-4
    """Highest learning rate; at 2e-3 the network learnt next to nothing in 600 steps."""
    warmup: int = 60
    """Steps of linear warm-up."""
    decay: float = 0.4
    """Share of the steps, at the end, over which the rate falls to nothing."""
    weight_decay: float = 2e-2
    """Decoupled weight decay (AdamW)."""
    clip: float = 2.0
    """Largest gradient norm."""
    ema: float = 0.998
    """Decay of the moving average of the weights, which is what is evaluated and exported."""
    generated: int = 350
    """Number of generated scenes."""
    generated_share: float = 0.15
    """Share of crops that come from generated scenes."""
    shift: int = 16
    """Largest extra shift of post against pre, pixels."""
    grade_shares: tuple[float, float, float, float] = (0.35, 0.23, 0.17, 0.25)
    """How often the building in the middle of a crop has each grade."""
    grade_weights: tuple[float, float, float, float] = (0.6, 1.4, 1.8, 1.2)
    """Weight of each grade in the damage loss."""
    localisation_weight: float = 1.0
    """Weight of the localisation loss of the pre image."""
    post_weight: float = 0.3
    """Weight of the localisation loss of the post image."""
    damage_weight: float = 1.0
    """Weight of the damage loss."""
    evaluate_every: int = 300
    """Steps between two validations; a checkpoint is written with each."""
    seed: int = 1
    """Of the weights and the crops."""

    @classmethod
    def read(cls, path: Path, overrides: Sequence[str] = ()) -> "Recipe":
        """Read a TOML file and apply `key=value` overrides, the values in TOML.

        Raises
        ------
        OptionError
            For an unknown key (the nearest known one is named), a missing one, a value of the wrong
            type, and what is no TOML.
        """
        values = _parsed(path.read_text(encoding="utf-8"), f"{path}: not TOML")
        for override in overrides:
            values |= _parsed(override, f"--set {override}: not key=value with the value in TOML")
        known = get_type_hints(cls)
        for key, value in values.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise OptionError(f"{path}: unknown key {key!r}{hint}")
            values[key] = _typed(path, key, value, known[key])
        missing = sorted(
            field.name
            for field in dataclasses.fields(cls)
            if field.default is dataclasses.MISSING and field.name not in values
        )
        if missing:
            raise OptionError(f"{path}: lacks {', '.join(missing)}")
        return cls(**values)


def _parsed(text: str, complaint: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{complaint} ({error})") from error


def _typed(path: Path, key: str, value: Any, wanted: Any) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted in (int, float, str):
        if type(value) is wanted:
            return value
    elif (
        isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) for v in value)
    ):
        return tuple(float(v) for v in value)
    raise OptionError(f"{path}: {key} = {value!r} is not {getattr(wanted, '__name__', wanted)}")


def as_toml(recipe: Recipe) -> str:
    """Return the resolved recipe as TOML."""
    lines = []
    for key, value in dataclasses.asdict(recipe).items():
        # A string of JSON is one of TOML.
        text = json.dumps(value) if isinstance(value, str) else repr(value)
        lines.append(f"{key} = {list(value) if isinstance(value, tuple) else text}")
    return "\n".join(lines) + "\n"
