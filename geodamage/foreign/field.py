"""The field of a foreign model: whether what lies outside its windows matters to their middle."""

import numpy as np

from geodamage.errors import ModelError
from geodamage.model.card import Card
from geodamage.model.heads import Heads
from geodamage.model.measuring import pattern_windows
from geodamage.model.onnx import Model

#: Largest change of a probability that counts as none, by the precision of the graph.
TOLERANCES = {"fp32": 1e-3, "half": 2e-3}


def outer_influence(model: Model, card: Card) -> float | None:
    """Measure what the surroundings of a window change in its core.

    The same pixels are predicted three times: in a window of the card's tile, in a larger window of
    twice the rows and half again the columns, and there amid other pixels. So a graph that pools
    over its window shows itself, and one whose shapes were frozen when it was traced.

    Parameters
    ----------
    model
        A model whose graph says that it takes any size.
    card
        Its card: tile and margin.

    Returns
    -------
    The largest change of a probability; None if it does not run on the larger window.

    Raises
    ------
    ModelError
        If it does not run on its tile.
    """
    tile, stride = card.tile, card.stride
    rows, columns = 2 * tile, tile + (tile // 2 // stride or 1) * stride
    drawn = pattern_windows(1, rows, seed=2)[0, ..., :columns]
    # In whole strides, so that the grid of the network lies alike in both.
    top, left = ((side - tile) // 2 // stride * stride for side in (rows, columns))
    window = np.s_[..., top : top + tile, left : left + tile]
    amid_others = 255 - drawn
    amid_others[window] = drawn[window]
    alone = _asked(model, drawn[window])
    try:
        wholes = [_asked(model, drawn), _asked(model, amid_others)]
    except ModelError:
        return None
    core = np.s_[..., card.margin : tile - card.margin, card.margin : tile - card.margin]
    return max(
        float(np.abs(whole[window][core] - there[core]).max())
        for heads in wholes
        for whole, there in zip(_values(heads), _values(alone), strict=True)
    )


def _asked(model: Model, pair: np.ndarray) -> Heads:
    """Ask for uint8 (2, 3, rows, columns), with as many channels as the model wants."""
    counts = len(model.card.pre_channels), len(model.card.post_channels)
    shape = pair.shape[2:]
    dates = [
        np.ascontiguousarray(np.resize(date, (count, *shape))[None])
        for date, count in zip(pair, counts, strict=True)
    ]
    return model(*dates)


def _values(heads: Heads) -> list[np.ndarray]:
    """Return the probabilities: those of the grades of 1, as the engine takes them."""
    found = [] if heads.localisation is None else [heads.localisation]
    if heads.damage is not None:
        found.append(heads.damage / np.maximum(heads.damage.sum(1, keepdims=True), 1e-9))
    return found
