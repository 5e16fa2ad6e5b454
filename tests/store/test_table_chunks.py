"""Tables past zarr-python: the same bytes, the same values, and whatever is not as ours is left to it."""

import asyncio

import numpy as np
import pytest
import zarr
from numcodecs import Zstd
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore, MemoryStore

from npczarr.errors import StoreError
from npczarr.store.encoding import with_checksum
from npczarr.store.location import put_all
from npczarr.store.table_chunks import read_ours, read_rows, write_rows
from npczarr.store.zarr_library import TABLE_LEVEL, WRITE_ALL_CHUNKS, table_codecs

TEXT = np.dtypes.StringDType()


def make(folder, name="a", *, shape=(7, 3), chunks=(4, 3), dtype="float64", fill=np.nan, **options):
    root = zarr.open_group(LocalStore(folder), mode="a")
    options = {"compressors": table_codecs(), **options}
    return root.create_array(
        name, shape=shape, chunks=chunks, dtype=dtype, fill_value=fill, config=WRITE_ALL_CHUNKS, **options
    )


def values_of(table, seed=3):
    rng = np.random.default_rng(seed)
    if table.dtype.kind == "T":
        words = np.array(["", "ok", "Ä ö", "患者", "a longer text than any short one, by far"], dtype=object)
        return words[rng.integers(0, len(words), table.shape)].astype(TEXT)
    return rng.integers(-100, 100, table.shape).astype(table.dtype)


CASES = {
    "numbers": {},
    "bytes": {"dtype": "int8", "fill": -1},
    "along z": {"shape": (5, 2, 70), "chunks": (4, 2, 64)},
    "whole numbers": {"dtype": "int32", "fill": 0, "shape": (9,), "chunks": (4096,)},
    "texts": {"dtype": TEXT, "fill": ""},
    "few texts with much room": {"dtype": TEXT, "fill": "", "shape": (2, 2), "chunks": (4096, 2)},
    "texts with room on both sides": {"dtype": TEXT, "fill": "", "shape": (7, 3), "chunks": (4, 2)},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_bytes_are_those_of_zarr_python_and_the_values_too(tmp_path, case):
    by_zarr, ours = make(tmp_path / "zarr", **case), make(tmp_path / "ours", **case)
    values = values_of(by_zarr)
    by_zarr[...] = values
    write_rows([(ours, values)])
    files = {path.relative_to(tmp_path / "zarr") for path in (tmp_path / "zarr").rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "ours") for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    for file in files:
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "zarr" / file).read_bytes(), file
    found = read_ours({"x": by_zarr})["x"]
    assert found.dtype == by_zarr[...].dtype
    np.testing.assert_array_equal(found, values)
    found[...] = found[::-1]  # may be changed


@pytest.mark.parametrize("dtype", ["float64", TEXT])
def test_rows_that_are_whole_chunks(tmp_path, dtype):
    table = make(tmp_path, dtype=dtype, fill="" if dtype is TEXT else 0.0, shape=(11, 3))
    table[...] = before = values_of(table)
    np.testing.assert_array_equal(read_ours({"a": table}, slice(4, 8))["a"], before[4:8])
    np.testing.assert_array_equal(read_ours({"a": table}, slice(8, 12))["a"], before[8:])
    new = values_of(table, seed=8)[4:8]
    write_rows([(table, new)], 4)
    np.testing.assert_array_equal(table[4:8], new)
    np.testing.assert_array_equal(np.delete(table[...], slice(4, 8), axis=0), np.delete(before, slice(4, 8), axis=0))


FOREIGN = {
    "blosc": {"compressors": [BloscCodec(), Crc32cCodec()]},
    "another level": {"compressors": [ZstdCodec(level=9), Crc32cCodec()]},
    "no checksum": {"compressors": [ZstdCodec(level=3)]},
    "big endian": {"serializer": zarr.codecs.BytesCodec(endian="big")},
    "sharded": {"shards": (8, 3)},
    "keys of Zarr v2": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "another fill value": {"dtype": TEXT, "fill": "none"},
}


