import json
import re
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.errors import SourceError
from npczarr.model.cohort import File
from npczarr.sources.bids import sort_bids
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.files import open_source
from npczarr.sources.nifti_image import read_nifti_scan
from tests.builders import blob, nifti_image, noise, oblique_grid, write_series


def sort(*paths, config=None):
    return sort_bids([File(path, 1, "") for path in paths], config or SourceConfig())


def names(files):
    return [file.path for file in files]


def test_a_name_without_subject_and_session_is_the_sequence():
    cohort = sort("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_acq-tse_T2w.nii", "sub-2/anat/sub-2_T1w.nii.gz")
    assert cohort.patients == ("01", "2")
    assert cohort.sequences == ("T1w", "acq-tse_T2w")
    assert cohort.visits == {}


def test_sessions_are_visits_of_a_subject():
    cohort = sort("sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz")
    assert cohort.patients == ("01_ses-a", "01_ses-b")
    assert {visit.subject for visit in cohort.visits.values()} == {"01"}


def test_sidecars_are_inherited_the_most_particular_last():
    cohort = sort(
        "x/sub-01/ses-1/anat/sub-01_ses-1_acq-a_T1w.nii.gz",
        "x/sub-01/ses-1/anat/sub-01_ses-1_acq-a_T1w.json",
        "x/sub-01/sub-01_T1w.json",
        "x/T1w.json",
        "x/acq-a_T1w.json",
        "x/acq-b_T1w.json",
        "x/T2w.json",
        "T1w.json",
    )
    (scan,) = cohort.scans.values()
    assert names(scan.images) == [
        "x/T1w.json",
        "x/acq-a_T1w.json",
        "x/sub-01/sub-01_T1w.json",
        "x/sub-01/ses-1/anat/sub-01_ses-1_acq-a_T1w.json",
        "x/sub-01/ses-1/anat/sub-01_ses-1_acq-a_T1w.nii.gz",
    ]
    assert names(cohort.strays) == ["x/acq-b_T1w.json", "x/T2w.json", "T1w.json"]


@pytest.mark.parametrize(
    ("mask", "sequence"),
    [
        ("desc-T2w_mask", "T2w"),
        ("T1w_label-tumor_roi", "T1w"),
        ("space-T1w_desc-tumor_dseg", "T1w"),
        ("label-tumor_mask", None),
    ],
)
def test_a_mask_belongs_to_the_image_that_its_name_tells(mask, sequence):
    images = ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T2w.nii.gz")
    path = f"derivatives/by-hand/sub-1/anat/sub-1_{mask}.nii.gz"
    cohort = sort(*images, path)
    assert [key[1] for key, scan in cohort.scans.items() if scan.masks] == ([sequence] if sequence else [])
    if sequence is None:
        assert names(cohort.strays) == [path]
        (line,) = cohort.not_taken
        assert "nothing in its name tells which of T1w, T2w" in line
        assert sort(images[0], path).scans["1", "T1w"].masks


@pytest.mark.parametrize(
    ("mask", "sequence"),
    [("ce-gd_desc-tumor_mask", "ce-gd_T1w"), ("acq-a_desc-tumor_mask", None), ("ce-no_desc-tumor_mask", None)],
)
def test_a_mask_without_the_suffix_of_its_image_is_told_by_the_other_parts_of_its_name(mask, sequence):
    images = ("T1w", "ce-gd_T1w", "acq-a_T1w", "acq-a_T2w", "FLAIR")
    cohort = sort(*(f"sub-1/anat/sub-1_{name}.nii.gz" for name in images), f"derivatives/x/sub-1/anat/sub-1_{mask}.nii")
    assert [key[1] for key, scan in cohort.scans.items() if scan.masks] == ([sequence] if sequence else [])


def test_a_configuration_names_and_chooses_sequences(tmp_path):
    (tmp_path / "a.toml").write_text('[sequences]\nT1WI = { folder = "T1w" }\nT2WI = { folder = "acq-tse_*" }\n')
    paths = [f"sub-1/anat/sub-1_{name}.nii.gz" for name in ("acq-x_T1w", "acq-tse_T2w", "FLAIR")]
    cohort = sort(*paths, config=load_config(tmp_path / "a.toml"))
    assert cohort.sequences == ("T1WI", "T2WI")
    assert set(cohort.scans) == {("1", "T1WI"), ("1", "T2WI")}
    assert names(cohort.strays) == [paths[2]]


