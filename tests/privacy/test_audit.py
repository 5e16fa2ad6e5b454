"""What the audit finds, and that it keeps values to itself."""

import gzip
import json
import zipfile

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from npczarr.privacy.audit import audit
from npczarr.privacy.deidentify import deidentify
from tests.builders import noise, oblique_grid, slice_dataset


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source" / "Doe Jane" / "20190304"
    folder.mkdir(parents=True)
    dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    dataset.PatientName = "Doe^Jane"
    dataset.BurnedInAnnotation = "YES"
    dataset.BodyPartExamined = "HEAD"
    dataset.RequestAttributesSequence = [pydicom.Dataset()]
    dataset.ReferencedImageSequence = [pydicom.Dataset()]
    dataset.ReferencedImageSequence[0].OperatorsName = "Nested^Person"
    dataset.private_block(0x0029, "ACME 1", create=True).add_new(1, "LO", "secret")
    dataset.save_as(folder / "a.dcm")
    (folder / "broken.dcm").write_bytes(b"nothing")
    return tmp_path / "source"


def test_it_finds_each_kind_and_tells_no_value(source):
    found = audit(source)
    kinds = {(f.kind, f.name) for f in found.findings}
    assert {
        ("attribute", "PatientName"),
        ("attribute", "OperatorsName"),
        ("private", "ACME 1"),
        ("date", "StudyDate"),
        ("uid", "StudyInstanceUID"),
        ("path", "date"),
        ("path", "PatientName"),
        ("burned in", "annotation in the pixels"),
    } <= kinds
    assert [f.kind for f in found.notes if f.kind != "text"] == ["face"]
    assert list(found.unread) == ["Doe Jane/20190304/broken.dcm"]
    assert "Nested" not in json.dumps([f.values for f in found.findings])
    asked = {f.name: f.values for f in audit(source, values=True).findings}
    assert asked["OperatorsName"] == ("Nested^Person",)


@pytest.mark.parametrize(
    ("keyword", "value", "noted"),
    [
        ("BodyPartExamined", "HEAD", "image of a head or neck"),
        ("SeriesDescription", "T1 nasopharynx", "image of a head or neck"),
        ("ProtocolName", "Brain routine", "image of a head or neck"),
        ("BodyPartExamined", "ABDOMEN", None),
        ("StudyDescription", "routine", "image whose header does not say which part of the body it shows"),
    ],
)
def test_images_from_which_a_face_may_be_drawn_are_counted(tmp_path, keyword, value, noted):
    grid = oblique_grid((1, 6, 7), seed=1)
    for i in range(3):
        dataset = slice_dataset(noise(grid)[0], grid, 0)
        setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / f"{i}.dcm", enforce_file_format=True)
    found = [(note.name, note.files) for note in audit(tmp_path, workers=0).notes if note.kind == "face"]
    assert found == ([(noted, 3)] if noted else [])


def test_a_zip_gives_the_same(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        for path in source.rglob("*.dcm"):
            archive.write(path, path.relative_to(source))
    assert audit(tmp_path / "source.zip") == audit(source)


@pytest.mark.parametrize(("packed_as", "found"), [("ROI-T1.nii", False), ("Doe_Jane.nii", True), ("", False)])
def test_a_packed_file_remembers_its_old_name(tmp_path, packed_as, found):
    folder = tmp_path / "001"
    folder.mkdir()
    image = nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)).to_bytes()
    with (folder / "ROI-T1.nii.gz").open("wb") as file, gzip.GzipFile(packed_as, "wb", fileobj=file) as packed:
        packed.write(image)
    assert audit(tmp_path).clean is not found
    deidentify(tmp_path, tmp_path.parent / f"{tmp_path.name}-out")
    assert audit(tmp_path.parent / f"{tmp_path.name}-out").clean


def test_tables_and_sidecars_that_name_patients_are_found(tmp_path):
    tables = {
        "a.csv": "ID,Age,Name,MRN,T stage\n1,50,Miller,AB77881,T2\n",
        "b.tsv": "participant_id\tage\t姓名\tphone\nsub-1\t50\t米勒\t\n",
        "c.json": '{"PatientName": "Miller", "PatientBirthDate": "19620314", "EchoTime": 0.01, "StudyDate": ""}',
        "d.csv": "ID,Age,T stage\n1,50,T2\n",
        "e.json": '{"EchoTime": 0.01, "Manufacturer": "SIEMENS"}',
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "f.json").write_text("[" * 100_000)
    found = audit(tmp_path, workers=0)
    assert {(one.kind, one.name) for one in found.findings} == {
        ("column", "Name"),
        ("column", "MRN"),
        ("column", "姓名"),
        ("sidecar", "PatientName"),
        ("sidecar", "PatientBirthDate"),
    }
    assert all(not one.values for one in found.findings)
    assert list(found.unread) == ["f.json"]
    assert "Miller" in {value for one in audit(tmp_path, values=True, workers=0).findings for value in one.values}
