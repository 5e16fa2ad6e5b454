"""Chunks that we encode are, byte for byte, those that zarr-python writes; what is encoded otherwise is left to it."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from npczarr.model.layout import Layout
from npczarr.model.records import PADDING
from npczarr.store import chunks
from npczarr.store.create import create
from npczarr.store.describe import root_attributes
from npczarr.store.encoding import encoder_of
from npczarr.store.location import locate
from tests.store.small import snapshot

SHAPES = ((7, 20, 33), (6, 24, 40), (1, 3, 40), (5, 24, 7))


def made(url, layout):
    location = locate(url)
    create(location.open(), ["a"], [f"s{i}" for i in range(len(SHAPES))], layout,
           root_attributes(layout.dtype, rated=False, of={}))  # fmt: skip
    return location


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_chunks_are_those_of_zarr_python(tmp_path, monkeypatch, codec, dtype):
    layout = Layout((7, 24, 40), (3, 24, 40), (4, 24, 40), dtype, codec)
    rng = np.random.default_rng(4)
    stores = [made(tmp_path / name, layout) for name in ("ours", "theirs")]
    for i, shape in enumerate(SHAPES):
        image = rng.integers(-900, 900, shape).astype(dtype)
        image[: shape[0] // 2] = PADDING[dtype]  # chunks that hold nothing
        mask = np.zeros((shape[2], shape[0], shape[1]), np.uint8).transpose(1, 2, 0)  # not in C order
        mask[-1, -2:, -3:] = 1
        for store in stores:
            if store is stores[1]:
                monkeypatch.setattr(chunks, "encoder_of", lambda *_: None)
            chunks._writable.cache_clear()
            chunks.write_voxels(store, "image", (0, i), image, layout, PADDING[dtype])
            chunks.write_voxels(store, "mask", (0, i), mask, layout, 0)
            monkeypatch.undo()
        for name, voxels in (("image", image), ("mask", mask)):
            stored = zarr.open_array(stores[0].url, path=name, mode="r")[0, i]
            assert np.array_equal(stored[tuple(slice(n) for n in shape)], voxels)
    ours, theirs = ({key: held for key, held in snapshot(Path(store.url)).items() if "/c/" in key and key[0] in "im"}
                    for store in stores)  # fmt: skip
    assert ours == theirs
    assert any(key.startswith("image/c/0/3") for key in ours)


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (1, 3, 24, 20)},
        {"chunks": (2, 3, 24, 40)},
        {"shards": (1, 6, 24, 40)},
        {"compressors": None},
        {"compressors": [zarr.codecs.GzipCodec()]},
        {"compressors": [zarr.codecs.Crc32cCodec(), zarr.codecs.ZstdCodec()]},
        {"compressors": [zarr.codecs.ZstdCodec()]},
        {"compressors": [zarr.codecs.BloscCodec(typesize=1), zarr.codecs.Crc32cCodec()]},
        {"serializer": zarr.codecs.BytesCodec(endian="big")},
        {"filters": [zarr.codecs.TransposeCodec(order=(3, 2, 1, 0))]},
        {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"chunk_key_encoding": {"name": "default", "separator": "."}},
        {"dtype": ">i2"},
    ],
    ids=str,
)
def test_what_is_encoded_otherwise_is_left_to_zarr(tmp_path, options):
    ours = {
        "shape": (2, 7, 24, 40), "chunks": (1, 3, 24, 40), "dtype": "int16",
        "compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()],
    }  # fmt: skip
    assert encoder_of(zarr.create_array(tmp_path / "ours", **ours), (3, 24, 40)) is not None
    other = zarr.create_array(tmp_path / "other", **(ours | options))
    assert encoder_of(other, (3, 24, 40)) is None
