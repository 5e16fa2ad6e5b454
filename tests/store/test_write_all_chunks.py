"""Chunks that hold nothing but fill values are written, also where threads open arrays at once."""

import zarr

from npczarr.store.zarr_library import write_all_chunks


def test_a_thread_that_leaves_its_block_does_not_end_that_of_another():
    before = zarr.config.get("array.write_empty_chunks")
    assert not before
    first, second = write_all_chunks(), write_all_chunks()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert zarr.config.get("array.write_empty_chunks")
    second.__exit__(None, None, None)
    assert zarr.config.get("array.write_empty_chunks") == before