@pytest.mark.parametrize(
    ("mask", "taken"),
    [
        ("desc-brain_mask", False),
        ("desc-aseg_dseg", False),
        ("label-thyroid_mask", False),  # "roi" is in it
        ("atlas-AAL_dseg", False),
        ("T1w_desc-hippocampus_mask", False),
        ("dseg", False),
        ("space-MNI152NLin2009cAsym_label-tumor_mask", False),
        ("desc-T2w_mask", False),  # another image, which is not there
        ("mask", True),
        ("roi", True),
        ("T1w_label-lesion_roi", True),
        ("space-T1w_label-L_desc-T1lesion_mask", True),
        ("desc-GTVp_mask", True),
        ("label-ROI1_dseg", True),
        ("space-orig_desc-T1w_mask", True),
        ("T1w_seg", True),
    ],
)
def test_a_mask_of_a_single_image_is_the_tumors_only_where_its_name_does_not_say_otherwise(mask, taken):
    paths = [f"sub-{i}/anat/sub-{i}_T1w.nii.gz" for i in (1, 2)]
    masks = [f"derivatives/fmriprep/sub-{i}/anat/sub-{i}_{mask}.nii.gz" for i in (1, 2)]
    cohort = sort(*paths, *masks)
    assert [names(scan.masks) for scan in cohort.scans.values()] == ([[one] for one in masks] if taken else [[], []])
    assert names(cohort.strays) == ([] if taken else masks)
    if not taken:
        (line,) = cohort.not_taken
        assert line.startswith(f"mask {mask} of 1 and 1 others: ")
        assert "name it" in line or "name the mask in [sequences]" in line


def test_a_mask_that_the_configuration_names_is_taken_whatever_it_is_of(tmp_path):
    (tmp_path / "a.toml").write_text('[sequences]\nT1WI = { folder = "T1w", mask = "desc-brain_mask" }\n')
    (tmp_path / "b.toml").write_text('[sequences]\nT1WI = { folder = "T1w" }\n[labels]\ntumor = 2\n')
    paths = [f"sub-1/anat/sub-1_{name}.nii" for name in ("T1w", "desc-brain_mask", "label-tumor_mask", "dseg")]
    named = sort(*paths, config=load_config(tmp_path / "a.toml"))
    assert names(named.scans["1", "T1WI"].masks) == [paths[1]]
    by_label = sort(*paths, config=load_config(tmp_path / "b.toml"))
    assert names(by_label.scans["1", "T1WI"].masks) == paths[2:]
    assert any(line.startswith("2 masks (dseg, label-tumor_mask) of 1: all would be of") for line in by_label.not_taken)


@pytest.mark.parametrize(
    ("images", "mask", "named"),
    [
        (("FLAIR", "T1w", "T2w"), "space-T1w_desc-brain_mask", "T1w"),
        (("FLAIR", "acq-a_T1w", "acq-b_T1w"), "acq-b_space-T1w_desc-brain_mask", "acq-b_T1w"),
        (("FLAIR", "T1w", "T2w"), "space-T2w_desc-T1w_label-brain_mask", "T2w"),
        (("FLAIR", "T1w"), "desc-brain_mask", "…"),
        (("FLAIR", "acq-a_T1w", "acq-b_T1w"), "space-T1w_desc-brain_mask", "…"),
        (("FLAIR",), "desc-brain_mask", "FLAIR"),
    ],
)
def test_the_advice_for_a_mask_names_the_image_of_its_space_or_none(images, mask, named):
    cohort = sort(*(f"sub-1/anat/sub-1_{name}.nii.gz" for name in (*images, mask)))
    (line,) = cohort.not_taken
    assert line.endswith(f'name it: [sequences] NAME = {{ folder = "{named}", mask = "{mask}" }}')


