"""One image of a pair: its tiles as one raster, in 8 bits, warped onto any lattice."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from geodamage.errors import OptionError, SceneError
from geodamage.grid import transformer
from geodamage.scene.beside import require_unchanged
from geodamage.scene.lattice import Lattice
from geodamage.scene.sampling import Sample, check_contrast, named, sample_of
from geodamage.scene.scaling import Scaling, from_samples
from geodamage.scene.sheets import (
    MaskedPixels,
    Sheet,
    lay_out,
    lay_under,
    nothing,
)
from geodamage.scene.shift import Shift
from geodamage.scene.stretch import guess
from geodamage.scene.tiles import Tile, open_tile
from geodamage.scene.warp import Bools, Bytes, Floats, average, locate, pieces, resample
from geodamage.scene.way import Way, way_to
from geodamage.sources import Source, allow_open_files, find
from geodamage.windows import Window, split
from geodamage.words import counted

#: Source pixels in memory at once.
MOST_PIXELS = 8_000_000

#: Kinds of notes on tiles that are told.
MOST_NOTES = 5

#: What else to give where a scale is of the other date, by role.
OTHER_DATE = {"pre": ", and --post-scale for the post image"}


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
    _ways: dict[int, tuple[Lattice, Way]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

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
        for number, sheet in enumerate(self.sheets):
            way = self._way(number, lattice)
            for part, found in self._warped(sheet, way, window, shift):
                lay_under(masked, found, part.shift(-window.row, -window.column))
        return masked

    def _way(self, number: int, lattice: Lattice) -> Way:
        """Return the way from a lattice to a sheet, which windows ask for again and again."""
        known = self._ways.get(number)
        if known is None or known[0] is not lattice:
            known = self._ways[number] = lattice, way_to(self.sheets[number], lattice)
        return known[1]

    def _warped(
        self, sheet: Sheet, way: Way, window: Window, shift: Shift | None
    ) -> Iterator[tuple[Window, MaskedPixels]]:
        factors, limits = way.factors, way.limits
        to_image = partial(way.positions, shift)
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
    tiles = open_tiles(
        role,
        source,
        bands=bands,
        channels=channels,
        allow_remote=allow_remote,
        option=option,
        speckled=speckled,
        nodata=nodata,
    )
    try:
        scale = byte_scale(role, tiles[0], scale)
        sample = sample_of(tiles, told=nodata is not None)
        notes = check_contrast(tiles, sample)
        if nodata is not None and not sample.has_missing:
            notes.append(
                f"{_option(role, 'nodata')} {nodata:g}: no pixel of a sample of {named(tiles)} "
                "has that value; is it the right one?"
            )
        scaling = _scaling(tiles, sample, scale, speckled=speckled)
        return image_of(role, tiles, scaling, notes)
    except BaseException:
        for tile in tiles:
            tile.dataset.close()
        raise


def image_of(
    role: str, tiles: Sequence[Tile], scaling: Scaling | None = None, notes: Sequence[str] = ()
) -> Image:
    """Return the image that open tiles make up; `notes` are added to theirs.

    Raises
    ------
    SceneError
        If it lies outside the Earth.
    """
    gsd = math.prod(tiles[0].grid.gsd) ** 0.5
    if not math.isfinite(gsd) or gsd <= 0:
        raise SceneError(f"{tiles[0].name}: lies outside the Earth; its CRS or transform is wrong")
    return Image(role, tuple(lay_out(tiles)), scaling, gsd, (*_few(tiles), *notes))


def open_tiles(
    role: str,
    source: Source | Sequence[Source],
    *,
    bands: tuple[int, ...] | None,
    channels: int,
    allow_remote: bool,
    option: str = "--bands",
    speckled: bool = False,
    nodata: float | None = None,
) -> list[Tile]:
    """Open the files of an image, and look at no pixel that is graded; see `open_image`.

    Raises
    ------
    SceneError, SceneReadError, OptionError
        If one cannot be used, or they are not alike.
    """
    tiles: list[Tile] = []
    try:
        names = find(source, allow_remote=allow_remote)
        allow_open_files(len(names))
        for name in names:
            tile = open_tile(
                name,
                bands,
                channels,
                option=option,
                speckled=speckled,
                may_be_radar=role == "post" and not speckled,
                fill=nodata,
            )
            tiles.append(tile)
            _check_alike(tiles[0], tile)
            if nodata is not None:
                tiles[-1] = _filled(role, tile, nodata)
        return tiles
    except BaseException:
        for tile in tiles:
            tile.dataset.close()
        raise


def _few(tiles: Sequence[Tile]) -> list[str]:
    """Return what is odd about tiles: of each kind the first note, and how many have the same."""
    kinds: dict[str, list[str]] = {}
    for tile in tiles:
        for note in tile.notes:
            kind = note.replace(tile.name, "").replace(Path(tile.name).name, "")
            kinds.setdefault(kind, []).append(note)
    notes = [
        found[0] + (f" ({counted(len(found) - 1, 'more tile')} likewise)" if found[1:] else "")
        for found in kinds.values()
    ]
    if len(notes) <= MOST_NOTES:
        return notes
    return [*notes[:MOST_NOTES], f"{len(notes) - MOST_NOTES:,} more notes on tiles like these"]


def _check_alike(first: Tile, other: Tile) -> None:
    kinds = [(tile.facts["channels"], tile.dtype) for tile in (first, other)]
    if kinds[0] != kinds[1]:
        described = [f"{counted(count, 'channel')} of {dtype}" for count, dtype in kinds]
        raise SceneError(
            f"{other.name}: {described[1]}, but {first.name} has {described[0]}; "
            "the tiles of an image must be alike"
        )


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


def byte_scale(
    role: str, tile: Tile, scale: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Return what becomes 0 and 255 in an image; None where the pixels stay or nobody says.

    Raises
    ------
    OptionError
        If an image of 8 bits has no such values.
    """
    if scale is None or tile.dtype != "uint8":
        return scale
    low, high = scale
    if low < 0 or high > 255:
        option = _option(role, "scale")
        raise OptionError(
            f"{option} {low:g},{high:g}: {tile.name} has 8 bits, values 0 to 255; give "
            f"{option} 0,255 to take it as it is" + OTHER_DATE.get(role, "")
        )
    return None if scale == (0, 255) else scale


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
            f"{named(tiles)}: no values to scale {tiles[0].dtype} by were found in a sample of "
            f"it; "
            "give --scale MIN,MAX"
        )
    return from_samples([sample.pixels]) if speckled else guess(sample.pixels)
