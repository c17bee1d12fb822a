"""JPEG of a TIFF in YCbCr: the same pixels whatever JPEG library the wheel of rasterio has.

Such images hold their chroma at half the size, and libraries upsample it in two ways. In rasterio
1.4 on Linux and macOS, libjpeg 7 and newer use cosines. In rasterio 1.5 and in OpenCV,
libjpeg-turbo uses a triangle. Where strong colours meet, these lie up to 84 grey levels apart. So
where GDAL does not decode as OpenCV does, its pixels are replaced by OpenCV's. GDAL reads each
block all the same, once and first: it finds what is damaged, or larger than the file says, before
OpenCV sees it. Windows overlap. OpenCV alone decodes a block again that GDAL has passed.
"""

import functools
import itertools
import re
import threading
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geodamage.errors import SceneReadError
from geodamage.sources import is_remote
from geodamage.windows import Window

#: Bytes of decoded blocks that are kept for the next window, of all images together.
KEPT_BYTES = 48 * 2**20

# The start of a file whose colours are YCbCr by definition (JFIF). Its end is added, too: without
# one, OpenCV leaves what a cut block lacks as it was in memory.
_START = bytes.fromhex("FFD8 FFE0 0010 4A46494600 0101 00 0001 0001 0000")
_END = bytes.fromhex("FFD9")
_MARKER = 2  # bytes of the start of a block, and of the start and the end of the tables

Bytes = npt.NDArray[np.uint8]


