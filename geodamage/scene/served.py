"""What a web server sends: instead of an image, where GDAL could not open it, and beside one."""

from base64 import b64encode
from http.client import HTTPException
from urllib.parse import unquote, urlsplit
from urllib.request import Request, build_opener

_PREFIX = "/vsicurl/"
#: Seconds to wait for an answer, and bytes that tell what it is.
_PATIENCE, _HEAD = 10, 64


def served_instead(name: str) -> str:
    """Return what is wrong with what a server sends for a name of GDAL's; nothing if not known."""
    answer = _answer(name, _HEAD)
    if answer is None:
        return ""  # GDAL has said why
    is_whole, start = answer[0] == 200, answer[1].lstrip()
    if start.startswith(b"<"):
        return "; the server sends a page, no image: give the address of the file itself"
    if is_whole:
        return "; the server sends no parts of files: download the image"
    return ""


def served_beside(name: str, ending: str, most: int) -> bytes:
    """Return the first bytes of what is called like a remote image and an ending; none if nothing.

    Parameters
    ----------
    name
        The image, as GDAL opens it; a key after `?` stays at the end.
    ending
        Such as `.aux.xml`.
    most
        Bytes.
    """
    address, mark, key = name.partition("?")
    answer = _answer(f"{address}{ending}{mark}{key}", most)
    return b"" if answer is None else answer[1]


def _answer(name: str, size: int) -> tuple[int, bytes] | None:
    """Return the status and the first bytes of what a server sends; None where it refuses.

    Object stores are not asked: that takes their keys.
    """
    if not name.lower().startswith((f"{_PREFIX}http://", f"{_PREFIX}https://")):
        return None
    try:
        with build_opener().open(_request(name, size), timeout=_PATIENCE) as answer:
            return answer.status, answer.read(size)
    except (OSError, ValueError, HTTPException):
        return None


def _request(name: str, size: int) -> Request:
    """Return a request for the first bytes; a user and a password of the URL become a header."""
    url = urlsplit(name.removeprefix(_PREFIX))
    headers = {"Range": f"bytes=0-{size - 1}"}
    host = url.netloc.rpartition("@")[2]
    if url.username is not None:
        known = f"{unquote(url.username)}:{unquote(url.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(known.encode()).decode()}"
    return Request(url._replace(netloc=host).geturl(), headers=headers)
