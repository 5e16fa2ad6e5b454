"""From a path or URL to a Zarr store; the only place that knows which library talks to which protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from npczarr.errors import StoreError
from npczarr.model.options import check_options
from npczarr.store.faults import first_line, is_broken, one_line
from npczarr.store.objects import is_object_store, open_objects


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
        return _open(self, read_only)


def locate(url: str | Path, options: Mapping[str, Any] | None = None) -> Location:
    """Return the location of a path or URL; a local path is made absolute, so that any process finds it.

    Raises
    ------
    ParameterError
        If an option is a secret, or of a kind that no task could carry.
    """
    check_options(options or {}, str(url))
    text = str(url)
    if "://" not in text:
        text = str(Path(text).expanduser().resolve())
    return Location(text.rstrip("/"), tuple(sorted((options or {}).items())))


def _open(location: Location, read_only: bool) -> Store:
    url, options = location.url, dict(location.options)
    if "://" not in url:
        return _Files(url, read_only=read_only)
    try:
        if is_object_store(url):
            return open_objects(url, options, read_only=read_only)
        return FsspecStore.from_url(url, storage_options=options, read_only=read_only)
    except (ImportError, ValueError, TypeError) as error:
        raise StoreError(f"{url}: cannot be opened ({first_line(error)}); {_needs(url)}") from error


class _Files(LocalStore):
    """A folder; a full disk is told in one line, whatever was being written."""

    async def set(self, key: str, value: Buffer) -> None:
        with one_line(self, f"write {key}"):
            await super().set(key, value)


def _needs(url: str) -> str:
    protocol = url.partition("://")[0]
    known = protocol in ("s3", "s3a", "gs", "gcs", "az", "abfs", "http", "https")
    needs = f"{protocol}:// needs what pip install 'npczarr[s3]' installs"
    return f"check the address and the options; {needs if known else 'known are s3://, gs://, az:// and https://'}"


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of an object, and the version of it that they are from where the store tells one."""

    data: bytes
    version: str | None = None


def fetch(store: Store, key: str, span: slice | None = None) -> Part | None:
    """Read an object, or a part of it, in one request; None where there is no object.

    Parameters
    ----------
    span
        ``slice(start, stop)``, or ``slice(-n, None)`` for the last bytes; by default all of it.
    """
    with one_line(store, f"read {key}"):
        try:
            if isinstance(store, LocalStore):
                return Part(_read_file(store.root / key, span))
            if isinstance(store, ObjectStore):
                return _fetch_object(store.store, key, span)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:
            if not is_broken(error):
                raise
        # the store's own way is slower, and tries again
        buffer = sync(store.get(key, default_buffer_prototype(), _byte_request(span)))
    return None if buffer is None else Part(buffer.to_bytes())


def get(store: Store, key: str) -> bytes | None:
    """Read an object whole, or None where there is none."""
    part = fetch(store, key)
    return None if part is None else part.data


def put(store: Store, key: str, content: bytes | bytearray) -> None:
    """Write an object as a whole: a reader sees the old one or the new one."""
    with one_line(store, f"write {key}"):
        sync(store.set(key, default_buffer_prototype().buffer.from_bytes(content)))


def put_if_absent(store: Store, key: str, content: bytes) -> bool:
    """Write an object only where there is none; whether this call wrote it."""
    with one_line(store, f"write {key}"):
        sync(store.set_if_not_exists(key, default_buffer_prototype().buffer.from_bytes(content)))
    return get(store, key) == content


def delete(store: Store, key: str) -> None:
    """Delete an object, if there is one."""
    with one_line(store, f"delete {key}"):
        if sync(store.exists(key)):
            sync(store.delete(key))


def keys_below(store: Store, prefix: str) -> list[str]:
    """List the objects in a folder and its folders."""

    async def listed() -> list[str]:
        return [key async for key in store.list_prefix(f"{prefix}/")]

    with one_line(store, f"list {prefix}"):
        return sync(listed())


def _read_file(path: Path, span: slice | None) -> bytes:
    with open(path, "rb") as file:
        if span is None:
            return file.read()
        file.seek(span.start, os.SEEK_SET if span.start >= 0 else os.SEEK_END)
        return file.read() if span.stop is None else file.read(span.stop - span.start)


def _fetch_object(store: Any, key: str, span: slice | None) -> Part:  # noqa: ANN401 - any store of obstore
    import obstore
    from obstore.exceptions import NotSupportedError

    whole: Any = None
    wanted: Any = {} if span is None else {"range": (span.start, span.stop)}
    if span is not None and span.stop is None:
        wanted = {"range": {"suffix": -span.start}}
    try:
        whole = obstore.get(store, key, options=wanted)
    except NotSupportedError:  # Azure has no requests for the last bytes
        return Part(bytes(obstore.get(store, key).bytes())[span or slice(None)])
    return Part(bytes(whole.bytes()), whole.meta.get("e_tag"))


def _byte_request(span: slice | None) -> ByteRequest | None:
    if span is None:
        return None
    return SuffixByteRequest(-span.start) if span.stop is None else RangeByteRequest(span.start, span.stop)
