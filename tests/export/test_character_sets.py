"""Text of SEG and RTSTRUCT: every patient keeps the own name, whatever letters it is written in."""

import shutil
import subprocess

import nibabel
import numpy as np
import pydicom
import pytest

import npczarr as npc
from npczarr.export import rtstruct, seg
from npczarr.export.scan import ScanVoxels
from tests.builders import nifti_image, noise, oblique_grid, write_series

GRID = oblique_grid((4, 12, 14), seed=3, spacing_zyx_mm=(3.5, 0.9, 0.6))


def voxels():
    mask = np.zeros(GRID.shape_zyx, np.uint8)
    mask[1:3, 3:9, 4:10] = 1
    return mask


def complaints(path):
    """What dciodvfy says of an object, where it is installed."""
    if shutil.which("dciodvfy") is None:
        return []
    found = subprocess.run(["dciodvfy", path], capture_output=True, check=False).stderr.decode(errors="replace")
    return [line for line in found.splitlines() if line.startswith(("Error", "Warning")) and "DICOMDIR" not in line]


LONG = "张" * 63
LABELS_OF_PATIENTS = ("001", "张三", "李四", "ä", "å", "x" * 64, "x" * 63, LONG + "三", LONG + "四", "y" * 70)


@pytest.mark.parametrize("module", [seg, rtstruct])
def test_made_up_identifiers_of_any_label_are_its_own_and_can_be_read(tmp_path, module):
    found = {}
    for number, label in enumerate(LABELS_OF_PATIENTS):
        ones, zeros, mask = np.ones(len(voxels())), np.zeros(len(voxels())), voxels()
        scan = ScanVoxels(label, "T1WI", noise(GRID), mask, GRID, ones, zeros, True)
        (tmp_path / str(number)).mkdir()
        ((path,), notes) = module.write(scan, tmp_path / str(number), 8)
        written = pydicom.dcmread(path)
        found[label] = str(written.PatientID)
        assert written.SpecificCharacterSet == "ISO_IR 192"
        fits = len(label.encode()) <= 64
        assert (found[label] == label) == fits
        assert notes == ([] if fits else [f"the label is too long for a PatientID: {found[label]} was written"])
        assert str(written.PatientName) == f"{label}^" or len(label.encode()) > 63
        assert complaints(path) == []
    assert len(set(found.values())) == len(found)


#: SpecificCharacterSet of a source, its PatientID, bytes that stand there instead, and what an export then says.
SOURCES = {
    "ascii": (None, "P-1", None, (None, "P-1")),
    "latin": ("ISO_IR 100", "ä", None, ("ISO_IR 100", "ä")),
    "chinese": ("GB18030", "张三", None, ("GB18030", "张三")),
    "other": ("GB18030", "李四", None, ("GB18030", "李四")),
    "korean": (["", "ISO 2022 IR 149"], "김희중", None, (["", "ISO 2022 IR 149"], "김희중")),
    "silent": (None, "QQQQ", "张三", ("ISO_IR 192", "张三".encode("gbk").decode("latin1"))),
    "wrong": ("ISO_IR 192", "QQQQ", "张三", ("ISO_IR 192", "张三".encode("gbk").decode("latin1"))),
    "wronger": ("ISO_IR 192", "QQQQ", "李四", ("ISO_IR 192", "李四".encode("gbk").decode("latin1"))),
    "unknown": ("ISO_IR 999", "P-2", None, ("ISO_IR 192", "P-2")),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Unknown encoding:UserWarning")  # of the source, as this test writes it
@pytest.mark.parametrize("format", ["seg", "rtstruct"])
def test_patients_of_a_source_keep_their_names_in_its_character_set(tmp_path, format):
    for number, (label, (names, patient_id, content, _)) in enumerate(SOURCES.items()):

        def edit(dataset, z, names=names, patient_id=patient_id):
            dataset.FrameOfReferenceUID, dataset.StudyInstanceUID = "1.2.77", "1.2.78"
            dataset.PatientID, dataset.PatientName = patient_id, f"{patient_id}^"
            if names:
                dataset.SpecificCharacterSet = names

        folder = tmp_path / "data" / label
        write_series(folder / "T1WI", noise(GRID, seed=number), GRID, series=f"1.2.{number}", edit=edit)
        for path in (folder / "T1WI").iterdir() if content else ():
            path.write_bytes(path.read_bytes().replace(b"QQQQ", content.encode("gbk")))
        nibabel.save(nifti_image(voxels(), GRID), folder / "ROI-T1.nii")
    store = tmp_path / "cohort.zarr"
    npc.convert(tmp_path / "data", store, workers=0)
    done = npc.export_scans(store, tmp_path / "out", format=format, source=tmp_path / "data", workers=0)
    assert [(one.status, one.message) for one in done if one.sequence == "T1WI"] == [("written", "")] * len(SOURCES)
    for label, (*_, (names, patient_id)) in SOURCES.items():
        path = tmp_path / "out" / label / "ROI-T1.dcm"
        written = pydicom.dcmread(path)
        assert written.get("SpecificCharacterSet") == names, label
        assert (str(written.PatientID), str(written.PatientName)) == (patient_id, f"{patient_id}^")
        assert complaints(path) == [] or label in ("silent", "wrong", "wronger")
