"""From a path or URL to a Zarr store; the only place that knows which library talks to which protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zarr.abc.store import Store
from zarr.storage import FsspecStore

from npczarr.errors import ReadOnlyError, StoreError
from npczarr.model.options import Options, family_of, fsspec_options, local_path, normalize_options, redacted
from npczarr.outputs import expanded
from npczarr.store.folder_store import FolderStore
from npczarr.store.object_store import credentials_in_environment, is_object_store, open_objects, split_query
from npczarr.store.objects import Objects
from npczarr.store.packed_store import PackedStore
from npczarr.store.storage_errors import NO_BUCKET, first_line, is_bucket_missing, translate_errors
from npczarr.store.zarr_library import Buffer, as_buffer, no_range, run

_WRITTEN_AT_ONCE = 16  # objects
_READ_AT_ONCE = 64  # objects, each over a connection of its own: a process may have a thousand


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """Where a store is. Small, and shown without secrets, so it can travel in a task; each process opens it for itself.

    Parameters
    ----------
    url
        Folder, zip file of a packed store, or the URL of either. The query of a web URL goes with each request.
    options
        Storage options, normalized; credentials belong in the environment of the process that reads or writes.
    """

    url: str
    options: Options = ()

    def __repr__(self) -> str:
        return f"Location({self.shown!r}, {dict(self.options)})"

    @property
    def shown(self) -> str:
        """The URL for messages: without user, password and query."""
        return redacted(self.url)

    @property
    def is_packed(self) -> bool:
        """Whether the store is one zip file."""
        return split_query(self.url)[0].lower().endswith(".zip")

    def open(self, *, read_only: bool = False) -> Store:
        """Open it; nothing is created.

        Raises
        ------
        StoreError
            If the protocol is not known or what it needs is not installed.
        """
        if self.is_packed:
            return self._open_packed(read_only=read_only)
        return self._open_at(self.url, read_only=read_only)

    def _open_at(self, url: str, *, read_only: bool) -> Store:
        """Open the folder at a URL, with the options of this location."""
        options = self.options
        if "://" not in url:
            return FolderStore(url, read_only=read_only)
        try:
            if is_object_store(url):
                return open_objects(url, options, read_only=read_only)
            return FsspecStore.from_url(url, storage_options=fsspec_options(url, options), read_only=read_only)
        except (ImportError, ValueError, TypeError) as error:
            raise StoreError(f"{self.shown}: cannot be opened ({first_line(error)}); {_advice(url, error)}") from error

    def _open_packed(self, *, read_only: bool) -> Store:
        """Open a store in one zip file, by way of the folder that the file is in.

        By HTTP the URL is taken whole: its escapes and its query are for the server alone to read.
        """
        if not read_only:
            raise ReadOnlyError(
                f"{self.shown}: a packed store is never changed; change the store it was made of, and pack it again"
            )
        folder, _, name = self.url.rpartition("/")
        if family_of(self.url) == "http":
            folder, name = self.url, ""
        return PackedStore(self._open_at(folder or "/", read_only=True), name)

    @property
    def is_remote(self) -> bool:
        """Whether each request costs a round trip."""
        return "://" in self.url

    def session(self) -> tuple[tuple[str, str], ...]:
        """Return what a client remembers of the environment: what is cached for one session is wrong in another."""
        return credentials_in_environment() if self.is_remote else ()


def locate(url: str | Path, options: Mapping[str, Any] | None = None) -> Location:
    """Return the location of a path or URL; a local path is made absolute, so that any process finds it.

    Raises
    ------
    ParameterError
        If an option is a secret, not known, or of a kind that no task could carry.
    """
    url = local_path(url)
    normalized = normalize_options(options, url)
    text = str(url)
    if "://" not in text:
        text = str(expanded(text).resolve())
    path, query = split_query(text)
    return Location(path.rstrip("/") + query, normalized)


def _advice(url: str, error: Exception) -> str:
    if family_of(url) is None:
        return "check the address and the options; known are s3://, gs://, az:// and https://"
    if isinstance(error, ImportError):
        return f"{url.partition('://')[0]}:// needs what pip install 'npczarr[s3]' installs"
    return "check the address and the options"


def get(store: Store, key: str) -> bytes | None:
    """Read an object whole, or None where there is none."""
    with translate_errors(store, f"read {key}"):
        buffer = run(store.get(key, *no_range()))
    return None if buffer is None else buffer.to_bytes()


def get_all(store: Store, keys: Sequence[str], *, failures: bool = True) -> list[bytes | None]:
    """Read objects whole, many at once; None where there is none, or without `failures` where one cannot be read."""

    async def read() -> list[Buffer | None]:
        free = asyncio.Semaphore(_READ_AT_ONCE)

        async def one(key: str) -> Buffer | None:
            async with free:
                return await store.get(key, *no_range())

        found = await asyncio.gather(*(one(key) for key in keys), return_exceptions=not failures)
        return [None if isinstance(buffer, BaseException) else buffer for buffer in found]

    with translate_errors(store, f"read {next(iter(keys), '')} …"):
        return [None if buffer is None else buffer.to_bytes() for buffer in run(read())]


def put(store: Store, key: str, content: bytes | bytearray) -> None:
    """Write an object as a whole: a reader sees the old one or the new one."""
    with translate_errors(store, f"write {key}"):
        run(store.set(key, as_buffer(content)))


def put_all(store: Store, contents: Iterable[tuple[str, bytes]]) -> None:
    """Write objects, each as a whole, several at once; into a folder as :meth:`FolderStore.put_all` does."""
    if isinstance(store, FolderStore):
        store.put_all(contents)
        return
    held = dict(contents)  # made by this thread: the one of the requests has others to serve

    async def write() -> None:
        free = asyncio.Semaphore(_WRITTEN_AT_ONCE)

        async def one(key: str, content: bytes) -> None:
            async with free:
                await store.set(key, as_buffer(content))

        # all have ended before an error is told: whoever is told of it gives the lease back
        ends = await asyncio.gather(*(one(key, content) for key, content in held.items()), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    with translate_errors(store, f"write {next(iter(held), '')} …"):
        run(write())


def put_if_absent(store: Store, key: str, content: bytes) -> bool:
    """Write an object only where there is none; whether this call wrote it."""
    with translate_errors(store, f"write {key}"):
        run(store.set_if_not_exists(key, as_buffer(content)))
    return get(store, key) == content


def replace(store: Store, key: str, expected: bytes, content: bytes) -> bool:
    """Write an object only where it still holds what is expected; whether this call wrote it.

    An object store compares by itself (`If-Match`); elsewhere the caller must keep others from writing in between.
    """
    if isinstance(store, Objects):
        with translate_errors(store, f"write {key}"):
            return run(store.set_if_same(key, expected, content))
    if get(store, key) != expected:
        return False
    put(store, key, content)
    return get(store, key) == content


def delete(store: Store, key: str) -> None:
    """Delete an object, if there is one."""
    with translate_errors(store, f"delete {key}"):
        if run(store.exists(key)):
            run(store.delete(key))


def delete_below(store: Store, prefix: str) -> None:
    """Delete every object in a folder and its folders."""
    with translate_errors(store, f"delete {prefix}"):
        run(store.delete_dir(prefix))


def exists(store: Store, key: str) -> bool:
    """Whether there is an object."""
    with translate_errors(store, f"look for {key}"):
        return run(store.exists(key))


def names_in(store: Store) -> list[str]:
    """List the names directly in a store."""

    async def listed() -> list[str]:
        return [name async for name in store.list_dir("")]

    with translate_errors(store, "list it"):
        return run(listed())


def absence_reason(store: Store) -> str:
    """Say why there is no store, and what to do: an object store tells only a listing that its bucket is missing."""
    if isinstance(store, Objects):
        try:
            names_in(store)
        except StoreError as error:
            if is_bucket_missing(error.__cause__):
                return NO_BUCKET
    return "no store here; check the path, or make one with npczarr convert"


def keys_below(store: Store, prefix: str) -> list[str]:
    """List the objects in a folder and its folders; "" is the whole store."""

    async def listed() -> list[str]:
        return [key async for key in store.list_prefix(f"{prefix}/" if prefix else "")]

    with translate_errors(store, f"list {prefix or 'it'}"):
        return run(listed())