def test_a_mask_that_was_drawn_on_an_image_that_is_not_taken_is_not_given_to_another(tmp_path):
    (tmp_path / "a.toml").write_text('[sequences]\nT1WI = { folder = "T1w" }\n')
    paths = [f"sub-1/anat/sub-1_{name}.nii" for name in ("T1w", "T2w", "desc-T2w_mask")]
    cohort = sort(*paths, config=load_config(tmp_path / "a.toml"))
    assert cohort.scans["1", "T1WI"].masks == ()
    assert cohort.not_taken == ("mask desc-T2w_mask of 1: it was drawn on T2w, which is not taken",)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("T1w", "T1WI"),
        ("acq-tse_run-1_T1w", "T1WI"),
        ("rec-norm_part-mag_T1w", "T1WI"),
        ("ce-gd_T1w", ""),
        ("acq-postgd_T1w", ""),
        ("part-phase_T1w", ""),
        ("desc-skullstripped_T1w", ""),
        ("acq-x_ce-gd_T1w", "CE"),
    ],
)
def test_a_rule_of_a_suffix_takes_no_image_of_another_contrast(tmp_path, name, sequence):
    (tmp_path / "a.toml").write_text('[sequences]\nT1WI = { folder = "T1w" }\nCE = { folder = "*_ce-gd_*" }\n')
    path = f"sub-1/anat/sub-1_{name}.nii.gz"
    cohort = sort(path, config=load_config(tmp_path / "a.toml"))
    assert [key[1] for key in cohort.scans] == [sequence] * bool(sequence)
    if not sequence:
        (line,) = cohort.not_taken
        assert line.startswith(f"image {name} of 1: T1WI is T1w, and ")
        assert f'folder = "{name}"' in line


def test_a_subject_in_two_datasets_is_refused():
    with pytest.raises(SourceError, match="subject 1 is in two BIDS datasets, below a/ and b/"):
        sort("a/sub-1/anat/sub-1_T1w.nii.gz", "b/sub-1/anat/sub-1_T1w.nii.gz")


