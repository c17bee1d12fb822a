"""One image of a pair: its tiles as one raster, in 8 bits, warped onto any lattice."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from geodamage.errors import OptionError, SceneError
from geodamage.grid import transformer, world_width
from geodamage.scene.beside import require_unchanged
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
from geodamage.scene.stretch import guess
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
from geodamage.sources import Source, allow_open_files, find, is_remote
from geodamage.windows import Window, round_up, split
from geodamage.words import counted

#: Source pixels in memory at once.
MOST_PIXELS = 8_000_000

#: Parts that stand for an image without overviews, and pixels of it that are kept.
SAMPLE_BLOCKS = 64
SAMPLE_PIXELS = 4_000_000

#: What else to give where a scale is of the other date, by role.
OTHER_DATE = {"pre": ", and --post-scale for the post image"}

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

    def require_unchanged(self) -> None:
        """Raise `SceneReadError` if a file was written to since it was opened."""
        for tile in self.tiles:
            require_unchanged(tile.seen)

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
        to_lattice = transformer(grid.crs, lattice.crs)
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
    way = None if same else transformer(lattice.crs, crs)
    width = world_width(crs)
    turn = None if width is None else _middle(sheet)

    def to_image(columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        x, y = lattice.x + lattice.pixel * columns, lattice.y - lattice.pixel * rows
        if shift is not None:
            east, north = shift(x, y)
            x, y = x + east, y + north
        if way is not None:
            x, y = way.transform(x, y)
        if turn is not None and width is not None:  # an image may go on beyond 180 degrees
            x = turn + (x - turn + width / 2) % width - width / 2
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
    to_crs = transformer(sheet.grid.crs, crs)

    def place(points: Floats) -> Floats:
        x, y = sheet.grid.xy(points[:, 0], points[:, 1])
        return np.column_stack(to_crs.transform(x, y))

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
    nodata: float | None = None,
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
        What becomes 0 and 255; None for a guess, which `geodamage.scene.exposure` mends.
    allow_remote
        Whether URLs are allowed.
    option
        Option by which the user gives the channels, for messages.
    speckled
        Whether it is of a radar; see `geodamage.scene.tiles.open_tile`.
    nodata
        Value of pixels without data, in place of the tag of the files; None for the tag.

    Raises
    ------
    SceneError, SceneReadError, OptionError
        If it cannot be used.
    """
    tiles: list[Tile] = []
    try:
        names = find(source, allow_remote=allow_remote)
        allow_open_files(len(names))
        for name in names:
            tiles.append(open_tile(name, bands, channels, option=option, speckled=speckled))
            _check_alike(tiles[0], tiles[-1])
            if nodata is not None:
                tiles[-1] = _filled(role, tiles[-1], nodata)
        if scale is not None and tiles[0].dtype == "uint8":
            scale = _byte_scale(role, tiles[0], scale)
        sample = _sample(tiles)
        notes = _check_contrast(tiles, sample)
        if nodata is not None and not sample.has_missing:
            notes.append(
                f"{_option(role, 'nodata')} {nodata:g}: no pixel of a sample of {_named(tiles)} "
                "has that value; is it the right one?"
            )
        scaling = _scaling(tiles, sample, scale, speckled=speckled)
        gsd = math.prod(tiles[0].grid.gsd) ** 0.5
        if not math.isfinite(gsd) or gsd <= 0:
            raise SceneError(
                f"{tiles[0].name}: lies outside the Earth; its CRS or transform is wrong"
            )
        notes = [*_few([note for tile in tiles for note in tile.notes]), *notes]
        return Image(role, tuple(lay_out(tiles)), scaling, gsd, tuple(notes))
    except BaseException:
        for tile in tiles:
            tile.dataset.close()
        raise


def _few(notes: list[str], most: int = 3) -> list[str]:
    """Return the first of many notes, and how many there are."""
    if len(notes) <= most:
        return notes
    return [*notes[:most], f"{len(notes) - most:,} more tiles have the same warnings"]


