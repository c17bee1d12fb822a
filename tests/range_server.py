"""Serve the files of a folder, whole or in part, as object stores do.

    python tests/range_server.py FOLDER LOG

Prints its port, and appends to LOG a line for each request: method, path, Range header or `-`.
It is a process of its own, since GDAL may hold the GIL while it waits for an answer.
"""

import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answer HEAD and GET; `silent.tif` never gets an answer."""

    folder: Path
    log: Path

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        asked = self.headers.get("Range", "")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{self.command} {self.path} {asked or '-'}\n")
        name = self.path.partition("?")[0].rpartition("/")[2]
        if name == "silent.tif":
            time.sleep(60)
        path = self.folder / name
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
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
        """Keep stderr clean."""


if __name__ == "__main__":
    Handler.folder, Handler.log = Path(sys.argv[1]), Path(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