@pytest.mark.parametrize("options", FOREIGN.values(), ids=FOREIGN)
def test_what_is_encoded_otherwise_is_left_to_zarr_python(tmp_path, options):
    table, ours = make(tmp_path, **options), make(tmp_path, "b")
    values = values_of(table)
    write_rows([(table, values), (ours, values_of(ours))])
    assert list(read_ours({"a": table, "b": ours})) == ["b"]
    found = read_rows({"a": table, "b": ours})
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], values)
    np.testing.assert_array_equal(table[...], values)


@pytest.mark.parametrize("dtype", ["float64", TEXT])
def test_a_damaged_or_absent_chunk_is_told_as_zarr_python_tells_it(tmp_path, dtype):
    table = make(tmp_path, dtype=dtype, fill="" if dtype is TEXT else 0.0)
    table[...] = values_of(table)
    file = tmp_path / "a/c/1/0"
    whole = file.read_bytes()
    for content in (b"", b"abc", whole[:-1], whole[:9] + b"\x00" + whole[10:], whole + b"\x00"):
        file.write_bytes(content)
        assert not read_ours({"a": table})
        with pytest.raises(Exception, match=r".") as by_zarr:
            table[...]
        with pytest.raises(type(by_zarr.value)):
            read_rows({"a": table})
    file.unlink()
    np.testing.assert_array_equal(read_rows({"a": table})["a"], table[...])  # fill values


def test_no_table_and_no_row(tmp_path):
    assert read_rows({}) == {}
    write_rows([])
    table = make(tmp_path, shape=(0, 3))
    write_rows([(table, np.empty((0, 3)))])
    assert read_rows({"a": table})["a"].shape == (0, 3)


def test_texts_that_are_cut_off_behind_the_last_row_are_damaged(tmp_path):
    table = make(tmp_path, dtype=TEXT, fill="", shape=(2,), chunks=(4096,))
    write_rows([(table, np.array(["a", "b"], TEXT))])
    file = tmp_path / "a/c/0"
    plain = Zstd(TABLE_LEVEL).decode(file.read_bytes()[:-4])
    file.write_bytes(with_checksum(bytes(Zstd(TABLE_LEVEL).encode(plain[:-400]))))
    assert not read_ours({"a": table})
    with pytest.raises(Exception, match="truncated"):
        read_rows({"a": table})


def test_a_chunk_that_claims_to_be_huge_is_left_to_zarr_python(tmp_path):
    table = make(tmp_path)
    claim = bytes.fromhex("28b52ffdc000") + (2**60).to_bytes(8, "little") + bytes.fromhex("010000")
    (tmp_path / "a/c/0").mkdir(parents=True)
    (tmp_path / "a/c/0/0").write_bytes(with_checksum(claim))
    assert not read_ours({"a": table})


def test_a_table_of_too_many_chunks_is_not_listed(tmp_path):
    table = make(tmp_path, shape=(10**12, 3))
    assert not read_ours({"a": table})


def test_an_object_that_cannot_be_read_costs_its_own_table_alone(tmp_path):
    one, other = make(tmp_path), make(tmp_path, "b")
    write_rows([(one, values_of(one)), (other, values_of(other))])
    (tmp_path / "a/c/0/0").unlink()
    (tmp_path / "a/c/0/0").mkdir()  # reading it is an error
    assert list(read_ours({"a": one, "b": other})) == ["b"]


def test_no_write_is_under_way_when_an_error_is_told():
    class Slow(MemoryStore):
        async def set(self, key, value, byte_range=None):
            if key == "b":
                raise OSError(28, "No space left on device")
            await asyncio.sleep(0.2)
            await super().set(key, value)

    store = Slow()
    with pytest.raises(StoreError, match="No space left"):
        put_all(store, {"a": b"1", "b": b"2", "c": b"3"}.items())
    assert set(store._store_dict) == {"a", "c"}
