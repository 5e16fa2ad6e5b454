"""A viewer's server for tests, and a client that sends addresses as they are written."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="the viewer's server is not installed: npczarr[view]")

from npczarr.store.location import locate  # noqa: E402
from npczarr.store.review import Review  # noqa: E402
from npczarr.viewer.access import Access  # noqa: E402
from npczarr.viewer.app import make_app  # noqa: E402
from npczarr.viewer.desk import ReviewDesk  # noqa: E402
from npczarr.viewer.objects import StoreObjects  # noqa: E402


@dataclass
class Served:
    """A running server."""

    port: int
    access: Access
    store: str
    read: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", cookie: bool = True, **headers: str):
        """Send one request; status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host="Host" in headers)
        sent = {"Cookie": self.cookie()} if cookie else {}
        for name, value in (sent | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def cookie(self) -> str:
        """What a browser sends once it has used a token."""
        return f"{self.access.cookie}={self.access.exchange(self.access.token)}"


class _Recorded(StoreObjects):
    """Remembers the keys that were read."""

    def __init__(self, served: Served, url: str | Path, options=None) -> None:
        super().__init__(locate(url, options))
        self._served = served

    def read(self, key: str) -> bytes | None:
        self._served.read.append(key)
        return super().read(key)


@contextmanager
def serve(url: str | Path, options=None, predicted=None, **desk) -> Iterator[Served]:
    """Serve a store in this process, on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    served = Served(port, Access(port), str(url))
    objects = _Recorded(served, url, options)
    review = Review(objects.location, desk.pop("csv_file", None))
    app = make_app(objects, served.access, ReviewDesk(review, **desk), predicted)
    config = uvicorn.Config(app, log_level="warning", http="h11", ws="none", lifespan="off", server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
