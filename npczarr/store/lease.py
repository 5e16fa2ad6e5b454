"""One writer at a time: an object that is created only where there is none, and looked at before each write.

A lease is known by its token. Whoever takes it over replaces it only if it is still the one that was looked at. Whoever
writes checks the token first; on a local file system a lock of the operating system keeps a lease from being taken over
between the check and the write.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from zarr.abc.store import Store
from zarr.storage import LocalStore

from npczarr.errors import LeaseError, NpczarrError, StoreError, UnreachableError
from npczarr.store.folder_store import DRAFT
from npczarr.store.holder import LEASE_KEY, died_here, holder, holding, identity, now, parse, token_of
from npczarr.store.location import Location, delete, get, names_in, put, put_if_absent, replace
from npczarr.store.run_end import changes_of_others, renew

try:
    import fcntl
except ImportError:  # Windows: the token is checked, and nothing more
    fcntl = None  # type: ignore[assignment]

#: When the holder was last heard of; beside the lease, so that a writer that was paused cannot overwrite another's.
HEARTBEAT_KEY = "status/heartbeat.json"
_BEAT_SECONDS = 30.0
_PATIENCE_SECONDS = 10.0  # for writes that are under way when a lease is taken over
_POLL_SECONDS = 0.01


class Lease:
    """The right to write, held by this process until :meth:`release`.

    Parameters
    ----------
    store
        The store that it is for.
    token
        What tells it from every other; workers of this writer are given it.
    """

    def __init__(self, store: Store, token: str) -> None:
        self._store = store
        self.token = token
        self.accepted = False
        self._released = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="npczarr-heartbeat", daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Make sure that the lease was not broken.

        Raises
        ------
        LeaseError
            If somebody else holds it, or nobody.
        """
        check_token(self._store, self.token)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Check the lease, and where the file system can, keep it from being taken over while the block runs."""
        with writing(self._store, self.token):
            yield

    def accept(self) -> None:
        """Seal the store as it is at the end, also what another program has changed."""
        self.accepted = True

    def release(self) -> None:
        """Give it back, unless somebody has taken it over."""
        self.fall_silent()
        self._heart.join(_PATIENCE_SECONDS)
        with _locked(self._store, exclusive=True):
            if token_of(get(self._store, LEASE_KEY)) == self.token:
                delete(self._store, HEARTBEAT_KEY)
                delete(self._store, LEASE_KEY)

    def fall_silent(self) -> None:
        """Say no more that this process is at work."""
        self._released.set()

    def _beat(self) -> None:
        while not self._released.wait(_BEAT_SECONDS):
            with suppress(Exception):  # it informs people; nothing depends on it
                put(self._store, HEARTBEAT_KEY, json.dumps({"token": self.token, "time": now()}).encode())


def check_token(store: Store, token: str) -> None:
    """Make sure that a lease is still the one with this token.

    Raises
    ------
    LeaseError
        If somebody else holds it, or nobody.
    """
    found = get(store, LEASE_KEY)
    if token_of(found) != token:
        raise LeaseError(f"the lease on {store} was taken over by {holder(found)}; nothing more is written here")


@contextmanager
def writing(store: Store, token: str) -> Iterator[None]:
    """Check a token, and where the file system can, keep the lease from being taken over while the block runs.

    An empty token stands for no lease: of a store that nobody else can see.

    Raises
    ------
    LeaseError
        If somebody else holds the lease, or nobody.
    """
    if not token:
        yield
        return
    with _locked(store, exclusive=False):
        check_token(store, token)
        yield


@contextmanager
def hold_lease(store: Store, url: str, *, break_lock: bool = False) -> Iterator[Lease]:
    """Hold the lease of a store while the block runs, and seal the store at its end.

    A lease whose process died on this machine is taken over; any other only with ``break_lock``.

    Raises
    ------
    LeaseError
        If somebody else is writing: who, where and since when; or if the lease was taken over in the meantime.
    ReadOnlyError
        If this process may not write to the store, or not list what is in it.
    """
    token = uuid4().hex
    content = json.dumps({**identity(), "since": now(), "token": token}).encode()
    with holding(token):
        took_over = not put_if_absent(store, LEASE_KEY, content)
        if took_over:
            _take_over(store, url, content, break_lock=break_lock)
        lease = Lease(store, token)
        try:
            with _sealed_at_the_end(store, lease, took_over=took_over):
                yield lease
        finally:
            lease.fall_silent()


@contextmanager
def _sealed_at_the_end(store: Store, lease: Lease, *, took_over: bool) -> Iterator[None]:
    """Seal the store after the block, and give the lease back."""
    with afterwards(store, lease.release):
        lease.check()
        names_in(store)  # whoever may not list could neither clear nor seal, and would learn it halfway
        _clear_partial(store, everywhere=took_over)
        # what an interrupted run left is no change of another program
        before, changed = (None, ()) if took_over else changes_of_others(store)

        with afterwards(store, lambda: renew(lease, store, before, changed)):
            yield


@contextmanager
def afterwards(store: Store, act: Callable[[], None]) -> Iterator[None]:
    """Do something to a store after the block, also if that failed: then its error is told, and not what follows.

    Where the server of the store went away nothing more is asked of it: each request would wait for a minute again.
    """
    try:
        yield
    except BaseException as error:
        away = isinstance(error, UnreachableError) and urlsplit(error.place)[:2] == urlsplit(str(store))[:2]
        with suppress(NpczarrError, OSError):
            if not away:
                act()
        raise
    act()


def _clear_partial(store: Store, *, everywhere: bool) -> None:
    """Delete the files that a killed writer had begun; on an object store there are none.

    A young one of a lease may be what another process writes at this moment, to ask for it: that stays.

    Parameters
    ----------
    everywhere
        Whether they may be anywhere; where the lease was free, they are beside it: its end is what was killed.
    """
    if isinstance(store, LocalStore):
        lease = Path(store.root, LEASE_KEY)
        for path in Path(store.root).rglob(f"*{DRAFT}") if everywhere else lease.parent.glob(f"*{DRAFT}"):
            with suppress(FileNotFoundError):
                asking = path.parent == lease.parent and path.name.startswith(f"{lease.stem}.")
                if not asking or time.time() - path.stat().st_mtime > _PATIENCE_SECONDS:
                    path.unlink()


def end_interrupted(location: Location, *, break_lock: bool = False) -> None:
    """Seal a store whose last run was killed before its end, here or as `break_lock` says, and end its lease.

    A store that somebody else is writing stays as it is, and so does one that this process cannot write to.
    """
    store = location.open(read_only=True)
    found = get(store, LEASE_KEY) if lease_is_held(store) else None
    if found is not None and (break_lock or died_here(found)):
        with suppress(StoreError), hold_lease(location.open(), location.shown, break_lock=break_lock):
            pass


def lease_is_held(store: Store) -> bool:
    """Whether somebody writes to a store, or was interrupted."""
    try:
        return get(store, LEASE_KEY) is not None
    except StoreError:  # a bucket without the right to list refuses what is absent
        return False


def _take_over(store: Store, url: str, content: bytes, *, break_lock: bool) -> None:
    """Put a lease in the place of another, if that may be and nobody else does it first."""
    found = get(store, LEASE_KEY)
    if not (break_lock or died_here(found)):
        raise LeaseError(
            f"{url} is being written by {holder(found)}{_last_heard(store, found)}; wait for it to end, or if it no "
            "longer runs, take over with --break-lock (break_lock=True)"
        )
    with _locked(store, exclusive=True, url=url):
        taken = put_if_absent(store, LEASE_KEY, content) if found is None else replace(store, LEASE_KEY, found, content)
    if not taken:
        now = get(store, LEASE_KEY)
        raise LeaseError(f"{url} is being written by {holder(now)}, who took it over first; wait for it to end")


@contextmanager
def _locked(store: Store, *, exclusive: bool, url: str = "") -> Iterator[None]:
    """Hold a lock of the operating system on the lease of a local store; many may write, one alone may take over.

    Raises
    ------
    LeaseError
        If somebody goes on writing while the lease is to be taken over, and `url` says of what.
    """
    folder = _folder(store)
    if fcntl is None or folder is None:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # no such folder: nobody can be writing
        yield
        return
    try:
        if not _lock(handle, exclusive=exclusive) and url:
            raise LeaseError(
                f"{url}: a writer is in the middle of a write, though it may be paused; end that process, then try "
                "again"
            )
        yield
    finally:
        os.close(handle)


def _lock(handle: int, *, exclusive: bool) -> bool:
    """Wait for a lock, not for ever; whether there is one now, or the file system has no locks."""
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if exclusive and time.monotonic() > end:
                return False
            time.sleep(_POLL_SECONDS)
        except OSError:
            return True
        else:
            return True


def _folder(store: Store) -> Path | None:
    return Path(store.root, LEASE_KEY).parent if isinstance(store, LocalStore) else None


def _last_heard(store: Store, content: bytes | None) -> str:
    beat = parse(get(store, HEARTBEAT_KEY))
    known = token_of(content) and beat.get("token") == token_of(content)
    return f", last heard of at {beat.get('time')}" if known else ""
