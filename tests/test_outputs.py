"""Files that people are given appear whole, and an error of one speaks of it by its own name."""

import errno

import pytest

from npczarr.outputs import whole, write_whole


def test_an_error_names_the_file_and_not_its_draft_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "report.html"

    def fail():
        with whole(path) as draft:
            draft.write_bytes(b"half")
            raise OSError(errno.EROFS, "Read-only file system", str(draft))

    write_whole(path, b"before")
    with pytest.raises(OSError, match="Read-only") as caught:
        fail()
    assert caught.value.filename == str(path)
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    assert path.read_bytes() == b"before"
