"""Files that people are given appear whole, and an error of one speaks of it by its own name."""

import errno

import pytest

from npczarr.errors import ParameterError
from npczarr.outputs import check_outside_stores, check_replaceable, whole, write_whole

FAULTS = {
    "opened": lambda draft: OSError(errno.EROFS, "Read-only file system", str(draft)),
    "written": lambda draft: OSError(errno.EIO, "Input/output error"),  # of what is open the system tells no name
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_names_the_file_and_not_its_draft_and_leaves_what_was_there(tmp_path, fault):
    path = tmp_path / "report.html"

    def fail():
        with whole(path) as draft:
            draft.write_bytes(b"half")
            raise FAULTS[fault](draft)

    write_whole(path, b"before")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the name is what matters
        fail()
    assert caught.value.filename == str(path)
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    assert path.read_bytes() == b"before"


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as raised:
        write_whole(tmp_path / "a", b"new")
    assert raised.value.filename == str(tmp_path / "a")
    assert (tmp_path / "a" / "b").is_dir()


def test_no_path_in_a_store_is_one_for_other_files(tmp_path, monkeypatch):
    store = tmp_path / "s.zarr"
    (store / "image").mkdir(parents=True)
    (store / "zarr.json").write_text("{}")
    (tmp_path / "link").symlink_to(store / "image")
    monkeypatch.chdir(store / "image")
    for path in (store, store / "zarr.json", store / "image" / "a.csv", tmp_path / "link" / "a.csv", "a.csv"):
        with pytest.raises(ParameterError, match=rf"lies in the store {store}; name a path outside of it"):
            check_outside_stores(path)
    check_outside_stores(tmp_path / "a.csv")
    check_outside_stores(tmp_path / "s.zarr.csv")


@pytest.mark.parametrize("there", [None, "", "\n", "ours,1\n"])
def test_what_is_ours_or_nothing_may_be_replaced(tmp_path, there):
    if there is not None:
        (tmp_path / "a").write_text(there)
    check_replaceable(tmp_path / "a", lambda start: start.startswith("ours"))


def test_what_is_not_ours_may_not_be_replaced(tmp_path):
    (tmp_path / "a").write_bytes(b"\xff\x00theirs")
    for path in (tmp_path / "a", tmp_path):
        with pytest.raises(ParameterError, match="name a"):
            check_replaceable(path, lambda start: start.startswith("ours"))
