"""Remote imagery, from servers on this machine."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import geopandas as gpd
import pytest

from tests.conftest import listing, run_command


class Ranges(BaseHTTPRequestHandler):
    """Serve the files of a folder, whole or in part, as object stores do."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        path = self.folder / self.path.split("?")[0].rsplit("/", 1)[-1]
        type(self).asked.append(self.path)
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(content) - 1
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or last), last)
        part = content[first : last + 1]
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if send:
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(pair, monkeypatch) -> Iterator[str]:
    Ranges.folder, Ranges.asked = pair.pre.parent, []
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()
    thread.join()


def assess(tmp_path, model, *arguments):
    output = tmp_path / "b.geojson"
    return output, run_command("assess", *arguments, "-o", output, "--model", model)


def test_images_are_read_from_a_web_server(server, pair, model, tmp_path):
    urls = [f"http://{server}/{path.name}" for path in pair]
    output, result = assess(tmp_path, model, *urls, "--allow-remote")
    assert result.exit_code == 0, result.stderr
    (tmp_path / "local").mkdir()
    local, _ = assess(tmp_path / "local", model, *pair)
    assert gpd.read_file(output).equals(gpd.read_file(local))


def test_images_are_read_from_an_object_store(server, pair, model, tmp_path, monkeypatch):
    settings = {
        "AWS_S3_ENDPOINT": server,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    urls = [f"s3://bucket/{path.name}" for path in pair]
    output, result = assess(tmp_path, model, *urls, "--allow-remote")
    assert result.exit_code == 0, result.stderr
    assert len(gpd.read_file(output)) > 0


def test_nothing_is_asked_without_leave(server, pair, model, tmp_path):
    urls = [f"http://{server}/{path.name}" for path in pair]
    _, result = assess(tmp_path, model, *urls)
    assert result.exit_code == 4
    assert "--allow-remote" in result.stderr
    assert Ranges.asked == []


def test_what_is_not_there_is_named(server, pair, model, tmp_path):
    urls = [f"http://{server}/nothing.tif", f"http://{server}/{pair.post.name}"]
    _, result = assess(tmp_path, model, *urls, "--allow-remote")
    assert result.exit_code == 4
    assert "nothing.tif" in result.stderr
    assert result.stderr.count("\n") == result.stderr.count("geodamage: error") + 2
    assert listing(tmp_path) == []
