# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual mosaics taken apart: the tool reads GeoTIFFs, and a .vrt only names them."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ElementTree  # nosec B405
from dataclasses import dataclass
from pathlib import Path

from geodamage_qgis.errors import PluginError
from geodamage_qgis.translation import tr

#: Elements of a source that leave the pixels as they are.
_HARMLESS = frozenset(
    ("SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA",
     "OpenOptions")
)  # fmt: skip
#: What a band may hold besides its sources.
_OF_BANDS = frozenset(
    ("Description", "NoDataValue", "ColorInterp", "Metadata", "Histograms", "HideNoDataValue",
     "SimpleSource", "ComplexSource")
)  # fmt: skip
#: Pixels by which a tile may lie beside the grid of the mosaic: nobody sees them.
_TOLERANCE = 0.01

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Mosaic:
    """What a plain mosaic is made of.

    Attributes
    ----------
    tiles
        Absolute paths, the top one first.
    bands
        How many channels the mosaic shows; those of the tiles, in their order.
    nodata
        The value that means nothing is there, or None.
    """

    tiles: tuple[str, ...]
    bands: int
    nodata: float | None


def is_tiff(path: str | os.PathLike[str]) -> bool:
    """Say whether a file begins as a TIFF does, whatever its name says."""
    return _start(path, 4) in _TIFF


def is_virtual(path: str | os.PathLike[str]) -> bool:
    """Say whether a file is a virtual raster."""
    return b"<VRTDataset" in _start(path, 4096)


def _start(path: str | os.PathLike[str], count: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def read_mosaic(path: str | os.PathLike[str]) -> Mosaic:
    """Return the tiles of a virtual raster that only lays images side by side.

    Parameters
    ----------
    path
        The .vrt file.

    Raises
    ------
    PluginError
        If it does more, such as warping, scaling, cutting or choosing channels; the message says
        what, in a few words.
    """
    root = _parse(path)
    bands = root.findall("VRTRasterBand")
    if "subClass" in root.attrib or root.find("MaskBand") is not None or not bands:
        raise PluginError(tr("it warps, pansharpens or masks"))
    layouts = [_read_band(band, number, Path(path)) for number, band in enumerate(bands, 1)]
    if any(layout != layouts[0] for layout in layouts):
        raise PluginError(tr("its channels come from several files"))
    tiles, nodata = layouts[0]
    # The last that is drawn hides the others; a file that is drawn twice is one tile.
    return Mosaic(tuple(dict.fromkeys(reversed(tiles))), len(bands), nodata)


def _parse(path: str | os.PathLike[str]) -> ElementTree.Element:
    try:
        content = Path(path).read_bytes()
        # Entities that grow without end are declared there, and GDAL declares nothing. Text of two
        # bytes a letter would hide it.
        if b"<!DOCTYPE" in content or b"\0" in content:
            raise PluginError(tr("it declares a document type"))
        root = ElementTree.fromstring(content)  # nosec B314
    except (OSError, ElementTree.ParseError) as error:
        raise PluginError(tr("it cannot be read ({why})", why=error)) from error
    if root.tag != "VRTDataset":
        raise PluginError(tr("it is no virtual raster"))
    return root


def _read_band(
    band: ElementTree.Element, number: int, path: Path
) -> tuple[tuple[str, ...], float | None]:
    if "subClass" in band.attrib or any(child.tag not in _OF_BANDS for child in band):
        raise PluginError(tr("it computes its pixels"))
    sources = [child for child in band if child.tag in ("SimpleSource", "ComplexSource")]
    if not sources:
        raise PluginError(tr("it names no files"))
    tiles = tuple(_read_source(source, number, path) for source in sources)
    values = [*band.findall("NoDataValue"), *(v for s in sources for v in s.findall("NODATA"))]
    found = {_number(value.text) for value in values}
    if len(found) > 1:
        raise PluginError(tr("its tiles have several no-data values"))
    return tiles, found.pop() if found else None


def _read_source(source: ElementTree.Element, number: int, path: Path) -> str:
    if any(child.tag not in _HARMLESS for child in source):
        raise PluginError(tr("it changes the values of its tiles"))
    if (source.findtext("SourceBand") or "1") != str(number):
        raise PluginError(tr("it chooses among the channels of its tiles"))
    _check_rectangles(source)
    name = source.find("SourceFilename")
    if name is None or not name.text:
        raise PluginError(tr("it names no file"))
    if name.get("relativeToVRT") == "1":
        return os.path.normpath(path.absolute().parent / name.text)
    return name.text


def _check_rectangles(source: ElementTree.Element) -> None:
    """Refuse a tile that is not shown whole and in its own resolution."""
    inside, outside = source.find("SrcRect"), source.find("DstRect")
    size = source.find("SourceProperties")
    if inside is None or outside is None or size is None:
        raise PluginError(tr("it does not say how its tiles lie"))
    columns, rows = float(size.get("RasterXSize", "0")), float(size.get("RasterYSize", "0"))
    if _numbers(inside, "xOff", "yOff", "xSize", "ySize") != (0.0, 0.0, columns, rows):
        raise PluginError(tr("it cuts its tiles"))
    shown = _numbers(outside, "xSize", "ySize")
    if abs(shown[0] - columns) > _TOLERANCE or abs(shown[1] - rows) > _TOLERANCE:
        raise PluginError(tr("it resamples its tiles"))


def _number(text: str | None) -> float:
    number = float(text or "nan")
    # One object, for it does not equal another of its kind.
    return math.nan if math.isnan(number) else number


def _numbers(element: ElementTree.Element, *names: str) -> tuple[float, ...]:
    return tuple(float(element.get(name, "nan")) for name in names)
