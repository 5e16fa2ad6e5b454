"""The objects of a store through obstore: what zarr asks, tried again, and written only if nobody else wrote."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from zarr.abc.store import ByteRequest
from zarr.storage import ObjectStore

from npczarr.errors import LeaseError
from npczarr.model.options import redacted
from npczarr.store.storage_errors import retry, silence_of, translate_errors
from npczarr.store.zarr_library import Buffer, BufferPrototype

Answer = TypeVar("Answer")

#: Keys that the lease, the seal and workers write by themselves.
_NOT_GUARDED = re.compile(r"(image|mask)/c/|status/[a-z]+(\.json)?$(?<!zarr\.json)")
#: Where whoever is reading wants to know when the objects were written.
_TIMES: ContextVar[list[datetime] | None] = ContextVar("_TIMES", default=None)
#: Of what is absent, read in part, or without a time (of 1970, then): it may have been written just now.
_UNKNOWN = datetime.max.replace(tzinfo=UTC)


@contextmanager
def times_of_reading() -> Iterator[list[datetime]]:
    """Gather when each object that is read within the block was last written, by the clock of its server.

    The list stays empty where the store is no object store.
    """
    times: list[datetime] = []
    token = _TIMES.set(times)
    try:
        yield times
    finally:
        _TIMES.reset(token)


def _version(meta: Any) -> Any:  # noqa: ANN401 - of obstore
    """Return what tells this version of an object from others, as obstore takes it; empty if nothing does."""
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}


class Objects(ObjectStore[Any]):
    """What zarr asks; tries again what obstore does not: conditional writes, listings, answers that are cut.

    Parameters
    ----------
    store, url
        Store of obstore, and its URL for messages.
    versions
        Versions of the tables that were read, by key: a table that somebody else has written since is not overwritten
        (`If-Match`). None for a store that is not guarded.
    """

    def __init__(
        self,
        store: Any,  # noqa: ANN401 - of obstore
        *,
        read_only: bool = False,
        url: str = "",
        versions: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(store, read_only=read_only)
        self._url = url
        self._versions = versions
        self._silence = silence_of(url)

    def guarded(self) -> Self:
        """Return the same store, which overwrites only those tables and metadata that are as it has read them."""
        return type(self)(self.store, read_only=self.read_only, url=self._url, versions={})

    def __str__(self) -> str:
        return redacted(self._url)

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the same store to be read, or to be written."""
        return type(self)(self.store, read_only=read_only, url=self._url, versions=self._versions)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object or a part of it, or None where there is none."""
        if self._versions is not None and byte_range is None and not _NOT_GUARDED.match(key):
            return await self._get_version(key, prototype, self._versions)
        if (times := _TIMES.get()) is not None:
            if byte_range is None:
                return await self._get_timed(key, prototype, times)
            times.append(_UNKNOWN)
        return await self._ask(f"read {key}", lambda: super(Objects, self).get(key, prototype, byte_range))

    async def set(self, key: str, value: Buffer) -> None:
        """Write in one request, for whole objects appear at once; one of more than 5 GB is refused and named."""
        import obstore

        self._check_writable()
        content = value.to_bytes()
        if self._versions is not None and key in self._versions:
            await self._set_version(key, content, self._versions)
            return
        await self._ask(f"write {key}", lambda: obstore.put_async(self.store, key, content, use_multipart=False))

    async def _get_version(self, key: str, prototype: BufferPrototype, versions: dict[str, Any]) -> Buffer | None:
        """Read an object whole, and note its version.

        Raises
        ------
        LeaseError
            If it was read before, and somebody else has written it since.
        """
        import obstore

        async def read() -> Buffer | None:
            try:
                found = await obstore.get_async(self.store, key)
            except FileNotFoundError:
                versions.pop(key, None)
                return None
            content = prototype.buffer.from_bytes(bytes(await found.bytes_async()))
            if versions.setdefault(key, _version(found.meta)) != _version(found.meta):
                raise self._foreign(key)
            return content

        return await self._ask(f"read {key}", read)

    async def _get_timed(self, key: str, prototype: BufferPrototype, times: list[datetime]) -> Buffer | None:
        """Read an object whole, and note when it was written."""
        import obstore

        async def read() -> Buffer | None:
            try:
                found = await obstore.get_async(self.store, key)
            except FileNotFoundError:
                times.append(_UNKNOWN)
                return None
            content: Any = await found.bytes_async()
            written = found.meta["last_modified"]
            times.append(written if written.timestamp() > 0 else _UNKNOWN)
            return prototype.buffer.from_bytes(content)

        return await self._ask(f"read {key}", read)

    async def _set_version(self, key: str, content: bytes, versions: dict[str, Any]) -> None:
        """Write an object if it is still of the version that was noted.

        Raises
        ------
        LeaseError
            If somebody else has written it.
        """
        import obstore
        from obstore.exceptions import PreconditionError

        async def write() -> None:
            try:
                put = await obstore.put_async(
                    self.store, key, content, mode=versions[key] or "overwrite", use_multipart=False
                )
                versions[key] = _version(put)
            except PreconditionError as error:
                found = await obstore.get_async(self.store, key)
                if bytes(await found.bytes_async()) != content:  # else an answer was lost, and this call wrote it
                    raise self._foreign(key) from error
                versions[key] = _version(found.meta)

        await self._ask(f"write {key}", write)

    def _foreign(self, key: str) -> LeaseError:
        return LeaseError(
            f"{self}: {key} was written by another process since it was read; nothing more is written here"
        )

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write where there is nothing; after a lost answer it may be this object that is there already."""
        await self._ask(f"write {key}", lambda: super(Objects, self).set_if_not_exists(key, value))

    async def set_if_same(self, key: str, expected: bytes, value: bytes) -> bool:
        """Write where an object still holds what is expected (`If-Match`); whether this call wrote it."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        self._check_writable()

        async def compared() -> bool:
            try:
                found = await obstore.get_async(self.store, key)
            except FileNotFoundError:
                return False
            there = bytes(await found.bytes_async())
            if there != expected:
                return there == value  # after a lost answer this call wrote it already
            version = _version(found.meta)
            try:
                await obstore.put_async(self.store, key, value, mode=version, use_multipart=False)
            except (PreconditionError, AlreadyExistsError):
                return False
            return True

        return await self._ask(f"write {key}", compared)

    async def stamp(self, key: str) -> tuple[str, datetime]:
        """Return the ETag of an object, and when it was last written; the time for both where there is no ETag."""
        import obstore

        async def looked_up() -> tuple[str, datetime]:
            found = await obstore.head_async(self.store, key)
            return str(found["e_tag"] or found["last_modified"]), found["last_modified"]

        return await self._ask(f"look for {key}", looked_up)

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return await self._ask(f"look for {key}", lambda: super(Objects, self).exists(key))

    async def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        await self._ask(f"delete {key}", lambda: super(Objects, self).delete(key))

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """List the names in a folder."""

        async def listed() -> list[str]:
            return [name async for name in super(Objects, self).list_dir(prefix)]

        for name in await self._ask(f"list {prefix or 'it'}", listed):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        """List the objects in a folder and its folders."""

        async def listed() -> list[str]:
            return [key async for key in super(Objects, self).list_prefix(prefix)]

        for key in await self._ask(f"list {prefix or 'it'}", listed):
            yield key

    async def delete_dir(self, prefix: str) -> None:
        """Delete all objects in a folder."""
        await self._ask(f"delete {prefix}", lambda: super(Objects, self).delete_dir(prefix))

    async def _ask(self, act: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        with translate_errors(self, act), self._silence.watched(self, act):
            return await retry(request)
