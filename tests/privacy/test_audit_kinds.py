"""What the audit says of files of every kind: what it does not look into is not taken for clean."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import MediaStorageDirectoryStorage

from npczarr.privacy.audit import audit
from npczarr.privacy.deidentify import deidentify
from tests.builders import noise, oblique_grid, slice_dataset, write_cohort

OTHERS = """
    notes.txt a.xml a.html a.toml README a.pptx a.mat a.pkl a.npz a.mha a.nrrd a.jsonl a.png a.tif a.hdr a.img a.bvec
    IM0001 Thumbs.db .npczarr-deidentify
    """


@pytest.mark.parametrize("name", OTHERS.split())
def test_a_file_of_another_kind_counts_as_unread(tmp_path, name):
    (tmp_path / name).write_bytes(b"Miller, Anna 734215 14.03.1962")
    found = audit(tmp_path, workers=0)
    assert not found.clean
    assert "of a kind that audit does not look into" in found.unread[name]


def test_a_file_without_content_and_the_record_of_a_copy_say_nothing(tmp_path):
    write_cohort(tmp_path / "source", patients=("001",))
    deidentify(tmp_path / "source", tmp_path / "out", key=b"a secret of many bytes", workers=0)
    (tmp_path / "out" / ".gitkeep").touch()
    assert (tmp_path / "out" / ".npczarr-deidentify").is_file()
    assert audit(tmp_path / "out", workers=0).clean


def test_the_index_of_a_medium_is_a_finding(tmp_path):
    grid = oblique_grid((1, 6, 7), seed=1)
    index = slice_dataset(noise(grid)[0], grid, 0)
    index.file_meta.MediaStorageSOPClassUID = index.SOPClassUID = MediaStorageDirectoryStorage
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert {one.kind for one in audit(tmp_path, workers=0).findings} == {"index"}


@pytest.mark.parametrize(
    ("content", "findings", "notes"),
    [
        ({"global": {"PatientName": "Miller", "x": {"PatientBirthDate": "1962-03-14"}}}, 2, 0),
        ([{"PatientName": "Miller"}], 1, 0),
        ({"Comment": "born 14.03.1962", "by": ["A^B"], "to": {"e": "a.miller@example.org"}}, 0, 3),
        ({"Miller^Anna": {"EchoTime": 0.01}}, 0, 1),
        (["Manufacturer", {"EchoTime": 0.01, "ImageType": ["ORIGINAL", "PRIMARY"], "StudyDate": ""}], 0, 0),
    ],
)
def test_json_is_looked_at_in_depth(tmp_path, content, findings, notes):
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = audit(tmp_path, workers=0)
    assert (len(found.findings), len(found.notes), found.unread) == (findings, notes, {})
    assert "Miller" not in str(found)


@pytest.mark.parametrize(
    ("value", "tells"),
    [
        *((value, True) for value in ("born 14.03.1962", "seen 2019-03-04", "Anna^Miller", "a.miller@example.org")),
        *((value, True) for value in ("tel 0171 5551234", "+49 (171) 555-1234", "4.3.19", "04-MAR-2019")),
        *((value, False) for value in ("T2 N1", "0.0123456789", "12.5", "2019", "0012", "node@left", "C11.9", "-0.5")),
    ],
)
def test_entries_of_tables_that_may_tell_are_noted(tmp_path, value, tells):
    (tmp_path / "a.csv").write_text(f"id;remark;stage\n1;{value};T1\n")
    found = audit(tmp_path, values=True, workers=0)
    assert found.clean
    assert [(one.name, one.values) for one in found.notes] == [("entries of the column 'remark'", (value,))] * tells


@pytest.mark.parametrize(
    ("label", "tells"), [("001", False), ("patient-001", False), ("Anna M", True), ("7342151", True)]
)
def test_labels_of_patients_that_are_no_short_numbers_are_noted(tmp_path, label, tells):
    (tmp_path / "a.csv").write_text(f"Patient,stage\n{label},T1\n")
    noted = [one.name for one in audit(tmp_path, workers=0).notes]
    assert noted == ["labels of patients in the column 'Patient'"] * tells


def test_a_table_whose_first_line_is_a_patient_is_noted_without_the_name(tmp_path):
    (tmp_path / "a.csv").write_text("1;Anna^Miller;T1\n2;Doe^John;T2\n")
    found = audit(tmp_path, workers=0)
    assert len(found.notes) == 1
    assert "Miller" not in str(found)


def test_bytes_behind_the_voxels_and_texts_of_the_packing_are_found(tmp_path):
    content = nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)).to_bytes()
    packed = gzip.compress(content, mtime=0)
    (tmp_path / "a.nii").write_bytes(content + b"Miller")
    (tmp_path / "b.nii.gz").write_bytes(packed + gzip.compress(b"Miller"))
    (tmp_path / "c.nii.gz").write_bytes(packed[:3] + bytes([packed[3] | 16]) + packed[4:10] + b"Miller\0" + packed[10:])
    (tmp_path / "d.nii").write_bytes(content + bytes(16))
    second = bytearray(nib.Nifti2Image(np.ones((4, 4, 4), np.int16), np.eye(4)).to_bytes())
    second[525:531] = b"Miller"
    (tmp_path / "e.nii").write_bytes(second)
    found = {one.name: one.files for one in audit(tmp_path, workers=0).findings}
    assert found == {"bytes behind the voxels": 2, "comment in the gzip header": 1, "unused_str": 1}
