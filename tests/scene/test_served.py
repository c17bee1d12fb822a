"""What a server sends instead of an image: it is asked where GDAL could not open it."""

import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from geodamage.errors import SceneReadError
from geodamage.scene.opening import open_plain
from geodamage.scene.served import served_beside, served_instead


class Handler(BaseHTTPRequestHandler):
    """Answer every request with `content` as a whole, or with its beginning."""

    content, status = b"", 200
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Keep stderr clean."""


@pytest.fixture
def url(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"/vsicurl/http://127.0.0.1:{server.server_port}/a.tif?sig=K"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (200, b"II*\0" * 100, "; the server sends no parts of files: download the image"),
        (200, b"  <html>log in</html>", "; the server sends a page, no image: give the address"),
        (206, b"<?xml", "; the server sends a page"),
        (206, b"II*\0" * 16, ""),
        (403, b"<html>", ""),
    ],
)
def test_what_is_sent_is_told(url, monkeypatch, status, content, told):
    monkeypatch.setattr(Handler, "status", status)
    monkeypatch.setattr(Handler, "content", content)
    found = served_instead(url)
    assert found.startswith(told)
    assert bool(found) == bool(told)


def test_what_is_beside_is_asked_for_by_its_name_with_the_key_and_the_password(url, monkeypatch):
    monkeypatch.setattr(Handler, "content", b"<PAMDataset>" * 100)
    monkeypatch.setattr(Handler, "asked", [])
    with_user = url.replace("http://", "http://me:a%20b@")
    assert served_beside(with_user, ".aux.xml", 20) == (b"<PAMDataset>" * 2)[:20]
    assert Handler.asked == [("/a.tif.aux.xml?sig=K", f"Basic {b64encode(b'me:a b').decode()}")]
    monkeypatch.setattr(Handler, "status", 404)
    assert served_beside(url, ".aux.xml", 20) == b""


def test_stores_and_servers_that_are_not_there_are_passed_over(monkeypatch):
    monkeypatch.setattr("geodamage.scene.served.build_opener", None)  # who asks, fails
    for name in ("/vsis3/bucket/a.tif", "/vsiaz/c/a.tif", "/vsicurl/file:///a.tif", "a.tif"):
        assert served_instead(name) == ""
        assert served_beside(name, ".aux.xml", 20) == b""


def test_the_refusal_of_an_image_tells_it(monkeypatch):
    told = "; the server sends a page, no image: give the address of the file itself"
    monkeypatch.setattr("geodamage.scene.beside.served_instead", lambda name: told)
    with pytest.raises(SceneReadError, match=r"out of reach.*the server sends a page"):
        open_plain("/vsicurl/http://127.0.0.1:9/a.tif")
