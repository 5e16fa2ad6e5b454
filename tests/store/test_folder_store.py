import asyncio
import threading
import time

import pytest

from npczarr.errors import ReadOnlyError, StoreError
from npczarr.store import folder_store
from npczarr.store.folder_store import FolderStore
from npczarr.store.hierarchy import arrays_of, open_group
from npczarr.store.location import locate, put_all
from npczarr.store.zarr_library import run


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("slow", [0.0, 60.0])
def test_objects_take_the_place_of_older_ones(tmp_path, monkeypatch, slow):
    monkeypatch.setattr(folder_store, "_SLOW_SECONDS", slow)
    store = FolderStore(tmp_path)
    old = {"a": b"older and longer", "b/c/0/0": b"older", "b/c/0/1": b""}
    new = {"a": b"new", "b/c/0/0": bytes(3_000_000), "b/c/0/1": b"1", "d/zarr.json": b"{}"}
    put_all(store, old.items())
    assert files(tmp_path) == old
    put_all(store, new.items())
    assert files(tmp_path) == new


@pytest.mark.parametrize("slow", [0.0, 60.0])
def test_an_error_names_the_object_and_leaves_no_part_of_it(tmp_path, monkeypatch, slow):
    monkeypatch.setattr(folder_store, "_SLOW_SECONDS", slow)
    (tmp_path / "b/in the way").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"cannot write b \(IsADirectoryError"):
        put_all(FolderStore(tmp_path), {"a": b"1", "b": b"2"}.items())
    assert files(tmp_path) == {"a": b"1"}


def test_a_store_opened_to_be_read_is_not_written(tmp_path):
    with pytest.raises((ReadOnlyError, StoreError), match="cannot write a "):
        put_all(FolderStore(tmp_path, read_only=True), {"a": b"1"}.items())
    assert not files(tmp_path)


def test_a_fast_disk_is_written_by_one_thread_and_a_slow_one_by_several(tmp_path, monkeypatch):
    threads, together = {}, threading.Barrier(3)

    class Noting(FolderStore):
        def _put(self, key, content):
            threads[key] = threading.get_ident()
            if key != "a" and slow:
                together.wait(60)  # breaks unless three are under way
            super()._put(key, content)

    contents = dict.fromkeys("abcd", b"1")
    for slow in (False, True):
        monkeypatch.setattr(folder_store, "_SLOW_SECONDS", 0.0 if slow else 60.0)
        put_all(Noting(tmp_path), contents.items())
        assert len(set(threads.values())) == (4 if slow else 1)
    assert threads["a"] == threading.get_ident()


def test_no_write_to_a_slow_disk_is_under_way_when_an_error_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_store, "_SLOW_SECONDS", 0.0)

    class Slow(FolderStore):
        def _put(self, key, content):
            if key == "c":
                time.sleep(0.2)
            super()._put(key, content)

    (tmp_path / "b/in the way").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot write b "):
        put_all(Slow(tmp_path), {"a": b"1", "b": b"2", "c": b"3"}.items())
    assert files(tmp_path) == {"a": b"1", "c": b"3"}


def test_an_object_that_cannot_be_read_is_one_error_and_nothing_goes_on_behind_it(store, monkeypatch):
    read = FolderStore.get

    async def refused(self, key, *args):
        if key == "age/zarr.json":
            raise PermissionError(13, "Permission denied", key)
        return await read(self, key, *args)

    async def going_on():
        return len(asyncio.all_tasks()) - 1

    root = open_group(locate(store).open(read_only=True), str(store), mode="r")
    monkeypatch.setattr(FolderStore, "get", refused)
    with pytest.raises(PermissionError):
        arrays_of(root)
    assert run(going_on()) == 0