def _write_bids(root: Path) -> dict:
    """Two subjects, the first of two visits, each with two images and a mask."""
    written = {}
    for i, (subject, session) in enumerate((("01", "1"), ("01", "2"), ("02", "1"))):
        for j, suffix in enumerate(("T1w", "T2w")):
            grid = oblique_grid((5, 7, 9), seed=2 * i + j)
            volume, mask = noise(grid, seed=2 * i + j), blob(grid)
            stem = f"sub-{subject}_ses-{session}"
            raw = root / f"sub-{subject}" / f"ses-{session}" / "anat"
            done = root / "derivatives" / "manual" / f"sub-{subject}" / f"ses-{session}" / "anat"
            for folder in (raw, done):
                folder.mkdir(parents=True, exist_ok=True)
            nibabel.save(nifti_image(volume, grid, dtype="int16"), raw / f"{stem}_{suffix}.nii.gz")
            sidecar = {"EchoTime": 0.012 + 0.07 * j, "ManufacturersModelName": "Ingenia", "PatientName": "SECRET"}
            (raw / f"{stem}_{suffix}.json").write_text(json.dumps(sidecar))
            if (subject, session) == ("01", "2"):  # the tumor shrinks
                mask[2] = 0
            nibabel.save(nifti_image(mask, grid), done / f"{stem}_desc-{suffix}_mask.nii.gz")
            written[f"{subject}_ses-{session}", suffix] = volume, mask, grid
    (root / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t50\tM\nsub-02\t61\tF\n")
    (root / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tward\nses-1\tnorth\nses-2\tsouth\n")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    (root / "T2w.json").write_text('{"RepetitionTime": 3.2}')
    return written


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    """A BIDS dataset, its store, and what was written."""
    root = tmp_path_factory.mktemp("bids") / "dataset"
    written = _write_bids(root)
    result = npc.convert(root, root.parent / "bids.zarr", workers=0)
    npc.measure_store(root.parent / "bids.zarr", "morphology", workers=0)
    return root.parent / "bids.zarr", written, result


def test_a_bids_dataset_converts_without_a_configuration(bids):
    url, written, result = bids
    assert (result["status"] == "ok").all(), result["message"].values
    assert [Path(path).name for path in result.attrs["strays"]] == ["dataset_description.json"]
    assert result.attrs["table_warnings"] == []
    ds = npc.open(url)
    for (patient, sequence), (_, mask, grid) in written.items():
        scan = ds.npc.scan(patient, sequence)
        assert np.count_nonzero(scan["mask"]) == np.count_nonzero(mask)
        spacing = np.sort(scan["spacing"].values)
        np.testing.assert_allclose(spacing, np.sort(grid.spacing_zyx_mm), rtol=1e-5)


def test_sidecars_become_the_acquisition_in_the_units_of_the_store(bids):
    ds = npc.open(bids[0])
    np.testing.assert_allclose(ds["echo_time"].sel(sequence="T1w"), 12)
    np.testing.assert_allclose(ds["repetition_time"].sel(sequence="T2w"), 3200)
    assert (ds["scanner_model"] == "Ingenia").all()
    assert "SECRET" not in str(ds.compute().to_dict())


@pytest.mark.parametrize(
    ("content", "warning", "values"),
    [
        (
            b'{"EchoTime": [0.01, 0.02]}',
            "EchoTime has 2 values in the JSON sidecar, expected one; the first is taken",
            10,
        ),
        (b'{"ImageType": ["P", "PHASE"], "EchoTime": 0.01}', "ImageType says phase (P): its values are angles or", 10),
        (b'{"ImageType": ["LOCALIZER"], "EchoTime": 0.01}', "ImageType says LOCALIZER: made to plan the", 10),
        ('{"EchoTime": 0.01}'.encode("utf-16"), "", 10),
        (b'{"Manufacturer": "A\\ud800"}', "", "A?"),
    ],
)
def test_a_sidecar_is_doubted_as_a_header_is(tmp_path, content, warning, values):
    grid = oblique_grid()
    nibabel.save(nifti_image(noise(grid), grid, dtype="int16"), tmp_path / "t1.nii")
    (tmp_path / "t1.json").write_bytes(content)
    source = open_source(tmp_path)
    scan = read_nifti_scan(source, source.files())
    assert [text.startswith(warning) for text in scan.warnings] == [True] * bool(warning)
    assert values in scan.acquisition.values()


def test_rows_are_visits_and_clinical_values_follow_subject_and_session(bids):
    ds = npc.open(bids[0])
    assert ds["patient"].values.tolist() == ["01_ses-1", "01_ses-2", "02_ses-1"]
    assert ds["subject"].values.tolist() == ["01", "01", "02"]
    assert ds["session"].values.tolist() == ["1", "2", "1"]
    assert ds["age"].values.tolist() == [50, 50, 61]
    assert ds["ward"].values.tolist() == ["north", "south", ""]


def test_the_table_says_how_the_tumor_changed_between_visits(bids):
    table = npc.open(bids[0]).npc.table().set_index(["patient", "sequence"])
    volume, change = table["morphology.volume"], table["morphology.volume_change"]
    for sequence in ("T1w", "T2w"):
        first, second = volume["01_ses-1", sequence], volume["01_ses-2", sequence]
        assert change["01_ses-2", sequence] == pytest.approx(second - first)
        assert change["01_ses-2", sequence] < 0
        percent = table["morphology.volume_change_percent"]["01_ses-2", sequence]
        assert percent == pytest.approx(100 * (second / first - 1))
    assert change[["01_ses-1", "02_ses-1"]].isna().all()


def test_a_second_run_keeps_everything(bids):
    again = npc.convert(bids[0].parent / "dataset", bids[0], workers=0)
    assert (again["action"] == "kept").all()


@pytest.mark.slow
def test_what_dcm2niix_makes_of_real_series_is_the_same_store(real_data, tmp_path):
    """Same voxels, affines and measures from DICOM and from the BIDS dataset that dcm2niix makes of it."""
    program = pytest.importorskip("dcm2niix", reason="dcm2niix is not installed: pip install dcm2niix").bin
    source = real_data / "real_cohort" / "primary_data" / "data" / "MRI-Segments"
    for patient in ("001", "003"):
        anat = tmp_path / "bids" / f"sub-{patient}" / "anat"
        masks = tmp_path / "bids" / "derivatives" / "ibsi" / f"sub-{patient}" / "anat"
        anat.mkdir(parents=True)
        masks.mkdir(parents=True)
        out = ["-z", "y", "-b", "y", "-f", f"sub-{patient}_T1w", "-o", str(anat)]
        subprocess.run([program, *out, str(source / patient / "T1WI")], check=True, capture_output=True)
        shutil.copy(source / patient / "ROI-T1.nii", masks / f"sub-{patient}_desc-T1w_mask.nii")
        shutil.copytree(source / patient, tmp_path / "dicom" / patient)
    stores = {}
    for name, sequence in (("dicom", "T1WI"), ("bids", "T1w")):
        npc.convert(tmp_path / name, tmp_path / f"{name}.zarr", workers=0)
        npc.measure_store(tmp_path / f"{name}.zarr", "morphology", workers=0)
        ds = npc.open(tmp_path / f"{name}.zarr").sel(sequence=sequence)
        stores[name] = ds, npc.open(tmp_path / f"{name}.zarr", group="morphology").sel(sequence=sequence)
    (dicom, measured), (bids, measured_too) = stores["dicom"], stores["bids"]
    assert bids["status"].isin(["ok", "warning"]).all(), bids["message"].values
    for patient in ("001", "003"):
        for name in ("image", "mask"):
            one, other = (ds.npc.scan(patient, str(ds["sequence"].values))[name].values for ds in (dicom, bids))
            np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(bids["affine"], dicom["affine"], atol=2e-3)
    for name in ("volume", "surface_area", "max_diameter"):
        np.testing.assert_allclose(measured_too[name], measured[name], rtol=1e-5)


def test_the_file_of_a_series_that_was_written_as_dicom_is_in_its_order(tmp_path):
    """The voxels of a NIfTI file come in the order of the DICOM series, whatever the order of the file's axes."""
    for seed, directions in enumerate((np.eye(3), np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]))):
        grid = npc_grid(directions)
        volume = noise(grid, seed=seed)
        for order, flips in (((0, 1, 2), ()), ((0, 1, 2), (1,)), ((1, 2, 0), (0, 2)), ((2, 1, 0), (1, 2))):
            image = nifti_image(volume, grid, order=order, flips=flips, dtype="int16")
            found = parse(image.to_bytes())
            np.testing.assert_array_equal(found.values, volume)
            np.testing.assert_allclose(found.grid.affine, grid.affine, atol=1e-4)


