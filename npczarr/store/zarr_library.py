"""What of zarr-python is not public, or differs between its versions; everything else of it is used as documented."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.group import GroupMetadata
from zarr.core.sync import sync
from zarr.errors import ZarrUserWarning

__all__ = ["Buffer", "BufferPrototype"]
Answer = TypeVar("Answer")
_LEVEL = {"lz4": 3, "zstd": 1}
#: What Blosc compresses at once; 0 stands for its own choice, 64 KiB or less, which is too small for zstd.
_BLOCK_BYTES = {"lz4": 0, "zstd": 2**18}
TABLE_LEVEL = 3


def _read_groups_without_assert() -> None:
    """Let zarr read the metadata of a group under ``python -O`` and ``PYTHONOPTIMIZE``.

    Version 3.1.6 takes the entry `node_type` out of them in an ``assert``, which Python leaves out then.
    """
    read = GroupMetadata.from_dict
    with suppress(TypeError):
        read({"zarr_format": 3, "node_type": "group"})
        return  # this version does without

    def from_dict(cls: type[GroupMetadata], data: dict[str, Any]) -> GroupMetadata:
        return read({key: value for key, value in data.items() if (key, value) != ("node_type", "group")})

    GroupMetadata.from_dict = classmethod(from_dict)  # type: ignore[method-assign, assignment]


if not __debug__:
    _read_groups_without_assert()


def run(request: Coroutine[Any, Any, Answer]) -> Answer:
    """Wait for a request on zarr's own event loop."""
    return sync(request)


def settle() -> None:
    """Wait for what else zarr's event loop does: after an error, answers that nobody takes would be tracebacks."""

    async def others() -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*rest, return_exceptions=True)

    run(others())


def as_buffer(content: bytes | bytearray) -> Buffer:
    """Wrap bytes as a store takes them."""
    return default_buffer_prototype().buffer.from_bytes(content)


def no_range() -> tuple[BufferPrototype]:
    """Return the arguments by which a store gives an object whole."""
    return (default_buffer_prototype(),)


def image_codecs(codec: str) -> list[Any]:
    """Codecs of `image`. Byte shuffle: c-blosc drops bit shuffle in silence for odd chunks, and it decodes slower."""
    name: Any = codec
    if codec == "none":
        return [Crc32cCodec()]
    blosc = BloscCodec(cname=name, clevel=_LEVEL[codec], shuffle="shuffle", blocksize=_BLOCK_BYTES[codec])
    return [blosc, Crc32cCodec()]


def table_codecs() -> list[Any]:
    """Codecs of `mask` and of every table."""
    return [ZstdCodec(level=TABLE_LEVEL), Crc32cCodec()]


def codecs_of(array: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - zarr's array types are generic over formats
    """Codecs of an array as its metadata spell them: their Python classes differ between versions of zarr."""
    described: list[dict[str, Any]] = json.loads(json.dumps(array.metadata.to_dict()["codecs"], default=str))
    return described


def blosc_codec(array: Any) -> str | None:  # noqa: ANN401
    """Compressor inside Blosc, or None where the array is encoded otherwise."""
    found = [codec["configuration"]["cname"] for codec in codecs_of(array) if codec["name"] == "blosc"]
    return str(found[0]).rpartition(".")[2] if found else None


#: Of an array that is created or opened: chunks that hold nothing but the fill value are written too. Not by
#: ``zarr.config``, which all threads share: one that leaves such a block takes the setting from the others.
WRITE_ALL_CHUNKS: Any = {"write_empty_chunks": True}


@contextmanager
def no_user_warnings() -> Iterator[None]:
    """Silence zarr's warnings about consolidated metadata and about folders without metadata.

    Consolidated metadata are a convention that zarr-python, xarray and others share; the text of Zarr v3 does not
    mention it yet. A folder without metadata is what an interrupted run leaves.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        yield


def consolidate(root: zarr.Group) -> None:
    """Write the metadata of every array into the root, so that opening takes one request."""
    with no_user_warnings():
        zarr.consolidate_metadata(root.store, path=root.path)


def metadata_of(array: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Return the metadata of an array as its ``zarr.json`` holds them."""
    described: Mapping[str, Any] = array.metadata.to_dict()
    return described
