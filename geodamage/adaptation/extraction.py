"""Extraction: the features of buildings, read from a scene around them.

The ground is cut into blocks that lie fixed on the absolute grid. A block is looked at once, with
as much around it as the network sees, and its map is kept. A building is cut out of the maps of the
blocks that it lies in. So the cost of features depends on the ground with buildings, however dense
these stand. It does not depend on how an assessment is cut into strips, or the ground into blocks.
"""

from collections import OrderedDict
from math import floor
from typing import Protocol

import numpy as np
import numpy.typing as npt

from geodamage.adaptation.network import STRIDE, FeatureNetwork
from geodamage.adaptation.pooling import Floats, covered, mean_and_spread
from geodamage.errors import ModelError
from geodamage.grid import Grid
from geodamage.model.card import Card
from geodamage.scene.pixels import Pixels
from geodamage.windows import Window

#: Pixels of a block and around it; whole strides of the network, which sees 9 pixels far.
BLOCK, MARGIN = 512, 16
#: Blocks of a row that are read at once, for each read costs some milliseconds; and such reads that
#: are kept: a building may lie in two rows.
READ, KEPT_READS = 4, 3
#: Pixels around a building's box that count for its own features, and half the side of its
#: surroundings; at half a metre 2 and 64 are 1 and 32 m.
NEAR, AROUND = 2, 64
#: Bytes of maps that are kept: buildings of one block come in several strips.
KEPT_BYTES = 120_000_000
#: Half as exact as the network, and features have no more digits.
Map = npt.NDArray[np.float16]
Image = npt.NDArray[np.uint8]
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
        If the model does not take colour images: then there is nothing to make features of.
    """

    def __init__(self, scene: _Readable, network: FeatureNetwork, card: Card) -> None:
        self._scene, self._network = scene, network
        self._channels = [colours(card, date) for date in ("pre", "post")]
        #: Features of a building: mean and spread, of itself and of its surroundings, of two dates.
        self.width = 8 * network.channels
        a, _, c, _, e, f = scene.grid.transform[:6]
        self._origin = round(f / e), round(c / a)
        extent = scene.extent
        #: First and last row, first and last column of what the images show, absolute.
        self._limits = (
            np.array(
                [
                    [extent.row, extent.row + extent.height],
                    [extent.column, extent.column + extent.width],
                ]
            )
            + np.array(self._origin)[:, None]
        )
        self._blocks: OrderedDict[tuple[int, int], list[Map]] = OrderedDict()
        self._reads: OrderedDict[tuple[int, int], tuple[list[Image], npt.NDArray[np.int64]]] = (
            OrderedDict()
        )

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
        result = np.zeros((len(boxes), self.width), np.float16)
        middles = (boxes[:, 0] + boxes[:, 1]) / 2
        # Neighbours one after the other, so that few blocks are looked at twice.
        for row in np.lexsort((middles[:, 1], middles[:, 0] // BLOCK)):
            result[row] = self._pooled(boxes[row])
        return result

    def _boxes(self, bounds: Floats) -> Floats:
        """Return the absolute pixels of boxes, (n, 2, 2): first and last of rows and of columns.

        The middle axis is first and last, the last one rows and columns.
        """
        a, _, c, _, e, f = self._scene.grid.transform[:6]
        left, bottom, right, top = bounds.T
        firsts = np.stack([(top - f) / e, (left - c) / a], 1)
        lasts = np.stack([(bottom - f) / e, (right - c) / a], 1)
        boxes: Floats = np.stack([firsts, lasts], 1) + np.array(self._origin)
        return boxes

    def _pooled(self, box: Floats) -> npt.NDArray[np.float32]:
        """Return the features of one building."""
        grown = np.array([[-1.0], [1.0]])
        near, around = box + NEAR * grown, box.mean(0) + AROUND * grown
        cut = [self._cut(np.clip(place, *self._limits.T)) for place in (near, around)]
        parts = [
            mean_and_spread(maps[date], down, across)
            for date in (0, 1)
            for maps, down, across in cut
        ]
        return np.concatenate(parts)

    def _cut(self, box: Floats) -> tuple[list[Map], Floats, Floats]:
        """Return the maps of both dates under a box, and the weights of their rows and columns."""
        (top, left), (bottom, right) = (box / STRIDE).tolist()
        down, across = covered(top, bottom), covered(left, right)
        rows, columns = _spans(floor(top), len(down)), _spans(floor(left), len(across))
        blocks = [
            [[layer[:, r, c] for layer in self._maps((i, j))] for j, c in columns] for i, r in rows
        ]
        if not blocks or not blocks[0]:
            nothing = np.zeros((self._network.channels, 0, 0), np.float16)
            return [nothing, nothing], down, across
        maps = [
            np.concatenate([np.concatenate([part[d] for part in row], 2) for row in blocks], 1)
            for d in (0, 1)
        ]
        return maps, down, across

    def _maps(self, block: tuple[int, int]) -> list[Map]:
        """Return the maps of a block of both dates, read and asked once."""
        if block not in self._blocks:
            self._blocks[block] = self._looked_at(block)
            each = sum(layer.nbytes for layer in self._blocks[block])
            if len(self._blocks) > max(KEPT_BYTES // each, 1):
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(block)
        return self._blocks[block]

    def _looked_at(self, block: tuple[int, int]) -> list[Map]:
        """Return the maps of a block, float16 (channels, `BLOCK` / `STRIDE`, the same).

        What the images do not show of it is 0; nothing is cut out of there.
        """
        first = np.array(block) * BLOCK
        start, end = self._seen(first, first + BLOCK)
        images, corner = self._images((block[0], block[1] // READ))
        (top, left), (bottom, right) = (start - corner).tolist(), (end - corner).tolist()
        # Places of the block before what is seen, and what is seen before the block.
        before = (np.maximum(start - first, 0) // STRIDE).tolist()
        skipped = (np.maximum(first - start, 0) // STRIDE).tolist()
        side = BLOCK // STRIDE
        found = []
        for image in images:
            seen = self._network(np.ascontiguousarray(image[:, top:bottom, left:right]))
            seen = seen[:, skipped[0] :, skipped[1] :][:, : side - before[0], : side - before[1]]
            kept = np.zeros((len(seen), side, side), np.float16)
            rows, columns = seen.shape[1:]
            kept[:, before[0] : before[0] + rows, before[1] : before[1] + columns] = seen
            found.append(kept)
        return found

    def _images(self, place: tuple[int, int]) -> tuple[list[Image], npt.NDArray[np.int64]]:
        """Return `READ` blocks of a row of both dates, and the absolute pixel of their corner."""
        if place not in self._reads:
            first = np.array([place[0], place[1] * READ]) * BLOCK
            start, end = self._seen(first, first + np.array([BLOCK, READ * BLOCK]))
            row, column = (start - self._origin).tolist()
            pixels = self._scene.read(Window(row, column, *(end - start).tolist()))
            dates = zip((pixels.pre, pixels.post), self._channels, strict=True)
            self._reads[place] = [image[channels] for image, channels in dates], start
            if len(self._reads) > KEPT_READS:
                self._reads.popitem(last=False)
        self._reads.move_to_end(place)
        return self._reads[place]

    def _seen(
        self, first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return what is looked at of some ground: more around it, as far as the images reach.

        Whole strides of the network; what is beyond the images is a few mirrored pixels.
        """
        start = np.maximum(first - MARGIN, self._limits[:, 0] // STRIDE * STRIDE)
        end = np.minimum(last + MARGIN, -(-self._limits[:, 1] // STRIDE) * STRIDE)
        return start, end


def _spans(first: int, count: int) -> list[tuple[int, slice]]:
    """Return the blocks that some places lie in, and which of their own places these are."""
    side = BLOCK // STRIDE
    last = first + count
    return [
        (block, slice(max(first - block * side, 0), min(last - block * side, side)))
        for block in range(first // side, -(-last // side))
        if count
    ]


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
