"""One image of a pair: its tiles as one raster, in 8 bits, warped onto any lattice."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from geodamage.errors import SceneError
from geodamage.scene.lattice import Lattice
from geodamage.scene.scaling import Scaling, from_samples
from geodamage.scene.sheets import (
    MaskedPixels,
    Sheet,
    lay_out,
    lay_under,
    nothing,
    pixel_coordinates,
)
from geodamage.scene.shift import Shift
from geodamage.scene.tiles import Tile, open_tile
from geodamage.scene.warp import (
    Bools,
    Bytes,
    Floats,
    average,
    locate,
    pieces,
    reduction,
    resample,
)
from geodamage.sources import Source, find, is_remote
from geodamage.windows import Window, round_up, split

#: Source pixels in memory at once.
MOST_PIXELS = 8_000_000

#: Parts that stand for an image without overviews, and pixels of it that are kept.
SAMPLE_BLOCKS = 64
SAMPLE_PIXELS = 4_000_000

#: How many times more parts are looked at where those show nothing.
CLOSE = 4


@dataclass(frozen=True)
class Image:
    """One image: open tiles, in 8 bits.

    Attributes
    ----------
    role
        `pre` or `post`.
    sheets
        Its tiles, gathered by lattice; the first on top.
    scaling
        How it becomes 8 bits; None for an image that is.
    gsd
        Ground sample distance, metres per pixel.
    notes
        What is odd about its pixels.
    """

    role: str
    sheets: tuple[Sheet, ...]
    scaling: Scaling | None
    gsd: float
    notes: tuple[str, ...]

    @property
    def tiles(self) -> list[Tile]:
        """All tiles, by sheet."""
        return [tile for sheet in self.sheets for tile, _ in sheet.tiles]

    @property
    def first(self) -> Tile:
        """The tile that speaks for all."""
        return self.sheets[0].tiles[0][0]

    def close(self) -> None:
        """Close the files."""
        for tile in self.tiles:
            tile.dataset.close()

    def outline(self, crs: CRS) -> BaseGeometry:
        """Return the union of the tiles' outlines in a CRS."""
        return shapely.union_all([_outline(sheet, crs) for sheet in self.sheets])

    def facts(self) -> dict[str, Any]:
        """Return what a sidecar says of the image."""
        tile = self.first
        return {
            "files": [tile.facts for tile in self.tiles],
            "crs": crs_name(tile.grid.crs),
            "gsd": round(self.gsd, 6),
            "dtype": tile.dtype,
            "bands": list(tile.channels.indexes),
            "alpha": tile.channels.alpha,
            "nodata": None if tile.nodata is None else [_number(v) for v in tile.nodata],
            "mask": tile.masked,
            "scaling": None if self.scaling is None else self.scaling.facts(),
        }

    def read(self, lattice: Lattice, window: Window, shift: Shift | None = None) -> MaskedPixels:
        """Read the image on a lattice.

        Parameters
        ----------
        lattice, window
            The pixels wanted.
        shift
            How far the image lies off, or None.
        """
        channels = len(self.first.channels.indexes)
        masked = nothing(channels, window.shape)
        if not window.size:
            return masked
        for sheet in self.sheets:
            for part, found in self._warped(sheet, lattice, window, shift):
                lay_under(masked, found, part.shift(-window.row, -window.column))
        return masked

    def _warped(
        self, sheet: Sheet, lattice: Lattice, window: Window, shift: Shift | None
    ) -> Iterator[tuple[Window, MaskedPixels]]:
        factors = self._factors(sheet, lattice)
        limits = _blocks(sheet.limits, factors)
        to_image = _path(sheet, lattice, factors, shift)
        for positions in pieces(locate(window, to_image, limits), limits, MOST_PIXELS):
            need = positions.hull & limits
            if not need.size:
                continue
            offset = positions.translation
            if offset is not None:
                part = positions.window.shift(*offset) & limits
                if part.size:
                    found = self._averaged(sheet, part, factors)
                    yield part.shift(-offset[0], -offset[1]), found
                continue
            source = self._averaged(sheet, need, factors)
            if source.valid.any():
                yield positions.window, _masked(*resample(*source, *positions.maps(need)))

    def _factors(self, sheet: Sheet, lattice: Lattice) -> tuple[int, int]:
        grid = sheet.tiles[0][0].grid
        rows, columns = grid.shape
        x, y = grid.xy(np.array([columns / 2]), np.array([rows / 2]))
        to_lattice = Transformer.from_crs(grid.crs, lattice.crs, always_xy=True)
        column, row = pixel_coordinates(lattice.transform, *to_lattice.transform(x, y))
        centre = Window(math.floor(row[0]), math.floor(column[0]), 1, 1)
        ground = math.prod(lattice.grid(centre).gsd) ** 0.5
        across, down = grid.gsd
        return reduction(ground / down), reduction(ground / across)

    def _averaged(self, sheet: Sheet, window: Window, factors: tuple[int, int]) -> MaskedPixels:
        """Read a window of a sheet's blocks of pixels, averaged."""
        if factors == (1, 1):
            return sheet.read(window, self.scaling)
        size = factors[0] * factors[1]
        width = min(window.width, max(MOST_PIXELS // size, 1))
        height = max(MOST_PIXELS // (size * width), 1)
        result = nothing(len(sheet.tiles[0][0].channels.indexes), window.shape)
        for top, bottom in split(0, window.height, height):
            for left, right in split(0, window.width, width):
                part = Window(window.row + top, window.column + left, bottom - top, right - left)
                masked = sheet.read(_pixels(part, factors), self.scaling)
                result.values[:, top:bottom, left:right], result.valid[top:bottom, left:right] = (
                    _masked(*average(*masked, factors))
                )
        return result


def _pixels(window: Window, factors: tuple[int, int]) -> Window:
    """Return the pixels of a window of blocks."""
    down, across = factors
    return Window(
        window.row * down, window.column * across, window.height * down, window.width * across
    )


def _masked(values: Bytes, valid: Bools) -> MaskedPixels:
    if not valid.all():
        values *= valid
    return MaskedPixels(values, valid)


def _blocks(window: Window, factors: tuple[int, int]) -> Window:
    """Return the window in blocks of pixels, widened to whole ones."""
    row, column = window.row // factors[0], window.column // factors[1]
    bottom = round_up(window.bottom, factors[0]) // factors[0]
    right = round_up(window.right, factors[1]) // factors[1]
    return Window(row, column, bottom - row, right - column)


def _path(
    sheet: Sheet, lattice: Lattice, factors: tuple[int, int], shift: Shift | None
) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """Return the way from columns and rows of the lattice to those of a sheet's blocks."""
    crs, transform = sheet.grid.crs, sheet.grid.transform
    same = crs == lattice.crs
    transformer = None if same else Transformer.from_crs(lattice.crs, crs, always_xy=True)
    turn = _middle(sheet) if crs.is_geographic else None

    def to_image(columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        x, y = lattice.x + lattice.pixel * columns, lattice.y - lattice.pixel * rows
        if shift is not None:
            east, north = shift(x, y)
            x, y = x + east, y + north
        if transformer is not None:
            x, y = transformer.transform(x, y)
        if turn is not None:  # an image across the antimeridian goes on beyond 180 degrees
            x = turn + (x - turn + 180) % 360 - 180
        across, down = pixel_coordinates(transform, x, y)
        return across / factors[1], down / factors[0]

    return to_image


def _middle(sheet: Sheet) -> float:
    left, _, right, _ = sheet.grid.window_bounds(sheet.limits)
    return (left + right) / 2


def _outline(sheet: Sheet, crs: CRS) -> BaseGeometry:
    boxes = [shapely.box(w.column, w.row, w.right, w.bottom) for _, w in sheet.tiles]
    limits = sheet.limits
    outline = shapely.segmentize(shapely.union_all(boxes), max(limits.shape) / 32)
    transformer = Transformer.from_crs(sheet.grid.crs, crs, always_xy=True)

    def place(points: Floats) -> Floats:
        x, y = sheet.grid.xy(points[:, 0], points[:, 1])
        return np.column_stack(transformer.transform(x, y))

    return shapely.make_valid(shapely.transform(outline, place))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def crs_name(crs: CRS) -> str:
    """Return the authority's name of a CRS (EPSG:32616), else its WKT."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


def open_image(
    role: str,
    source: Source | Sequence[Source],
    *,
    bands: tuple[int, ...] | None,
    channels: int,
    scale: tuple[float, float] | None,
    allow_remote: bool,
    option: str = "--bands",
    speckled: bool = False,
) -> Image:
    """Open the files of an image.

    Parameters
    ----------
    role
        `pre` or `post`.
    source
        See `geodamage.sources.find`.
    bands
        1-based channel numbers, or None for the file's own order.
    channels
        How many the model takes.
    scale
        What becomes 0 and 255; None for percentiles.
    allow_remote
        Whether URLs are let through.
    option
        Option by which the user gives the channels, for messages.
    speckled
        Whether it is of a radar; see `geodamage.scene.tiles.open_tile`.

    Raises
    ------
    SceneError, SceneReadError, OptionError
        If it cannot be used.
    """
    tiles: list[Tile] = []
    try:
        for name in find(source, allow_remote=allow_remote):
            tiles.append(open_tile(name, bands, channels, option=option, speckled=speckled))
            _check_alike(tiles[0], tiles[-1])
        scaling, notes = _scaling(tiles, scale)
        gsd = math.prod(tiles[0].grid.gsd) ** 0.5
        if not math.isfinite(gsd) or gsd <= 0:
            raise SceneError(f"{tiles[0].name}: lies off the Earth; its CRS or transform is wrong")
        return Image(role, tuple(lay_out(tiles)), scaling, gsd, tuple(notes))
    except BaseException:
        for tile in tiles:
            tile.dataset.close()
        raise


def _check_alike(first: Tile, other: Tile) -> None:
    kinds = [(tile.facts["channels"], tile.dtype) for tile in (first, other)]
    if kinds[0] != kinds[1]:
        described = [f"{count} channels of {dtype}" for count, dtype in kinds]
        raise SceneError(
            f"{other.name}: {described[1]}, but {first.name} has {described[0]}; "
            "the tiles of an image must be alike"
        )


class Sample(NamedTuple):
    """What an image holds, as far as it was looked at.

    Attributes
    ----------
    pixels
        Valid pixels, evenly thinned: (channels, pixels).
    low, high
        Smallest and largest value of each channel before thinning; None without a valid pixel.
    is_whole
        Whether nothing of the image was left out.
    """

    pixels: npt.NDArray[Any]
    low: npt.NDArray[Any] | None
    high: npt.NDArray[Any] | None
    is_whole: bool

    @property
    def flat(self) -> Bools:
        """Whether each channel has one value at most."""
        if self.low is None or self.high is None:
            return np.ones(len(self.pixels), bool)
        return np.asarray(self.low == self.high)


def _scaling(
    tiles: Sequence[Tile], scale: tuple[float, float] | None
) -> tuple[Scaling | None, list[str]]:
    """Return how an image becomes 8 bits, and what is odd about its pixels."""
    is_scaled, is_far = tiles[0].dtype != "uint8", is_remote(tiles[0].name)
    sample = sample_tiles(tiles, SAMPLE_BLOCKS, overviews=is_scaled or is_far)
    if sample.flat.any() and not (sample.is_whole or is_far):  # an odd image is looked at closely
        close = sample_tiles(tiles, CLOSE * SAMPLE_BLOCKS, overviews=False)
        if close.is_whole or close.flat.sum() < sample.flat.sum():
            sample = close
    notes = _check_contrast(tiles, sample)
    if not is_scaled:
        return None, notes
    if scale is not None:
        channels = len(tiles[0].channels.indexes)
        return Scaling((scale[0],) * channels, (scale[1],) * channels), notes
    if not sample.pixels.shape[1]:
        raise SceneError(
            f"{_named(tiles)}: nothing to scale {tiles[0].dtype} by was found in a sample of it; "
            "give --scale MIN,MAX"
        )
    return from_samples([sample.pixels]), notes


def sample_tiles(tiles: Sequence[Tile], count: int, *, overviews: bool) -> Sample:
    """Look at evenly spread parts of the tiles, or at their overviews."""
    spread = np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), count)).round())
    chosen = [tiles[int(index)] for index in spread]
    each = -(-count // len(chosen))
    is_whole = len(chosen) == len(tiles)
    found, ends = [np.zeros((len(tiles[0].channels.indexes), 0), tiles[0].dtype)], []
    for tile in chosen:
        most = SAMPLE_PIXELS // len(chosen)
        overview = tile.overview(most) if overviews else None
        windows, is_all = ([], False) if overview else tile.parts(each)
        is_whole &= is_all
        parts = [overview] if overview else map(tile.read, windows)
        for pixels, valid in parts:
            kept = pixels[:, valid]
            if kept.size:
                ends += [kept.min(axis=1), kept.max(axis=1)]
                step = -(-kept.shape[1] // max(most // max(len(windows), 1), 1))
                found.append(kept[:, ::step].copy())
    low, high = (np.min(ends, axis=0), np.max(ends, axis=0)) if ends else (None, None)
    return Sample(np.concatenate(found, axis=1), low, high, is_whole)


def _named(tiles: Sequence[Tile]) -> str:
    name = tiles[0].name
    return name if len(tiles) == 1 else f"{name} and {len(tiles) - 1} more tile(s)"


def _check_contrast(tiles: Sequence[Tile], sample: Sample) -> list[str]:
    """Return what is odd, and refuse an image only if all of it is known to be useless."""
    whose, flat = _named(tiles), sample.flat
    if sample.low is None:
        if sample.is_whole:
            raise SceneError(f"{whose}: no valid pixel; give an image with something in it")
        return [f"{whose}: no valid pixel in a sample of it; is it empty?"]
    if flat.all():
        if sample.is_whole:
            value = sample.low[0]
            raise SceneError(f"{whose}: every pixel has the value {value}; is the file damaged?")
        return [f"{whose}: every pixel of a sample has the value {sample.low[0]}; is it damaged?"]
    indexes = tiles[0].channels.indexes
    empty = sorted({index for index, same in zip(indexes, flat, strict=True) if same})
    where = "" if sample.is_whole else " in a sample"
    return [f"{whose}: channel {index} has one value only{where}" for index in empty]
