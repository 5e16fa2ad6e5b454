"""Chunks as the metadata of an array say that they are encoded, without zarr-python.

zarr-python hands every codec of every chunk to another thread, and copies the chunk in between: of a conversion's time
that was a quarter. Arrays that are encoded in another way than ours are left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import Blosc, Zstd
from numpy.typing import NDArray

from npczarr.store.zarr_library import codecs_of, metadata_of

_SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}
_ENDS = [{"name": "crc32c"}]
_CHECKSUM = 4  # bytes
Encode = Callable[[NDArray[Any]], bytes]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes the chunks of one array.

    Parameters
    ----------
    dtype
        Type of the array.
    compress
        Compresses the bytes of a chunk; a checksum (CRC-32C) follows them.
    """

    dtype: np.dtype[Any]
    compress: Encode

    def __call__(self, chunk: NDArray[Any]) -> bytes:
        """Encode a whole chunk, C-contiguous and of the type of the array."""
        assert chunk.dtype == self.dtype
        assert chunk.flags.c_contiguous
        return with_checksum(self.compress(chunk))


def with_checksum(content: bytes) -> bytes:
    """Return the bytes of a chunk with their CRC-32C behind them."""
    checksum: int = google_crc32c.value(content)
    return content + checksum.to_bytes(_CHECKSUM, "little")


def without_checksum(content: bytes) -> bytes | None:
    """Return the bytes of a chunk that its checksum is of; None if it is of others."""
    held = content[:-_CHECKSUM]
    same = google_crc32c.value(held) == int.from_bytes(content[-_CHECKSUM:], "little")
    return held if same else None


def encoder_of(array: Any, chunk: tuple[int, ...]) -> Encoder | None:  # noqa: ANN401 - zarr's arrays are generic
    """Return what encodes the chunks of an array; None if they are not encoded, or not cut, as ours are."""
    if not has_plain_chunks(array) or (array.chunks[-len(chunk) :], set(array.chunks[: -len(chunk)])) != (chunk, {1}):
        return None
    first, *rest = codecs_of(array)
    dtype = np.dtype(array.dtype)
    endian = (first.get("configuration") or {}).get("endian", "little")
    if first["name"] != "bytes" or endian != "little" or not dtype.isnative or rest[1:] != _ENDS:
        return None
    compress = _compressor(rest[0], dtype)
    return None if compress is None else Encoder(dtype, compress)


def has_plain_chunks(array: Any) -> bool:  # noqa: ANN401
    """Whether the chunks of an array are all of one shape, and objects of their own at the places that we write to."""
    metadata = metadata_of(array)
    keys = metadata.get("chunk_key_encoding") or {}
    separator = (keys.get("configuration") or {}).get("separator", "/")
    whole = metadata["chunk_grid"]["name"] == "regular" and array.shards is None
    return whole and (keys.get("name"), separator) == ("default", "/") and not metadata.get("storage_transformers")


def _compressor(codec: dict[str, Any], dtype: np.dtype[Any]) -> Encode | None:
    options = codec.get("configuration") or {}
    if codec["name"] == "zstd":
        found: Encode = Zstd(level=int(options["level"]), checksum=bool(options.get("checksum", False))).encode
        return found
    if codec["name"] != "blosc" or options.get("typesize") != dtype.itemsize or options["shuffle"] not in _SHUFFLES:
        return None
    found = Blosc(
        str(options["cname"]), int(options["clevel"]), _SHUFFLES[options["shuffle"]], int(options.get("blocksize", 0))
    ).encode
    return found
