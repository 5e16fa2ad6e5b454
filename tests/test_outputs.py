"""Files that people are given appear whole, and an error of one speaks of it by its own name."""

import errno

import pytest

from npczarr.outputs import whole, write_whole

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
