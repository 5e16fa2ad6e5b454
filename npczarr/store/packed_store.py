"""A store in one uncompressed zip file, read in place: on a disk, or from any server that gives ranges of bytes."""

from __future__ import annotations

import io
import struct
import threading
import zipfile
from collections.abc import AsyncIterator, Iterable
from typing import Self

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from npczarr.errors import ReadOnlyError, StoreError
from npczarr.store.zarr_library import Buffer, BufferPrototype, no_range

_TAIL = 2**18  # bytes at the end of the file that are read first: they hold the directory of a small cohort
_LOCAL_HEADER = 30  # bytes before the name of a member
_ROOM = 1024  # for the name of a member and its extra field, so that one request gets header and content


class PackedStore(Store):
    """The members of a zip file as the objects of a store; read only.

    Parameters
    ----------
    inner
        The store that holds the file.
    key
        Its name there; "" where the URL of `inner` is that of the file.
    """

    def __init__(self, inner: Store, key: str) -> None:
        super().__init__(read_only=True)
        self._inner = inner
        self._key = key
        self._members: dict[str, zipfile.ZipInfo] | None = None
        self._starts: dict[str, int] = {}
        self._reading = threading.Lock()

    def __str__(self) -> str:
        return f"{self._inner}/{self._key}".rstrip("/")

    def __repr__(self) -> str:
        return f"PackedStore({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PackedStore) and (self._inner, self._key) == (other._inner, other._key)

    def __hash__(self) -> int:
        return hash((type(self), self._key))

    @property
    def supports_writes(self) -> bool:
        """False: a packed store is never changed."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """False: a packed store is never changed."""
        return False

    @property
    def supports_listing(self) -> bool:
        """True: the directory of the zip file lists its members."""
        return True

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object or a part of it.

        Raises
        ------
        StoreError
            If the file is damaged, or its members are compressed.
        """
        info = (await self._directory()).get(key)
        if info is None:
            return None
        first, last = _bounds(byte_range, info.file_size)
        start = self._starts.get(key)
        if start is not None:
            return await self._range(start + first, start + last, prototype)
        # the content begins behind a header of its own, whose length only the header itself tells
        found = await self._range(info.header_offset, info.header_offset + _LOCAL_HEADER + _ROOM + last, prototype)
        head = found[0:_LOCAL_HEADER].to_bytes()
        if len(head) < _LOCAL_HEADER or head[:4] != b"PK\x03\x04":
            raise StoreError(f"{self}: the file is damaged at {key}; download it again")
        behind = _LOCAL_HEADER + sum(struct.unpack("<HH", head[26:30]))
        self._starts[key] = info.header_offset + behind
        if behind > _LOCAL_HEADER + _ROOM:
            return await self._range(self._starts[key] + first, self._starts[key] + last, prototype)
        return found[behind + first : behind + last]

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of several objects."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return key in await self._directory()

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        raise self._sealed()

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        raise self._sealed()

    async def list(self) -> AsyncIterator[str]:
        """List every object."""
        for key in await self._directory():
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the objects whose keys begin so."""
        for key in await self._directory():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List the names directly below a folder."""
        folder = prefix.rstrip("/") + "/" if prefix else ""
        below = (key[len(folder) :] for key in await self._directory() if key.startswith(folder))
        for name in dict.fromkeys(key.partition("/")[0] for key in below):
            yield name

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the store itself, which can only be read."""
        if not read_only:
            raise self._sealed()
        return self

    def _sealed(self) -> ReadOnlyError:
        return ReadOnlyError(f"{self}: a packed store is never changed; unpack it, or change the store it was made of")

    async def _directory(self) -> dict[str, zipfile.ZipInfo]:
        if self._members is None:
            members = await self._read_directory()
            with self._reading:
                self._members = self._members or members
        return self._members

    async def _read_directory(self) -> dict[str, zipfile.ZipInfo]:
        tail = await self._inner.get(self._key, *no_range(), SuffixByteRequest(_TAIL))
        if tail is None:
            return {}
        content = tail.to_bytes()
        try:
            start, before_end = _directory_place(content)
            if before_end > len(content):
                content = (await self._range(start, start + before_end, no_range()[0])).to_bytes()
            else:
                content = content[-before_end:]
            with zipfile.ZipFile(io.BytesIO(content)) as directory:
                members = [info for info in directory.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
            raise StoreError(f"{self}: no whole zip file; download it again") from error
        packed = next((info.filename for info in members if info.compress_type != zipfile.ZIP_STORED), None)
        if packed is not None:
            raise StoreError(
                f"{self}: its members are compressed ({packed}), so they cannot be read in place; unpack it, or pack "
                "the store with npczarr pack"
            )
        for info in members:
            info.header_offset += start  # zipfile counts from the beginning of what it was given
        return {info.filename: info for info in members}

    async def _range(self, start: int, end: int, prototype: BufferPrototype) -> Buffer:
        found = await self._inner.get(self._key, prototype, RangeByteRequest(start, end))
        if found is None:
            raise StoreError(f"{self}: the file is gone; check the path")
        return found


def _bounds(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    """First and last byte, exclusive, of a part of an object."""
    if isinstance(byte_range, RangeByteRequest):
        return min(byte_range.start, size), min(byte_range.end, size)
    if isinstance(byte_range, OffsetByteRequest):
        return min(byte_range.offset, size), size
    if isinstance(byte_range, SuffixByteRequest):
        return max(0, size - byte_range.suffix), size
    return 0, size


def _directory_place(tail: bytes) -> tuple[int, int]:
    """Tell where the central directory begins: bytes from the start of the file, and bytes before its end.

    Both are of the record at the end (APPNOTE 6.3.10, 4.3.14 and 4.3.16), so the size of the file need not be asked
    for: a signed URL allows no such request.

    Raises
    ------
    ValueError
        If there is no such record.
    """
    end = tail.rindex(b"PK\x05\x06")
    size, start = struct.unpack("<II", tail[end + 12 : end + 20])
    if tail[max(0, end - 20) : end].startswith(b"PK\x06\x07"):  # of many members, or of a large file
        end = tail.rindex(b"PK\x06\x06", 0, end)
        size, start = struct.unpack("<QQ", tail[end + 40 : end + 56])
    return int(start), len(tail) - end + int(size)
