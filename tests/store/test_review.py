"""Marks of a review: none lost and none twice, whoever writes beside, and whenever a writer dies."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from datetime import datetime, timedelta

import numpy as np
import pytest
import xarray as xr
import xxhash
import zarr

import npczarr as npc
from npczarr.errors import LeaseError, ParameterError, ReadOnlyError, StoreError, UnknownLabelError
from npczarr.model.review import REASONS, Mark
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from npczarr.store.review import ChangedScanError, Review, review_table
from npczarr.store.review_carried import marks_to_carry
from npczarr.store.review_digests import input_digests

pytestmark = pytest.mark.slow  # writes and resamples stores

SEQUENCES = ("T1WI", "T2WI", "CE-T1WI")


@pytest.fixture
def mine(store, tmp_path):
    copy = tmp_path / "cohort.zarr"
    shutil.copytree(store, copy)
    return copy


def review_of(url, tmp_path=None):
    return Review(locate(url), None if tmp_path is None else tmp_path / "marks.csv")


def test_marks_are_kept_in_the_store_and_seen_by_everything(mine):
    review = review_of(mine)
    assert review.read().marks == {}
    assert review.keep([Mark("001", "T2WI", "exclude", "artifact", "moved, „badly“", "A. B.")]) == "store"
    assert review.keep([Mark("002", "T1WI", "accept")]) == "store"
    found = review_of(mine).read().marks
    assert set(found) == {("001", "T2WI"), ("002", "T1WI")}
    assert found["001", "T2WI"].note == "moved, „badly“"
    plain = xr.open_zarr(mine, group="review", chunks=None)
    assert plain["decision"].sel(patient="001", sequence="T2WI") == "exclude"
    assert (plain["decision"] != "").sum() == 2
    table = npc.open(mine).npc.table().set_index(["patient", "sequence"])
    assert table.loc[("001", "T2WI"), "review.reason"] == "artifact"
    assert table.loc[("002", "T1WI"), "review.decision"] == "accept"
    assert table.loc[("003", "T1WI"), "review.decision"] is None
    assert npc.validate(mine, workers=0) == ()


def test_a_later_mark_replaces_an_earlier_one_and_an_empty_one_takes_it_back(mine):
    review = review_of(mine)
    review.keep([Mark("001", "T1WI", "accept"), Mark("001", "T2WI", "accept")])
    review.keep([Mark("001", "T1WI", "exclude", "other", "n")])
    assert review.read().marks["001", "T1WI"].decision == "exclude"
    review.keep([Mark("001", "T1WI", "")])
    assert set(review.read().marks) == {("001", "T2WI")}


def test_a_scan_that_changed_is_to_be_reviewed_again(mine):
    review = review_of(mine)
    review.keep([Mark("001", sequence, "accept") for sequence in SEQUENCES])
    zarr.open_group(mine)["mask_digest"][0, 1] = "0" * 32
    assert set(review.read().marks) == {("001", "T1WI"), ("001", "CE-T1WI")}
    table = npc.open(mine).npc.table().set_index(["patient", "sequence"])
    assert table.loc[("001", "T2WI"), "review.decision"] is None


def change(root, name, value):
    """Change an entry of 001/T2WI."""
    entry = np.array(root[name][0, 1])
    entry.flat[0] = value
    root[name][0, 1] = entry


@pytest.mark.parametrize(
    ("name", "value"), [("image_digest", "0" * 32), ("shape", 1), ("spacing", 0.25), ("affine", -7.5)]
)
def test_a_mark_counts_for_the_voxels_and_the_geometry_that_were_seen(mine, tmp_path, monkeypatch, name, value):
    monkeypatch.chdir(tmp_path)
    review = review_of(mine)
    review.keep([Mark("001", sequence, "exclude", "other") for sequence in SEQUENCES])
    change(zarr.open_group(mine), name, value)
    assert set(review.read().marks) == {("001", "T1WI"), ("001", "CE-T1WI")}
    assert set(marks_to_carry(locate(mine))) == {("001", "T1WI"), ("001", "CE-T1WI")}
    assert review_table(locate(mine))["decision"].sel(patient="001").values.tolist() == ["exclude", "", "exclude"]


def test_a_mark_of_another_definition_of_the_digest_counts_for_nothing(mine):
    review_of(mine).keep([Mark("001", "T1WI", "accept"), Mark("001", "T2WI", "accept")])
    root = zarr.open_group(mine)
    kept = json.loads(str(root["review/mark"][0, 0]))
    voxels = f"{root['image_digest'][0, 0]} {root['mask_digest'][0, 0]}"
    root["review/mark"][0, 0] = json.dumps(kept | {"input_digest": xxhash.xxh3_128_hexdigest(voxels.encode())})
    found = review_of(mine).read()
    assert (set(found.marks), found.problems) == ({("001", "T2WI")}, ())


@pytest.mark.parametrize("read_only", [False, True])
def test_a_mark_of_a_scan_that_is_another_by_now_is_refused(mine, tmp_path, monkeypatch, read_only):
    def refused(*_, **__):
        raise ReadOnlyError("may be read only")

    if read_only:
        monkeypatch.setattr("npczarr.store.review.hold_lease", refused)
    review, root = review_of(mine, tmp_path), zarr.open_group(mine)
    marks = [Mark("001", s, "accept", input_digest=input_digests(root, [("001", s)])["001", s]) for s in SEQUENCES]
    change(root, "affine", -7.5)
    with pytest.raises(ChangedScanError, match=r"^001/T2WI: the scan has changed since this page was loaded; reload"):
        review.keep(marks)
    assert review.read().marks == {}
    review.keep([marks[0], marks[2]])
    assert set(review.read().marks) == {("001", "T1WI"), ("001", "CE-T1WI")}
    assert not (mine / "status/lease.json").exists()


@pytest.mark.parametrize("field", ["patient", "sequence", "decision", "reason", "note", "reviewer"])
def test_text_that_no_file_can_hold_is_refused_in_words(field):
    with pytest.raises(ParameterError, match=f"^{field}: character 2 is half of a surrogate pair") as refused:
        Mark(**({"patient": "001", "sequence": "T1WI", "decision": "accept"} | {field: "a\ud800"}))
    str(refused.value).encode()


def test_marks_stay_with_their_patients_when_others_are_appended(cohort, tmp_path):
    made, part = tmp_path / "npc.zarr", tmp_path / "part"
    shutil.copytree(cohort / "primary_data", part)
    (part / "data/MRI-Segments/001").rename(tmp_path / "001")
    npc.convert(part, made, workers=0)
    review_of(made).keep([Mark("003", "T1WI", "exclude", "coverage")])
    (tmp_path / "001").rename(part / "data/MRI-Segments/001")
    npc.convert(part, made, workers=0)
    review_of(made).keep([Mark("001", "T1WI", "accept")])
    decided = {key: mark.decision for key, mark in review_of(made).read().marks.items()}
    assert decided == {("003", "T1WI"): "exclude", ("001", "T1WI"): "accept"}
    assert npc.validate(made, workers=0) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"decision": "maybe"}, {"decision": "exclude"}, {"decision": "exclude", "reason": "ugly"},
        {"decision": "accept", "reason": "other"}, {"decision": "accept", "note": "x" * 5000},
    ],
)  # fmt: skip
def test_what_is_no_decision_is_refused(wrong):
    with pytest.raises(ParameterError):
        Mark("001", "T1WI", **wrong)


def test_unknown_scans_are_named_and_nothing_is_kept(mine):
    with pytest.raises(UnknownLabelError, match="patient '999'"):
        review_of(mine).keep([Mark("001", "T1WI", "accept"), Mark("999", "T1WI", "accept")])
    with pytest.raises(UnknownLabelError, match="sequence 'T9'"):
        review_of(mine).keep([Mark("001", "T9", "accept")])
    assert review_of(mine).read().marks == {}
    assert not (mine / "status/lease.json").exists()


def test_another_writer_is_waited_for_and_then_named(mine):
    with hold_lease(locate(mine).open(), "x"), pytest.raises(LeaseError, match="being written"):
        review_of(mine).keep([Mark("001", "T1WI", "accept")], wait=0.1)
    assert review_of(mine).keep([Mark("001", "T1WI", "accept")]) == "store"


def test_a_read_only_store_has_its_marks_in_a_csv_file(mine, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise ReadOnlyError("may be read only")

    monkeypatch.setattr("npczarr.store.review.hold_lease", refused)
    review = review_of(mine, tmp_path)
    assert review.keep([Mark("001", "T1WI", "exclude", "other", 'a "b",\nc\r\nd')]) == "csv"
    assert review.keep([Mark("001", "T1WI", "accept"), Mark("002", "T1WI", "exclude", "coverage", "é")]) == "csv"
    with (tmp_path / "marks.csv").open("a") as file:
        file.write("003,T1WI,exc")  # a crash in the middle of a row
    assert {key: mark.decision for key, mark in review.read().marks.items()} == {
        ("001", "T1WI"): "accept",
        ("002", "T1WI"): "exclude",
    }
    (problem,) = review.read().problems
    assert "marks.csv: line 5 cannot be read as a mark" in problem
    review.keep([Mark("003", "T1WI", "accept")])
    assert len(review_of(mine, tmp_path).read().marks) == 3
    lines = (tmp_path / "marks.csv").read_text().splitlines()
    assert lines[0].startswith("patient,sequence,decision,reason")
    assert len(lines) == 6
    assert not (mine / "review").exists()


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("npczarr.store.review.datetime", made)
    return made


def keep_in_file(review, *marks):
    """Keep marks as if the store could not be written."""

    def refused(*_, **__):
        raise ReadOnlyError("may be read only")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("npczarr.store.review.hold_lease", refused)
        assert review.keep(marks) == "csv"


@pytest.mark.parametrize("decision", ["accept", ""])
def test_a_mark_in_the_store_counts_that_is_later_than_one_in_the_file(mine, tmp_path, clock, decision):
    review = review_of(mine, tmp_path)
    keep_in_file(review, Mark("001", "T1WI", "exclude", "artifact"), Mark("001", "T2WI", "exclude", "artifact"))
    review.keep([Mark("001", "T1WI", decision)])
    found = review.read()
    assert {key[1]: mark.decision for key, mark in found.marks.items() if key[1] != "T2WI"} == (
        {"T1WI": "accept"} if decision else {}
    )
    assert (found.marks["001", "T2WI"].decision, found.problems) == ("exclude", ())


@pytest.mark.parametrize("decision", ["accept", ""])
def test_a_mark_in_the_file_counts_that_is_later_than_one_in_the_store(mine, tmp_path, clock, decision):
    review = review_of(mine, tmp_path)
    review.keep([Mark("001", "T1WI", "exclude", "artifact")])
    keep_in_file(review, Mark("001", "T1WI", decision))
    found = review.read()
    assert [mark.decision for mark in found.marks.values()] == ([decision] if decision else [])
    assert found.problems == ()


@pytest.mark.parametrize("time", ["", "yesterday", "same"])
def test_marks_whose_order_cannot_be_told_are_named_and_neither_counts(mine, tmp_path, monkeypatch, clock, time):
    monkeypatch.chdir(tmp_path)
    review = Review(locate(mine))
    keep_in_file(review, Mark("001", "T1WI", "exclude", "artifact"), Mark("002", "T1WI", "accept"))
    review.keep([Mark("001", "T1WI", "accept"), Mark("002", "T1WI", "accept")])
    lines = review.csv_file.read_text()
    in_file, in_store = (f"2026-01-01T00:0{minutes}:00+00:00" for minutes in (1, 2))
    assert in_file in lines
    review.csv_file.write_text(lines.replace(in_file, in_store if time == "same" else time))
    found = review.read()
    assert set(found.marks) == {("002", "T1WI")}  # where both say the same, there is nothing to tell
    (problem,) = found.problems
    assert "cohort-review.csv: the marks of 001/T1WI in this file are others than those in the store" in problem
    with pytest.raises(StoreError, match="neither counts"):
        npc.open(mine, where="review.decision != 'exclude'")


def test_a_mark_that_would_not_count_beside_a_later_one_is_refused(mine, tmp_path, clock):
    review = review_of(mine, tmp_path)
    clock.minutes = 60  # the clock of another machine
    keep_in_file(review, Mark("001", "T1WI", "exclude", "artifact"))
    clock.minutes = 0
    with pytest.raises(StoreError, match=r"^001/T1WI: .*marks\.csv has another mark, whose time is not earlier"):
        review.keep([Mark("001", "T1WI", "accept"), Mark("001", "T2WI", "accept")])
    assert {key[1]: mark.decision for key, mark in review.read().marks.items()} == {"T1WI": "exclude"}
    clock.minutes = 90
    review.keep([Mark("001", "T1WI", "accept")])
    clock.minutes = 0
    with pytest.raises(StoreError, match=r"cohort\.zarr has another mark, whose time is not earlier than now"):
        keep_in_file(review, Mark("001", "T1WI", "exclude", "artifact"))


def test_a_mark_of_a_resampled_scan_ends_with_the_geometry_that_was_seen(mine, tmp_path):
    target = tmp_path / "resampled.zarr"

    def carried():
        npc.resample_store(mine, target, spacing=(6, 4, 4), workers=0)
        return set(review_of(target).read().marks)

    review_of(mine).keep([Mark("001", "T2WI", "exclude", "artifact"), Mark("002", "T1WI", "accept")])
    assert carried() == {("001", "T2WI"), ("002", "T1WI")}
    root = zarr.open_group(mine)
    affine = root["affine"][0, 1]
    affine[0] *= -1  # corrected headers: left and right change places
    root["affine"][0, 1] = affine
    assert carried() == {("002", "T1WI")}
    review_of(mine).keep([Mark("001", "T2WI", "exclude", "artifact")])
    assert carried() == {("001", "T2WI"), ("002", "T1WI")}


def test_marks_count_in_a_store_that_was_resampled(mine, tmp_path, monkeypatch):
    monkeypatch.setattr("npczarr.store.review.datetime", Clock())
    target, chosen = tmp_path / "training.zarr", "review.decision != 'exclude'"

    def resampled():
        npc.resample_store(mine, target, like="T1WI", spacing=(6, 4, 4), purpose="training", workers=0)
        return set(npc.open(target, where=chosen).patient.values.tolist())

    def patients(url):
        return npc.open(url, where=chosen).patient.values.tolist()

    with pytest.warns(UserWarning, match=r"training\.zarr: holds no review; marks of the store that it was resampled"):
        assert resampled() == {"001", "002", "003"}
    review_of(mine).keep([Mark("003", "T1WI", "exclude", "artifact", "moved", "A. B."), Mark("001", "T2WI", "accept")])
    assert resampled() == {"001", "002"}
    assert npc.patches(target, size=8, where=chosen).subjects == ("001", "002")
    carried = review_of(target).read().marks["003", "T1WI"]
    assert (carried.reason, carried.note, carried.reviewer) == ("artifact", "moved", "A. B.")
    history = len(npc.open(target).attrs["history"])
    assert resampled() == {"001", "002"}
    assert len(npc.open(target).attrs["history"]) == history  # nothing changed
    review_of(mine).keep([Mark("003", "T1WI", "")])
    assert resampled() == {"001", "002", "003"}
    review_of(target).keep([Mark("002", "T1WI", "exclude", "other")])  # of this store alone, and later
    assert resampled() == {"001", "003"}
    assert patients(mine) == ["001", "002", "003"]
    assert npc.validate(target, workers=0) == ()


class Clock:
    """A minute later each time."""

    def __init__(self):
        self.minutes = 0

    def now(self, zone):
        self.minutes += 1
        return datetime(2026, 1, 1, tzinfo=zone) + timedelta(minutes=self.minutes)


def test_marks_in_the_csv_file_of_a_packed_store_count(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    review_of(mine).keep([Mark("001", "T1WI", "exclude", "artifact")])
    packed = tmp_path / "packed.zarr.zip"
    npc.pack(mine, packed)
    assert Review(locate(packed)).keep([Mark("003", "T2WI", "exclude", "coverage")]) == "csv"
    assert npc.open(packed, where="review.decision != 'exclude'").patient.values.tolist() == ["002"]
    table = npc.open(packed).npc.table().set_index(["patient", "sequence"])
    assert table.loc[("003", "T2WI"), "review.reason"] == "coverage"
    (tmp_path / "packed.zarr.zip-review.csv").write_text("nothing of the kind\n003,T2WI")
    with pytest.raises(StoreError, match=r"packed\.zarr\.zip-review\.csv"):
        npc.open(packed, where="review.decision != 'exclude'")


def _mark_all(url: str, patients: list[str], decision: str, reason: str) -> None:
    for patient in patients:
        for sequence in SEQUENCES:
            review_of(url).keep([Mark(patient, sequence, decision, reason, reviewer=str(os.getpid()))], wait=60)


def test_a_group_that_was_left_half_made_is_made_anew(mine, monkeypatch):
    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("npczarr.store.review.consolidate", killed)
        with pytest.raises(KeyboardInterrupt):
            review_of(mine).keep([Mark("001", "T1WI", "accept")])
    (mine / "review/mark/c/0/0").unlink()
    assert review_of(mine).read().marks == {}
    review_of(mine).keep([Mark("001", "T2WI", "accept")])
    assert set(review_of(mine).read().marks) == {("001", "T2WI")}
    assert npc.open(mine).npc.table()["review.decision"].notna().sum() == 1


def test_two_reviewers_at_once_lose_nothing(mine):
    context = multiprocessing.get_context("spawn")
    work = [(str(mine), ["001", "002"], "accept", ""), (str(mine), ["003"], "exclude", REASONS[0])]
    running = [context.Process(target=_mark_all, args=arguments) for arguments in work]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
        assert process.exitcode == 0
    decided = {key: mark.decision for key, mark in review_of(mine).read().marks.items()}
    assert decided == {(p, s): "exclude" if p == "003" else "accept" for p in ("001", "002", "003") for s in SEQUENCES}


def _mark_and_tell(url: str, told) -> None:
    number = 0
    while True:
        review_of(url).keep([Mark("001", "T1WI", "exclude", "other", str(number))], wait=60)
        told.send(number)
        number += 1


def test_a_reviewer_killed_at_any_moment_loses_no_mark_that_was_confirmed(mine):
    context = multiprocessing.get_context("spawn")
    rng = np.random.default_rng(0)
    for _ in range(4):
        listening, told = context.Pipe(duplex=False)
        process = context.Process(target=_mark_and_tell, args=(str(mine), told))
        process.start()
        last = listening.recv()
        time.sleep(rng.uniform(0.0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.join(20)
        while listening.poll():
            try:
                last = listening.recv()
            except EOFError:
                break
        kept = review_of(mine).read().marks["001", "T1WI"]
        assert int(kept.note) in (last, last + 1)
        # the next mark takes over the lease of the dead, and what people read is made whole again
        review_of(mine).keep([Mark("002", "T1WI", "accept")])
        plain = xr.open_zarr(mine, group="review", chunks=None)
        assert str(plain["note"][0, 0].values) == json.loads(str(plain["mark"][0, 0].values))["note"] == kept.note
        assert len(review_of(mine).read().marks) == 2


@pytest.fixture
def reviewed(mine):
    review_of(mine).keep([Mark("001", "T1WI", "accept", note="n"), Mark("002", "T2WI", "exclude", "coverage")])
    return mine


def objects_of(store):
    return {path: path.read_bytes() for path in sorted((store / "review").rglob("*")) if path.is_file()}


def test_a_mark_that_is_damaged_is_named_and_not_written_over(reviewed):
    zarr.open_group(reviewed)["review/mark"][0, 0] = '{"decision": "acc'
    review = review_of(reviewed)
    found = review.read()
    assert set(found.marks) == {("002", "T2WI")}
    (problem,) = found.problems
    assert "marks of 001/T1WI are damaged" in problem
    assert "restore the folder review from a copy" in problem
    with pytest.raises(StoreError, match="001/T1WI are damaged"):
        review.keep([Mark("001", "T1WI", "exclude", "other"), Mark("003", "T1WI", "accept")])
    assert review.keep([Mark("003", "T1WI", "accept")]) == "store"
    assert set(review.read().marks) == {("002", "T2WI"), ("003", "T1WI")}
    group = zarr.open_group(reviewed)["review"]
    assert group["mark"][0, 0] == '{"decision": "acc'
    assert (group["decision"][0, 0], group["note"][0, 0]) == ("accept", "n")


def _damage(store, how):
    chunk, metadata = store / "review/mark/c/0/0", store / "review/mark/zarr.json"
    if how == "damaged chunk":
        chunk.write_bytes(chunk.read_bytes()[:-6] + b"broken")
    elif how == "absent chunk":
        chunk.unlink()
    elif how == "damaged metadata":
        metadata.write_text("{")
    elif how == "absent metadata":
        metadata.unlink()
    elif how == "damaged group":
        (store / "review/zarr.json").write_text("{")


@pytest.mark.parametrize(
    "how", ["damaged chunk", "absent chunk", "damaged metadata", "absent metadata", "damaged group"]
)
def test_marks_that_cannot_be_read_at_all_are_not_written_over(reviewed, how):
    _damage(reviewed, how)
    before = objects_of(reviewed)
    with pytest.raises(StoreError, match=r"review's marks cannot be read .* nothing is written over them.*delete it"):
        review_of(reviewed).keep([Mark("003", "T1WI", "accept")])
    assert objects_of(reviewed) == before
    assert not (reviewed / "status/lease.json").exists()
    if how.endswith("chunk"):  # consolidated metadata are whole where those of the array are not
        found = review_of(reviewed).read()
        assert found.marks == {}
        assert "marks cannot be read" in found.problems[0]
        with pytest.warns(UserWarning, match="marks cannot be read"):
            table = npc.open(reviewed).npc.table()
        assert (table["review.decision"].isna() | (table["review.decision"] == "")).all()
        with pytest.raises(StoreError, match="marks cannot be read"):
            npc.open(reviewed, where="review.decision != 'exclude'")
    shutil.rmtree(reviewed / "review")  # as the message says
    review_of(reviewed).keep([Mark("003", "T1WI", "accept")])
    assert set(review_of(reviewed).read().marks) == {("003", "T1WI")}
    assert review_of(reviewed).read().problems == ()