def npc_grid(directions):
    from npczarr.model.geometry import Grid

    affine = np.eye(4)
    affine[:3, :3] = directions * np.array([0.5, 0.7, 5.5])
    affine[:3, 3] = -20, 35, 111
    return Grid((4, 6, 5), affine)


def parse(content):
    from npczarr.model.limits import Limits
    from npczarr.sources.nifti_image import parse_image

    return parse_image(content, Limits(), Limits().clock())


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_whole_numbers_are_kept_without_loss_whatever_their_type(dtype):
    grid = npc_grid(np.eye(3))
    volume = noise(grid, high=200)
    found = parse(nifti_image(volume, grid, dtype=dtype).to_bytes())
    assert found.values.dtype == np.int16
    np.testing.assert_array_equal(found.values, volume)
    large = noise(grid, high=200).astype(np.int32) + 40_000
    if dtype not in ("uint8", "int16"):
        found = parse(nifti_image(large, grid, dtype=dtype).to_bytes())
        assert found.values.dtype == np.int32
        np.testing.assert_array_equal(found.values, large)


def test_a_scale_is_the_rescale_and_the_stored_values_stay(tmp_path):
    grid = npc_grid(np.eye(3))
    volume = noise(grid)
    image = nifti_image(volume, grid, dtype="int16")
    header = image.header.copy()
    header.set_slope_inter(0.25, -7)
    scaled = nibabel.Nifti1Image(volume.transpose(2, 1, 0), image.affine, header)
    scaled.header.set_slope_inter(0.25, -7)
    content = bytearray(scaled.to_bytes())
    content[112:120] = np.array([0.25, -7], "<f4").tobytes()
    start = int(scaled.header.get_data_offset()) or 352
    content[start:] = volume.transpose(2, 1, 0).astype("<i2").tobytes(order="F")
    found = parse(bytes(content))
    assert (found.slope, found.intercept) == (0.25, -7)
    np.testing.assert_array_equal(found.values, volume)


