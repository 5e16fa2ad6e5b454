"""A copy is brought up to date: nobody is lost, doubled or called otherwise, and nothing in it is stale."""

import csv
import errno
import hashlib
import json
import os
import random
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError
from npczarr.model.cohort import File
from npczarr.outputs import hold_folder
from npczarr.privacy import copying
from npczarr.privacy.audit import audit
from npczarr.privacy.changes import begin, find_changes
from npczarr.privacy.deidentify import deidentify
from npczarr.privacy.names import Names, plan
from npczarr.privacy.record import NAME, Record
from npczarr.sources.config import SourceConfig
from tests.builders import noise, oblique_grid, slice_dataset

KEY = b"a secret of many bytes"
AGES = {"Meier Anna": 41, "Nadel Eva": 52, "Zorn Karl": 63, "Abel Kai": 74}
VISITS = '[layout]\nimages = "{patient}/{session}/{sequence}/**"\n[sequences]\nT1WI = { folder = "T1WI" }\n'


class Cohort:
    """A source whose pixels all hold the age of their patient, so that a copy says whose they are."""

    def __init__(self, folder):
        self.source, self.out = folder / "source", folder / "out"

    def add(self, *patients, below="T1WI", value=None, slices=2):
        grid = oblique_grid((slices, 6, 7), seed=1)
        for patient in patients:
            folder = self.source / patient / below
            folder.mkdir(parents=True)
            for z in range(slices):
                age = AGES[patient] if value is None else value
                dataset = slice_dataset(np.full_like(noise(grid)[z], age), grid, z)
                dataset.PatientName, dataset.PatientID = patient.replace(" ", "^"), f"AB{age}"
                dataset.save_as(folder / f"{z}.dcm", enforce_file_format=True)
        return self

    def mask(self, patient, value):
        image = nib.Nifti1Image(np.full((2, 3, 4), value, np.uint8), np.eye(4))
        nib.save(image, self.source / patient / "ROI-T1.nii")
        return self

    def table(self):
        with (self.source / "clin.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["Patient", "Age"], *((who.name, AGES[who.name]) for who in self.patients())])
        return self

    def patients(self):
        return sorted(path for path in self.source.iterdir() if path.is_dir())

    def run(self, out=None, **how):
        return deidentify(self.source, out or self.out, **{"key": KEY, "workers": 0} | how)

    def command(self, tmp_path, *options):
        (tmp_path / "key").write_bytes(KEY)
        run = ["deidentify", self.source, self.out, "--key-file", tmp_path / "key", "--workers", "0", *options]
        return CliRunner().invoke(app, list(map(str, run)))

    def ages(self, out=None):
        """Ages by patient of the copy, as its pixels say; each patient has one."""
        found = {}
        for path in (out or self.out).rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            assert dataset.PatientID == path.relative_to(out or self.out).parts[0]
            found.setdefault(dataset.PatientID, set()).update(np.unique(dataset.pixel_array).tolist())
        assert all(len(ages) == 1 for ages in found.values())
        return {patient: ages.pop() for patient, ages in found.items()}

    def rows(self):
        with (self.out / "clin.csv").open(newline="") as file:
            return {row["Patient"]: int(row["Age"]) for row in csv.DictReader(file)}

    def tree(self, out=None):
        out = out or self.out
        return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def test_a_patient_who_sorts_between_others_is_neither_lost_nor_takes_a_name(cohort):
    cohort.add("Meier Anna", "Zorn Karl").run()
    before, files = cohort.ages(), cohort.tree()
    times = {path: path.stat().st_mtime_ns for path in cohort.out.rglob("*.dcm")}
    done = cohort.add("Nadel Eva").table().run(tables=["clin.csv"])
    assert (done.written, done.kept, done.failed, done.gone) == (3, 4, {}, ())
    assert cohort.ages() == before | {"patient-003": 52}
    assert cohort.rows() == cohort.ages()
    assert all(cohort.tree()[name] == content for name, content in files.items() if name != NAME)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert sorted(cohort.ages().values()) == [41, 52, 63]


def test_a_table_is_written_in_every_run(cohort):
    cohort.add("Meier Anna", "Zorn Karl").table().run(tables=["clin.csv"])
    assert len(cohort.rows()) == 2
    done = cohort.add("Abel Kai", "Nadel Eva").table().run(tables=["clin.csv"])
    assert (done.written, done.kept) == (5, 4)
    assert cohort.rows() == cohort.ages()
    assert len(cohort.rows()) == 4


@pytest.mark.parametrize("same_time", [False, True], ids=["of another time", "of another size"])
def test_a_mask_that_was_replaced_is_written_again(cohort, same_time):
    cohort.add("Meier Anna", "Zorn Karl").mask("Zorn Karl", 1).run()
    (mask,) = cohort.out.rglob("*.nii")
    source = cohort.source / "Zorn Karl" / "ROI-T1.nii"
    stamp = source.stat()
    cohort.mask("Zorn Karl", 2)
    if same_time:
        source.write_bytes(source.read_bytes() + bytes(5))
        os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    done = cohort.run()
    assert (done.written, done.kept) == (1, 4)
    assert np.unique(nib.load(mask).dataobj) == [2]
    assert (cohort.run().written, cohort.run().kept) == (0, 5)


def test_an_image_that_was_replaced_is_written_again(cohort):
    cohort.add("Meier Anna", "Zorn Karl").run()
    before = cohort.ages()
    shutil.rmtree(cohort.source / "Zorn Karl")
    done = cohort.add("Zorn Karl", value=99).run()
    assert (done.written, done.kept) == (2, 2)
    assert cohort.ages() == {who: {63: 99}.get(age, age) for who, age in before.items()}


def test_of_a_file_that_was_replaced_by_damage_nothing_stale_stays(cohort):
    cohort.add("Meier Anna").mask("Meier Anna", 1).table().run(tables=["clin.csv"])
    (cohort.source / "Meier Anna" / "ROI-T1.nii").write_bytes(b"damage")
    (cohort.source / "Meier Anna" / "T1WI" / "1.dcm").write_bytes(b"damage")
    (cohort.source / "clin.csv").write_text("Nobody,Age\n1,2\n")
    done = cohort.run(tables=["clin.csv"])
    assert sorted(done.failed) == ["Meier Anna/ROI-T1.nii", "Meier Anna/T1WI/1.dcm", "clin.csv"]
    assert set(cohort.tree()) == {NAME, "patient-001/T1WI/00001.dcm"}


def test_a_slice_that_sorts_between_others_changes_no_other(cohort):
    cohort.add("Meier Anna", slices=3).run()
    before = cohort.tree()
    folder = cohort.source / "Meier Anna" / "T1WI"
    shutil.copy(folder / "1.dcm", folder / "00.dcm")
    done = cohort.run()
    assert (done.written, done.kept) == (1, 3)
    assert set(cohort.tree()) - set(before) == {"patient-001/T1WI/00004.dcm"}
    assert all(cohort.tree()[name] == content for name, content in before.items() if name != NAME)


@pytest.mark.parametrize("at", range(1, 8))
def test_a_run_that_is_killed_is_completed(cohort, tmp_path, monkeypatch, at):
    """Wherever the second run ends, and also if the source goes back to what it was: as if it had not been killed."""
    cohort.add("Meier Anna", "Zorn Karl").mask("Zorn Karl", 1).table().run(tables=["clin.csv"])
    shutil.copytree(cohort.out, tmp_path / "first")
    shutil.copytree(cohort.source, tmp_path / "before")
    shutil.copytree(cohort.out, tmp_path / "whole")
    (cohort.source / "Meier Anna" / "T1WI" / "1.dcm").write_bytes(
        (cohort.source / "Meier Anna" / "T1WI" / "0.dcm").read_bytes()
    )
    cohort.add("Nadel Eva", "Abel Kai").mask("Zorn Karl", 2).table()
    cohort.run(tmp_path / "whole", tables=["clin.csv"])
    write, count = copying.write_file, 0

    def cut(target, content):
        nonlocal count
        count += 1
        if count == at:  # as a kill would leave it: half a file under its temporary name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(target.name + ".npczarr-part").write_bytes(content[:100])
            raise KeyboardInterrupt
        write(target, content)

    monkeypatch.setattr(copying, "write_file", cut)
    with pytest.raises(KeyboardInterrupt):
        cohort.run(tables=["clin.csv"])
    monkeypatch.setattr(copying, "write_file", write)
    shutil.copytree(cohort.out, tmp_path / "killed")
    assert not cohort.run(tables=["clin.csv"]).failed
    assert cohort.tree() == cohort.tree(tmp_path / "whole")
    assert cohort.rows() == cohort.ages()
    shutil.rmtree(cohort.source)
    shutil.copytree(tmp_path / "before", cohort.source)
    cohort.run(tmp_path / "killed", tables=["clin.csv"], remove_gone=True)
    first, again = cohort.tree(tmp_path / "first"), cohort.tree(tmp_path / "killed")
    assert {**again, NAME: b""} == {**first, NAME: b""}


def test_what_the_source_no_longer_has_stays_and_is_named_until_it_is_to_go(cohort, tmp_path):
    cohort.add("Meier Anna", "Nadel Eva", "Zorn Karl").table().run(tables=["clin.csv"])
    before, name = cohort.tree(), {age: who for who, age in cohort.ages().items()}[52]
    shutil.rmtree(cohort.source / "Nadel Eva")
    done = cohort.table().run(tables=["clin.csv"])
    assert done.gone == (f"{name}/T1WI/00001.dcm", f"{name}/T1WI/00002.dcm")
    assert set(cohort.tree()) == set(before)
    assert name not in cohort.rows()
    assert cohort.run(tables=["clin.csv"]).gone == done.gone  # said again as long as they are there
    printed = cohort.command(tmp_path, "--table", "clin.csv")
    assert printed.exit_code == 1
    assert f"gone {name}/T1WI: 2 files" in printed.output
    assert cohort.command(tmp_path, "--table", "clin.csv", "--remove-gone").exit_code == 0
    assert not (cohort.out / name).exists()
    cohort.add("Abel Kai").run(tables=["clin.csv"])
    assert "patient-004" in cohort.ages()  # a number is of one patient for ever
    cohort.add("Nadel Eva").run(tables=["clin.csv"])
    assert cohort.ages()[name] == 52
    assert cohort.run().gone == ("clin.csv",)  # it would not follow the patients


def test_other_options_write_again_and_leave_nothing_double(cohort, tmp_path):
    cohort.add("Meier Anna", "Zorn Karl").run()
    done = cohort.run(keep_patients=True)
    assert (done.written, done.kept, done.gone) == (4, 0, ())
    assert cohort.ages() == {"Meier Anna": 41, "Zorn Karl": 63}
    assert any("4 files of the copy got another path" in one for one in done.remarks)
    assert {path.name for path in cohort.out.iterdir()} == {"Meier Anna", "Zorn Karl", NAME}
    cohort.run()
    assert sorted(cohort.ages()) == ["patient-001", "patient-002"]
    rules = tmp_path / "labels.toml"
    rules.write_text('[labels]\nnode = { value = 1, roi = ["node*"] }\n')
    assert cohort.run(config=rules).written == 4
    assert cohort.run(config=rules).written == 0


@pytest.fixture
def visits(cohort, tmp_path):
    (tmp_path / "layout.toml").write_text(VISITS)

    def run():
        done = cohort.run(config=tmp_path / "layout.toml")
        places = {}
        for path in cohort.out.rglob("*.dcm"):
            value = int(pydicom.dcmread(path).pixel_array.max())
            places.setdefault(value, set()).add(path.parts[-3])
        assert all(len(found) == 1 for found in places.values())
        return done, {value: found.pop() for value, found in sorted(places.items())}

    return run


def test_a_later_visit_gets_the_next_number(cohort, visits):
    for month in (3, 5):
        cohort.add("Meier Anna", below=f"2019-0{month}-04/T1WI", value=month)
    assert visits()[1] == {3: "visit-001", 5: "visit-002"}
    done, places = (cohort.add("Meier Anna", below="2020-01-01/T1WI", value=9), visits())[1]
    assert places == {3: "visit-001", 5: "visit-002", 9: "visit-003"}
    assert (done.kept, done.remarks) == (4, ())


def test_an_earlier_visit_makes_numbers_that_still_tell_the_order(cohort, visits):
    for month in (3, 5):
        cohort.add("Meier Anna", below=f"2019-0{month}-04/T1WI", value=month)
    cohort.add("Zorn Karl", below="2019-03-04/T1WI", value=7)
    visits()
    done, places = (cohort.add("Meier Anna", below="2019-04-04/T1WI", value=4), visits())[1]
    assert (places[3], places[4], places[5]) == ("visit-003", "visit-004", "visit-005")
    assert places[7] == "visit-001"
    assert "the visits of 1 of the patients got new numbers" in done.remarks[0]
    assert visits()[1] == places
    assert visits()[0].written == 0


def test_visits_that_get_letters_because_of_one_more_are_not_doubled(cohort, visits):
    cohort.add("Meier Anna", below="2019-03-04/T1WI", value=3)
    visits()
    done, places = (cohort.add("Meier Anna", below="month6/T1WI", value=6), visits())[1]
    assert places == {3: "visit-a", 6: "visit-b"}
    assert not done.gone


@pytest.mark.parametrize("seed", range(20))
def test_names_stay_and_are_of_one_patient_whatever_is_added(seed):
    """Folders come and go in any order, some of which are called as the copy calls others."""
    chance = random.Random(seed)
    people = ["Meier", "Abel", "patient-001", "patient-002", "folder-001", "003", "Zorn", "Nadel", "case-2", "X/Y"]
    record, known = Record(KEY), {}
    for _ in range(6):
        chosen = chance.sample(people, chance.randint(1, len(people)))
        files = [File(f"{who}/T1WI/{z}.dcm", 1, "1") for who in chosen for z in chance.sample(range(9), 3)]
        copies, _ = plan(files, (), Names(SourceConfig(), strict=False, record=record))
        names = {copy.path.rpartition("/T1WI/")[0]: copy.patient for copy in copies}
        assert len(set(names.values())) == len(chosen)
        assert len({copy.target for copy in copies}) == len(files)
        assert all(known.setdefault(who, name) == name for who, name in names.items())
        assert len(set(known.values())) == len(known)
        changes = find_changes(Path("nowhere"), copies, files, (), record)
        record.files |= changes.wanted


def test_numbers_do_not_follow_the_order_of_names():
    """A list of who might be in a cohort would tell who is who."""
    files = [File(f"{name}/T1WI/1.dcm", 1, "1") for name in ("Abel", "Meier", "Nadel", "Zorn")]
    orders = set()
    for key in range(50):
        record = Record(b"%16d" % key)
        copies, _ = plan(files, (), Names(SourceConfig(), strict=False, record=record))
        orders.add(tuple(copy.patient for copy in copies))
    assert len(orders) > 12


def test_the_record_tells_nothing_without_the_key(cohort, tmp_path):
    cohort.add("Meier Anna", "Zorn Karl").mask("Zorn Karl", 1).table().run(tables=["clin.csv"])
    text = (cohort.out / NAME).read_text()
    stamps = [path.stat().st_mtime for path in cohort.source.rglob("*")]
    paths = [str(path.relative_to(cohort.source)) for path in cohort.source.rglob("*")]
    for guess in {*paths, *map(str, stamps), "Meier Anna", "Zorn Karl"}:
        assert guess == "clin.csv" or guess not in text
        for algorithm in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            assert algorithm(guess.encode()).hexdigest()[:16] not in text
    cohort.run(tmp_path / "other", key=KEY[::-1], tables=["clin.csv"])
    lines, others = (
        {tuple(json.loads(line)) for line in (out / NAME).read_text().splitlines()}
        for out in (cohort.out, tmp_path / "other")
    )
    digests, of_others = (
        {part for line in found for part in line if len(str(part)) == 32} for found in (lines, others)
    )
    assert len(digests) > 10
    assert not digests & of_others
    assert audit(cohort.out, workers=0).clean
    assert not deidentify(cohort.source, tmp_path / "unkeyed", workers=0).failed
    assert not (tmp_path / "unkeyed" / NAME).exists()


def test_a_conversion_does_not_see_the_record(cohort, tmp_path):
    cohort.add("Meier Anna", "Zorn Karl").run()
    status = npc.convert(cohort.out, tmp_path / "a.zarr", workers=0)
    assert status.patient.values.tolist() == ["patient-001", "patient-002"]
    assert not [text for text in map(str, status.attrs.values()) if NAME in text]


def test_a_copy_of_another_key_or_of_none_or_of_an_older_version_is_not_continued(cohort, tmp_path):
    cohort.add("Meier Anna").run()
    with pytest.raises(ParameterError, match="was made with another key"):
        cohort.run(key=KEY[::-1])
    with pytest.raises(ParameterError, match="is not empty"):
        cohort.run(key=None)
    before = cohort.tree()
    (cohort.out / NAME).unlink()
    with pytest.raises(ParameterError, match=r"no record .* without a key or by an older version"):
        cohort.run()
    assert cohort.tree() == {name: content for name, content in before.items() if name != NAME}
    cohort.run(tmp_path / "unkeyed", key=None)
    with pytest.raises(ParameterError, match="no record"):
        cohort.run(tmp_path / "unkeyed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [], "is damaged"),
        (lambda lines: ["[]"], "is damaged"),
        (lambda lines: ["{}", *lines[1:]], "is damaged"),
        (lambda lines: lines[:-1], "is damaged"),
        (lambda lines: [lines[0], "[1", *lines[2:]], "is damaged"),
        (lambda lines: [*lines[:-1], '["file", "../../x", "a", "b"]'], "is damaged"),
        (lambda lines: [*lines[:-1], '["file", "/x", "a", "b"]'], "is damaged"),
        (lambda lines: [lines[0].replace(" 1,", " 2,"), *lines[1:]], "another version"),
    ],
)
def test_a_damaged_record_is_refused(cohort, change, said):
    cohort.add("Meier Anna").run()
    record = cohort.out / NAME
    record.write_text("\n".join(change(record.read_text().splitlines())))
    with pytest.raises(ParameterError, match=said):
        cohort.run()


