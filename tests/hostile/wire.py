"""The viewer's server without a network: uvicorn's own protocol and our application are given bytes and give bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="the viewer's server is not installed: npczarr[view]")

import h11  # noqa: E402
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: E402
from uvicorn.server import ServerState  # noqa: E402

from npczarr.store.location import locate  # noqa: E402
from npczarr.store.review import Review  # noqa: E402
from npczarr.viewer.access import Access  # noqa: E402
from npczarr.viewer.app import make_app  # noqa: E402
from npczarr.viewer.desk import ReviewDesk  # noqa: E402
from npczarr.viewer.objects import StoreObjects  # noqa: E402
from npczarr.viewer.serve import _config  # noqa: E402

_PATIENCE_SECONDS = 20


class Wire:
    """A server of a store that is given bytes and gives bytes."""

    def __init__(self, store: Path) -> None:
        self.port = 8123
        self.store = store
        access = Access(self.port)
        self.cookie = f"{access.cookie}={access.exchange(access.token)}"
        objects = StoreObjects(locate(store))
        self._config = _config(
            make_app(objects, access, ReviewDesk(Review(objects.location, store.with_suffix(".csv"))))
        )
        self._config.load()
        self._loop = asyncio.new_event_loop()

    def answer(self, content: bytes) -> bytes:
        """Return all that is answered to these bytes, until nothing is at work any more."""
        # no bytes at all are never given to a protocol: to h11 they are the end of the connection
        return self._loop.run_until_complete(self._answer(content)) if content else b""

    def close(self) -> None:
        """End what still runs."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _answer(self, content: bytes) -> bytes:
        state = ServerState()
        protocol = H11Protocol(self._config, state, {}, _loop=self._loop)
        transport = _Held()
        protocol.connection_made(transport)
        protocol.data_received(content)
        if protocol.conn.their_state is h11.SEND_BODY:  # the rest of the body never comes: whoever asks has gone
            protocol.connection_lost(None)
        while state.tasks:
            done, _ = await asyncio.wait(state.tasks, timeout=_PATIENCE_SECONDS)
            assert done, "the server does not answer"
            await asyncio.sleep(0)  # what is done is taken off the list in the next turn of the loop
        protocol.connection_lost(None)
        return bytes(transport.sent)


class _Held(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40000), "sockname": ("127.0.0.1", 8123)})
        self.sent = bytearray()
        self._closing = False

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Nothing is to be done: there is no socket."""

    def pause_reading(self) -> None:
        """Nothing is to be done: all bytes were given."""

    def resume_reading(self) -> None:
        """Nothing is to be done: all bytes were given."""
