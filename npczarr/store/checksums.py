"""What tells the state of an array from any other, without reading it: the checksums that its chunks end in."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import Store, SuffixByteRequest
from zarr.storage import LocalStore

from npczarr.store.hierarchy import dtype_of
from npczarr.store.storage_errors import translate_errors
from npczarr.store.whole import unwrapped
from npczarr.store.zarr_library import codecs_of, no_range, run

_TAIL = 16  # bytes at the end of a chunk, of which the last four are the CRC-32C of the rest
_AT_ONCE = 64  # requests in flight


def state_of(store: Store, arrays: Mapping[str, Any]) -> dict[str, str]:
    """Return digests of arrays of a store by path: of their metadata, and of the checksums of their chunks.

    What is no array, or not there, has the digest of nothing.
    """
    keys = {path: _chunk_keys(path, found) for path, found in arrays.items() if isinstance(found, zarr.Array)}
    checked = {path: _has_checksum(arrays[path]) for path in keys}
    ends = _ends(unwrapped(store), {key: checked[path] for path in keys for key in keys[path]})
    states = {}
    for path, found in arrays.items():
        content = blake2b(digest_size=16)
        if path in keys:
            content.update(json.dumps(_described(found), sort_keys=True, default=str).encode())
            for key in keys[path]:
                content.update(ends[key])
        states[path] = content.hexdigest()
    return states


def _described(found: Any) -> dict[str, Any]:  # noqa: ANN401 - a zarr array
    return {"shape": found.shape, "dtype": dtype_of(found), "attributes": found.attrs.asdict()}


def _has_checksum(found: Any) -> bool:  # noqa: ANN401 - a zarr array
    return str(codecs_of(found)[-1]["name"]) == "crc32c"


def _chunk_keys(path: str, found: Any) -> list[str]:  # noqa: ANN401 - a zarr array
    sizes = found.shards or found.chunks
    places = product(*(range(-(-n // size)) for n, size in zip(found.shape, sizes, strict=True)))
    return [f"{path}/{found.metadata.encode_chunk_key(place)}" for place in places]


def _ends(store: Store, keys: Mapping[str, bool]) -> dict[str, bytes]:
    """Return the last bytes of objects by key, or where these are no checksum a digest of the whole."""
    with translate_errors(store, "read the checksums of its tables"):
        if isinstance(store, LocalStore):  # a thread for each file would take ten times as long
            found = [_end_of_file(Path(store.root, key), checksum=checksum) for key, checksum in keys.items()]
        else:
            found = run(_ends_of_objects(store, keys))
    whole = [end if checksum else blake2b(end).digest() for end, checksum in zip(found, keys.values(), strict=True)]
    return dict(zip(keys, whole, strict=True))


def _end_of_file(path: Path, *, checksum: bool) -> bytes:
    """Return the last bytes of a file, or all; none where there is no file."""
    try:
        with open(path, "rb", buffering=0) as file:
            if checksum:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read()
    except FileNotFoundError:
        return b""


async def _ends_of_objects(store: Store, keys: Mapping[str, bool]) -> list[bytes]:
    free = asyncio.Semaphore(_AT_ONCE)

    async def end(key: str, *, checksum: bool) -> bytes:
        async with free:
            found = await store.get(key, *no_range(), SuffixByteRequest(_TAIL) if checksum else None)
        return b"" if found is None else found.to_bytes()

    return list(await asyncio.gather(*(end(key, checksum=checksum) for key, checksum in keys.items())))