def test_a_line_that_was_cut_off_costs_no_more_than_its_file(cohort):
    cohort.add("Meier Anna").run()
    with (cohort.out / NAME).open("a") as file:
        file.write('["file", "patient-001/T1WI/000')
    assert cohort.run().kept == 2
    (cohort.out / f"{NAME}.npczarr-part").write_text("half")
    (cohort.out / NAME).unlink()
    shutil.rmtree(cohort.out / "patient-001")
    assert cohort.run().written == 2  # killed before anything was written


@pytest.fixture
def disk(monkeypatch):
    """A disk that takes so many more bytes; None for any number."""

    class Disk:
        room = None

    def sync(file):
        if Disk.room is not None:
            Disk.room -= os.fstat(file).st_size
            if Disk.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", sync)
    return Disk


@pytest.mark.parametrize("key", [KEY, None])
def test_a_full_disk_ends_the_run_in_one_line_and_leaves_no_part(cohort, disk, key):
    cohort.add(*AGES, slices=4)
    disk.room = 6_000
    advice = "make room, and run again with the same key" if key else "name an empty folder where there is more room"
    with pytest.raises(ParameterError) as refused:
        cohort.run(key=key)
    left = [name for name in cohort.tree() if name != NAME]
    assert str(refused.value) == (
        f"{cohort.out}: there is no more room (No space left on device): {len(left)} of 16 files were written, "
        f"{16 - len(left)} were not; {advice}"
    )
    assert 0 < len(left) < 16
    assert all(name.endswith(".dcm") for name in left)
    if key:
        disk.room = None
        done = cohort.run()
        assert (done.written + done.kept, done.failed) == (16, {})
        assert sorted(cohort.ages().values()) == sorted(AGES.values())


