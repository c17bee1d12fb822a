"""Saved probability maps: rasters of what some model has said, read beside the images."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geodamage.codes import MAP_STEPS, MAP_UNKNOWN
from geodamage.errors import SceneError
from geodamage.scene.image import Image
from geodamage.scene.lattice import Lattice
from geodamage.scene.sampling import sample_tiles
from geodamage.scene.scaling import Scaling
from geodamage.scene.sheets import lay_out
from geodamage.scene.shift import Shift
from geodamage.scene.tiles import Tile, open_tile
from geodamage.sources import check_file
from geodamage.windows import Window
from geodamage.words import counted

#: Parts of a map that are looked at before it is used.
_SAMPLE_BLOCKS = 64
#: Channels of the probabilities that `geodamage assess` writes; the first is the background.
_GRADED_CHANNELS = 5


@dataclass(frozen=True)
class ProbabilityMap:
    """A raster of the probability of a building, open.

    Attributes
    ----------
    image
        Its pixels, 8-bit.
    table
        uint8 (256,): what each of these values is in steps of 1/250.
    """

    image: Image
    table: npt.NDArray[np.uint8]

    def close(self) -> None:
        """Close the file."""
        self.image.close()

    def read(
        self, lattice: Lattice, window: Window, shift: Shift | None = None
    ) -> npt.NDArray[np.uint8]:
        """Read the map on a lattice.

        Returns
        -------
        uint8 (rows, columns)
            Probability in steps of 1/250; `MAP_UNKNOWN` where the map has none.
        """
        masked = self.image.read(lattice, window, shift)
        codes: npt.NDArray[np.uint8] = self.table[masked.values[0]]
        codes[~masked.valid] = MAP_UNKNOWN
        return codes


def open_map(path: Path) -> ProbabilityMap:
    """Open a raster of the probability of a building.

    It is a georeferenced GeoTIFF of one of these kinds. It has one channel of 8 bits, with the
    scale of its values in the file (as `geodamage buildings --probabilities` writes it) or, without
    a scale, 0-255. Or it has one channel of floats, 0-1. Or it has the five channels of
    `geodamage assess --probabilities`. Pixels without data are left out of a mean.

    Raises
    ------
    SceneError
        If it is no such raster.
    SceneReadError
        If it cannot be read.
    """
    tile = open_tile(check_file(str(path)), (1,), 1)
    try:
        # 0 is a probability like any other, so black is no collar: a map without a tag is whole.
        known = replace(tile, masked=tile.masked or tile.nodata is None)
        scaling, table = _meaning(known)
        image = Image("map", tuple(lay_out([known])), scaling, _gsd(known), ())
        return ProbabilityMap(image, table)
    except BaseException:
        tile.dataset.close()
        raise


def _gsd(tile: Tile) -> float:
    across, down = tile.grid.gsd
    return float((across * down) ** 0.5)


def _meaning(tile: Tile) -> tuple[Scaling | None, npt.NDArray[np.uint8]]:
    """Return how a map becomes 8 bits, and what each of them is in steps."""
    channels = tile.dataset.count
    if channels not in (1, _GRADED_CHANNELS) or tile.dtype not in ("uint8", "float32", "float64"):
        raise SceneError(
            f"{tile.name}: {counted(channels, 'channel')} of {tile.dtype}; a probability map has "
            f"one "
            "channel of 8 bits or of floats 0-1, or is what assess --probabilities writes"
        )
    share = _shares(tile)
    scaling = None if tile.dtype == "uint8" else Scaling((0.0,), (1.0,))
    steps = np.rint(np.clip(share, 0, 1) * MAP_STEPS).astype(np.uint8)
    return scaling, steps if channels == 1 else MAP_STEPS - steps


def _shares(tile: Tile) -> npt.NDArray[np.float64]:
    """Return the probability that each 8-bit value stands for, float64 (256,)."""
    sample = sample_tiles([tile], _SAMPLE_BLOCKS, overviews=False)
    low, high = (0, 0) if sample.low is None or sample.high is None else (sample.low, sample.high)
    least, most = float(np.min(low)), float(np.max(high))
    scale = float(tile.dataset.scales[0])
    if tile.dtype != "uint8":
        scale = 1.0
    elif scale == 1.0:
        scale = 1 / 255
        if most == 1:
            raise SceneError(
                f"{tile.name}: holds 0 and 1 alone, so it is a mask; a probability map of 8 bits "
                "holds 0-255, or says its scale"
            )
    if least < 0 or most * scale > 1 + 1e-6:
        raise SceneError(
            f"{tile.name}: holds {least:g} to {most:g}, by its scale {least * scale:g} to "
            f"{most * scale:g}; a probability is 0-1"
        )
    byte = np.arange(256, dtype=np.float64)
    return byte * scale if tile.dtype == "uint8" else byte / 255
