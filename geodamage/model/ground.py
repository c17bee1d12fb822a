"""Ground that is got of as many computed pixels, by the halo and the memory that a model needs."""

from geodamage.model.card import Card

#: Bytes that windows have by default, and those of each pixel beside the model, as plans are made.
_WINDOW_BYTES, _BESIDE_BYTES = 840_000_000, 100


def more_ground(card: Card, other: Card) -> float:
    """Return how many times the ground of another way a way of computing gets of as many pixels.

    What needs a wider halo, or more memory and so smaller windows, keeps less of what it computes.

    Parameters
    ----------
    card, other
        Cards of one model as two sessions compute it.
    """
    return _kept_share(card) / _kept_share(other)


def _kept_share(card: Card) -> float:
    """Return the share of the computed pixels that are kept, in square windows of a plan."""
    side: float = card.tile
    if card.context == "local":
        side = (_WINDOW_BYTES / (card.bytes_per_pixel + _BESIDE_BYTES)) ** 0.5
    return float((max(side - 2 * card.margin, card.stride) / side) ** 2)