def _check_alike(first: Tile, other: Tile) -> None:
    kinds = [(tile.facts["channels"], tile.dtype) for tile in (first, other)]
    if kinds[0] != kinds[1]:
        described = [f"{counted(count, 'channel')} of {dtype}" for count, dtype in kinds]
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
    has_missing
        Whether a pixel without data was seen.
    """

    pixels: npt.NDArray[Any]
    low: npt.NDArray[Any] | None
    high: npt.NDArray[Any] | None
    is_whole: bool
    has_missing: bool

    @property
    def flat(self) -> Bools:
        """Whether each channel has one value at most."""
        if self.low is None or self.high is None:
            return np.ones(len(self.pixels), bool)
        return np.asarray(self.low == self.high)


def _filled(role: str, tile: Tile, value: float) -> Tile:
    """Return a tile whose pixels of a value have no data."""
    is_whole = tile.dtype.startswith("uint")
    if is_whole and not (value % 1 == 0 and 0 <= value <= np.iinfo(tile.dtype).max):
        raise OptionError(
            f"{_option(role, 'nodata')} {value:g}: {tile.name} holds {tile.dtype}, and no pixel of "
            "it can have that value; give the value that its fill has"
        )
    return replace(tile, nodata=(value,) * len(tile.channels.indexes))


def _option(role: str, name: str) -> str:
    """Return the option of an image alone."""
    return f"--post-{name}" if role == "post" else f"--{name}"


def _byte_scale(role: str, tile: Tile, scale: tuple[float, float]) -> tuple[float, float] | None:
    """Return what becomes 0 and 255 in an image of 8 bits; None where nothing changes."""
    low, high = scale
    if low < 0 or high > 255:
        option = _option(role, "scale")
        raise OptionError(
            f"{option} {low:g},{high:g}: {tile.name} has 8 bits, values 0 to 255; give "
            f"{option} 0,255 to take it as it is" + OTHER_DATE.get(role, "")
        )
    return None if scale == (0, 255) else scale


def _sample(tiles: list[Tile]) -> Sample:
    """Look at an image; tiles whose nodata fits no pixel are marked, in place."""
    sample = _looked_at(tiles)
    if not sample.has_missing and any(tiles[0].nodata or ()):  # black is fill, where 0 is not
        tiles[:] = [replace(tile, is_idle=True) for tile in tiles]
        sample = _looked_at(tiles)
        return sample._replace(has_missing=False)
    return sample


def _looked_at(tiles: Sequence[Tile]) -> Sample:
    is_far = is_remote(tiles[0].name)
    sample = sample_tiles(tiles, SAMPLE_BLOCKS, overviews=is_far)
    if sample.flat.any() and not (sample.is_whole or is_far):  # an odd image is looked at closely
        close = sample_tiles(tiles, CLOSE * SAMPLE_BLOCKS, overviews=False)
        if close.is_whole or close.flat.sum() < sample.flat.sum():
            sample = close
    return sample


def _scaling(
    tiles: Sequence[Tile],
    sample: Sample,
    scale: tuple[float, float] | None,
    *,
    speckled: bool,
) -> Scaling | None:
    """Return how an image becomes 8 bits."""
    if scale is not None:
        channels = len(tiles[0].channels.indexes)
        return Scaling((scale[0],) * channels, (scale[1],) * channels)
    if tiles[0].dtype == "uint8":
        return None
    if not sample.pixels.shape[1]:
        raise SceneError(
            f"{_named(tiles)}: no values to scale {tiles[0].dtype} by were found in a sample of "
            f"it; "
            "give --scale MIN,MAX"
        )
    return from_samples([sample.pixels]) if speckled else guess(sample.pixels)


def sample_tiles(tiles: Sequence[Tile], count: int, *, overviews: bool) -> Sample:
    """Look at evenly spread parts of the tiles, or at their overviews."""
    spread = np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), count)).round())
    chosen = [tiles[int(index)] for index in spread]
    each = -(-count // len(chosen))
    is_whole, has_missing = len(chosen) == len(tiles), False
    found, ends = [np.zeros((len(tiles[0].channels.indexes), 0), tiles[0].dtype)], []
    for tile in chosen:
        most = SAMPLE_PIXELS // len(chosen)
        overview = tile.overview(most) if overviews else None
        windows, is_all = ([], False) if overview else tile.parts(each)
        is_whole &= is_all
        parts = [overview] if overview else map(tile.read, windows)
        for pixels, valid in parts:
            # Where all is valid nothing needs to be picked: a view is enough.
            kept = pixels.reshape(len(pixels), -1) if valid.all() else pixels[:, valid]
            has_missing |= kept.shape[1] < valid.size
            if kept.size:
                ends += [kept.min(axis=1), kept.max(axis=1)]
                step = -(-kept.shape[1] // max(most // max(len(windows), 1), 1))
                found.append(kept[:, ::step].copy())
    low, high = (np.min(ends, axis=0), np.max(ends, axis=0)) if ends else (None, None)
    return Sample(np.concatenate(found, axis=1), low, high, is_whole, has_missing)


def _named(tiles: Sequence[Tile]) -> str:
    name = tiles[0].name
    return name if len(tiles) == 1 else f"{name} and {counted(len(tiles) - 1, 'more tile')}"


def _check_contrast(tiles: Sequence[Tile], sample: Sample) -> list[str]:
    """Return what is odd, and refuse an image only if all of it is known to be useless."""
    whose, flat = _named(tiles), sample.flat
    if sample.low is None:
        if sample.is_whole:
            raise SceneError(f"{whose}: no valid pixel; give an image that has data")
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
