"""Who holds a lease: which process, on which start of which machine, in which container."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

# below an array, where Zarr does not look for members: an unknown object in a group warns everyone who lists it
LEASE_KEY = "status/lease.json"
#: Tokens of the leases that this process holds at this moment.
_HELD: set[str] = set()


@contextmanager
def holding(token: str) -> Iterator[None]:
    """Say that a lease with this token is held by this process while the block runs, or is being asked for."""
    _HELD.add(token)
    try:
        yield
    finally:
        _HELD.discard(token)


def identity() -> dict[str, Any]:
    """Say which process this is, so that no other on any machine or in any container is taken for it."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "boot": _read(lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()),
        "namespace": _read(lambda: os.readlink("/proc/self/ns/pid")),
        "process": process.pid,
        "started": process.create_time(),
    }


def _read(what: Callable[[], str]) -> str:
    try:
        return what()
    except OSError:  # not Linux
        return ""


def now() -> str:
    """Return the time, as a lease says it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def parse(content: bytes | None) -> dict[str, Any]:
    """Read what a lease says; nothing where it is damaged."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def token_of(content: bytes | None) -> str:
    """Return the token of a lease, "" where it has none."""
    return str(parse(content).get("token", ""))


def holder(content: bytes | None) -> str:
    """Say who holds a lease, for messages."""
    found = parse(content)
    if not found:
        return "a writer that left no name"
    return f"process {found.get('process')} on {found.get('host')} since {found.get('since')}"


def died_here(content: bytes | None) -> bool:
    """Whether a lease is of a process of this machine, this start of it and this container, that no longer runs.

    One of this process is dead, too, once its run has ended: it could not be given back, as when a disk failed.
    """
    found, here = parse(content), identity()
    same = all(found.get(name) == here[name] for name in ("host", "boot", "namespace"))
    if not found or not same:
        return False
    if found.get("process") == os.getpid() and found.get("started") == here["started"]:
        return token_of(content) not in _HELD
    try:
        return bool(psutil.Process(int(found["process"])).create_time() != found.get("started"))
    except psutil.NoSuchProcess:
        return True
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False
