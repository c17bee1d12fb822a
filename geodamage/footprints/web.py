"""Files on a server: read whole, line by line, or piece by piece, by http and https only."""

import gzip
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from geodamage._version import __version__
from geodamage.errors import SceneReadError, one_line

#: Seconds that a server has for an answer, and how often it is asked.
_TIMEOUT, _TRIES = 60, 3
#: Answers after which it is worth asking again.
_BUSY = {429, 500, 502, 503, 504}
#: Bytes of an index, and of a line of a table.
LARGEST_INDEX = 256 * 2**20
_LONGEST_LINE = 16 * 2**20


class _OnTheWeb(HTTPRedirectHandler):
    """Follow an answer that leads elsewhere, as long as it stays on http and https."""

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, url: str
    ) -> Any:
        return super().redirect_request(req, fp, code, msg, headers, checked(url))


def checked(url: str) -> str:
    """Return a URL that may be read.

    Raises
    ------
    SceneReadError
        If it is of another scheme than http and https.
    """
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        raise SceneReadError(f"{url[:200]}: is not an http or https address; nothing else is read")
    return url


def fetch(url: str) -> bytes:
    """Return a whole file, such as an index.

    Raises
    ------
    SceneReadError
        If it is out of reach, or too long for an index.
    """
    with _answer(url) as answer:
        content = answer.read(LARGEST_INDEX + 1)
    if len(content) > LARGEST_INDEX:
        raise SceneReadError(f"{url}: is too long for an index; is it one?")
    return bytes(content)


@contextmanager
def lines_of(url: str) -> Iterator[Iterator[str]]:
    """Open a compressed table, line by line; it is never kept as a whole.

    Raises
    ------
    SceneReadError
        If it is out of reach, cut short or not gzip.
    """
    with _answer(url) as answer, gzip.open(answer, "rb") as unpacked:
        yield _lines(url, unpacked)


def _lines(url: str, unpacked: IO[bytes]) -> Iterator[str]:
    try:
        while line := unpacked.readline(_LONGEST_LINE):
            yield line.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, HTTPException) as error:
        raise SceneReadError(
            f"{url}: cut short or damaged ({one_line(error)}); try again"
        ) from error


@contextmanager
def _answer(url: str, first: int | None = None, last: int | None = None) -> Iterator[Any]:
    """Ask a server, and again where it is busy."""
    headers = {"User-Agent": f"geodamage/{__version__}"}
    if first is not None:
        headers["Range"] = f"bytes={first}-{last}"
    request = Request(checked(url), headers=headers)
    with _opened(_opener(), request) as answer:
        yield answer


def _opener() -> OpenerDirector:
    return build_opener(_OnTheWeb())


def _opened(opener: OpenerDirector, request: Request) -> Any:
    for attempt in range(1, _TRIES + 1):
        try:
            return opener.open(request, timeout=_TIMEOUT)
        except HTTPError as error:
            error.close()
            if error.code not in _BUSY or attempt == _TRIES:
                raise SceneReadError(
                    f"{request.full_url}: the server answers {error.code} {error.reason}; "
                    "check the address and the release"
                ) from error
        except (URLError, OSError, HTTPException) as error:
            if attempt == _TRIES:
                why = one_line(getattr(error, "reason", error))[:200]
                raise SceneReadError(
                    f"{request.full_url}: out of reach ({why}); check the network"
                ) from error
        time.sleep(attempt)
    raise AssertionError("the last try returns or raises")


class RemoteFile(io.RawIOBase):
    """A file on a server, of which only those pieces are read that are asked for.

    Parameters
    ----------
    url
        Address; its server has to know ranges of bytes.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.place = url, 0
        with _answer(url, 0, 0) as answer:
            whole = str(answer.headers.get("Content-Range", "")).rpartition("/")[2]
        if not whole.isdigit():
            raise SceneReadError(
                f"{url}: the server does not send parts of a file; download it, and give the file"
            )
        self.size = int(whole)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self.place = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        self.place += offset
        return self.place

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as fit."""
        last = min(self.place + len(buffer), self.size) - 1
        if last < self.place:
            return 0
        try:
            with _answer(self.url, self.place, last) as answer:
                content = answer.read(last - self.place + 1)
        except (OSError, HTTPException) as error:
            if isinstance(error, SceneReadError):
                raise
            raise SceneReadError(
                f"{self.url}: broken off ({one_line(error)}); try again"
            ) from error
        if answer.status != 206 or not content:
            raise SceneReadError(f"{self.url}: sent something else than was asked; try again")
        buffer[: len(content)] = content
        self.place += len(content)
        return len(content)
