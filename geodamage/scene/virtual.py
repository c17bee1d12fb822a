"""Virtual rasters: a VRT is checked before GDAL sees it, and opened as what was checked alone.

A VRT can name any file, server, raw bytes and code. What is allowed are mosaics and crops, as
gdalbuildvrt and gdal_translate write them, of files that stand in the folder of the VRT or below.
GDAL gets a text that is made again of the elements below, so that nothing else of it counts.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from geodamage.errors import SceneReadError
from geodamage.sources import check_file, is_remote

#: Bytes of the longest VRT; one of 10,000 tiles has about 20 MB.
LARGEST = 64 * 2**20

#: How deep VRTs may name VRTs.
DEEPEST = 4

#: Elements that are taken over from within another, and those that change no pixel.
_TAKEN = {
    "VRTDataset": {
        "SRS", "GeoTransform", "GCPList", "VRTRasterBand", "MaskBand", "BlockXSize", "BlockYSize",
    },
    "MaskBand": {"VRTRasterBand"},
    "VRTRasterBand": {
        "ColorInterp", "ColorTable", "NoDataValue", "HideNoDataValue", "Offset", "Scale",
        "SimpleSource", "ComplexSource",
    },
    "SimpleSource": {"SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect"},
}  # fmt: skip
_TAKEN["ComplexSource"] = _TAKEN["SimpleSource"] | {
    "NODATA", "UseMaskBand", "ColorTableComponent", "LUT", "ScaleOffset", "ScaleRatio", "Exponent",
    "SrcMin", "SrcMax", "DstMin", "DstMax",
}  # fmt: skip
#: Those that make other values of a file's own: colours of a palette, or a negative turned round.
_MAPS = ("<ColorTableComponent", "<LUT", "<ScaleRatio", "<SrcMin")
_IDLE = {"Metadata", "OverviewList", "Histograms", "Description", "CategoryNames", "UnitType"}

_INSTEAD = "write it out with gdal_translate -of COG, or name its files"


class Virtual(NamedTuple):
    """A VRT that was checked.

    Attributes
    ----------
    text
        What GDAL may open: the VRT with absolute paths.
    sources
        Absolute paths of the files that it names, each once.
    """

    text: str
    sources: tuple[str, ...]

    @property
    def is_mapped(self) -> bool:
        """Whether it makes other values of those of its files."""
        return any(element in self.text for element in _MAPS)


def is_virtual(name: str) -> bool:
    """Say whether a name is that of a VRT on this machine."""
    return name.lower().endswith(".vrt") and not is_remote(name)


def read_virtual(name: str, *, within: int = 0) -> Virtual:
    """Read a VRT, and check that it names files of its folder alone.

    Parameters
    ----------
    name
        Path.
    within
        How many VRTs name each other, down to this one.

    Raises
    ------
    SceneReadError
        If it holds anything else, or a file that it names is not there.
    """
    root = _parsed(name)
    folder = Path(name).absolute().parent
    found = _Found(folder, within)
    checked = _checked(name, root, found)
    if not found.sources:
        raise SceneReadError(f"{name}: the VRT names no file; {_INSTEAD}")
    return Virtual(ElementTree.tostring(checked, encoding="unicode"), tuple(found.sources))


@dataclass
class _Found:
    """What a VRT names: the files, and by their paths the VRTs; `size` counts their text."""

    folder: Path
    within: int
    sources: dict[str, None] = field(default_factory=dict)
    nested: dict[str, Virtual] = field(default_factory=dict)
    size: int = 0


def sources_of(name: str) -> tuple[str, ...]:
    """Return the files that a VRT names; none of any other file, or of a VRT that is refused."""
    try:
        return read_virtual(name).sources if is_virtual(name) else ()
    except SceneReadError:
        return ()


def _parsed(name: str) -> Element:
    path = Path(check_file(name))
    if path.stat().st_size > LARGEST:
        raise SceneReadError(f"{name}: too long for a VRT; {_INSTEAD}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in text:  # entities are in one, and one may name another without end
            raise SceneReadError(f"{name}: a VRT with a document type is not read; {_INSTEAD}")
        root = ElementTree.fromstring(text)
    except (OSError, UnicodeDecodeError, ParseError, ValueError, RecursionError) as error:
        raise SceneReadError(f"{name}: not a VRT ({error}); {_INSTEAD}") from error
    if root.tag != "VRTDataset":
        raise SceneReadError(f"{name}: not a VRT, but {root.tag}; {_INSTEAD}")
    return root


def _checked(name: str, element: Element, found: _Found) -> Element:
    """Return a copy of an element with what is taken over of it; the files in it are noted."""
    kind = element.get("subClass", "VRTSourcedRasterBand")
    if kind != "VRTSourcedRasterBand":
        raise SceneReadError(f"{name}: a VRT with a {kind} is not read; {_INSTEAD}")
    known = {key: value for key, value in element.attrib.items() if key != "subClass"}
    copy = Element(element.tag, known)
    if element.tag == "SourceFilename":
        copy.attrib = {"relativeToVRT": "0"}
        copy.text = _taken_over(name, _source(name, element, found.folder), found)
        return copy
    copy.text = element.text
    if element.tag in _TAKEN:
        for child in element:
            if child.tag in _TAKEN[element.tag]:
                copy.append(_checked(name, child, found))
            elif child.tag not in _IDLE:
                raise SceneReadError(f"{name}: a VRT with a {child.tag} is not read; {_INSTEAD}")
    elif element.tag in ("ColorTable", "GCPList"):
        copy.extend(Element(child.tag, child.attrib) for child in element)
    return copy


def _taken_over(name: str, path: str, found: _Found) -> str:
    """Return what stands for a file that a VRT names: its path, and of another VRT its text."""
    if not is_virtual(path):
        found.sources[path] = None
        return path
    if found.within >= DEEPEST:
        raise SceneReadError(f"{name}: VRTs name each other, one below the other; {_INSTEAD}")
    if path not in found.nested:
        found.nested[path] = read_virtual(path, within=found.within + 1)
    text, sources = found.nested[path]
    found.sources.update(dict.fromkeys(sources))
    found.size += len(text)  # it stands there for each channel anew
    if found.size > LARGEST:
        raise SceneReadError(f"{name}: too long for a VRT; {_INSTEAD}")
    return text


def _source(name: str, element: Element, folder: Path) -> str:
    """Return the absolute path of a file that a VRT names."""
    given = (element.text or "").strip()
    base = folder if element.get("relativeToVRT") == "1" else Path.cwd()
    path = Path(check_file(str(base / given)))
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SceneReadError(
            f"{name}: names {given}, which is not in its folder or below; move the VRT to a "
            "folder above its files, or name the files"
        )
    return str(path)
