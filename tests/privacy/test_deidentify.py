"""A cleaned copy: same voxels, same geometry, no new fault, nobody in it; and it can be continued."""

import gzip
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from npczarr.errors import ParameterError
from npczarr.model.cohort import File
from npczarr.privacy import deidentify as module
from npczarr.privacy.audit import audit
from npczarr.privacy.deidentify import deidentify, plan

KEY = b"a secret of many bytes"
GEOMETRY = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "EchoTime",
    "FlipAngle",
)


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def cleaned(real_data, tmp_path_factory):
    source, out = real_data / "dicom_variety", tmp_path_factory.mktemp("clean") / "out"
    deidentify(source, out, key=KEY)
    copies, _ = plan([File(p, 0, "") for p in tree(source)])
    return [(source / c.path, out / c.target) for c in copies if (out / c.target).exists()], out


def test_real_series_keep_voxels_geometry_and_encoding(cleaned):
    pairs = [(a, b) for a, b in cleaned[0] if b.suffix == ".dcm"]
    assert len(pairs) > 50
    for before, after in pairs:
        a, b = pydicom.dcmread(before), pydicom.dcmread(after)
        assert a.get("PixelData") == b.get("PixelData")
        assert a.file_meta.TransferSyntaxUID == b.file_meta.TransferSyntaxUID
        for name in GEOMETRY:
            assert a.get(name) == b.get(name), (before, name)
        if "SharedFunctionalGroupsSequence" in a:
            for name in ("PlanePositionSequence", "PlaneOrientationSequence"):
                assert [f.get(name) for f in a.PerFrameFunctionalGroupsSequence] == [
                    f.get(name) for f in b.PerFrameFunctionalGroupsSequence
                ]
        assert b.PatientID == str(b.PatientName) == after.parent.parent.name


def test_simpleitk_reads_the_same(cleaned):
    sitk = pytest.importorskip("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    read = 0
    for before, after in cleaned[0]:
        if after.suffix != ".dcm":
            continue
        try:
            a = sitk.ReadImage(str(before), imageIO="GDCMImageIO")
        except RuntimeError:  # what it could not read before
            continue
        b = sitk.ReadImage(str(after), imageIO="GDCMImageIO")
        assert (a.GetOrigin(), a.GetSpacing(), a.GetDirection()) == (b.GetOrigin(), b.GetSpacing(), b.GetDirection())
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(a), sitk.GetArrayViewFromImage(b))
        read += 1
    assert read > 40


def test_no_new_fault(cleaned):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy, of Debian's dicom3tools, is not installed")

    def faults(path: Path) -> set[str]:
        answer = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False).stderr.decode("latin-1")
        return {line for line in answer.splitlines() if line.startswith("Error")}

    new = {str(b): faults(b) - faults(a) for a, b in cleaned[0] if b.suffix == ".dcm"}
    assert not {path: lines for path, lines in new.items() if lines}


def test_the_audit_of_a_cleaned_copy_is_clean(cleaned, real_data):
    assert not audit(real_data / "dicom_variety").clean
    found = audit(cleaned[1])
    assert found.clean, found


def test_uids_stay_consistent(cleaned):
    ids: dict[str, set[str]] = {}
    for before, after in cleaned[0]:
        if after.suffix == ".dcm":
            a, b = pydicom.dcmread(before), pydicom.dcmread(after)
            for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
                if a.get(name):
                    ids.setdefault(a[name].value, set()).add(b[name].value)
                    assert a[name].value != b[name].value
            assert b.file_meta.MediaStorageSOPInstanceUID == b.SOPInstanceUID
    assert all(len(new) == 1 for new in ids.values())
    assert len({uid for new in ids.values() for uid in new}) == len(ids)


def test_an_interrupted_run_is_continued(cleaned, real_data, tmp_path, monkeypatch):
    source, out = real_data / "dicom_variety", tmp_path / "out"
    write, count = module._write, 0

    def cut(target, content):
        nonlocal count
        count += 1
        if count == 20:  # as a kill would leave it: half a file under its temporary name
            target.with_name(target.name + ".npczarr-part").write_bytes(content[:100])
            raise KeyboardInterrupt
        write(target, content)

    monkeypatch.setattr(module, "_write", cut)
    with pytest.raises(KeyboardInterrupt):
        deidentify(source, out, key=KEY)
    monkeypatch.setattr(module, "_write", write)
    result = deidentify(source, out, key=KEY)
    assert result.kept == 19
    assert tree(out) == tree(cleaned[1])


def test_never_in_place(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.dcm").write_bytes(b"x")
    for out in (source, source / "clean", tmp_path):
        with pytest.raises(ParameterError, match="outside the source"):
            deidentify(source, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ParameterError, match="is not empty"):
        deidentify(source, tmp_path / "full")


@pytest.mark.parametrize(("kind", "ending"), [(nib.Nifti1Image, ".nii"), (nib.Nifti2Image, ".nii.gz")])
def test_nifti_loses_its_text_only(tmp_path, kind, ending):
    folder = tmp_path / "source" / "001"
    folder.mkdir(parents=True)
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = kind(voxels, np.diag([1, 2, 3, 1.0]))
    for field in ("descrip", "aux_file", "intent_name"):
        image.header[field] = b"DOE JANE"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"DOE JANE"))
    nib.save(image, folder / f"ROI-T1{ending}")
    assert {f.name for f in audit(tmp_path / "source").findings} == {"descrip", "aux_file", "intent_name", "extension"}
    deidentify(tmp_path / "source", tmp_path / "out")
    path = tmp_path / "out" / "001" / f"ROI-T1{ending}"
    content = path.read_bytes()
    assert b"DOE" not in (gzip.decompress(content) if ending.endswith("gz") else content)
    clean = nib.load(path)
    np.testing.assert_array_equal(np.asarray(clean.dataobj), voxels)
    np.testing.assert_array_equal(clean.affine, image.affine)
    assert audit(tmp_path / "out").clean
