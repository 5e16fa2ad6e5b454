"""Arrays that must be whole: npczarr writes every chunk of a table and of a scan's box; an absent one is damage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from zarr.abc.store import ByteRequest, Store
from zarr.storage import WrapperStore

from npczarr.errors import AbsentChunkError
from npczarr.model.derived import advice_for
from npczarr.model.schema import COORDINATES
from npczarr.store.zarr_library import Buffer, BufferPrototype

_CHUNK = re.compile(r".*/c(/\d+)+")
#: Attribute of the root by which xarray finds coordinates; xarray itself writes another text, or none.
_COORDINATES = " ".join(COORDINATES)


class WholeArrays(WrapperStore[Store]):
    """A store that raises an error where a chunk is absent, once it is known to have been written whole.

    Padding has no chunks: of `image` and `mask` nothing is read through it but the boxes of stored scans.

    Parameters
    ----------
    store
        The store that it wraps.
    whole
        Whether every chunk that is read must be there.
    """

    def __init__(self, store: Store, *, whole: bool = False) -> None:
        super().__init__(store)
        self.whole = whole

    def __str__(self) -> str:
        return str(self._store)

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, whole=self.whole)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object or a part of it.

        Raises
        ------
        AbsentChunkError
            If it is a chunk and absent.
        """
        found = await self._store.get(key, prototype, byte_range)
        if found is None and self.whole and _CHUNK.fullmatch(key):
            raise AbsentChunkError(
                f"{self}: {key} is absent or may not be read, and its array cannot do without; {advice_for(key)}"
            )
        return found


def unwrapped(store: Store) -> Store:
    """Return the store that holds the objects."""
    return store._store if isinstance(store, WholeArrays) else store


def is_written_whole(attributes: Mapping[str, Any]) -> bool:
    """Whether npczarr alone wrote a store: what xarray copies or appends leaves out fill values.

    Parameters
    ----------
    attributes
        Attributes of the root.
    """
    return attributes.get("coordinates") == _COORDINATES


@contextmanager
def absent_allowed(store: Store) -> Iterator[None]:
    """Read chunks that are absent as fill values within the block: a resize writes them afterwards."""
    before = store.whole if isinstance(store, WholeArrays) else False
    if isinstance(store, WholeArrays):
        store.whole = False
    try:
        yield
    finally:
        if isinstance(store, WholeArrays):
            store.whole = before
