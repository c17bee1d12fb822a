"""A second look at the image enlarged, which finds small buildings."""

from pathlib import Path

import numpy as np

from geodamage.errors import ModelError
from geodamage.model.ensemble import Ensemble, Member, at_scales, check_sizes, resize
from geodamage.model.heads import Features, Heads, Parted, Predictor

#: How many times as long the sides of the second look are. Source: training/EXPERIMENTS.md.
ENLARGED = 1.5


class Enlarged(Ensemble):
    """A model that looks twice, and finds what either look finds.

    The second look is at the image enlarged by half. A building is as probable as in the look
    where it is likelier. Grades are those of the first look.

    Parameters
    ----------
    model
        Any predictor that finds buildings.

    Raises
    ------
    ModelError
        If it does not find buildings, reads saved maps, or takes one size of window alone.
    """

    def __init__(self, model: Predictor) -> None:
        card = model.card
        if card.task == "damage" or (isinstance(model, Ensemble) and model.maps):
            why = "reads saved maps" if card.task != "damage" else "finds no buildings"
            raise ModelError(f"model {card.name!r} {why}; leave --tta enlarged out")
        member = Member(model, scales=(1.0, ENLARGED))
        rules = model.rules if getattr(model, "has_pixel_rules", False) else None
        card = at_scales(card, [member])
        check_sizes(Path(card.name), card, [member])
        super().__init__(card, [member], rules=rules)
        self._model = model

    def __call__(self, pre: np.ndarray, post: np.ndarray, maps: np.ndarray | None = None) -> Heads:
        """Return the heads for uint8 `(n, c, rows, columns)` of both dates; there are no maps."""
        if self.is_parted:
            localisation, features = self.find(pre)
            return Heads(localisation, self.grade(post, features))
        first = self._model(pre, post)
        second = self._model(resize(pre, ENLARGED), resize(post, ENLARGED))
        return Heads(_likelier(first.localisation, second.localisation), first.damage)

    @property
    def is_parted(self) -> bool:
        """Whether the model can find buildings before it grades them."""
        return isinstance(self._model, Parted) and self._model.is_parted

    def find(self, pre: np.ndarray) -> tuple[np.ndarray, Features]:
        """Return the localisation of uint8 `(n, c, rows, columns)`, and what grading needs."""
        model = self._parted
        first, features = model.find(pre)
        second, _ = model.find(resize(pre, ENLARGED))
        return _likelier(first, second), features

    def grade(self, post: np.ndarray, features: Features) -> np.ndarray:
        """Return the damage head of uint8 `(n, c, rows, columns)`, with the features of `pre`."""
        return self._parted.grade(post, features)

    @property
    def _parted(self) -> Parted:
        if not isinstance(self._model, Parted):
            raise TypeError(f"{self._model!r} does not find buildings before it grades them")
        return self._model


def _likelier(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray:
    """Return the higher probability of both looks, at the size of the first."""
    if first is None or second is None:
        raise ModelError("a model of this card says nothing of buildings; its file is damaged")
    likelier: np.ndarray = np.maximum(first, resize(second, shape=first.shape[2:]))
    return likelier