def test_nor_does_a_full_disk_leave_a_part_of_a_table_or_the_record(cohort, disk):
    cohort.add("Meier Anna", "Zorn Karl").table()
    disk.room = 0
    with pytest.raises(ParameterError, match=rf"{NAME}: cannot be written \(No space left on device\); a later run"):
        cohort.run(tables=["clin.csv"])
    with pytest.raises(ParameterError, match=r"no more room .*: 0 of 5 files were written, 5 were not"):
        cohort.run(tables=["clin.csv"], key=None)
    assert cohort.tree() == {}
    disk.room = None
    assert cohort.run(tables=["clin.csv"]).written == 5


def test_two_runs_at_once_are_refused(cohort):
    pytest.importorskip("fcntl")
    cohort.add("Meier Anna").run()
    with hold_folder(cohort.out), pytest.raises(ParameterError, match="another run is writing there"):
        cohort.run()
    assert cohort.run().kept == 2


def test_a_file_of_which_nothing_tells_that_it_has_changed_is_written_again(tmp_path):
    """Some servers give neither a time nor a checksum."""
    record = Record(KEY)
    for stamp, done in (("", 0), ("", 0), ("1", 0), ("1", 1), ("2", 0)):
        files = [File("001/T1WI/1.dcm", 1, stamp)]
        copies, _ = plan(files, (), Names(SourceConfig(), strict=False, record=record))
        (tmp_path / copies[0].target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / copies[0].target).touch()
        changes = find_changes(tmp_path, copies, files, (), record)
        assert changes.kept == done
        begin(tmp_path, changes, record)
        record.confirm({copy.target: changes.wanted[copy.target] for copy in changes.todo})
