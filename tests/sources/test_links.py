"""Cohorts laid out by symbolic links: every folder once, no loop, and nothing lost without a name."""

import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from npczarr.cli import runs
from npczarr.errors import SourceError
from npczarr.sources.config import SourceConfig
from npczarr.sources.dicom import read_scan
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.sources.nifti import read_mask
from tests.builders import write_cohort


def listed(root):
    return [file.path for file in open_source(root).files()]


def touch(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def cohort(tmp_path):
    """Folder of a cohort of two patients, and what was written into it."""
    written = write_cohort(tmp_path / "cohort", patients=("001", "002"), tables={})
    return tmp_path / "cohort", written


def check(root, written):
    """Every scan and mask that was written is read from a source, and nothing else is found."""
    source = open_source(root)
    found = discover(source, SourceConfig())
    assert found.scans.keys() == written.keys()
    for key, (image, mask, _) in written.items():
        scan = read_scan(source, found.scans[key].images)
        np.testing.assert_array_equal(scan.image, image)
        np.testing.assert_array_equal(read_mask(source, found.scans[key].masks, scan.grid).mask, mask)
    return found


def test_a_folder_of_links_to_patients_is_a_cohort(cohort, tmp_path):
    root, written = cohort
    links = tmp_path / "links"
    links.mkdir()
    for patient in (root / "data" / "MRI-Segments").iterdir():
        (links / patient.name).symlink_to(os.path.relpath(patient, links))
    assert check(links, written).strays == ()


def test_a_link_to_the_cohort_is_the_cohort(cohort, tmp_path):
    root, written = cohort
    (tmp_path / "alias").symlink_to(root)
    check(tmp_path / "alias", written)
    (tmp_path / "holder").mkdir()
    (tmp_path / "holder" / "data").symlink_to(root)
    check(tmp_path / "holder", written)


def test_links_to_series_and_files_are_followed(cohort, tmp_path):
    root, written = cohort
    for patient in ("001", "002"):
        (tmp_path / "links" / patient).mkdir(parents=True)
        for entry in (root / "data" / "MRI-Segments" / patient).iterdir():
            (tmp_path / "links" / patient / entry.name).symlink_to(entry)
    check(tmp_path / "links", written)


def annex(root):
    """Lay a folder out as git-annex does: every file a link to an object below a hidden folder."""
    objects = root / ".git" / "annex" / "objects"
    for number, path in enumerate(sorted(p for p in root.rglob("*") if p.is_file())):
        key = f"MD5E-s{path.stat().st_size}--{number:032x}{path.suffix}"
        target = objects / f"{number % 7}" / key / key
        target.parent.mkdir(parents=True)
        shutil.move(path, target)
        path.symlink_to(os.path.relpath(target, path.parent))
    touch(root / ".git" / "config")
    return objects


def test_a_datalad_dataset_is_a_cohort_and_its_objects_are_not_listed_again(cohort):
    root, written = cohort
    before = listed(root)
    objects = annex(root)
    assert check(root, written).strays == ()
    assert listed(root) == [".git/config", *before]
    spare = touch(objects / "8" / "spare")
    assert str(spare.relative_to(root)) in listed(root)


def test_a_datalad_dataset_without_its_content_says_what_to_do(cohort):
    root, _ = cohort
    shutil.rmtree(annex(root))
    source = open_source(root)
    scans = discover(source, SourceConfig()).scans
    with pytest.raises(SourceError, match=r"link to a file that is not there; fetch the content .*`datalad get`") as e:
        read_scan(source, scans["001", "T1WI"].images)
    assert "MD5E" not in str(e.value)


def test_one_object_under_two_names_is_two_files(tmp_path):
    """As git-annex keeps two masks that are equal."""
    target = touch(tmp_path / "cohort" / ".store" / "object")
    for name in ("001/ROI-T1.nii", "001/ROI-T2.nii"):
        path = tmp_path / "cohort" / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target)
    assert listed(tmp_path / "cohort") == ["001/ROI-T1.nii", "001/ROI-T2.nii"]


def test_one_folder_under_two_names_is_listed_by_the_first_and_the_second_is_named(cohort, tmp_path):
    root, _ = cohort
    links = tmp_path / "links"
    links.mkdir()
    for name in ("012", "011", "013"):
        (links / name).symlink_to(root / "data" / "MRI-Segments" / "001")
    found = discover(open_source(links), SourceConfig())
    assert found.patients == ("011",)
    assert [file.path for file in found.strays] == ["012/", "013/"]
    assert len(found.scans) == 3


