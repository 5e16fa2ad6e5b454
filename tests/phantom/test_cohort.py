"""The files of a small cohort, read with pydicom and nibabel and nothing of npczarr's own reader."""

import csv
import hashlib
import io
import json
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest
from scipy.ndimage import label

from npczarr.errors import ParameterError
from npczarr.phantom import make_cohort
from npczarr.phantom.anatomy import Head, draw_series
from npczarr.phantom.nifti import Storage, mask_file
from npczarr.phantom.noise import NoisePool
from npczarr.phantom.place import place_head, place_scan
from npczarr.phantom.plan import plan_cohort
from npczarr.phantom.tumor import Lumps, Tumor, measure

PATIENTS = 7
MASKS = {"T1WI": "ROI-T1.nii", "T2WI": "ROI-T2.nii", "CE-T1WI": "ROI-CE-T1.nii"}
LPS = np.diag([-1, -1, 1, 1])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    calls = []
    summary = make_cohort(out, patients=PATIENTS, workers=2, on_progress=calls.append)
    assert [(call.done, call.total) for call in calls] == [(i, PATIENTS) for i in range(PATIENTS + 1)]
    assert calls[-1].bytes < summary.bytes == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return out


@pytest.fixture(scope="module")
def scans(cohort):
    truth = json.loads((cohort / "truth.json").read_text())
    found = []
    for patient, planted in truth.items():
        folder = cohort / "primary_data/data/MRI-Segments" / patient
        for sequence in MASKS:
            files = sorted((folder / sequence).iterdir())
            found.append((planted[sequence], [pydicom.dcmread(file) for file in files], folder / MASKS[sequence]))
    return found


def digests(out):
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file()
    }


