"""Options of a loss: its terms by name and weight, and their numbers."""

from dataclasses import dataclass

from geodamage.errors import OptionError
from training.losses.terms import TERMS
from training.presets import near


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """A weighted sum of terms; in a recipe every field has the prefix `loss_`."""

    terms: tuple[str, ...] = ("dice:1", "bce:1")
    """Name and weight of each term."""
    channel_weights: tuple[float, ...] = ()
    """Weight of each channel in terms per channel; empty shares 1 evenly."""
    class_weights: tuple[float, ...] = ()
    """Weight of each class in cross-entropy and softmax focal; empty is 1 each."""
    balanced: bool = False
    """Take class weights inverse to the pixels of each class, counted in the training part."""
    channel_0: str = "background"
    """What channel 0 of five means: `background` or `building`."""
    smooth: float = 1e-6
    """Smoothing of Dice."""
    gamma: float = 2.0
    """Exponent of focal losses."""
    alpha: float = 0.7
    """Weight of a building pixel in `alpha_focal`."""
    temperature: float = 1.0
    """Temperature of `bce`: its logits are divided by it."""
    detach: bool = False
    """Take the factor of `softmax_focal` as a constant in the gradient."""
    pre_share: float = 0.4
    """Task assess: share of the pre image; the rest is the post image's."""

    def __post_init__(self) -> None:
        if self.channel_0 not in ("background", "building"):
            raise OptionError(
                f"loss_channel_0 = {self.channel_0!r}; it is 'background' or 'building'"
            )
        if not 0 < self.temperature < float("inf"):
            raise OptionError(f"loss_temperature = {self.temperature}: positive, and finite")
        if self.balanced and self.class_weights:
            raise OptionError("loss_balanced and loss_class_weights exclude each other")
        for term in self.terms:
            parse_term(term)


def parse_term(term: str) -> tuple[str, float]:
    """Return name and weight of `name:weight`.

    Raises
    ------
    OptionError
        For an unknown name and a weight that is no positive number.
    """
    name, _, text = term.partition(":")
    if name not in TERMS:
        raise OptionError(f"loss_terms: unknown term {name!r}{near(name, TERMS)}")
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise OptionError(f"loss_terms: {term!r} needs a positive weight, such as '{name}:1'")
    return name, weight
