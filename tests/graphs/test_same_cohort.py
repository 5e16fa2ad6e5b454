"""Patients that a source has renamed, lost or doubled, held against those of the store."""

import shutil

import pytest
import xarray as xr

import npczarr as npc

pytestmark = pytest.mark.slow
COPY = ": one patient under two names, or a copy"


@pytest.fixture
def source(cohort, tmp_path):
    return shutil.copytree(cohort / "primary_data", tmp_path / "source")


def folder(source, patient):
    return source / "data/MRI-Segments" / patient


def told(result):
    """Messages of the scans that are not ok, by name."""
    flat = result.stack(scan=("patient", "sequence"))
    found = zip(flat.scan.values, flat.status.values, flat.message.values, strict=True)
    return {"/".join(scan): str(message) for scan, status, message in found if status == "warning"}


def test_a_renamed_patient_is_there_twice_and_that_is_said_of_the_second(source, store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "s.zarr")
    folder(source, "002").rename(folder(source, "012"))
    result = npc.convert(source, copy, workers=0)
    sequences = [str(name) for name in result.sequence.values]
    expected = {f"012/{name}": f"holds the same image as 002/{name}{COPY}" for name in sequences}
    assert told(result) == expected
    gone, one_person = result.attrs["remarks"]
    assert gone == "the store holds 1 patient that this source does not have, and keeps it: 002"
    assert one_person.startswith("2 patients may be one person (002 and 012 share a StudyInstanceUID): ")
    assert (npc.open(copy).status.sel(patient=["001", "002", "003"]) == "ok").all()
    before = xr.open_zarr(copy).load()
    again = npc.convert(source, copy, workers=0)
    assert (told(again), again.attrs["remarks"]) == (expected, result.attrs["remarks"])
    assert (again.action == "kept").all()
    xr.testing.assert_identical(xr.open_zarr(copy).load(), before)
    assert npc.validate(copy, workers=0) == ()


def test_a_doubled_folder_is_said_of_a_new_store(source, tmp_path):
    shutil.copytree(folder(source, "001"), folder(source, "001_copy"))
    result = npc.convert(source, tmp_path / "s.zarr", workers=0)
    assert set(told(result)) == {f"001_copy/{name}" for name in result.sequence.values}
    assert f"holds the same image as 001/T1WI{COPY}" in told(result)["001_copy/T1WI"]
    (said,) = result.attrs["remarks"]
    assert said.startswith("2 patients may be one person (001 and 001_copy share a PatientID): ")


def test_what_was_said_of_a_copy_is_taken_back_with_it(source, tmp_path):
    shutil.copytree(folder(source, "001"), folder(source, "004"))
    npc.convert(source, tmp_path / "s.zarr", workers=0)
    path = sorted((folder(source, "001") / "T1WI").glob("*.dcm"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    result = npc.convert(source, tmp_path / "s.zarr", workers=0)
    assert set(told(result)) == {"004/T2WI", "004/CE-T1WI"}
    assert str(result.status.sel(patient="004", sequence="T1WI").values) == "ok"
    assert npc.validate(tmp_path / "s.zarr", workers=0, against=source) == ()


def test_one_series_in_two_folders_of_a_patient(source, tmp_path):
    shutil.rmtree(folder(source, "001") / "T2WI")
    shutil.copytree(folder(source, "001") / "T1WI", folder(source, "001") / "T2WI")
    result = npc.convert(source, tmp_path / "s.zarr", workers=0)
    assert "holds the same image as 001/T1WI: one series under two names" in told(result)["001/T2WI"]


def test_patients_gone_are_named_and_those_of_another_delivery_are_not(source, tmp_path):
    others = shutil.copytree(source, tmp_path / "others")
    shutil.rmtree(folder(others, "001"))
    for patient in ("002", "003"):
        shutil.rmtree(folder(source, patient))
    assert npc.convert(source, tmp_path / "s.zarr", workers=0).attrs["remarks"] == []
    result = npc.convert(others, tmp_path / "s.zarr", workers=0)
    assert result.attrs["remarks"] == [], "nothing of the store is in this source, so it lost nothing"
    again = npc.convert(others, tmp_path / "s.zarr", workers=0)
    assert again.attrs["remarks"] == ["the store holds 1 patient that this source does not have, and keeps it: 001"]
    assert told(again) == {}
