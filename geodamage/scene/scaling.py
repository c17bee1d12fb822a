"""Scaling of imagery to 8 bits, where it has more or the user says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: The percentiles that become 0 and 255.
PERCENTILES = (2.0, 98.0)

#: Types of pixels that can be scaled; uint8 is taken as it is.
SCALED_TYPES = ("uint16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Range:
    """What metadata tell of the values of an image.

    Attributes
    ----------
    most
        The highest value that there is: from it on a pixel is saturated. None where nothing tells.
    scale, offset
        A value times `scale` plus `offset` is what was measured, such as reflectance. `scale` is
        None where nothing tells, or where the channels differ.
    sources
        What told it, in words.
    """

    most: float | None = None
    scale: float | None = None
    offset: float = 0.0
    sources: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return what a sidecar says."""
        return {
            "maximum": self.most,
            "scale": self.scale,
            "offset": None if self.scale is None else self.offset,
            "from": list(self.sources),
        }


@dataclass(frozen=True, slots=True)
class Scaling:
    """What becomes 0 and 255 in each channel.

    Attributes
    ----------
    low, high
        One number per channel, in units of the image; each `low` below its `high`.
    source
        Where they are from: `option`, `8 bits` (the image holds no more, in a wider type), or
        `guess`.
    known
        What metadata tell of the values. A pixel of whole numbers that is saturated becomes 255.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    source: str = "option"
    known: Range | None = None

    def apply(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Scale pixels to 8 bits.

        Parameters
        ----------
        pixels
            uint8, uint16, float32 or float64 (channels, rows, columns); finite.

        Returns
        -------
        uint8 (channels, rows, columns)
        """
        result = np.empty(pixels.shape, np.uint8)
        for source, target, low, high in zip(pixels, result, self.low, self.high, strict=True):
            if source.dtype.kind == "u":
                table = _to_bytes(np.arange(np.iinfo(source.dtype).max + 1.0), low, high)
                if self.known is not None and self.known.most is not None:
                    table[int(self.known.most) :] = 255
                np.take(table, source, out=target)
            else:
                target[:] = _to_bytes(source, low, high)
        return result

    def bytes_of(self, value: float) -> npt.NDArray[np.uint8]:
        """Return what a value becomes in each channel, uint8 (channels,)."""
        ends = zip(self.low, self.high, strict=True)
        return np.concatenate([_to_bytes(np.array([value]), low, high) for low, high in ends])

    def undo(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what 8-bit values were before, (channels, pixels)."""
        low, high = (np.array(ends)[:, None] for ends in (self.low, self.high))
        return np.asarray(low + values * ((high - low) / 255))

    def facts(self) -> dict[str, Any]:
        """Return the scaling for a sidecar."""
        facts = {"minimum": list(self.low), "maximum": list(self.high), "from": self.source}
        return facts if self.known is None else facts | {"known": self.known.facts()}


def _to_bytes(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    with np.errstate(over="ignore"):  # what is beyond all numbers is beyond 0 to 255
        scaled = (values - low) / (high - low) * 255
    np.clip(scaled, 0, 255, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def from_samples(samples: Sequence[npt.NDArray[Any]]) -> Scaling:
    """Return the scaling by percentiles.

    Parameters
    ----------
    samples
        Arrays (channels, pixels) of valid pixels; at least one pixel in all.

    Returns
    -------
    Scaling
        A channel of one value goes to 0: it is scaled from that value to one more.
    """
    pixels = np.concatenate(list(samples), axis=1)
    ends = np.percentile(pixels, PERCENTILES, axis=1)
    low = ends[0].astype(np.float64)
    high = np.where(ends[1] > low, ends[1], pixels.max(axis=1)).astype(np.float64)
    high = np.where(high > low, high, low + 1)
    return Scaling(tuple(low.tolist()), tuple(high.tolist()), "guess")
