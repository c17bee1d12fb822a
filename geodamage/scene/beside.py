"""What stands beside a GeoTIFF: what is not looked at there, and what may be at all.

GDAL opens overviews and masks beside a file by any driver that claims them. They could therefore
name other files or servers, so only TIFF files are allowed beside it. PAM files (.aux.xml) can do
the same and are not read: `geodamage.scene.unread` names what they say.
"""

import hashlib
import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from geodamage.errors import SceneReadError
from geodamage.scene.served import served_instead
from geodamage.sources import is_remote

#: First bytes of TIFF and BigTIFF, in either order of bytes.
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: First bytes of JPEG 2000, in its container and bare, and how a remote one is called.
_JPEG2000, _JPEG2000_NAMES = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), (".jp2", ".j2k")
#: Endings of what GDAL opens beside a file as an image.
_IMAGES = (".ovr", ".msk", ".aux")
#: Bytes that are read of a sidecar, and of a file to tell whether it has changed.
_MOST, _HEAD = 2**20, 2**16
#: First bytes of PNG and JPEG.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff")
#: First bytes of other formats, what they are called, and what to do.
_OTHERS = (
    (b"NITF", "an NITF; convert it with gdal_translate -of COG"),
    (b"<VRT", "a virtual file; call it .vrt, or write it out with gdal_translate -of COG"),
    (b"\x89HDF", "an HDF5; convert it with gdal_translate -of COG"),
    (b"PK\3\4", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"<", "a page or XML; was an error saved instead of the image?"),
)


def require_plain_siblings(name: str) -> None:
    """Check that what GDAL would open beside a local file is a TIFF.

    Raises
    ------
    SceneReadError
        If anything else is called so.
    """
    if is_remote(name):
        return  # there, nothing beside is looked for
    for other in siblings(Path(name)):
        start = start_of(other, 16)
        is_raster = other.suffix.lower() != ".aux" or start.startswith(b"EHFA_HEADER_TAG")
        if is_raster and start[:4] not in TIFF:
            raise SceneReadError(
                f"{name}: {other.name} beside it would be read with it, and is no TIFF; "
                "move it away"
            )


def siblings(path: Path) -> list[Path]:
    """Return the files that are called like overviews or masks of an image."""
    try:
        names = _names(str(path.parent), path.parent.stat().st_mtime_ns)
    except OSError:
        return []
    own = (path.name.lower(), path.stem.lower())
    found = []
    for name in names:
        base = name.lower()
        while base.endswith(_IMAGES):
            base = base.rpartition(".")[0]
            if base in own:
                found.append(path.with_name(name))
                break
    return found


@lru_cache(maxsize=4)
def _names(folder: str, changed: int) -> tuple[str, ...]:
    # A folder may hold thousands of tiles, and each is looked up in this.
    found = [one.name for one in os.scandir(folder) if one.name.lower().endswith(_IMAGES)]
    return tuple(sorted(name for name in found if not Path(folder, name).is_dir()))


def start_of(path: Path, size: int) -> bytes:
    """Return the first bytes of a file; none of what is no file, or cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def contradictions(name: str, masked: bool, has_nodata: bool, alpha: int | None) -> tuple[str, ...]:
    """Return a line where several things say where an image is valid."""
    say = [
        what
        for what, there in (
            ("a mask", masked),
            ("a nodata value", has_nodata),
            ("an alpha channel", alpha is not None),
        )
        if there
    ]
    if len(say) < 2:
        return ()
    return (f"{name}: has {' and '.join(say)}; a pixel is valid only where all of them say so",)


def is_jpeg2000(name: str) -> bool:
    """Say whether an image is JPEG 2000: by its content, and a remote one by its name."""
    if is_remote(name):
        return name.partition("?")[0].lower().endswith(_JPEG2000_NAMES)
    return start_of(Path(name), 8).startswith(_JPEG2000)


def hint_of(name: str) -> str:
    """Return what a file is that is no GeoTIFF, and what to do; nothing where that is not known."""
    if is_remote(name):
        return served_instead(name)
    path = Path(name)
    start = start_of(path, 64).lstrip()
    if start.startswith(_PICTURES):
        kind = "PNG" if start.startswith(_PICTURES[0]) else "JPEG"
        placed_by = next((one for one in _placing(path) if one.is_file()), None)
        if placed_by is None:
            return f"; it is a {kind} that nothing places on the Earth; georeference it in a GIS"
        return (
            f"; it is a {kind}, placed by {placed_by.name}; write it out with gdal_translate "
            f"-a_srs EPSG:nnnn -of COG {path.name} new.tif"
        )
    return next((f"; it is {told}" for head, told in _OTHERS if start.startswith(head)), "")


def _placing(path: Path) -> list[Path]:
    """Return what may place a picture: .pgw, .pngw, .wld or .aux.xml beside a .png."""
    kind = path.suffix.lower().removeprefix(".")
    endings = (f".{kind[:1]}{kind[-1:]}w", f".{kind}w", ".wld")
    names = [path.with_suffix(ending) for ending in endings]
    names += [name.with_suffix(name.suffix.upper()) for name in names]
    pam = Path(f"{path}.aux.xml")
    return [*names, pam] if b"<GeoTransform" in start_of(pam, _MOST) else names


def mask_beside(name: str, is_there: Callable[[str], bool]) -> tuple[str, ...]:
    """Return a line where a mask stands beside a remote image, which is not read with it.

    Parameters
    ----------
    name
        The image, as GDAL opens it.
    is_there
        Says whether a GeoTIFF is at an address.
    """
    address, mark, key = name.partition("?")
    if not is_there(f"{address}.msk{mark}{key}"):
        return ()
    file = address.rpartition("/")[2]
    return (
        f"{name}: {file}.msk beside it says where it is valid, and is not read; download both, and "
        f"bring it in with gdal_translate --config GDAL_TIFF_INTERNAL_MASK YES {file} new.tif",
    )


def stac_item(name: str) -> dict[str, Any]:
    """Return the STAC item beside a file, of the same name with .json; nothing where none is."""
    beside = Path(name).with_suffix(".json")
    try:
        if not beside.is_file() or beside.stat().st_size > _MOST:
            return {}
        item = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # what lies beside an image need not be a STAC item
    return item if isinstance(item, dict) and "stac_version" in item else {}


#: Size, time of change and a hash of the first bytes of a file.
FilePrint = tuple[int, int, str]


def file_prints(*names: str) -> tuple[tuple[str, FilePrint], ...]:
    """Return the prints of local files that are there, by name."""
    prints = ((name, _file_print(name)) for name in names)
    return tuple((name, seen) for name, seen in prints if seen is not None)


def _file_print(name: str) -> FilePrint | None:
    if is_remote(name):
        return None
    try:
        found = Path(name).stat()
    except OSError:
        return None
    head = hashlib.sha256(start_of(Path(name), _HEAD)).hexdigest()
    return found.st_size, found.st_mtime_ns, head


def require_unchanged(seen: tuple[tuple[str, FilePrint], ...]) -> None:
    """Check that files are as they were when they were opened.

    Raises
    ------
    SceneReadError
        If one was written to since: then pixels of both may be in the result.
    """
    for name, before in seen:
        if _file_print(name) != before:
            raise SceneReadError(f"{name}: was changed while it was read; run again")
