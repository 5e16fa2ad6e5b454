"""A web server that gives ranges of bytes, as any host of large files does, and counts what it gives."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@contextmanager
def ranges_over_http(folder: Path, *, signature: str = "") -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Serve a folder; yields its URL, and the requests: path, and bytes that were given.

    With a signature each request must have it as its query, and HEAD of an archive is refused: it is signed for GET.
    """
    requests: list[tuple[str, int]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *args: object) -> None:
            pass

        def _answer(self, *, with_body: bool) -> None:
            place, _, query = self.path.partition("?")
            path = folder / unquote(place).lstrip("/")
            refused = signature and (query != signature or (not with_body and path.suffix == ".zip"))
            if refused or not path.is_file():
                self.send_response(403 if refused else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content, status = path.read_bytes(), 200
            total = len(content)
            if found := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
                first = int(found[1]) if found[1] else max(0, total - int(found[2]))
                last = int(found[2]) + 1 if found[1] and found[2] else total
                content, status = content[first:last], 206
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{first + len(content) - 1}/{total}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{total}"')
            self.send_header("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_body:
                requests.append((self.path, len(content)))
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