def test_floats_are_kept_and_what_is_rounded_is_told():
    grid = npc_grid(np.eye(3))
    volume = (noise(grid) / 7).astype(np.float32)
    found = parse(nifti_image(volume, grid, dtype="float32").to_bytes())
    np.testing.assert_array_equal(found.values, volume)
    assert (found.values.dtype, found.warnings) == (np.float32, ())
    rounded = parse(nifti_image(noise(grid) / 7, grid, dtype="float64").to_bytes())
    np.testing.assert_array_equal(rounded.values, (noise(grid) / 7).astype(np.float32))
    (warning,) = rounded.warnings
    assert re.fullmatch(r"the voxels are float64, stored as float32: at most \de-05 off", warning)


@pytest.mark.slow
def test_a_cohort_with_an_image_of_floats_is_a_store_of_float32(tmp_path):
    grid = npc_grid(np.eye(3))
    images = {"p1": (noise(grid) / 7).astype(np.float32), "p2": noise(grid, seed=2), "p3": noise(grid).astype(np.int32)}
    images["p3"][0, 0, 0] = 2**24 + 1
    for patient, image in images.items():
        (tmp_path / "c" / patient).mkdir(parents=True)
        nibabel.save(nifti_image(image, grid, dtype=image.dtype.name), tmp_path / "c" / patient / "T1WI.nii.gz")
        nibabel.save(nifti_image(blob(grid), grid), tmp_path / "c" / patient / "ROI-T1.nii.gz")
    layout = tmp_path / "layout.toml"
    layout.write_text(
        '[layout]\nimages = "{patient}/{sequence}.nii.gz"\n[sequences]\nT1WI = { folder = "T1WI", mask = "T1" }\n'
    )
    url = tmp_path / "a.zarr"
    result = npc.convert(tmp_path / "c", url, config=layout, workers=0)
    assert result["status"].values.ravel().tolist() == ["ok", "ok", "refused"]
    assert "the store's float32 cannot hold without loss" in str(result["message"].values[2])
    ds = npc.open(url)
    for patient in ("p1", "p2"):
        scan = ds.npc.scan(patient, "T1WI")
        np.testing.assert_array_equal(scan["image"], images[patient])
    assert npc.validate(url, against=tmp_path / "c", config=layout, workers=0) == ()
    again = npc.convert(tmp_path / "c", url, config=layout, workers=0, rewrite=["p1"])
    assert again["action"].values.ravel().tolist()[:2] == ["replaced", "kept"]
    npc.resample_store(url, tmp_path / "b.zarr", spacing=(3, 1, 1), workers=0)
    assert npc.open(tmp_path / "b.zarr")["status"].sel(patient=["p1", "p2"]).isin(["ok", "warning"]).all()
    whole = npc.convert(tmp_path / "c", tmp_path / "d.zarr", config=layout, dtype="int32", workers=0)
    assert whole["status"].values.ravel().tolist() == ["refused", "ok", "ok"]
    assert "convert into a new store with --dtype float32" in str(whole["message"].values[0])


def _edit(change):
    grid = npc_grid(np.eye(3))
    image = nifti_image(noise(grid), grid, dtype="float32")
    return change(image)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i: nibabel.Nifti1Image(i.get_fdata() * [0.1, 1e300, 1, 1], i.affine).to_bytes(), "do not fit float32"),
        (lambda i: nibabel.Nifti1Image(i.get_fdata() * np.nan, i.affine).to_bytes(), "120 voxels are NaN or infinite"),
        (lambda i: nibabel.Nifti1Image(np.stack([i.get_fdata()] * 2, -1), i.affine).to_bytes(), "2 volumes"),
        (lambda i: i.to_bytes()[:-1], "it ends after"),
        (lambda i: b"no image at all", "not a whole NIfTI file"),
        (lambda i: nibabel.Nifti1Image(i.get_fdata(), None).to_bytes(), "neither a usable sform nor qform"),
    ],
)
def test_what_cannot_be_stored_without_loss_or_has_no_place_is_refused(change, words):
    with pytest.raises(SourceError, match=words):
        parse(_edit(change))


