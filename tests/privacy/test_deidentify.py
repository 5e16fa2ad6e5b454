"""A cleaned copy: same voxels, same geometry, no new fault, nobody in it; and it can be continued."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    MediaStorageDirectoryStorage,
)

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.model.cohort import File
from npczarr.model.limits import Limits
from npczarr.privacy import copying
from npczarr.privacy.audit import audit
from npczarr.privacy.clean import clean_dicom
from npczarr.privacy.deidentify import deidentify
from npczarr.privacy.names import Names, plan
from npczarr.privacy.record import NAME, Record
from npczarr.sources.config import SourceConfig
from npczarr.sources.pixels import decode
from tests.builders import noise, oblique_grid, slice_dataset
from tests.hostile.corpus import as_bytes, deep
from tests.sources.structures.build import SECRET, contour_item, rtstruct

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
    names = Names(SourceConfig(), strict=False, record=Record(KEY))
    copies, _ = plan([File(p, 0, "") for p in tree(source)], (), names)
    return [(source / c.path, out / c.target) for c in copies if (out / c.target).exists()], out


def test_real_series_keep_voxels_geometry_and_encoding(cleaned):
    pairs = [(a, b) for a, b in cleaned[0] if b.suffix == ".dcm"]
    assert len(pairs) > 50
    for before, after in pairs:
        a, b = pydicom.dcmread(before), pydicom.dcmread(after)
        if a.get("PixelData") != b.get("PixelData"):  # comments of codestreams went
            assert a.file_meta.TransferSyntaxUID in JPEG2000TransferSyntaxes
            np.testing.assert_array_equal(decode(a), decode(b))
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_interrupted_run_is_continued(cleaned, real_data, tmp_path, monkeypatch):
    source, out = real_data / "dicom_variety", tmp_path / "out"
    write, count = copying.write_file, 0

    def cut(target, content):
        nonlocal count
        count += 1
        if count == 20:  # as a kill would leave it: half a file under its temporary name
            target.with_name(target.name + ".npczarr-part").write_bytes(content[:100])
            raise KeyboardInterrupt
        write(target, content)

    monkeypatch.setattr(copying, "write_file", cut)
    with pytest.raises(KeyboardInterrupt):
        deidentify(source, out, key=KEY)
    monkeypatch.setattr(copying, "write_file", write)
    result = deidentify(source, out, key=KEY)
    assert 0 < result.kept < 20  # whole folders
    assert tree(out) == tree(cleaned[1])


@pytest.mark.slow
def test_a_run_of_two_workers_that_is_killed_is_continued(cohort, tmp_path):
    """The whole process group is killed in the middle; the copy then equals one that was not."""
    source, whole, out, key = cohort / "primary_data", tmp_path / "whole", tmp_path / "out", tmp_path / "key"
    key.write_bytes(KEY)
    deidentify(source, whole, key=KEY)
    wanted = tree(whole)
    command = [sys.executable, "-m", "npczarr", "deidentify", source, out, "--key-file", key, "--workers", "2"]
    run = subprocess.Popen(list(map(str, command)), start_new_session=True, stdout=subprocess.DEVNULL)
    while not (there := list(out.rglob("*.dcm"))):
        assert run.poll() is None
        time.sleep(0.001)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert len(there) < len(wanted)
    whole_files = {name: content for name, content in tree(out).items() if not name.endswith("part") and name != NAME}
    assert whole_files.items() < wanted.items()
    again = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    assert tree(out) == wanted
    assert "0 failed" in again.stdout
    assert audit(out).clean


def slices(folder, count=3):
    folder.mkdir(parents=True)
    grid = oblique_grid((count, 6, 7), seed=1)
    return [slice_dataset(noise(grid)[z], grid, z) for z in range(count)]


def test_another_layout_says_who_is_a_patient_and_which_names_stay(tmp_path):
    source = tmp_path / "source" / "Dr Miller 2019"
    for patient in ("P1", "P2"):
        for i, dataset in enumerate(slices(source / patient / "first visit" / "axial_t1" / "DICOM", 2)):
            dataset.save_as(source / patient / "first visit" / "axial_t1" / "DICOM" / f"Doe_{i}.dcm")
        image = nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4))
        nib.save(image, source / patient / "t1.seg.nii.gz")
    for folder in ("P1", "P1/first visit"):
        (source / folder / "Doe.dcm").write_bytes((source / "P1/first visit/axial_t1/DICOM/Doe_0.dcm").read_bytes())
    rules = tmp_path / "layout.toml"
    rules.write_text(
        '[layout]\nimages = "{patient}/*/{sequence}/**"\nmasks = ["{patient}/{mask}.seg.nii.gz"]\n'
        '[sequences]\nT1WI = { folder = "axial_t1", mask = "t1" }\n'
    )
    done = deidentify(tmp_path / "source", tmp_path / "out", config=rules)
    assert not done.failed
    assert list(done.not_copied) == ["Dr Miller 2019/P1/first visit/Doe.dcm"]
    assert "does not fit the layout" in done.not_copied["Dr Miller 2019/P1/first visit/Doe.dcm"]
    expected = {f"folder-001/{p}/folder-001/axial_t1/folder-001/0000{i}.dcm" for p in ("P1", "P2") for i in (1, 2)}
    expected |= {"folder-001/P1/00001.dcm"}  # where outlines are looked for
    assert set(tree(tmp_path / "out")) == expected | {f"folder-001/{p}/t1.seg.nii.gz" for p in ("P1", "P2")}
    assert {pydicom.dcmread(p).PatientID for p in (tmp_path / "out").rglob("P2/**/*.dcm")} == {"P2"}
    assert audit(tmp_path / "out").clean
    status = npc.convert(tmp_path / "out", tmp_path / "a.zarr", config=rules, workers=0).status
    assert status.values.tolist() == [
        ["warning"],  # of its mask
        ["warning"],  # of its mask
    ]
    rules.write_text('[layout]\nimages = "{patient}/{sequence}/**"\n')
    with pytest.raises(ParameterError, match=r"name the sequences under \[sequences\]"):
        deidentify(tmp_path / "source", tmp_path / "other", config=rules)


def test_no_two_files_become_one():
    """A patient may be called what another folder would be."""
    paths = ["folder-001/T1WI/1.dcm", "A/folder-001/T1WI/1.dcm", "A/folder-002/T1WI/1.dcm", "A/B/C/T1WI/00001.dcm"]
    paths += ["A/folder-001/ROI-T1.nii", "B/x/y/1.dcm", "folder-002/x.nii", "folder-002/T1WI/00001.dcm"]
    names = Names(SourceConfig(), strict=False, record=Record(KEY))
    copies, ignored = plan([File(p, 0, "") for p in paths], (), names)
    assert len({copy.target for copy in copies}) == len(paths)
    assert not ignored


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_files_without_preamble_are_found_and_cleaned(tmp_path, syntax):
    folder = tmp_path / "source" / "P1" / "T1WI"
    datasets = slices(folder)
    for i, dataset in enumerate(datasets):
        dataset.PatientName = "Doe^Jane"
        implicit = syntax == ImplicitVRLittleEndian
        with (folder / f"{i}").open("wb") as file:
            pydicom.dcmwrite(file, pydicom.Dataset(dataset), implicit_vr=implicit, little_endian=True)
        assert b"DICM" not in (folder / f"{i}").read_bytes()
    assert ("attribute", "PatientName") in {(f.kind, f.name) for f in audit(tmp_path / "source").findings}
    done = deidentify(tmp_path / "source", tmp_path / "out")
    assert (done.written, done.failed) == (3, {})
    assert audit(tmp_path / "out").clean
    for dataset, path in zip(datasets, sorted((tmp_path / "out").rglob("*.dcm")), strict=True):
        np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, dataset.pixel_array)


def test_what_is_no_image_is_named_and_not_copied(tmp_path):
    folder = tmp_path / "source" / "P1" / "T1WI"
    slices(folder, 1)[0].save_as(folder / "1")
    index = slices(tmp_path / "index", 1)[0]
    index.file_meta.MediaStorageSOPClassUID = index.SOPClassUID = MediaStorageDirectoryStorage
    index.save_as(tmp_path / "source" / "P1" / "DICOMDIR")
    (tmp_path / "source" / "LICENSE").write_text("Doe")
    (tmp_path / "source" / "Doe.pdf").write_text("Doe")
    (folder / "2.dcm").write_text("Doe")
    done = deidentify(tmp_path / "source", tmp_path / "out")
    assert list(done.not_copied) == ["Doe.pdf", "LICENSE", "P1/DICOMDIR"]
    assert all(done.not_copied.values())
    assert done.failed == {"P1/T1WI/2.dcm": "not a DICOM file, though its name says so"}
    assert set(tree(tmp_path / "out")) == {"P1/T1WI/00001.dcm"}


def test_bombs_are_refused_within_the_limits(tmp_path):
    folder = tmp_path / "source" / "P1"
    folder.mkdir(parents=True)
    (folder / "ROI-T1.nii.gz").write_bytes(
        gzip.compress(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)).to_bytes() + bytes(60_000_000))
    )
    (tmp_path / "limits.toml").write_text("[limits]\nscan_gb = 0.05\n")
    done = deidentify(tmp_path / "source", tmp_path / "out", config=tmp_path / "limits.toml")
    assert "packed data grows beyond the limit of 0.05 GB" in done.failed["P1/ROI-T1.nii.gz"]
    assert not tree(tmp_path / "out")


def test_damage_deep_in_sequences_is_refused_soon(tmp_path):
    """pydicom tells a fault in a text that doubles with every level above it."""
    for number, (levels, said) in enumerate(((8, "damaged DICOM file"), (30, "nested in more than 8 levels"))):
        folder = tmp_path / "source" / f"P{number}" / "T1WI"
        dataset = slices(folder, 1)[0]
        dataset.ReferencedImageSequence = [deep(levels - 1)]
        content = as_bytes(dataset)
        at = content.index(b"\x08\x00\x00\x01") + 4  # CodeValue, innermost
        assert content[at : at + 2] == b"SH"
        (folder / "1.dcm").write_bytes(content[:at] + b"ZZ" + content[at + 2 :])
        failed = deidentify(tmp_path / "source", tmp_path / f"out{number}").failed
        assert said in failed[f"P{number}/T1WI/1.dcm"]
        assert f"P{number}/T1WI/1.dcm" in audit(tmp_path / "source").unread


def test_without_the_profile_one_line_says_what_to_install():
    code = "import sys; sys.modules['dicomanonymizer'] = None; from npczarr.cli import main; main()"
    found = subprocess.run([sys.executable, "-c", code, "audit", "."], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "pip install 'npczarr[privacy]'" in found.stderr
    assert "Traceback" not in found.stderr


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
    if ending == ".nii":
        with (folder / "ROI-T1.nii").open("ab") as file:
            file.write(b"DOE JANE")
    found = {f.name for f in audit(tmp_path / "source").findings} - {"bytes behind the voxels"}
    assert found == {"descrip", "aux_file", "intent_name", "extension"}
    deidentify(tmp_path / "source", tmp_path / "out")
    path = tmp_path / "out" / "001" / f"ROI-T1{ending}"
    content = path.read_bytes()
    assert b"DOE" not in (gzip.decompress(content) if ending.endswith("gz") else content)
    clean = nib.load(path)
    np.testing.assert_array_equal(np.asarray(clean.dataobj), voxels)
    np.testing.assert_array_equal(clean.affine, image.affine)
    assert audit(tmp_path / "out").clean


def test_names_of_structures_stay_where_they_are_of_the_field_or_declared(tmp_path):
    contours = [contour_item([(0, 0, 0), (4, 0, 0), (4, 4, 0)])]
    names = ("GTVp_1", "Node_Miller", "Geschwulst", "Miller", f"GTV {SECRET}", "20190304")
    content = rtstruct(dict.fromkeys(names, contours))
    for rois, kept in (
        (("node*", "geschwulst"), ["GTVp_1", "node", "Geschwulst", "", "GTV", ""]),
        ((), ["GTVp_1", "Node", "", "", "GTV", ""]),
    ):
        (tmp_path / "001").mkdir(exist_ok=True)
        cleaned = clean_dicom(content, KEY, "001", Limits(), rois)
        (tmp_path / "001" / "1.dcm").write_bytes(cleaned)
        found = pydicom.dcmread(tmp_path / "001" / "1.dcm").StructureSetROISequence
        assert [str(one.ROIName) for one in found] == kept
    assert audit(tmp_path, workers=0).clean


@pytest.mark.slow
def test_a_name_that_the_locale_cannot_write_is_said_to_be_that_and_costs_no_other(tmp_path):
    for patient in ("Zoë", "002"):
        folder = tmp_path / "in" / patient / "T1WI"
        for z, dataset in enumerate(slices(folder, 2)):
            dataset.save_as(folder / f"{z}.dcm", enforce_file_format=True)
    code = (
        "import json, sys\nfrom npczarr.privacy.deidentify import deidentify\n"
        "done = deidentify(*sys.argv[1:], keep_patients=True, workers=0)\n"
        "print(json.dumps([done.written, done.failed]))\n"
    )
    ascii_ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, tmp_path / "in", tmp_path / "out"]
    done = subprocess.run(command, env=ascii_, capture_output=True, check=True, text=True)
    written, failed = json.loads(done.stdout)
    assert written == 2
    assert sorted(failed) == ["Zoë/T1WI/0.dcm", "Zoë/T1WI/1.dcm"]
    for reason in failed.values():
        assert "names of files are in ascii in this locale, which has no 'ë'; run again with LC_ALL=C.UTF-8" in reason
