"""The objects of a store on a plain web server, which gives what it is asked for, lists nothing and takes nothing."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Any, NoReturn, TypeVar

from npczarr.errors import ReadOnlyError, StoreError
from npczarr.store.objects import Objects
from npczarr.store.zarr_library import Buffer, no_range

Answer = TypeVar("Answer")

#: Requests in flight to a server by http://, as browsers have it: a plain one drops connections beyond a handful, and
#: they are tried again seconds later. By https:// many share one connection.
_AT_ONCE = 6
_MANY_AT_ONCE = 64
_MOST_CHUNKS = 100_000  # of a table: each of them is a request


class WebObjects(Objects):
    """A store by http:// or https://: what it holds is told by the metadata in its root, and it is never written."""

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """Give the names of the arrays and groups of a group, and of its own metadata.

        Raises
        ------
        StoreError
            If the root of the store does not name them.
        """
        folder = prefix.strip("/")
        start = f"{folder}/" if folder else ""
        below = [path.removeprefix(start) for path in await self._paths() if path.startswith(start)]
        for name in dict.fromkeys(path.partition("/")[0] for path in below):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        """Give the chunks of an array that are there: the server is asked for each of them.

        Raises
        ------
        StoreError
            If the prefix is not that of the chunks of one array, as in ``"age/c/"``.
        """
        members = await self._members()
        path = prefix.partition("/c/")[0]
        if "/c/" not in prefix or members.get(path, {}).get("node_type") != "array":
            raise self._unlisted()
        expected = [key for key in self._chunks(path, members[path]) if key.startswith(prefix)]
        for key, there in zip(expected, await asyncio.gather(*map(self.exists, expected)), strict=True):
            if there:
                yield key

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        self._refuse()

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        self._refuse()

    async def set_if_same(self, key: str, expected: bytes, value: bytes) -> bool:
        """Refuse to write."""
        self._refuse()

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        self._refuse()

    async def delete_dir(self, prefix: str) -> None:
        """Refuse to delete."""
        self._refuse()

    async def _paths(self) -> list[str]:
        """Return the paths of all metadata; none where there is no store."""
        members = await self._members()
        return ["zarr.json", *(f"{path}/zarr.json" for path in members)] if members else []

    async def _members(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the metadata of every array and group by path; none where there is no store."""
        root = await self.get("zarr.json", *no_range())
        if root is None:
            return {}
        consolidated = json.loads(root.to_bytes()).get("consolidated_metadata")
        if not consolidated:
            raise self._unlisted()
        members: Mapping[str, Mapping[str, Any]] = consolidated["metadata"]
        return members

    def _chunks(self, path: str, metadata: Mapping[str, Any]) -> Iterator[str]:
        """Give the keys of an array's objects, with ``/`` between the indices as npczarr writes them."""
        sizes = zip(metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"], strict=True)
        counts = [-(-n // chunk) for n, chunk in sizes]
        if math.prod(counts) > _MOST_CHUNKS:
            raise self._unlisted()
        return ("/".join((path, "c", *map(str, index))) for index in product(*map(range, counts)))

    async def _ask(self, act: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        async with _turns(self._url, asyncio.get_running_loop()):
            return await super()._ask(act, request)

    def _unlisted(self) -> StoreError:
        return StoreError(
            f"{self}: a web server does not list what it holds, and this needs it; copy the store to a folder, or "
            "serve it by S3 (s3://)"
        )

    def _refuse(self) -> NoReturn:
        raise ReadOnlyError(
            f"{self}: read only, for nothing can be written by HTTP; copy the store to a folder or to s3://, and write "
            "to that"
        )


@lru_cache(maxsize=64)
def _turns(url: str, loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
    """Return what lets so many requests to a server go at once as it bears."""
    return asyncio.Semaphore(_AT_ONCE if url.startswith("http://") else _MANY_AT_ONCE)