class JpegBlocks:
    """The blocks of a TIFF that are JPEG in YCbCr, decoded by OpenCV.

    Parameters
    ----------
    name
        Path or URL of the file.
    dataset
        Opened of it.
    """

    def __init__(self, name: str, dataset: Any) -> None:
        self.name = name
        self._dataset = dataset
        self._shape: tuple[int, int] = dataset.block_shapes[0]
        tables = dataset.get_tag_item("JPEGTABLES", "TIFF", bidx=1)
        self._tables = bytes.fromhex(tables)[_MARKER:-_MARKER] if tables else b""
        self._number = next(_numbers)
        # What GDAL has passed, by the sum of its bytes; 0 of what it has not. A file of as many
        # blocks makes GDAL keep more of each.
        blocks = (-(-size // side) for size, side in zip(dataset.shape, self._shape, strict=True))
        self._passed = np.zeros(tuple(blocks), np.uint32)

    def unread(self, window: Window) -> Window:
        """Return the part of a window that GDAL must read: around all that it has not passed."""
        height, width = self._shape
        row, column = window.row // height, window.column // width
        passed = self._passed[row : -(-window.bottom // height), column : -(-window.right // width)]
        rows, columns = (np.flatnonzero((passed == 0).any(axis)) for axis in (1, 0))
        if not len(rows):
            return Window(window.row, window.column, 0, 0)
        around = Window(
            (row + int(rows[0])) * height,
            (column + int(columns[0])) * width,
            (int(rows[-1] - rows[0]) + 1) * height,
            (int(columns[-1] - columns[0]) + 1) * width,
        )
        return around & window

    def replace(self, pixels: Bytes, planes: Sequence[int], window: Window) -> None:
        """Replace pixels that GDAL has read, in place; blocks that the file leaves out stay.

        Parameters
        ----------
        pixels
            uint8 (planes, rows, columns); what GDAL has passed before may hold anything.
        planes
            1-based numbers of the channels.
        window
            Where they lie.

        Raises
        ------
        SceneReadError
            If OpenCV does not decode a block.
        """
        height, width = self._shape
        channels = [3 - plane for plane in planes]  # OpenCV has blue first
        for row in range(window.row // height, -(-window.bottom // height)):
            for column in range(window.column // width, -(-window.right // width)):
                block = Window(row * height, column * width, height, width)
                part = block & window
                decoded = self._decoded(row, column, part.shift(-block.row, -block.column))
                if decoded is not None:
                    place = part.shift(-window.row, -window.column).slices
                    planes_of = cv2.split(decoded)
                    for number, channel in enumerate(channels):
                        pixels[number, *place] = planes_of[channel]

    def passed(self, window: Window) -> None:
        """Remember that GDAL has read a window, so that it need not read its blocks again."""
        height, width = self._shape
        for row in range(window.row // height, -(-window.bottom // height)):
            for column in range(window.column // width, -(-window.right // width)):
                stream = None if self._passed[row, column] else self._stream(row, column)
                if stream is not None:
                    self._passed[row, column] = zlib.crc32(stream)

    def _decoded(self, row: int, column: int, part: Window) -> Bytes | None:
        """Return a part of a block, (rows, columns, 3), or None where the file has no such block.

        The last strip of a file may be lower than the others.
        """
        key = self._number, row, column
        decoded = _kept.get(key)
        if decoded is None:
            stream = self._stream(row, column)
            if stream is None:
                return None
            known = zlib.crc32(stream)
            if self._passed[row, column] not in (0, known):
                raise SceneReadError(f"{self.name}: was changed while it was read; run again")
            decoded = decode(self._tables, stream)
            if decoded is not None:
                self._passed[row, column] = known
                _kept.put(key, decoded)
        if decoded is None or decoded.shape[0] < part.bottom or decoded.shape[1] < part.right:
            raise SceneReadError(
                f"{self.name}: the block in row {row}, column {column} of its blocks is no JPEG "
                "that OpenCV decodes; rewrite the file with gdal_translate -co COMPRESS=DEFLATE"
            )
        return decoded[part.slices]

    def _stream(self, row: int, column: int) -> bytes | None:
        """Return what the file holds of a block."""
        found = [
            self._dataset.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1)
            for what in ("OFFSET", "SIZE")
        ]
        if None in found:
            return None
        offset, size = map(int, found)
        if is_remote(self.name):
            return _remote_bytes(self.name, offset, size)
        try:
            with Path(self.name).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise SceneReadError(
                f"{self.name}: cannot be read any more ({error.strerror}); is it still there?"
            ) from error


def _remote_bytes(name: str, offset: int, size: int) -> bytes:
    """Return bytes of a remote file, by GDAL's own connection and cache.

    rasterio reads rasters only: the bytes are given to it as the pixels of one.
    """
    raster = (
        f'<VRTDataset rasterXSize="{size}" rasterYSize="1">'
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename>'
        f"<ImageOffset>{offset}</ImageOffset><PixelOffset>1</PixelOffset>"
        f"<LineOffset>{size}</LineOffset></VRTRasterBand></VRTDataset>"
    )
    with rasterio.Env(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="ALL"), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(raster, driver="VRT") as dataset:
            content: bytes = dataset.read(1).tobytes()
    return content


def decode(tables: bytes, stream: bytes) -> Bytes | None:
    """Decode a block of a TIFF by OpenCV.

    Parameters
    ----------
    tables
        JPEGTables of the file without their first and last marker; empty where it has none.
    stream
        The block as it is in the file.

    Returns
    -------
    uint8 (rows, columns, 3) or None
        Blue, green, red; None where it is not decoded.
    """
    whole = b"".join((_START, tables, stream[_MARKER:], _END))
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(whole, np.uint8), flags)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)


class _Kept:
    """Blocks that were decoded last, of all images."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[int, int, int], Bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int, int]) -> Bytes | None:
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
            return self._blocks.get(key)

    def put(self, key: tuple[int, int, int], block: Bytes) -> None:
        with self._lock:
            self._blocks[key] = block
            self._bytes += block.nbytes
            while self._bytes > KEPT_BYTES and len(self._blocks) > 1:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes


_kept = _Kept()
_numbers = itertools.count()


def is_ycbcr_jpeg(dataset: Any) -> bool:
    """Say whether the blocks of an open TIFF are JPEG in YCbCr."""
    compression = dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION")
    return bool(compression == "YCbCr JPEG" and dataset.count == 3)


@functools.cache
def gdal_decodes_alike() -> bool:
    """Say whether GDAL decodes JPEG in YCbCr to the same pixels as OpenCV.

    Both decode a picture of strong colours, so that what is in the wheel decides and no name.
    """
    colours = np.random.default_rng(0).integers(0, 2, (3, 8, 8), np.uint8) * np.uint8(255)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": 32, "width": 32}
    profile |= {"compress": "jpeg", "photometric": "ycbcr", "blockysize": 32}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as dataset:
            dataset.write(colours.repeat(4, axis=1).repeat(4, axis=2))
        content = bytes(memory.getbuffer())
        with memory.open() as dataset:
            pixels = dataset.read()
            tables = bytes.fromhex(dataset.get_tag_item("JPEGTABLES", "TIFF", bidx=1))
            offset, size = (
                int(dataset.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1))
                for what in ("OFFSET", "SIZE")
            )
    decoded = decode(tables[_MARKER:-_MARKER], content[offset : offset + size])
    return decoded is not None and np.array_equal(decoded.transpose(2, 0, 1)[::-1], pixels)


def decoder() -> str:
    """Return by what JPEG in YCbCr is decoded here, for the sidecar."""
    library = re.search(r"^\s*JPEG:\s*(.+?)\s*$", cv2.getBuildInformation(), re.MULTILINE)
    named = f"OpenCV {cv2.__version__}, {library[1] if library else 'JPEG library unknown'}"
    if gdal_decodes_alike():
        return f"GDAL {rasterio.__gdal_version__}, equal to {named}"
    return named