def test_forms_that_differ_and_sizes_that_differ_are_warnings():
    def move(image):
        image.set_qform(image.affine + np.array([[0, 0, 0, 3]] + [[0] * 4] * 3), code=1)
        return image.to_bytes()

    assert parse(_edit(move)).warnings == ("sform and qform of the image lie 3.00 mm apart; sform was used",)

    def resize(image):
        image.set_qform(None, code=0)
        image.header.set_zooms((1, 1, 1))
        return image.to_bytes()

    (warning,) = parse(_edit(resize)).warnings
    assert "pixdim says voxels of 1 x 1 x 1 mm and the affine 0.5 x 0.7 x 5.5 mm" in warning


def test_nifti_images_by_pattern_with_one_mask_for_all_sequences(tmp_path):
    root = tmp_path / "cohort"
    grid = npc_grid(np.eye(3))
    for patient in ("p1", "p2"):
        (root / patient).mkdir(parents=True)
        for sequence in ("t1", "t2"):
            image = nifti_image(noise(grid), grid, dtype="int16")
            nibabel.save(image, root / patient / f"{patient}_{sequence}.nii.gz")
            (root / patient / f"{patient}_{sequence}.json").write_text('{"EchoTime": 0.08, "Modality": "MR"}')
        nibabel.save(nifti_image(blob(grid), grid), root / patient / f"{patient}_seg.nii.gz")
    layout = tmp_path / "layout.toml"
    layout.write_text(
        '[layout]\nimages = "{patient}/{patient}_{sequence}.nii.gz"\nmasks = "{patient}/{patient}_seg.nii.gz"\n'
    )
    result = npc.convert(root, tmp_path / "a.zarr", config=layout, workers=0)
    assert result["sequence"].values.tolist() == ["t1", "t2"]
    assert (result["mask_status"] == "ok").all(), result["message"].values
    assert result.attrs["strays"] == []
    np.testing.assert_allclose(npc.open(tmp_path / "a.zarr")["echo_time"], 80)


@pytest.mark.slow
def test_a_file_that_changed_in_place_is_another_series(tmp_path):
    grid = npc_grid(np.eye(3))
    (tmp_path / "a" / "sub-1" / "anat").mkdir(parents=True)
    path = tmp_path / "a" / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    nibabel.save(nifti_image(noise(grid), grid, dtype="int16"), path)
    npc.convert(tmp_path / "a", tmp_path / "a.zarr", workers=0)
    nibabel.save(nifti_image(noise(grid, seed=5), grid, dtype="int16"), path)
    with pytest.raises(npc.StoreError, match="another cohort"):
        npc.convert(tmp_path / "a", tmp_path / "a.zarr", workers=0)
    result = npc.convert(tmp_path / "a", tmp_path / "a.zarr", workers=0, replace=True)
    assert result["action"].values.tolist() == [["replaced"]]


def test_visits_by_pattern(tmp_path):
    root = tmp_path / "cohort"
    for patient, visit in (("007", "baseline"), ("007", "month6"), ("008", "baseline")):
        grid = oblique_grid((4, 6, 8), seed=len(visit))
        write_series(root / patient / visit / "T1WI", noise(grid), grid, series=f"1.{int(patient)}.{len(visit)}")
    (root / "clinical.csv").write_text("ID,visit,Dose,Age\n7,,,50\n7,month6,60,50\n8,,70,61\n")
    layout = tmp_path / "layout.toml"
    layout.write_text('[layout]\nimages = "{patient}/{session}/{sequence}/*"\n')
    result = npc.convert(root, tmp_path / "a.zarr", config=layout, workers=0)
    assert result.attrs["table_warnings"] == []
    ds = npc.open(tmp_path / "a.zarr")
    assert ds["patient"].values.tolist() == ["007_ses-baseline", "007_ses-month6", "008_ses-baseline"]
    np.testing.assert_array_equal(ds["Dose"], [np.nan, 60, 70])
    assert ds["age"].values.tolist() == [50, 50, 61]
