import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile

import fsspec
import numpy as np
import pytest

import npczarr as npc
from npczarr.errors import SourceError
from npczarr.sources.files import Source, open_source
from tests.builders import write_cohort

CONTENT = {
    "001/T1WI/a [1].dcm": b"one",
    "001/T1WI/b*.dcm": b"two",
    "001/T1WI/c?.dcm": b"",
    "患者 2/T1WI/é ü.dcm": b"four",
    "info.csv": b"ID,Age\n1,2\n",
}


@pytest.fixture
def folder(tmp_path):
    for path, content in CONTENT.items():
        file = tmp_path / "cohort" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "cohort"


@pytest.fixture
def archive(folder):
    return shutil.make_archive(str(folder.parent / "packed [1]"), "zip", folder)


@pytest.fixture
def remote(folder, archive):
    """URL of a folder in memory; beside it the archive."""
    fs = fsspec.filesystem("memory")
    fs.put(str(folder), "/npczarr-test/cohort", recursive=True)
    fs.put_file(archive, "/npczarr-test/packed.zip")
    yield "memory://npczarr-test"
    fs.rm("/npczarr-test", recursive=True)


def read_all(source):
    paths = [file.path for file in source.files()]
    return dict(zip(paths, source.read(paths), strict=True))


def test_a_folder_an_archive_and_urls_of_both_are_listed_and_read_alike(folder, archive, remote):
    places = [folder, f"file://{folder}", archive, f"{remote}/cohort", f"{remote}/cohort/", f"{remote}/packed.zip"]
    for place in places:
        source = open_source(place)
        assert read_all(source) == CONTENT, place
        assert [file.path for file in source.files()] == sorted(CONTENT), place
        assert {file.path: file.size for file in source.files()} == {k: len(v) for k, v in CONTENT.items()}, place
        assert all(file.stamp for file in source.files()), place


@pytest.mark.parametrize("name", ["download", "DATA.ZIP"])
def test_an_archive_is_known_by_its_content(archive, tmp_path, name):
    assert read_all(open_source(shutil.copy(archive, tmp_path / name))) == CONTENT


def test_folder_entries_of_an_archive_are_no_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.mkdir("data")
        file.writestr("data/x", b"1")
    assert read_all(open_source(tmp_path / "a.zip")) == {"data/x": b"1"}


def test_the_stamp_changes_with_the_content(folder):
    before = {file.path: file.stamp for file in open_source(folder).files()}
    (folder / "info.csv").write_bytes(b"ID,Age\n1,3\n")
    after = {file.path: file.stamp for file in open_source(folder).files()}
    assert {path for path in before if before[path] != after[path]} == {"info.csv"}


def test_a_file_that_cannot_be_read_costs_no_other(folder, archive):
    for place in (folder, archive):
        good, bad = open_source(place).read(["info.csv", "no such file"])
        assert good == CONTENT["info.csv"]
        assert isinstance(bad, Exception)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"nowhere: there is no such file or folder"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"memory://nowhere: there are no files"):
        open_source("memory://nowhere").files()


def test_what_is_no_archive_is_refused(tmp_path, archive):
    (tmp_path / "a.nii").write_bytes(b"x" * 100)
    with pytest.raises(SourceError, match=r"a\.nii: expected a folder or a \.zip archive"):
        open_source(tmp_path / "a.nii")
    with open(archive, "rb") as whole:
        (tmp_path / "part.zip").write_bytes(whole.read()[:-40])
    with pytest.raises(SourceError, match=r"part\.zip: .*part of one"):
        open_source(tmp_path / "part.zip")


def test_a_damaged_archive_at_a_url_is_named():
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/npczarr-broken.zip", b"not a zip")
    with pytest.raises(SourceError, match=r"npczarr-broken\.zip: the archive is damaged .*download it again"):
        open_source("memory://npczarr-broken.zip")
    fs.rm("/npczarr-broken.zip")


def test_an_unknown_protocol_says_what_to_install():
    with pytest.raises(SourceError, match=r"cannot be opened .*npczarr\[s3\]"):
        open_source("nonsense://bucket/a")


def test_a_source_is_small_and_can_travel():
    source = Source("memory://x", (("a", 1),))
    assert pickle.loads(pickle.dumps(source)) == source


#: Names as bytes, and how they are listed.
RAW = {
    b"latin\xe9": "latin\\xe9",
    rb"latin\xe9": "latin\\x5cxe9",
    rb"latin\x5cxe9": "latin\\x5cx5cxe9",
    b"latin\\\xe9": "latin\\\\xe9",
    rb"latin\\xe9": "latin\\\\x5cxe9",
    rb"a\b \x41 \xE9": "a\\b \\x41 \\xE9",
    "Zoë 日本".encode(): "Zoë 日本",
    "Zoë ".encode() + b"\xff": "Zoë \\xff",
}


@pytest.fixture
def raw(tmp_path):
    """A folder of folders whose names are of any bytes; each holds a file that says whose it is."""
    for name in RAW:
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
        with open(os.fsencode(tmp_path) + b"/" + name + b"/1", "wb") as file:
            file.write(name)
    return tmp_path


def test_no_two_folders_are_listed_by_one_name_and_each_is_read_by_its_own(raw):
    source = open_source(raw)
    assert read_all(source) == {f"{text}/1": name for name, text in RAW.items()}
    files = source.files()
    assert source.read_heads(files, 3) == [content[:3] for content in source.read([file.path for file in files])]


@pytest.mark.slow
def test_what_is_listed_and_read_is_the_same_in_any_locale(raw):
    code = (
        "import json, sys\nfrom npczarr.sources.files import open_source\nsource = open_source(sys.argv[1])\n"
        "files = source.files()\npaths = [file.path for file in files]\n"
        "found = [*zip(paths, source.read(paths)), *zip(paths, source.read_heads(files, 3))]\n"
        "print(sys.getfilesystemencoding(), json.dumps([(path, list(content)) for path, content in found]))\n"
    )
    ascii_ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run([sys.executable, "-c", code, raw], env=ascii_, capture_output=True, check=True, text=True)
    encoding, found = run.stdout.split(maxsplit=1)
    assert encoding != "utf-8"
    whole, heads = ([[f"{text}/1", list(name[:n])] for name, text in RAW.items()] for n in (None, 3))
    assert sorted(json.loads(found)) == sorted(whole + heads)


@pytest.mark.slow
def test_two_patients_whose_folders_are_printed_alike_are_both_converted(tmp_path):
    written = write_cohort(tmp_path / "cohort", patients=("001", "002"), tables={})
    base = os.fsencode(tmp_path / "cohort" / "data" / "MRI-Segments")
    os.rename(base + b"/001", base + b"/latin\xe9")
    os.rename(base + b"/002", base + rb"/latin\xe9")
    result = npc.convert(tmp_path / "cohort", tmp_path / "a.zarr", workers=0)
    assert (result["status"] == "ok").all()
    dataset = npc.open(tmp_path / "a.zarr")
    for before, now in (("001", "latin\\xe9"), ("002", "latin\\x5cxe9")):
        np.testing.assert_array_equal(dataset.npc.scan(now, "T1WI").image, written[before, "T1WI"][0])
