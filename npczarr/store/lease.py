"""One writer at a time: an object that is created only where there is none."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psutil
from zarr.abc.store import Store

from npczarr.errors import LeaseError
from npczarr.store.location import delete, get, put, put_if_absent

# below an array, where Zarr does not look for members: an unknown object in a group warns everyone who lists it
LEASE_KEY = "status/lease.json"


class Lease:
    """The right to write, held by this process until :meth:`release`."""

    def __init__(self, store: Store, content: bytes) -> None:
        self._store = store
        self._content = content

    def check(self) -> None:
        """Make sure that the lease was not broken.

        Raises
        ------
        LeaseError
            If somebody else holds it, or nobody.
        """
        found = get(self._store, LEASE_KEY)
        if found != self._content:
            raise LeaseError(f"the lease on the store was taken over by {_holder(found)}; nothing more is written here")

    def release(self) -> None:
        """Give it back, unless somebody has taken it over."""
        if get(self._store, LEASE_KEY) == self._content:
            delete(self._store, LEASE_KEY)


@contextmanager
def hold_lease(store: Store, url: str, *, break_lock: bool = False) -> Iterator[Lease]:
    """Hold the lease of a store while the block runs.

    A lease whose process died on this machine is taken over; any other only with ``break_lock``.

    Raises
    ------
    LeaseError
        If somebody else is writing: who, where and since when.
    """
    process = psutil.Process()
    content = json.dumps(
        {
            "host": socket.gethostname(),
            "process": process.pid,
            "started": process.create_time(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "token": uuid4().hex,
        }
    ).encode()
    if not put_if_absent(store, LEASE_KEY, content):
        found = get(store, LEASE_KEY)
        if not (break_lock or _died_here(found)):
            raise LeaseError(
                f"{url} is being written by {_holder(found)}; wait for it to end, or if it no longer runs, "
                "take over with --break-lock (break_lock=True)"
            )
        put(store, LEASE_KEY, content)
    lease = Lease(store, content)
    lease.check()
    try:
        yield lease
    finally:
        lease.release()


def _parse(content: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _holder(content: bytes | None) -> str:
    found = _parse(content)
    if not found:
        return "a writer that left no name"
    return f"process {found.get('process')} on {found.get('host')} since {found.get('since')}"


def _died_here(content: bytes | None) -> bool:
    found = _parse(content)
    if not found or found.get("host") != socket.gethostname() or found.get("process") == os.getpid():
        return False
    try:
        return bool(psutil.Process(int(found["process"])).create_time() != found.get("started"))
    except psutil.NoSuchProcess:
        return True
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False
