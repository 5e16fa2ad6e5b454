"""Real servers for tests and benchmarks: S3, and a proxy before it that counts, delays and breaks requests."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

KEY, SECRET = "npczarr-test-key", "npczarr-test-secret-Wq8"
#: Of somebody who may read and write in bucket `priv`, and not list it.
UNLISTED_KEY, UNLISTED_SECRET = "npczarr-unlisted-key", "npczarr-unlisted-secret-Wq8"
#: What makes obstore and s3fs talk to the server, for the environment.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


def weed() -> str | None:
    """The server's program, where it is installed."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, nor on the ones 10000 above, which the server takes as well.

    They are below those that the system gives to outgoing connections, and each worker of pytest has a thousand of its
    own: nobody takes one between this look and the start of the server.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = 11000 + 1000 * (int(worker) % 10)
    found: list[int] = []
    for port in random.sample(range(first, first + 1000), 400):
        with socket.socket() as low, socket.socket() as high:
            try:
                low.bind(("127.0.0.1", port))
                high.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


@dataclass
class Server:
    """A running SeaweedFS: bucket `priv` needs the key, bucket `public` anyone may read."""

    folder: Path
    ports: list[int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def start(self) -> None:
        users = {
            "identities": [
                {"name": "admin", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]},
                {"name": "anonymous", "actions": ["Read:public", "List:public"]},
                {
                    "name": "unlisted",
                    "credentials": [{"accessKey": UNLISTED_KEY, "secretKey": UNLISTED_SECRET}],
                    "actions": ["Read:priv", "Write:priv"],
                },
            ]
        }
        settings = self.folder / "s3.json"
        settings.write_text(json.dumps(users))
        (self.folder / "data").mkdir(exist_ok=True)
        s3, master, volume, filer, admin = self.ports
        command = [
            weed(), "mini", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.config={settings}", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}",
            "-webdav=false", "-admin.ui=false", "-bucket=priv,public",
        ]  # fmt: skip
        with open(self.folder / "weed.log", "ab") as log:
            kept = os.environ | {"TMPDIR": str(self.folder)}  # where it puts its logs
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=kept)
        for _ in range(300):
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                if answer.status == 200 and self._has_buckets() and self._keeps_objects():
                    return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "weed.log").read_text()[-2000:])

    def _has_buckets(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/public?list-type=2", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    def _keeps_objects(self) -> bool:
        """Whether an object can be written and read: the buckets are listed before its volumes are known."""
        bucket = S3Store(
            "priv",
            endpoint=self.url,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True, "timeout": timedelta(seconds=5)},
            retry_config={"max_retries": 0, "backoff": {}, "retry_timeout": timedelta(seconds=5)},
        )
        with suppress(BaseError):
            obstore.put(bucket, "ready", b"ready")
            obstore.get(bucket, "ready").bytes()
            obstore.delete(bucket, "ready")
            return True
        return False

    def stop(self) -> None:
        """Stop at once, as by a power cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        for port in self.ports:  # it leaves its sockets behind
            for number in (port, port + 10000):
                for left in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                    left.unlink(missing_ok=True)


@contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    server = Server(folder, free_ports(5))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Faults:
    """What a proxy does to requests; each share is of all requests, drawn with a seed."""

    delay: float = 0.0
    slow_down: float = 0.0  # answers 503 SlowDown
    error: float = 0.0  # answers 500
    cut: float = 0.0  # closes the connection in the middle of the body; of an empty one, before the answer
    drop: float = 0.0  # closes the connection before the server has heard of the request
    slow: float = 0.0  # waits a second
    absent: str = ""  # the end of a path that answers 404 NoSuchKey when it is read
    seed: int = 0
    injected: Counter[str] = field(default_factory=Counter)


class Proxy(ThreadingHTTPServer):
    """Passes requests on as they are, the Host header with them, for it is part of the signature."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, server: Server, host: str = "127.0.0.1") -> None:
        self.server = server
        self.faults = Faults()
        self.requests: list[tuple[str, str, str]] = []  # method, path, range
        self.bytes_sent = 0
        self._random = random.Random(0)
        self._lock = threading.Lock()
        super().__init__((host, 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"

    def use(self, faults: Faults) -> None:
        """Count from now on, with these faults."""
        with self._lock:
            self.faults, self.requests, self.bytes_sent = faults, [], 0
            self._random = random.Random(faults.seed)

    def count(self, method: str = "") -> int:
        return sum(1 for found, *_ in self.requests if found == method or not method)

    def draw(self) -> str:
        with self._lock:
            share = self._random.random()
            for name in ("slow_down", "error", "cut", "drop", "slow"):
                share -= getattr(self.faults, name)
                if share < 0:
                    self.faults.injected[name] += 1
                    return name
        return ""

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upstream: HTTPConnection | None = None

    def finish(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
        super().finish()

    def _pass(self) -> None:
        proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy.requests.append((self.command, self.path, self.headers.get("Range", "")))
        if proxy.faults.delay:
            time.sleep(proxy.faults.delay)
        if proxy.faults.absent and self.command in ("GET", "HEAD") and self._is_absent(proxy.faults.absent):
            proxy.faults.injected["absent"] += 1
            self._answer(404, {}, b"<Error><Code>NoSuchKey</Code><Message>injected</Message></Error>")
            return
        fault = proxy.draw()
        if fault == "slow":
            time.sleep(1)
        if fault in ("slow_down", "error"):
            code, name = (503, "SlowDown") if fault == "slow_down" else (500, "InternalError")
            self._answer(code, {}, f"<Error><Code>{name}</Code><Message>injected</Message></Error>".encode())
            return
        if fault == "drop":
            self._hang_up()
            return
        status, headers, content = self._ask(body)
        if fault == "cut" and len(content) < 2:
            self._hang_up()  # the server has done it, and the client does not know
            return
        if fault == "cut":
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self._hang_up()
            return
        self._answer(status, headers, content)

    def _is_absent(self, key: str) -> bool:
        return self.path.partition("?")[0].endswith(f"/{key}")

    def _hang_up(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            if self.upstream is None:
                self.upstream = HTTPConnection("127.0.0.1", self.server.server.ports[0], timeout=60)
                self.upstream.connect()
                self.upstream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    self.upstream.putheader(name, value)
            self.upstream.endheaders(body)
            answer = self.upstream.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            self.upstream.close()
            self.upstream = None
            return 503, {}, b"<Error><Code>ServiceUnavailable</Code><Message>server is away</Message></Error>"
        kept = {n: v for n, v in answer.getheaders() if n.lower() not in (*_HOP, "content-length")}
        if self.command == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length", "0")
        return answer.status, kept, content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
            self.server.bytes_sent += len(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def proxy_to(server: Server) -> Iterator[Proxy]:
    with serving(Proxy(server)) as proxy:
        yield proxy


@contextmanager
def serving(proxy: Proxy) -> Iterator[Proxy]:
    """Let a proxy answer in threads."""
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()


def environment(url: str) -> dict[str, str]:
    """Variables by which every process finds the server."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def found_by_all(url: str) -> Iterator[None]:
    """Let whoever reads the environment find a server."""
    with patch.dict(os.environ, environment(url)):
        yield
