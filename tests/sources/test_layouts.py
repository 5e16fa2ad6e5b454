"""The layouts of `examples/layouts`: each converts a small cohort that is laid out as its comment says."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.sources.config import load_config
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from tests.builders import blob, nifti_image, noise, oblique_grid, write_series
from tests.sources.structures.build import box, contour_item, rtstruct, seg, to_mm

LAYOUTS = Path(__file__).resolve().parents[2] / "examples" / "layouts"
GRID = oblique_grid((4, 6, 8))


def image(root, *paths):
    for i, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nifti_image(noise(GRID, seed=i), GRID, dtype="int16"), root / path)


def mask(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nifti_image(blob(GRID), GRID), root / path)


def series(root, path, uid, names="{:04d}", **fields):
    def edit(ds, z):
        for keyword, value in fields.items():
            setattr(ds, keyword, value)

    write_series(root / path, noise(GRID, seed=len(uid)), GRID, names=names.format, edit=edit, series=uid)


def bids(root):
    raw, done = "sub-01/ses-1/anat/sub-01_ses-1_", "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_"
    image(root, f"{raw}T1w.nii.gz", f"{raw}ce-gd_T1w.nii.gz", f"{raw}FLAIR.nii.gz")
    mask(root, f"{done}space-T1w_desc-tumor_mask.nii.gz")
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t50\n")


def nifti(root):
    image(root, "BraTS-001/BraTS-001_t1.nii.gz", "BraTS-001/BraTS-001_t2.nii.gz")
    mask(root, "BraTS-001/BraTS-001_seg.nii.gz")


def visits(root):
    for i, visit in enumerate(("baseline", "month6")):
        series(root, f"001/{visit}/T1WI", f"1.2.{i}")
        mask(root, f"001/{visit}/ROI-T1.nii")
    (root / "clinical.csv").write_text("ID,visit,Age\n1,,50\n")


def pacs(root):
    series(root, "Patient 1/DICOM/0001", "1.2.1", SeriesDescription="t1_tse")
    series(root, "Patient 1/DICOM/0001", "1.2.22", "b{}", SeriesDescription="t1_tse", ContrastBolusAgent="Gd")
    series(root, "Patient 1/DICOM/0001", "1.2.333", "c{}", ImageType=["DERIVED", "PRIMARY", "ADC"])


def one_folder(root):
    for patient in ("A", "B"):
        fields = {"PatientID": patient, "SeriesDescription": "t1_tse", "ContrastBolusAgent": ""}
        series(root, ".", f"1.2.{ord(patient)}", f"{patient}{{}}", **fields)


def words(root):
    for patient in ("001", "002"):
        series(root, f"{patient}/T1WI", f"1.2.{int(patient)}")
    (root / "pasienter.csv").write_text("Nr;Kjønn;Alder\n1;1;50\n2;2;61\n", encoding="utf-8")


def labels(root):
    series(root, "001/T1WI", "1.2.1")
    values = blob(GRID).astype(np.uint8)
    z, y, x = np.argwhere(values)[0]
    values[z, y, x] = 3
    nibabel.save(nifti_image(values, GRID), root / "001/ROI-T1.nii")


def outlined(root, path, content):
    series(root, "001/T1WI", "1.2.1", FrameOfReferenceUID="1.2.7")
    (root / path).parent.mkdir(parents=True)
    (root / path).write_bytes(content)


def rtstructs(root):
    def drawn(x, z):
        return [contour_item(to_mm(GRID, box(x - 0.5, 0.5, x + 1.5, 3.5), z))]

    structures = {"GTVp": drawn(1, 1), "GTVn left": drawn(4, 1), "GTVn right": drawn(4, 2), "Brainstem": drawn(6, 0)}
    outlined(root, "001/plan/RS.dcm", rtstruct(structures, series="1.2.1", frame="1.2.7"))


def segs(root):
    tumor, edema = np.zeros((2, *GRID.shape_zyx[1:]), np.uint8)
    tumor[1:4, 1:3], edema[1:4, 4:6] = 200, 255
    tumor[0, 0] = 120  # below half of 255
    frames = [(1, 1, tumor), (2, 1, edema), (2, 2, edema)]
    content = seg(GRID, frames, kind="FRACTIONAL", labels=("Tumor", "Edema"), series="1.2.1", frame="1.2.7")
    outlined(root, "001/SEG/1.dcm", content)


def raters(root):
    (root / "001").mkdir()
    for x, rater in enumerate(("Reader 1", "Reader 2"), 1):
        outline = np.zeros(GRID.shape_zyx[1:], np.uint8)
        outline[1:4, x : x + 2] = 1
        (root / "001" / f"{rater}_seg.dcm").write_bytes(
            seg(GRID, [(1, 1, outline), (1, 2, outline)], labels=("Tumor",))
        )


#: Patients, and sequences of which each has a scan, by the name of the layout.
EXPECTED = {
    "bids": (bids, ["01_ses-1"], ["T1WI", "CE-T1WI"]),
    "labels": (labels, ["001"], ["T1WI"]),
    "nifti": (nifti, ["BraTS-001"], ["t1", "t2"]),
    "one_folder": (one_folder, ["A", "B"], ["T1WI"]),
    "pacs": (pacs, ["Patient 1"], ["T1WI", "CE-T1WI", "ADC"]),
    "raters": (raters, ["001"], ["mask"]),
    "rtstruct": (rtstructs, ["001"], ["T1WI"]),
    "seg": (segs, ["001"], ["T1WI"]),
    "visits": (visits, ["001_ses-baseline", "001_ses-month6"], ["T1WI"]),
    "words": (words, ["001", "002"], ["T1WI"]),
}


def test_every_layout_is_shown_here():
    there = {path.stem for path in LAYOUTS.glob("*.toml")}
    assert set(EXPECTED) == there
    for path in LAYOUTS.glob("*.toml"):
        load_config(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_cohort_in_this_layout_converts(name, tmp_path):
    make, patients, sequences = EXPECTED[name]
    (tmp_path / "cohort").mkdir()
    make(tmp_path / "cohort")
    result = npc.convert(tmp_path / "cohort", tmp_path / "a.zarr", config=LAYOUTS / f"{name}.toml", workers=0)
    assert result["patient"].values.tolist() == patients
    stored = result["status"].isin(["ok", "warning"])
    assert [str(s) for s in result["sequence"].values if stored.sel(sequence=s).all()] == sequences, result["message"]
    assert result.attrs["table_warnings"] == []
    ds = npc.open(tmp_path / "a.zarr")
    if name in ("bids", "nifti", "visits"):
        masked = ds["mask_status"].sel(sequence=sequences[0])
        assert (masked == "ok").all(), ds["message"].values
    if name == "raters":
        assert ds["rater"].values.tolist() == ["Reader 1", "Reader 2"]
        assert npc.agreement(ds)["dice"].values.ravel().tolist() == [0.5]
    if name == "labels":
        voxels = ds.npc.scan("001", "T1WI")["mask"]
        assert voxels.attrs["flag_meanings"] == "background tumor node"
        assert np.unique(voxels).tolist() == [0, 1, 2]
        assert int((voxels == 2).sum()) == 1
    if name in ("rtstruct", "seg"):
        voxels = ds.npc.scan("001", "T1WI")["mask"]
        assert voxels.attrs["flag_meanings"] == (
            "background tumor node" if name == "rtstruct" else "background tumor edema"
        )
        assert np.bincount(voxels.values.ravel())[1:].tolist() == [6, 12], result["message"].values
    if name == "words":
        assert ds["sex"].values.tolist() == ["male", "female"]
        np.testing.assert_array_equal(ds["age"], [50, 61])


def test_images_beside_masks_of_raters_are_strays_where_only_the_masks_are_configured(tmp_path):
    raters(tmp_path)
    series(tmp_path, "images/001/T1WI", "1.2.1")
    found = discover(open_source(tmp_path), load_config(LAYOUTS / "raters.toml"))
    assert (found.patients, found.raters) == (("001",), ("Reader 1", "Reader 2"))
    assert len(found.strays) == GRID.shape_zyx[0]
