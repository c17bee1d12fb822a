"""Extraction: the features of buildings, read from a scene around them.

The ground is cut into blocks that lie fixed on the absolute grid. A block is looked at once, with a
margin, if any building has its middle in it, and each building is pooled from the maps of its
block. So features cost by ground with buildings, however dense these stand, and do not depend on
how an assessment is cut into strips.
"""

from collections import OrderedDict
from typing import Protocol

import numpy as np
import numpy.typing as npt

from geodamage.adaptation.network import STRIDE, FeatureNetwork, Map
from geodamage.adaptation.pooling import Floats, pool
from geodamage.errors import ModelError
from geodamage.grid import Grid
from geodamage.model.card import Card
from geodamage.scene.pixels import Pixels
from geodamage.windows import Window, round_up

#: Pixels of a block and around it; whole strides of the network.
BLOCK, MARGIN = 512, 64
#: Pixels around a building's box that count for its own features, and half the side of its
#: surroundings; at half a metre 2 and 64 are 1 and 32 m.
NEAR, AROUND = 2, 64
#: Bytes of maps that are kept: buildings of one block come in several strips.
KEPT_BYTES = 120_000_000
_COLOURS = ("red", "green", "blue")


class _Readable(Protocol):
    """What is asked of a scene."""

    @property
    def grid(self) -> Grid:
        """The working grid."""
        ...

    @property
    def extent(self) -> Window:
        """What the images show, on the grid."""
        ...

    def read(self, window: Window) -> Pixels:
        """Read a window; it may reach beyond the images."""
        ...


class Extraction:
    """Reads the features of buildings as they are found.

    Parameters
    ----------
    scene
        Open.
    network
        What makes features of images.
    card
        Card of the model that the scene is read for: it says which channel is red.

    Raises
    ------
    ModelError
        If the model takes no colour images: then there is nothing to make features of.
    """

    def __init__(self, scene: _Readable, network: FeatureNetwork, card: Card) -> None:
        self._scene, self._network = scene, network
        self._channels = [colours(card, date) for date in ("pre", "post")]
        #: Features of a building: mean and spread, of itself and of its surroundings, of two dates.
        self.width = 8 * network.channels
        a, _, c, _, e, f = scene.grid.transform[:6]
        self._origin = round(f / e), round(c / a)
        self._blocks: OrderedDict[tuple[int, int], list[Map]] = OrderedDict()

    def features(self, bounds: Floats) -> npt.NDArray[np.float16]:
        """Return features of buildings.

        Parameters
        ----------
        bounds
            float64 (n, 4): left, bottom, right, top in the CRS of the scene's grid.

        Returns
        -------
        float16 (n, d)
            Mean and spread of what the network says of the building, then of its surroundings;
            those of pre first.
        """
        boxes = self._boxes(bounds)
        middles = (boxes[:, [0, 2]] + boxes[:, [1, 3]]) / 2
        blocks = np.floor((middles + self._origin) / BLOCK).astype(int)
        result = np.zeros((len(boxes), self.width), np.float16)
        for block in np.unique(blocks, axis=0):
            there = (blocks == block).all(1)
            result[there] = self._pooled((int(block[0]), int(block[1])), boxes[there])
        return result

    def _boxes(self, bounds: Floats) -> Floats:
        """Return first and last row, first and last column of boxes, pixels of the grid."""
        a, _, c, _, e, f = self._scene.grid.transform[:6]
        left, bottom, right, top = bounds.T
        return np.stack([(top - f) / e, (bottom - f) / e, (left - c) / a, (right - c) / a], 1)

    def _window(self, block: tuple[int, int]) -> Window:
        """Return what is read of a block, on the scene's grid."""
        row, column = (b * BLOCK - o for b, o in zip(block, self._origin, strict=True))
        seen = Window(row, column, BLOCK, BLOCK).buffer(MARGIN) & self._scene.extent
        # Whole strides of the network; what is beyond the images is a few mirrored pixels.
        height, width = (max(round_up(side, STRIDE), STRIDE) for side in seen.shape)
        return Window(seen.row, seen.column, height, width)

    def _pooled(self, block: tuple[int, int], boxes: Floats) -> npt.NDArray[np.float32]:
        window = self._window(block)
        own = boxes - np.array([window.row, window.row, window.column, window.column])
        grown = np.array([-1.0, 1.0, -1.0, 1.0])
        middle = (own[:, [0, 0, 2, 2]] + own[:, [1, 1, 3, 3]]) / 2
        near, around = own + NEAR * grown, middle + AROUND * grown
        places = np.concatenate([near, around])
        parts = [
            half
            for layer in self._maps(block, window)
            for half in np.split(_mean_and_spread(layer, places), 2)
        ]
        return np.concatenate(parts, 1)

    def _maps(self, block: tuple[int, int], window: Window) -> list[Map]:
        """Return the maps of both dates, read and asked once."""
        if block not in self._blocks:
            pixels = self._scene.read(window)
            self._blocks[block] = [
                self._network(np.ascontiguousarray(image[channels]))
                for image, channels in zip((pixels.pre, pixels.post), self._channels, strict=True)
            ]
            each = sum(layer.nbytes for layer in self._blocks[block])
            if len(self._blocks) > max(KEPT_BYTES // each, 1):
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(block)
        return self._blocks[block]


def _mean_and_spread(layer: Map, boxes: Floats) -> npt.NDArray[np.float32]:
    """Return mean and standard deviation of a map over boxes, (n, 2 * channels)."""
    mean = pool(layer, STRIDE, boxes)
    variance = pool(layer**2, STRIDE, boxes) - mean**2
    return np.concatenate([mean, np.sqrt(np.maximum(variance, 0))], 1)


def colours(card: Card, date: str) -> list[int]:
    """Return where red, green and blue are among the channels of a date.

    Raises
    ------
    ModelError
        If one of them is not.
    """
    channels = card.pre_channels if date == "pre" else card.post_channels
    if not set(_COLOURS) <= set(channels):
        raise ModelError(
            f"model {card.name!r} takes {', '.join(channels)} as {date}; features are made of red, "
            "green and blue: leave --features out"
        )
    return [channels.index(colour) for colour in _COLOURS]
