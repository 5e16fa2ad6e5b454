"""What the profile keeps and somebody typed, folders that are called after a person, columns of names."""

import csv
import shutil

import pydicom
import pytest

import npczarr as npc
from npczarr.model.identifiers import identifies_by_name, identity_words, is_plain_label, tells_who
from npczarr.privacy.audit import audit
from npczarr.privacy.deidentify import deidentify
from tests.builders import write_cohort

PLANTED = {
    "ImageType": ["ORIGINAL", "PRIMARY", "MILLER"],
    "ScanOptions": ["FS", "MILLER_J"],
    "SequenceName": "tse Miller",
    "ManufacturerModelName": "Signa of Miller",
    "ReceiveCoilName": "coil 19620314",
    "TransmitCoilName": "Doe^J",
    "Manufacturer": "Miller^Jane",
    "SoftwareVersions": "v1 AB77881",
}


@pytest.fixture
def source(tmp_path):
    """A cohort of which one patient is called Jane Miller, in headers and by the folder."""
    folder = tmp_path / "source"
    write_cohort(folder)
    patients = folder / "data/MRI-Segments"
    for path in (patients / "002").rglob("*.dcm"):
        header = pydicom.dcmread(path)
        header.PatientName, header.PatientID, header.PatientBirthDate = "Miller^Jane", "AB77881", "19620314"
        header.BodyPartExamined = "HEAD"
        for name, value in PLANTED.items():
            setattr(header, name, value)
        code = pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "seen by Miller"
        header.AcquisitionContextSequence = [pydicom.Dataset()]
        header.AcquisitionContextSequence[0].ConceptNameCodeSequence = [code]
        header.save_as(path)
    (patients / "002").rename(patients / "Miller Jane 1962")
    return folder


def test_typed_text_is_found_and_goes_and_the_rest_of_it_stays(source, tmp_path):
    found = {one.name for one in audit(source, workers=0).findings if one.kind == "kept text"}
    assert set(PLANTED) - {"SoftwareVersions"} | {"CodeMeaning"} <= found | {"SequenceName"}
    done = deidentify(source, tmp_path / "out", workers=0)
    assert done.written > 0
    assert done.numbered == 1
    content = b"".join(path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file())
    names = " ".join(str(path) for path in (tmp_path / "out").rglob("*"))
    for word in (b"iller", b"ILLER", b"AB77881", b"19620314", b"Doe"):
        assert word not in content
        assert word.decode() not in names
    cleaned = audit(tmp_path / "out", workers=0)
    assert [one for one in cleaned.findings if one.kind != "path"] == []
    headers = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").rglob("*.dcm"))]
    changed = [header for header in headers if header.PatientID == "patient-001"]
    assert changed
    assert {tuple(header.ImageType)[:2] for header in changed} == {("ORIGINAL", "PRIMARY")}
    assert {one.kind for one in audit(source, workers=0).notes} == {"face", "text"}


def test_pseudonyms_stay_on_request(source, tmp_path):
    assert deidentify(source, tmp_path / "out", keep_patients=True, workers=0).numbered == 0
    assert list((tmp_path / "out").rglob("Miller Jane 1962"))


@pytest.mark.slow
def test_nothing_of_it_enters_a_store(source, tmp_path):
    table = source / "info_diagnoses.csv"
    rows = [["ID", "Age", "Name", "MRN", "姓名", "phone", "T stage"]]
    rows += [[f"{i}", "50", "Miller", "AB77881", "米勒", "5551234", "T2"] for i in (1, 2, 3)]
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    patients = source / "data/MRI-Segments"
    (patients / "Miller Jane 1962").rename(patients / "002")
    result = npc.convert(source, tmp_path / "a.zarr", workers=0)
    assert (result.status.sel(patient="002") != "refused").all()
    left_out = [w for w in result.attrs["table_warnings"] if "--keep" in w]
    assert len(left_out) == 4
    dataset = npc.open(tmp_path / "a.zarr").load()
    values = dataset.drop_vars(["image", "mask"])
    text = str({name: (v.values.tolist(), v.attrs) for name, v in values.variables.items()}) + str(dataset.attrs)
    for word in ("iller", "ILLER", "AB77881", "19620314", "5551234", "米勒"):
        assert text.find(word) < 0, text[text.find(word) - 200 :][:300]
    assert set(dataset.t_stage.values) == {"T2"}
    shutil.rmtree(tmp_path / "a.zarr")
    npc.convert(source, tmp_path / "a.zarr", workers=0, keep=["MRN", "姓名"])
    assert set(npc.open(tmp_path / "a.zarr")["MRN"].values) == {"AB77881"}


@pytest.mark.parametrize(
    ("column", "tells"),
    [
        *((name, True) for name in ("Name", "Patient_Name", "MRN", "姓名", "phone", "Phone No.", "DOB", "身份证号")),
        *((name, False) for name in ("Age", "T stage", "Drug name", "sequence", "M stage", "Sex", "病理", "生存状态")),
    ],
)  # fmt: skip
def test_columns_by_name(column, tells):
    assert identifies_by_name(column) == tells


@pytest.mark.parametrize(
    "text", ["SIEMENS", "Ingenia CX", "GE MEDICAL SYSTEMS", "Head Neck 20", "*tse2d1_9", "FS\\SAT1"]
)
def test_plain_texts_tell_nothing(text):
    assert not tells_who(text, {"miller"})
    assert not is_plain_label(text)


@pytest.mark.parametrize("name", ["王伟", "王小明", "김민수", "Wang^Xiaoming", "Miller^Jane", "12345678"])
@pytest.mark.parametrize("text", ["tse{}2", "{}头颈", "coil_{}"])
def test_a_name_is_found_within_other_text_and_in_scripts_without_spaces(name, text):
    words = identity_words([name])
    part = max(name.split("^"), key=len)
    assert tells_who(text.format(part), words)
    assert not tells_who(text.format("head"), words)
