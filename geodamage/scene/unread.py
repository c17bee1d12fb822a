"""What stands beside an image and is not read: named, with the command that brings it in.

PAM files (.aux.xml) can name other files of any driver, so no XML reader opens them. What they say
of nodata, colours and place is searched for in their text, and so is a CRS in other files.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from geodamage.scene.beside import TIFF, siblings, start_of
from geodamage.scene.served import served_beside
from geodamage.sources import is_remote

#: Bytes that are read of a file beside an image.
_MOST = 2**20
_NODATA = re.compile(
    rb"<NoDataValue[^<>]*>\s*([^<\s]{1,40})\s*</NoDataValue>"
    rb'|<MDI key="NODATA_VALUES">\s*([^<\s]{1,40})[^<]*</MDI>'
)
_SCALE = re.compile(rb"<Scale>\s*([^<\s]{1,40})\s*</Scale>")
_OFFSET = re.compile(rb"<Offset>\s*([^<\s]{1,40})\s*</Offset>")
_PLACE = re.compile(rb"<GeoTransform>([^<]{1,400})</GeoTransform>")
_BAND = re.compile(rb'<PAMRasterBand[^<>]*\bband="(\d{1,4})"[^<>]*>')
#: What channels are taken for, by their numbers.
_TAKEN_FOR = {1: "red", 2: "green", 3: "blue"}
_COLOUR = re.compile(rb"<ColorInterp[^<>]*>\s*(\w{1,20})\s*</ColorInterp>")
#: How files of a CRS begin, or what they hold: WKT of both ages, PROJ, a code, and those of Esri.
_WKT = re.compile(
    rb"\b(PROJCS|GEOGCS|COMPD_CS|PROJCRS|GEOGCRS|GEODCRS|COMPOUNDCRS|BOUNDCRS)\s*\["
    rb"|^\s*\+proj=|^\s*EPSG:\d|^\s*Projection\s|\bpeXml\b",
    re.IGNORECASE,
)
#: Endings of files that may hold the CRS of an image, beside its name with and without its own.
_OF_CRS = (".prj", ".qpj", ".tif.xml", ".xml", ".tab")


def notes_beside(
    name: str,
    nodata: Sequence[float] | None,
    tags: Sequence[ColorInterp],
    dataset: Any,
    *,
    masked: bool,
    chosen: bool,
) -> tuple[str, ...]:
    """Return what files beside an image say of its pixels, where they are not read.

    Parameters
    ----------
    name
        The image.
    nodata
        What the user or the file itself calls no data, or None.
    tags
        What it says of each of its channels.
    dataset
        The image, as rasterio opened it.
    masked
        Whether a mask is read with it.
    chosen
        Whether the user named the channels.
    """
    text = _pam(name)
    return (
        *_nodata_note(name, text, nodata),
        *_colour_note(name, text, tags, chosen),
        *_scale_note(name, text, dataset),
        *_place_note(name, text, dataset),
        *(() if is_remote(name) else _mask_note(name, masked)),
    )


def nodata_note(name: str, nodata: Sequence[float] | None) -> tuple[str, ...]:
    """Return a line where a PAM file calls another value no data than the image does."""
    return _nodata_note(name, _pam(name), nodata)


def _said(name: str, what: str) -> str:
    return f"{name}: {_file(name)}.aux.xml says that {what}, and is not read"


def _file(name: str) -> str:
    """Return the name of a file without its folder or server, nor a key."""
    return PurePosixPath(name.partition("?")[0]).name if is_remote(name) else Path(name).name


def _nodata_note(name: str, text: bytes, nodata: Sequence[float] | None) -> tuple[str, ...]:
    value = _first(_NODATA, text)
    if value is None or (nodata is not None and value in nodata):
        return ()
    own = "" if nodata is None else f", and the file itself says {nodata[0]:g}"
    said = _said(name, f"{value:g} is no data")
    return (f"{said}{own}; bring it into the file with {_bring(name, f'-a_nodata {value:g}')}",)


def _scale_note(name: str, text: bytes, dataset: Any) -> tuple[str, ...]:
    """Return a line where a PAM file tells what the values of an image measure."""
    scale, offset = _first(_SCALE, text), _first(_OFFSET, text)
    told = (1.0 if scale is None else scale, 0.0 if offset is None else offset)
    # Of 8 bits nobody asks: they are shown as they are.
    if told in ((1, 0), (dataset.scales[0], dataset.offsets[0])) or dataset.dtypes[0] == "uint8":
        return ()
    said = _said(name, f"values are times {told[0]:g} plus {told[1]:g}")
    return (f"{said}; bring it into the file with {_bring(name)}",)


def _place_note(name: str, text: bytes, dataset: Any) -> tuple[str, ...]:
    """Return a line where a PAM file moves an image, as a GIS writes when somebody shifts it."""
    found = _PLACE.search(text)
    numbers = [] if found is None else [_number(word) for word in found[1].split(b",")]
    own = dataset.transform.to_gdal()
    if len(numbers) != len(own) or None in numbers or dataset.transform.is_identity:
        return ()
    told = np.array(numbers, np.float64)
    pixel = np.array(own)[[1, 2, 4, 5]]
    # Of the corner a hundredth of a pixel, of the pixel what adds up to one over the image.
    near = np.abs(pixel).max() * np.array([1, 1 / max(dataset.shape), 1 / max(dataset.shape)])
    if (np.abs(told - own) <= 0.01 * near[[0, 1, 2, 0, 1, 2]]).all():
        return ()
    said = _said(name, f"its corner lies at {told[0]:.10g}, {told[3]:.10g}")
    moved = f", and the file itself says {own[0]:.10g}, {own[3]:.10g}"
    return (f"{said}{moved}; bring it into the file with {_bring(name)}",)


def _first(pattern: re.Pattern[bytes], text: bytes) -> float | None:
    found = pattern.search(text)
    return None if found is None else _number(found[found.lastindex or 0])


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _colour_note(
    name: str, text: bytes, tags: Sequence[ColorInterp], chosen: bool
) -> tuple[str, ...]:
    """Return a line where a PAM file calls a channel another colour than it is taken for."""
    starts = [*_BAND.finditer(text)]
    ends = [*(start.start() for start in starts[1:]), len(text)]
    odd = []
    for start, end in zip(starts, ends, strict=False):  # without a channel there is one end more
        found, index = _COLOUR.search(text, start.end(), end), int(start[1])
        if found is None or not 1 <= index <= len(tags):
            continue
        colour = found[1].decode("latin1").lower()
        is_news = colour not in (tags[index - 1].name, _TAKEN_FOR.get(index))
        if is_news and colour in (("alpha",) if chosen else ("alpha", *_TAKEN_FOR.values())):
            odd.append(f"channel {index} is {colour}")
    if not odd:
        return ()
    said = _said(name, " and ".join(odd))
    return (f"{said}; bring it into the file with {_bring(name)}",)


def _mask_note(name: str, masked: bool) -> tuple[str, ...]:
    """Return a line where a mask lies beside an image, and none is read with it."""
    own = Path(name).name
    masks = [other.name for other in siblings(Path(name)) if other.suffix.lower() == ".msk"]
    if masked or not masks:
        return ()
    is_virtual = own.lower().endswith(".vrt")
    remedy = (
        "write the VRT out with gdal_translate -of COG"
        if is_virtual
        else f"if it is a mask, call it {own}.msk, and say so in it with gdal_edit.py -mo "
        f"INTERNAL_MASK_FLAGS_1=2 {own}.msk"
    )
    return (f"{name}: {masks[0]} beside it is not read as its mask; {remedy}",)


def _bring(name: str, options: str = "") -> str:
    """Return the command that brings what stands beside an image into it."""
    if options and not is_remote(name) and start_of(Path(name), 4) in TIFF:
        return f"gdal_edit.py {options} {_file(name)}"
    return _translate(name, options)


def _translate(name: str, options: str) -> str:
    first = ", once both are downloaded" if is_remote(name) else ""
    return f"gdal_translate {options}{' ' * bool(options)}{_file(name)} new.tif{first}"


def _pam(name: str) -> bytes:
    if is_remote(name):
        return served_beside(name, ".aux.xml", _MOST)
    return start_of(Path(f"{name}.aux.xml"), _MOST)


def where_crs(name: str) -> str | None:
    """Say where beside an image without a CRS one stands, and how it comes into the file."""
    text, pam = _pam(name), f"{_file(name)}.aux.xml"
    if b"<SRS" in text:
        return _has_crs(name, pam, "")
    if _WKT.search(text):
        return _has_crs(name, pam, "-a_srs CRS")
    if b"<GCPList" in text:
        return f"{pam} has control points, and is not read; warp it with gdalwarp"
    for other, text in _of_crs(name):
        found = _WKT.search(text.removeprefix(b"\xef\xbb\xbf"))
        if found is not None:
            # GDAL takes a file of WKT for a CRS, and no other.
            is_wkt = other.lower().endswith((".prj", ".qpj")) and found[0].endswith(b"[")
            return _has_crs(name, other, f"-a_srs {other if is_wkt else 'CRS'}")
    return None


def _has_crs(name: str, other: str, options: str) -> str:
    return (
        f"{other} has one, and is not read; bring it into the file with {_translate(name, options)}"
    )


def _of_crs(name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files beside an image that may hold its CRS, by name, and how they begin."""
    own = _file(name)
    wanted = [f"{base}{ending}" for base in (own, Path(own).stem) for ending in _OF_CRS]
    if is_remote(name):
        address, mark, key = name.partition("?")
        folder = address.removesuffix(own)
        for other in wanted:
            yield other, served_beside(f"{folder}{mark}{key}", other, _MOST)
        return
    path = Path(name)
    try:
        names = sorted(other.name for other in path.parent.iterdir())
    except OSError:
        return
    lowered = {other.lower() for other in wanted}
    for other in names:
        if other.lower() in lowered:
            yield other, start_of(path.with_name(other), _MOST)


def where_transform(name: str) -> str | None:
    """Say where beside an image without a transform one stands, and how it comes into the file."""
    if b"<GeoTransform" not in _pam(name):
        return None
    bring = f"bring it into the file with {_bring(name)}"
    return f"{_file(name)}.aux.xml has one, and is not read; {bring}"
