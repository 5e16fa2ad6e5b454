"""From a path or URL to a Zarr store; the only place that knows which library talks to which protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from npczarr.errors import StoreError

_OBJECT_STORES = ("s3://", "s3a://", "gs://", "az://", "abfs://")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a store lies. Small and free of secrets, so it can travel in a task; each process opens it for itself.

    Parameters
    ----------
    url
        Folder, or the URL of one.
    options
        Storage options, as pairs; credentials belong in the environment of the process that reads or writes.
    """

    url: str
    options: tuple[tuple[str, Any], ...] = ()

    def open(self, *, read_only: bool = False) -> Store:
        """Open it; nothing is created.

        Raises
        ------
        StoreError
            If the protocol is not known or what it needs is not installed.
        """
        if "://" not in self.url:
            return LocalStore(self.url, read_only=read_only)
        try:
            if self.url.startswith(_OBJECT_STORES):
                from obstore.store import from_url

                return ObjectStore(from_url(self.url, **dict(self.options)), read_only=read_only)
            return FsspecStore.from_url(self.url, storage_options=dict(self.options), read_only=read_only)
        except (ImportError, ValueError) as error:
            raise StoreError(
                f"{self.url}: cannot be opened ({error}); install what the protocol needs, for s3:// npczarr[s3]"
            ) from error


def locate(url: str | Path, options: dict[str, Any] | None = None) -> Location:
    """Return the location of a path or URL; a local path is made absolute, so that any process finds it."""
    text = str(url)
    if "://" not in text:
        text = str(Path(text).expanduser().resolve())
    return Location(text.rstrip("/"), tuple(sorted((options or {}).items())))


def get(store: Store, key: str) -> bytes | None:
    """Read an object, or None where there is none."""
    with _named(store, f"read {key}"):
        buffer = sync(store.get(key, default_buffer_prototype()))
    return None if buffer is None else buffer.to_bytes()


def put(store: Store, key: str, content: bytes | bytearray) -> None:
    """Write an object as a whole: a reader sees the old one or the new one."""
    with _named(store, f"write {key}"):
        sync(store.set(key, default_buffer_prototype().buffer.from_bytes(content)))


def put_if_absent(store: Store, key: str, content: bytes) -> bool:
    """Write an object only where there is none; whether this call wrote it."""
    with _named(store, f"write {key}"):
        sync(store.set_if_not_exists(key, default_buffer_prototype().buffer.from_bytes(content)))
    return get(store, key) == content


def delete(store: Store, key: str) -> None:
    """Delete an object, if there is one."""
    with _named(store, f"delete {key}"):
        if sync(store.exists(key)):
            sync(store.delete(key))


@contextmanager
def _named(store: Store, act: str) -> Iterator[None]:
    """Say in one line where something could not be done; each library raises errors of its own."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StoreError(
            f"{store}: cannot {act} ({type(error).__name__}: {reason}); check address, access and space left"
        ) from error
