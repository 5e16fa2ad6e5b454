"""A Zarr store is no source: audit and deidentify say so, whether it is the source or lies in it."""

import shutil

import pytest
import zarr
from typer.testing import CliRunner

from npczarr.cli.app import app
from npczarr.errors import SourceError
from npczarr.privacy.audit import audit
from npczarr.privacy.deidentify import deidentify
from tests.builders import noise, oblique_grid, slice_dataset


@pytest.fixture(params=[2, 3])
def store(tmp_path, request):
    group = zarr.create_group(tmp_path / "cohort.zarr", zarr_format=request.param)
    group.create_array("Name", shape=(2,), chunks=(1,), dtype="i4")[...] = 7
    return tmp_path / "cohort.zarr"


def test_a_store_is_refused(store, tmp_path):
    with pytest.raises(SourceError, match=r"a Zarr store, expected a source of DICOM, NIfTI, tables"):
        audit(store, workers=0)
    with pytest.raises(SourceError, match="a Zarr store, expected the DICOM and NIfTI files"):
        deidentify(store, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()
    packed = shutil.make_archive(str(tmp_path / "cohort.zarr"), "zip", store)
    with pytest.raises(SourceError, match="a Zarr store"):
        audit(packed, workers=0)


def test_a_store_within_a_source_is_named_once(store, tmp_path):
    source = tmp_path / "source"
    folder = source / "P1" / "T1WI"
    folder.mkdir(parents=True)
    grid = oblique_grid((1, 6, 7), seed=1)
    slice_dataset(noise(grid)[0], grid, 0).save_as(folder / "1.dcm", enforce_file_format=True)
    shutil.make_archive(str(source / "packed.zarr"), "zip", store)
    shutil.move(store, source / "P1" / "cohort.zarr")
    found = audit(source, workers=0)
    assert found.files == 3
    assert list(found.unread) == ["P1/cohort.zarr", "packed.zarr.zip"]
    assert "a Zarr store" in found.unread["P1/cohort.zarr"]
    done = deidentify(source, tmp_path / "out", workers=0)
    assert (done.written, sorted(done.not_copied)) == (1, ["P1/cohort.zarr", "packed.zarr.zip"])


def test_files_that_audit_cannot_look_into_are_not_taken_for_clean(tmp_path):
    for name in ("patients.xlsx", "letter.pdf", "old.tar.gz", "LICENSE"):
        (tmp_path / name).write_bytes(b"Miller")
    assert list(audit(tmp_path, workers=0).unread) == ["LICENSE", "letter.pdf", "old.tar.gz", "patients.xlsx"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("ID,Age\n1,50\n", "1 files checked: nothing found; 0 could not be read"),
        ("ID,Name,MRN\n1,Doe,AB1\n", "1 files checked: 2 kinds of finding; 0 could not be read"),
    ],
)
def test_the_last_line_says_what_was_found(tmp_path, table, said):
    (tmp_path / "a.csv").write_text(table)
    assert said in CliRunner().invoke(app, ["audit", str(tmp_path), "--workers", "0"]).output