def test_a_real_folder_keeps_its_path_whatever_links_to_it(cohort):
    root, written = cohort
    before = listed(root)
    base = root / "data" / "MRI-Segments"
    (base / "000").symlink_to("002")
    (base / "001" / "A").symlink_to("../002/T1WI")
    (root / "a").symlink_to("data")
    added = ["a/", "data/MRI-Segments/000/", "data/MRI-Segments/001/A/"]
    assert listed(root) == sorted([*before, *added])
    assert [file.path for file in check(root, written).strays] == added


def test_a_visible_link_into_a_hidden_folder_goes_first(cohort, tmp_path):
    root, written = cohort
    (root / "data" / "MRI-Segments").rename(root / ".store")
    for patient in ("001", "002"):
        (root / "data" / patient).symlink_to(f"../.store/{patient}")
    (root / ".a link").symlink_to(".store/001")
    assert check(root, written).strays == ()
    assert not any("store" in path for path in listed(root))


def loop_to_itself(root):
    (root / "a" / "loop").symlink_to(".")


def loop_to_the_root(root):
    (root / "a" / "loop").symlink_to("..")


def loop_above_the_root(root):
    (root / "a" / "loop").symlink_to(root.parent)


def loop_of_two(root):
    (root / "a" / "loop").symlink_to("../b")
    (root / "b" / "loop").symlink_to("../a")


def loop_outside(root):
    outside = root.parent / "outside"
    touch(outside / "c" / "file")
    (outside / "c" / "up").symlink_to(outside)
    (outside / "c" / "home").symlink_to(root)
    (outside / "c" / "above").symlink_to("/")
    (root / "a" / "loop").symlink_to(outside)


@pytest.mark.parametrize("loop", [loop_to_itself, loop_to_the_root, loop_above_the_root, loop_of_two, loop_outside])
def test_loops_end_and_every_file_is_listed_once(tmp_path, loop):
    root = tmp_path / "root"
    names = ["a/file", "b/file", "file"]
    for name in names:
        touch(root / name)
    loop(root)
    paths = listed(root)
    assert [path for path in paths if not path.endswith("/") and "loop" not in path] == names
    reals = [os.path.realpath(root / path) for path in paths if not path.endswith("/")]
    assert len(reals) == len(set(reals))
    assert any(path.endswith("/") for path in paths)


def test_a_link_that_leaves_the_source_and_comes_back_lists_both_sides_once(tmp_path):
    root = tmp_path / "root"
    touch(root / "file")
    loop_outside_of = tmp_path / "outside"
    touch(loop_outside_of / "c" / "file")
    (loop_outside_of / "c" / "home").symlink_to(root)
    (root / "out").symlink_to(loop_outside_of)
    assert listed(root) == ["file", "out/c/file", "out/c/home/"]


def test_links_to_nowhere_and_to_themselves_are_files_that_cannot_be_read(tmp_path):
    touch(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to("nothing")
    (tmp_path / "itself").symlink_to("itself")
    assert listed(tmp_path) == ["file", "itself", "nowhere"]
    itself, nowhere = open_source(tmp_path).read(["itself", "nowhere"])
    assert "is a link to itself" in str(itself)
    assert "is a link to a file that is not there" in str(nowhere)


@contextmanager
def nobody(*closed):
    """Run as a user whom permissions concern: root may read everything."""
    for path in closed:
        path.chmod(0)
    for folder in closed[0].parents:
        if folder != folder.parent and not folder.stat().st_mode & 0o005 and folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for path in closed:
            path.chmod(0o755)


def test_what_may_not_be_read_speaks_of_the_file_system_and_not_of_credentials(tmp_path):
    folder, archive, file = tmp_path / "closed", tmp_path / "a.zip", touch(tmp_path / "open" / "file")
    touch(folder / "below" / "file")
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "open")
    said = []
    with nobody(folder, archive, file):
        for place in (folder, folder / "below", archive):
            with pytest.raises(SourceError) as caught:
                open_source(place).files()
            said.append(str(caught.value))
        said.append(str(open_source(tmp_path / "open").read(["file"])[0]))
    for message in said:
        assert "the file system does not let this user read it: change its permissions" in message
        assert "credential" not in message
        assert "damaged" not in message
    assert str(tmp_path) not in said[-1]


def test_a_patient_whose_folder_may_not_be_listed_is_said_to_be_missing(tmp_path, monkeypatch, capsys):
    write_cohort(tmp_path / "cohort", patients=("001", "002"))
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/002/"):
            raise PermissionError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert runs.convert(str(tmp_path / "cohort"), str(tmp_path / "a.zarr"), workers=0) is True
    said = " ".join(capsys.readouterr().out.split())
    assert "1 folder that cannot be listed: what is in there is missing; change the permissions" in said
    assert "of another ending" not in said
