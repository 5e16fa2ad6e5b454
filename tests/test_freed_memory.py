"""Tests of what Dask's workers do with freed memory, in processes of their own: the C library reads it at the start."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from npczarr import freed_memory

resource = pytest.importorskip("resource")  # Windows has none
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="of the C library of Linux")
MEGABYTE = 244  # pages


def cleared_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        bytearray(b"1") * 1_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def kept_and_cleared_pages():
    """Return whether memory is kept, and the pages that are cleared for 50 arrays before and after."""
    cleared_pages()
    before, kept = cleared_pages(), freed_memory.keep()
    cleared_pages()
    return kept, before, cleared_pages()


def of_a_worker():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(kept_and_cleared_pages).result()


def test_a_worker_of_dask_clears_pages_once(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    kept, before, after = of_a_worker()
    assert kept
    assert before > 50 * MEGABYTE * 0.8
    assert after < before / 10


@pytest.mark.parametrize("threshold", [None, "65537"])
def test_a_worker_without_the_setting_of_dask_is_left_alone(monkeypatch, threshold):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    if threshold is not None:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", threshold)
    assert not of_a_worker()[0]


def test_a_process_that_is_no_worker_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    freed_memory.keep.cache_clear()
    assert not freed_memory.keep()