def by_position(slices):
    first = np.array(slices[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(first[:3], first[3:])
    return sorted(slices, key=lambda s: np.dot(normal, np.array(s.ImagePositionPatient, dtype=float)))


def affine_of(slices):
    """Affine to LPS by positions alone; slices in anatomical order."""
    first, last = slices[0], slices[-1]
    cosines = np.array(first.ImageOrientationPatient, dtype=float)
    start, end = (np.array(s.ImagePositionPatient, dtype=float) for s in (first, last))
    affine = np.eye(4)
    affine[:3, 0] = cosines[:3] * float(first.PixelSpacing[1])
    affine[:3, 1] = cosines[3:] * float(first.PixelSpacing[0])
    affine[:3, 2] = (end - start) / (len(slices) - 1)
    affine[:3, 3] = start
    return affine


def on_image_grid(path, slices):
    """The mask laid on the image by its affine, voxel by voxel."""
    image = nibabel.load(path)
    tumor = np.argwhere(np.round(np.asarray(image.dataobj)) > 0)
    lps = LPS @ image.affine @ np.c_[tumor, np.ones(len(tumor))].T
    index = np.linalg.solve(affine_of(slices), lps)[:3]
    assert np.abs(index - np.rint(index)).max() < 1e-3
    mask = np.zeros((len(slices), slices[0].Rows, slices[0].Columns), dtype=bool)
    x, y, z = np.rint(index).astype(int)
    mask[z, y, x] = True
    return mask


@pytest.mark.slow
def test_workers_do_not_change_a_byte_and_a_seed_does(cohort, tmp_path):
    make_cohort(tmp_path / "one", patients=PATIENTS, workers=1)
    make_cohort(tmp_path / "other", patients=1, seed=1, workers=0)
    same, other = digests(tmp_path / "one"), digests(tmp_path / "other")
    assert same == digests(cohort)
    assert not set(other.values()) & set(same.values())


def test_a_patient_is_the_same_in_a_smaller_cohort(cohort, tmp_path):
    make_cohort(tmp_path / "two", patients=2, workers=0, reliability=False)
    part, whole = digests(tmp_path / "two/primary_data/data"), digests(cohort / "primary_data/data")
    assert part.items() <= whole.items()
    assert not (tmp_path / "two/inner_reliability.zip").exists()


def test_positions_give_the_planted_affine_and_order(scans):
    for planted, slices, _ in scans:
        ordered = by_position(slices)
        np.testing.assert_allclose(affine_of(ordered), planted["affine"], atol=2e-5)
        assert [ordered.index(s) for s in slices] == planted["z_by_file_name"]
        positions = np.array([s.ImagePositionPatient for s in ordered], dtype=float)
        steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        np.testing.assert_allclose(steps, planted["spacing_zyx_mm"][0], atol=2e-5)
        cosines = np.array(slices[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
        assert (np.rad2deg(np.arccos(np.clip(np.abs([cosines[0, 0], cosines[1, 1]]), -1, 1))) < 17).all()


def test_headers_are_those_of_one_series_and_name_nobody(scans):
    uids = [s.SOPInstanceUID for _, slices, _ in scans for s in slices]
    assert len(set(uids)) == len(uids)
    for planted, slices, _ in scans:
        assert len({s.SeriesInstanceUID for s in slices}) == 1
        assert len({s.InstanceNumber for s in slices}) == len(slices) == planted["slices"]
        for s in slices:
            assert s.ManufacturerModelName == planted["scanner"]
            assert s.file_meta.MediaStorageSOPInstanceUID == s.SOPInstanceUID
            assert str(s.PatientName) == s.PatientID
            assert not [e for e in s if e.VR in ("DA", "TM", "DT") and e.value]
            assert s.BitsStored == (16 if s.Manufacturer.startswith("GE") else 12)
            assert 0 <= s.pixel_array.min() <= s.pixel_array.max() <= 4095
        assert [e for e in slices[0] if e.tag.is_private]
    studies = {(s.PatientID, s.StudyInstanceUID) for _, slices, _ in scans for s in slices}
    assert len(studies) == PATIENTS


def test_masks_lie_on_the_planted_tumor(scans):
    for planted, slices, path in scans:
        ordered = by_position(slices)
        mask = on_image_grid(path, ordered)
        where = np.argwhere(mask)
        assert len(where) == planted["tumor_voxels"] > 0
        assert [where.min(axis=0).tolist(), where.max(axis=0).tolist()] == planted["tumor_box_zyx"]
        assert where.min() > 0
        assert (where.max(axis=0) < np.array(planted["shape_zyx"]) - 1).all()
        assert label(mask)[1] == 1
        if ordered[0].SeriesDescription == "CE-T1WI":
            image = np.stack([s.pixel_array for s in ordered])
            assert np.median(image[mask]) > 1.25 * np.median(image[(image > 300) & ~mask])


def test_a_patients_sequences_show_one_tumor_at_one_place(scans):
    centers = {}
    for planted, slices, path in scans:
        ordered = by_position(slices)
        voxels = np.argwhere(on_image_grid(path, ordered))[:, ::-1].mean(axis=0)
        center = (affine_of(ordered) @ [*voxels, 1])[:3]
        centers.setdefault(slices[0].PatientID, []).append((center, planted["spacing_zyx_mm"][0]))
    for (a, step), (b, _), (c, _) in centers.values():
        assert max(np.linalg.norm(a - b), np.linalg.norm(a - c)) < step


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("flipped", ["", "y", "xy", "yz"])
def test_any_storage_of_a_mask_is_the_same_mask(dtype, flipped):
    rng = np.random.default_rng(0)
    scan = plan_cohort(1, "small", 0)[0].scans[0]
    grid = place_scan(scan, place_head(rng), rng)
    tumor = (rng.random(grid.shape_zyx) > 0.99).astype(np.uint8)
    image = nibabel.Nifti1Image.from_bytes(mask_file(tumor, grid, Storage(dtype, 1, flipped), rng))
    assert image.get_data_dtype() == dtype
    assert image.header["descrip"] == b"SYNTHETIC"
    assert image.header["sform_code"] == image.header["qform_code"] == 1
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-3)
    data = np.asarray(image.dataobj)
    if dtype.startswith("float"):
        assert 0 < np.abs(data - np.round(data)).max() < 1e-6
    stored = np.argwhere(np.round(data) > 0)
    lps = (LPS @ image.affine @ np.c_[stored, np.ones(len(stored))].T)[:3].T
    index = np.argwhere(tumor)[:, ::-1]
    wanted = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    np.testing.assert_allclose(lps[np.lexsort(lps.round(1).T)], wanted[np.lexsort(wanted.round(1).T)], atol=0.05)


def test_tables_have_a_row_for_each_patient_or_scan(cohort):
    truth = json.loads((cohort / "truth.json").read_text())
    rows = {
        name: list(csv.DictReader((cohort / "primary_data" / f"{name}.csv").read_text().splitlines()))
        for name in ("info_diagnoses", "meta_data", "morphological_parameters")
    }
    assert [row["ID"] for row in rows["info_diagnoses"]] == [str(int(label)) for label in truth]
    for row, size in zip(rows["meta_data"], rows["morphological_parameters"], strict=True):
        assert (row["ID"], row["Sequence"]) == (size["ID"], size["Sequence"])
        planted = truth[f"{int(row['ID']):03d}"][row["Sequence"]]
        assert int(row["Matrix size"]) == planted["matrix"]
        voxels_cm3 = planted["tumor_voxels"] * np.prod(planted["spacing_zyx_mm"]) / 1000
        assert float(size["Volume"]) == pytest.approx(voxels_cm3, rel=0.3)
        assert 0 < float(size["Surface regularity"]) < 1


def test_two_raters_agree_but_for_details(cohort):
    with zipfile.ZipFile(cohort / "inner_reliability.zip") as archive:
        assert len(archive.namelist()) == 2 * 3 * PATIENTS
        for name in (name for name in archive.namelist() if name.startswith("rater1/")):
            images = [
                nibabel.Nifti1Image.from_stream(io.BytesIO(archive.read(name.replace("rater1", rater))))
                for rater in ("rater1", "rater2")
            ]
            masks = []
            for image in images:
                data = np.round(np.asarray(image.dataobj)) > 0
                masks.append(nibabel.as_closest_canonical(nibabel.Nifti1Image(data.astype(np.uint8), image.affine)))
            a, b = (np.asarray(mask.dataobj) > 0 for mask in masks)
            assert a.shape[:2] == (64, 64)
            assert 0.6 < 2 * (a & b).sum() / (a.sum() + b.sum()) < 1


@pytest.mark.slow
def test_published_shape_of_tumors():
    rng = np.random.default_rng(0)
    sizes = []
    for scan in (plan.scans[0] for plan in plan_cohort(15, "full", 0)):
        head = place_head(rng)
        grid = place_scan(scan, head, rng)
        mask = Tumor.draw(rng, head.to_lps((0, -10, 0))).outline(grid, scan.tumor_cm3, Lumps.draw(rng, 0.03))
        sizes.append(measure(mask, grid.spacing_zyx_mm))
    # Table 2: 0.40 (0.23-0.63)
    assert 0.33 < np.median([size.regularity for size in sizes]) < 0.45
    assert 0.15 < min(size.regularity for size in sizes) < max(size.regularity for size in sizes) < 0.75


def test_no_two_slices_share_their_noise():
    rng = np.random.default_rng(0)
    scan = plan_cohort(1, "small", 0)[0].scans[0]
    far_away = Head(np.eye(3), np.full(3, 1e5), 1.0)
    grid = place_scan(scan, place_head(rng), rng)
    empty = np.zeros(grid.shape_zyx, dtype=np.uint8)
    noise = np.array([image.ravel() for image in draw_series("T1WI", far_away, grid, empty, NoisePool.draw(0), rng)])
    assert np.abs(np.corrcoef(noise) - np.eye(len(noise))).max() < 0.1


def test_wrong_arguments_say_what_is_expected(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="not an empty folder"):
        make_cohort(tmp_path)
    with pytest.raises(ParameterError, match="one or more patients"):
        make_cohort(tmp_path / "new", patients=0)
    with pytest.raises(ParameterError, match="small, medium or full"):
        make_cohort(tmp_path / "new", size="huge")
    assert not (tmp_path / "new").exists()
