"""Files that people are given appear whole, and an error of one speaks of it by its own name."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from npczarr import outputs
from npczarr.cli import main
from npczarr.errors import ParameterError
from npczarr.outputs import check_outside_stores, check_replaceable, hold_folder, printable, whole, write_whole

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


KILLED = """
import os, signal, sys
from pathlib import Path
from npczarr.outputs import whole

with whole(Path(sys.argv[1])) as draft:
    draft.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def left(tmp_path):
    """The path of a file of which a killed run has left a draft."""
    path = tmp_path / "report.html"
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    return path


def test_what_a_killed_run_has_left_of_a_file_goes_when_it_is_written_again(left):
    write_whole(left.with_name("other.html"), b"other")
    assert len(list(left.parent.iterdir())) == 2
    write_whole(left, b"whole")
    assert {one.name for one in left.parent.iterdir()} == {"other.html", "report.html"}
    assert left.read_bytes() == b"whole"


def test_a_draft_that_another_run_writes_stays(tmp_path):
    path = tmp_path / "a.zip"
    with whole(path) as draft:
        draft.write_bytes(b"first")
        write_whole(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("locks", [None, no_locks], ids=["system", "file system"])
def test_without_locks_files_are_written_and_drafts_stay(left, monkeypatch, locks):
    if locks is None:
        monkeypatch.setattr(outputs, "fcntl", None)
    else:
        monkeypatch.setattr(outputs.fcntl, "flock", locks)
    write_whole(left, b"whole")
    assert left.read_bytes() == b"whole"
    assert len(list(left.parent.iterdir())) == 2
    with hold_folder(left.parent):
        pass


def test_a_draft_that_another_run_took_for_one_that_was_left_is_begun_again(tmp_path, monkeypatch):
    taken, lock = [], outputs._lock

    def lock_late(handle):
        if not taken:
            taken.extend(tmp_path.iterdir())
            shutil.rmtree(taken[0])
        return lock(handle)

    monkeypatch.setattr(outputs, "_lock", lock_late)
    write_whole(tmp_path / "a", b"whole")
    assert len(taken) == 1
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a", b"whole")]


def test_what_only_looks_like_a_draft_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    (tmp_path / ".00000000-a").symlink_to(tmp_path / "folder")
    (tmp_path / ".00000000-b").write_bytes(b"a file")
    before = set(tmp_path.rglob("*"))
    write_whole(tmp_path / "a", b"whole")
    write_whole(tmp_path / "b", b"whole")
    assert set(tmp_path.rglob("*")) == before | {tmp_path / "a", tmp_path / "b"}


def test_in_a_folder_that_was_deleted_one_line_says_so_and_help_is_given(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for arguments, code in (["info", str(tmp_path)], 2), (["info", "--help"], 0), (["--version"], 0):
        monkeypatch.setattr(sys, "argv", ["npczarr", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        said = "error the folder that you are in was deleted: change to another, then run the command again\n"
        assert capsys.readouterr().err == (said if code else "")


def test_a_file_in_a_folder_that_was_deleted_is_an_error_that_names_it(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(Path("report.html"), b"whole")
    assert caught.value.filename == "report.html"


@pytest.mark.slow
def test_where_the_home_folder_may_not_be_written_matplotlib_says_nothing():
    code = "import sys\nfrom npczarr.cli import main\ntry:\n    main()\nexcept SystemExit:\n    import matplotlib"
    env = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "XDG_CONFIG_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        env={**env, "HOME": "/dev/null/home"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_what_a_terminal_or_a_line_could_be_changed_by_is_escaped():
    assert printable("a\tb\u2028c\rd") == r"a\tb\u2028c\rd"


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
