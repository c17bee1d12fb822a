"""What a web server sends instead of an image, asked where GDAL could not open it."""

from http.client import HTTPException
from urllib.request import Request, build_opener

_PREFIX = "/vsicurl/"
#: Seconds to wait for an answer, and bytes of it.
_PATIENCE, _HEAD = 10, 64


def served_instead(name: str) -> str:
    """Return what is wrong with what a server sends for a name of GDAL's; nothing if not known.

    Object stores are not asked: that takes their keys.
    """
    if not name.lower().startswith((f"{_PREFIX}http://", f"{_PREFIX}https://")):
        return ""
    request = Request(name.removeprefix(_PREFIX), headers={"Range": f"bytes=0-{_HEAD - 1}"})
    try:
        with build_opener().open(request, timeout=_PATIENCE) as answer:
            is_whole, start = answer.status == 200, answer.read(_HEAD).lstrip()
    except (OSError, ValueError, HTTPException):
        return ""  # GDAL has said why
    if start.startswith(b"<"):
        return "; the server sends a page, no image: give the address of the file itself"
    if is_whole:
        return "; the server sends no parts of files: download the image"
    return ""
