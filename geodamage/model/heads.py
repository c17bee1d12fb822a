"""What a model says of a batch of windows, and how it becomes probabilities."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from geodamage.errors import ModelError
from geodamage.model.card import Card
from geodamage.model.rules import PixelRules

#: Localisation is never taken as less: beside 1 - p_loc it is nothing in float32, and without it
#: the grades of a footprint that a model does not see would be lost.
LEAST_LOCALISATION = 1e-9

#: Pixels that are joined at a time: their arrays fit into a processor's cache.
_CACHED = 1 << 14


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


#: What grading needs to know of the pre image: arrays (n, channels, rows / s, columns / s) whose
#: strides s divide that of the card. What their numbers mean is the runtime's own affair.
Features = Sequence[np.ndarray]


@runtime_checkable
class Parted(Predictor, Protocol):
    """A predictor that can find buildings before it grades them."""

    @property
    def is_parted(self) -> bool:
        """Whether it can."""
        ...

    def find(self, pre: np.ndarray) -> tuple[np.ndarray, Features]:
        """Return the localisation of uint8 `(n, c, rows, columns)`, and what grading needs."""
        ...

    def grade(self, post: np.ndarray, features: Features) -> np.ndarray:
        """Return the damage head of uint8 `(n, c, rows, columns)`, with the features of `pre`."""
        ...


def probabilities(heads: Heads, out: np.ndarray | None = None) -> np.ndarray:
    """Join both heads: background, then the four grades.

    Parameters
    ----------
    heads
        Both.
    out
        float32 (n, 5, rows, columns): where to write; None for a new array.

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
    if out is None:
        out = np.empty((len(damage), 5, *damage.shape[2:]), np.float32)
    # Some rows at a time, so that what lies between stays in the processor's cache.
    rows = max(_CACHED // max(damage.shape[3], 1), 1)
    for top in range(0, damage.shape[2], rows):
        some = np.s_[:, :, top : top + rows]
        found, graded, said = localisation[some], damage[some], out[some]
        share = np.maximum(found, np.float32(LEAST_LOCALISATION))
        share /= np.maximum(graded.sum(1, keepdims=True), 1e-12)
        np.subtract(1, found, out=said[:, :1])
        np.multiply(graded, share, out=said[:, 1:])
    return out


def building_probabilities(heads: Heads, out: np.ndarray | None = None) -> np.ndarray:
    """Return the localisation as two channels: background and building.

    Parameters
    ----------
    heads
        Localisation at least.
    out
        float32 (n, 2, rows, columns): where to write; None for a new array.

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
    return np.concatenate([1 - localisation, localisation], 1, out=out)


def heads_of(card: Card) -> tuple[str, ...]:
    """Return the names of the heads that a model of this card has."""
    return ("localisation", "damage") if card.task == "assess" else (card.task,)
