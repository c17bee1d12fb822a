"""The tiles of an image, opened, checked and read.

A file is opened by `geodamage.scene.opening`; a VRT goes through `geodamage.scene.virtual` first.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.windows
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError as RasterioCRSError
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from geodamage.errors import SceneError, SceneReadError
from geodamage.grid import Grid
from geodamage.scene.beside import (
    FilePrint,
    contradictions,
    file_prints,
    mask_beside,
    siblings,
)
from geodamage.scene.channels import (
    Channels,
    choose_channels,
    require_brightness,
    without_false_alpha,
)
from geodamage.scene.jpeg import JpegBlocks, decoder, gdal_decodes_alike, is_ycbcr_jpeg
from geodamage.scene.opening import CACHE_BYTES, environment, open_plain, reason_of
from geodamage.scene.place import place_of
from geodamage.scene.scaling import SCALED_TYPES
from geodamage.scene.unread import nodata_note, notes_beside
from geodamage.scene.virtual import Virtual, is_virtual, read_virtual
from geodamage.sources import is_remote
from geodamage.windows import Window, spread_over

#: A block that unpacks to more than this is refused: GDAL unpacks blocks whole, and one that does
#: not fit into its cache beside that of the other date would be unpacked for every window anew.
LARGEST_BLOCK = CACHE_BYTES // 2

#: Pixels of a part of an image that is looked at before it is used: about this many a side.
PART = 512

#: Floats from here on are no brightness: many programs write the lowest or the highest number that
#: there is as fill. A tag often tells it with fewer digits.
_NO_BRIGHTNESS, _DIGITS = 1e30, 1e-6

#: Side of the square that fits into a collar and not into a dark roof, source pixels.
COLLAR = 9


@dataclass(frozen=True, slots=True)
class Tile:
    """One open file: an image, or a tile of it.

    Attributes
    ----------
    name
        Path or URL, as GDAL opened it.
    dataset
        The open rasterio dataset.
    grid
        Where its pixels lie.
    channels
        The channels used.
    nodata
        One number per channel used (NaN for none), or None where the file has none.
    masked
        Whether the file has a mask of its own.
    dtype
        Type of the pixels of the channels used.
    facts
        What a sidecar says of the file: path, shape, size, time, files beside it that count.
    jpeg
        Its blocks, where OpenCV decodes them; else None.
    mask_channels
        Channels whose masks say where it is valid; one where the mask is that of all.
    notes
        What is odd about it, and about what stands beside it.
    seen
        What tells whether the file, and those that a VRT names, have changed; empty of a remote
        one.
    is_idle
        Whether `nodata` seems to fit no pixel, so that black around an image has no data, too.
    """

    name: str
    dataset: Any
    grid: Grid
    channels: Channels
    nodata: tuple[float, ...] | None
    masked: bool
    dtype: str
    facts: dict[str, Any]
    jpeg: JpegBlocks | None = None
    mask_channels: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    seen: tuple[tuple[str, FilePrint], ...] = ()
    is_idle: bool = False

    @property
    def window(self) -> Window:
        """The whole tile."""
        return self.grid.window

    @property
    def is_untagged(self) -> bool:
        """Whether nothing tells where the pixels of the file are valid."""
        says_nothing = self.nodata is None or self.is_idle
        return says_nothing and not self.masked and self.channels.alpha is None

    def read(
        self, window: Window, *, as_gdal: bool = False
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Read pixels as they are in the file.

        Parameters
        ----------
        window
            A window within the tile.
        as_gdal
            Whether the grey levels of GDAL will do: they may differ a little between platforms.

        Returns
        -------
        (channels, rows, columns) of the file's dtype, bool (rows, columns)
            Pixels, 0 where they are not valid, and where they are.

        Raises
        ------
        SceneReadError
            If the file is damaged there.
        """
        margin = COLLAR - 1 if self.is_untagged else 0
        around = window.buffer(margin) & self.window
        pixels, valid = self._read(around, as_gdal=as_gdal)
        if self.is_untagged:
            valid &= ~_collar(pixels)
        row, column = window.row - around.row, window.column - around.column
        cut = slice(row, row + window.height), slice(column, column + window.width)
        pixels, valid = pixels[:, *cut], valid[cut]
        if not valid.all():
            pixels = np.where(valid, pixels, pixels.dtype.type(0))
        return pixels, valid

    def _read(
        self, window: Window, shape: tuple[int, int] | None = None, *, as_gdal: bool = False
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        indexes, alpha = self.channels
        planes = list(dict.fromkeys(indexes if alpha is None else (*indexes, alpha)))
        box = rasterio.windows.Window(window.column, window.row, window.width, window.height)
        size = shape or window.shape
        with self._reading(window):
            # No pixel of a result is of an overview.
            if self.jpeg is not None and shape is None and not as_gdal:
                pixels = self._read_jpeg(self.jpeg, planes, window)
            else:
                pixels = self.dataset.read(planes, window=box, out_shape=(len(planes), *size))
                if self.jpeg is not None and shape is None:
                    self.jpeg.passed(window)
            mask = None
            if self.masked:
                each = (len(self.mask_channels), *size)
                masks = self.dataset.read_masks(self.mask_channels, window=box, out_shape=each)
                mask = masks.all(axis=0)
        valid = np.ones(size, bool) if mask is None else mask
        if alpha is not None:
            valid &= pixels[planes.index(alpha)] != 0
        if planes != list(indexes):
            pixels = pixels[[planes.index(index) for index in indexes]]
        if self.nodata is not None:
            pairs = zip(pixels, self.nodata, strict=True)
            valid &= ~np.logical_and.reduce([_is_nodata(plane, value) for plane, value in pairs])
        if pixels.dtype.kind == "f":
            valid &= (np.abs(pixels) < _NO_BRIGHTNESS).all(axis=0)
        return pixels, valid

    def _read_jpeg(
        self, jpeg: JpegBlocks, planes: list[int], window: Window
    ) -> npt.NDArray[np.uint8]:
        unread = jpeg.unread(window)
        box = rasterio.windows.Window(unread.column, unread.row, unread.width, unread.height)
        if unread == window:
            pixels: npt.NDArray[np.uint8] = self.dataset.read(planes, window=box)
        else:
            pixels = np.empty((len(planes), *window.shape), np.uint8)
            if unread.size:
                place = unread.shift(-window.row, -window.column).slices
                pixels[:, *place] = self.dataset.read(planes, window=box)
        jpeg.replace(pixels, planes, window)
        return pixels

    @contextmanager
    def _reading(self, window: Window) -> Iterator[None]:
        try:
            with environment(self.name):
                yield
        except RasterioIOError as error:
            is_far = is_remote(self.name)
            what = "the connection failed or the file" if is_far else "the file"
            raise SceneReadError(
                f"{self.name}: rows {window.row}-{window.bottom - 1}, columns "
                f"{window.column}-{window.right - 1} cannot be read ({reason_of(error)}); "
                f"{what} is damaged, copy or download it again"
            ) from error

    def overview(self, most: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]] | None:
        """Read the whole tile from its finest overview of at most `most` pixels; see `read`.

        None where it has no such overview. Black pixels of an untagged file are not valid here.
        """
        with environment(self.name):
            factors = self.dataset.overviews(self.channels.indexes[0])
        rows, columns = self.window.shape
        shapes = [(-(-rows // factor), -(-columns // factor)) for factor in sorted(factors)]
        small = [shape for shape in shapes if shape[0] * shape[1] <= most]
        if not small:
            return None
        pixels, valid = self._read(self.window, small[0])
        if self.is_untagged:
            valid &= pixels.any(axis=0)
        return pixels, valid

    def parts(self, count: int) -> tuple[list[Window], bool]:
        """Return at most `count` parts of the tile, evenly spread over its rows and its columns.

        Parts are of about 512 x 512 pixels and made of whole blocks, or lie within one. Those of
        which the file holds nothing are left out.

        Returns
        -------
        list of Window, bool
            The parts, by row, and whether nothing but them is in the tile.
        """
        (rows, columns), (height, width) = self.window.shape, self._part()
        down, across = -(-rows // height), -(-columns // width)
        chosen = spread_over(down, across, count)
        windows = [
            Window(row * height, column * width, height, width) & self.window
            for row, column in chosen
        ]
        with environment(self.name):
            kept = [window for window in windows if self._holds(window)]
        return kept, len(chosen) == down * across

    def _part(self) -> tuple[int, int]:
        """Return rows and columns of a part."""
        rows, columns = self.window.shape
        height, width = self.dataset.block_shapes[0]
        width = min(width * max(PART // width, 1), columns)
        height = min(height * max(PART**2 // (height * width), 1), rows)
        if height * width <= PART**2:
            return height, width
        height = min(height, PART)
        return height, min(width, PART**2 // height)

    def _holds(self, window: Window) -> bool:
        """Say whether the file holds any block of a window; a block left out is not valid."""
        # A mask may call the zeros of such a block valid, and other formats do not tell.
        if self.masked or self.dataset.driver != "GTiff":
            return True
        height, width = self.dataset.block_shapes[0]
        indexes, alpha = self.channels
        return any(
            self.dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=index)
            for row in range(window.row // height, -(-window.bottom // height))
            for column in range(window.column // width, -(-window.right // width))
            for index in {*indexes, *([] if alpha is None else [alpha])}
        )


def _is_nodata(plane: npt.NDArray[Any], value: float) -> npt.NDArray[np.bool_]:
    if plane.dtype.kind != "f" or not np.isfinite(value):
        return np.asarray(plane == value)
    with np.errstate(all="ignore"):  # a tag may hold more than a pixel can
        return np.asarray(np.abs(plane - plane.dtype.type(value)) <= _DIGITS * abs(value))


def _collar(pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    dark: npt.NDArray[np.bool_] = np.asarray(~pixels.any(axis=0))
    if not dark.any():
        return dark
    square = np.ones((COLLAR, COLLAR), np.uint8)
    opened = cv2.morphologyEx(dark.view(np.uint8), cv2.MORPH_OPEN, square)
    return np.asarray(opened, bool)


def open_tile(
    name: str,
    asked: tuple[int, ...] | None,
    wanted: int,
    *,
    option: str = "--bands",
    speckled: bool = False,
    labels: bool = False,
    may_be_radar: bool = False,
    fill: float | None = None,
) -> Tile:
    """Open a GeoTIFF, JPEG 2000 or VRT, and check that it can be used.

    Parameters
    ----------
    name
        Name that `find` returns.
    asked, wanted, option, may_be_radar
        See `choose_channels`.
    speckled
        Whether single pixels of 0 are dark and not missing, even if 0 is the nodata tag of 8 bits.
        This is so in a radar image. Missing is then what is black over a whole square.
    labels
        Whether its values are labels and no brightness: of any type, with a palette or without.
    fill
        What the user calls no data, so that nobody is told of it; None for the tag.

    Raises
    ------
    SceneReadError
        If it is none.
    SceneError
        If it lies nowhere, or its pixels are of a kind that is not used.
    OptionError
        If the user's channels do not fit it.
    """
    virtual = read_virtual(name) if is_virtual(name) else None
    with environment(name), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = open_plain(name) if virtual is None else _opened_virtual(name, virtual, labels)
        try:
            _check_structure(name, dataset)  # before any pixel is read
            tags, names = dataset.colorinterp, dataset.descriptions
            if labels:  # a palette then only draws them
                tags = [ColorInterp.undefined] * len(tags)
            else:
                require_brightness(name, dataset)
            channels = choose_channels(
                name, tags, asked, wanted, option=option, names=names, may_be_radar=may_be_radar
            )
            channels, odd = without_false_alpha(name, dataset, channels, asked)
            tile = _checked_tile(name, dataset, channels, labels=labels)
            if not labels:
                known = tile.nodata if fill is None else (fill,)
                odd += notes_beside(
                    name, known, tags, dataset, masked=tile.masked, chosen=asked is not None
                )
            tile = replace(tile, notes=(*odd, *tile.notes))
            if virtual is not None:
                facts = tile.facts | {"sidecars": [], "sources": list(virtual.sources)}
                seen = file_prints(name, *virtual.sources)
                said = [note for one in virtual.sources for note in nodata_note(one, tile.nodata)]
                tile = replace(tile, facts=facts, seen=seen, notes=(*tile.notes, *said))
            if speckled and tile.dtype == "uint8" and tile.nodata and not any(tile.nodata):
                tile = replace(tile, nodata=None)
            return tile
        except BaseException:
            dataset.close()
            raise


def _opened_virtual(name: str, virtual: Virtual, labels: bool) -> Any:
    """Open a VRT; every file that it names is opened by itself first, as an image would be."""
    for source in virtual.sources:
        with open_plain(source) as dataset:
            _check_structure(source, dataset)
            if not (labels or virtual.is_mapped):
                require_brightness(source, dataset)
    try:
        return rasterio.open(virtual.text, driver="VRT")
    except (RasterioError, RasterioCRSError) as error:
        reason = reason_of(error).replace(virtual.text, name)[:200]
        raise SceneReadError(f"{name}: the VRT is damaged ({reason}); make it again") from error


def _checked_tile(name: str, dataset: Any, channels: Channels, *, labels: bool) -> Tile:
    grid = place_of(name, dataset)
    if not labels:
        _check_dtype(name, {dataset.dtypes[index - 1] for index in channels.indexes})
    nodata, masked = _nodata_of(dataset, channels), _is_masked(dataset, channels)
    masks = _checked_masks(name, dataset) if masked and not is_remote(name) else []
    is_shared = bool(dataset.mask_flag_enums[channels.indexes[0] - 1])
    mask_channels = channels.indexes[:1] if is_shared else tuple(dict.fromkeys(channels.indexes))
    dtype = str(dataset.dtypes[channels.indexes[0] - 1])
    facts = _facts(name, dataset)
    jpeg = JpegBlocks(name, dataset) if "jpeg" in facts and not gdal_decodes_alike() else None
    odd = contradictions(name, masked, nodata is not None, channels.alpha)
    if is_remote(name) and nodata is None and not masked and channels.alpha is None:
        odd += mask_beside(name, _is_there)
    seen = file_prints(name, *masks)
    return Tile(
        name, dataset, grid, channels, nodata, masked, dtype, facts, jpeg, mask_channels, odd, seen
    )


def _nodata_of(dataset: Any, channels: Channels) -> tuple[float, ...] | None:
    values = [dataset.nodatavals[index - 1] for index in channels.indexes]
    if all(value is None for value in values):
        return None
    return tuple(np.nan if value is None else float(value) for value in values)


def _is_masked(dataset: Any, channels: Channels) -> bool:
    """Say whether a file has a mask of its own; no flag at all is a mask for each channel."""
    flags = dataset.mask_flag_enums[channels.indexes[0] - 1]
    return not flags or (MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags)


def _checked_masks(name: str, dataset: Any) -> list[str]:
    """Return the masks beside a file; each is of its size, without a block too large to unpack."""
    masks = [other for other in siblings(Path(name)) if other.suffix.lower() == ".msk"]
    for other in masks:
        with open_plain(str(other), "GTiff") as mask:
            if mask.shape != dataset.shape:
                sizes = [" x ".join(map(str, shape)) for shape in (mask.shape, dataset.shape)]
                raise SceneError(
                    f"{name}: the mask {other.name} beside it has {sizes[0]} pixels, and the image "
                    f"{sizes[1]}; make it again, or move it away"
                )
            _check_structure(str(other), mask)
    return [str(other) for other in masks]


def _is_there(url: str) -> bool:
    """Say whether a GeoTIFF is at a URL."""
    try:
        rasterio.open(url, driver="GTiff").close()
    except (RasterioError, RasterioCRSError):
        return False
    return True


def _facts(name: str, dataset: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"path": name, "shape": list(dataset.shape), "channels": dataset.count}
    if is_ycbcr_jpeg(dataset):
        facts["jpeg"] = {"colours": "YCbCr", "decoder": decoder()}
    if is_remote(name):
        return facts
    found = Path(name).stat()
    beside = sorted(Path(other).name for other in dataset.files if other != name)
    return facts | {"size": found.st_size, "mtime": found.st_mtime, "sidecars": beside}


def _check_structure(name: str, dataset: Any) -> None:
    for (height, width), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True):
        planes = dataset.count if dataset.interleaving is not None and _is_chunky(dataset) else 1
        size = height * width * np.dtype("complex64" if "complex" in dtype else dtype).itemsize
        if size * planes > LARGEST_BLOCK:
            megabytes = size * planes / 2**20
            raise SceneError(
                f"{name}: blocks of {height} x {width} pixels, each {megabytes:,.0f} MB unpacked "
                f"and over {LARGEST_BLOCK // 2**20} MB; rewrite it with gdal_translate "
                "-co TILED=YES -co COMPRESS=DEFLATE"
            )


def _is_chunky(dataset: Any) -> bool:
    return bool(dataset.interleaving.name == "pixel")


def _check_dtype(name: str, dtypes: set[str]) -> None:
    for dtype in sorted(dtypes - {"uint8", *SCALED_TYPES}):
        raise SceneError(
            f"{name}: {dtype} pixels are not read; convert it, "
            "for example with gdal_translate -ot Byte -scale"
        )
    if len(dtypes) > 1:
        raise SceneError(f"{name}: channels of several types ({', '.join(sorted(dtypes))})")
