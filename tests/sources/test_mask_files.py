"""Which scans of a store masks without images are of."""

import shutil

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.errors import SourceError
from npczarr.export.back import import_masks
from npczarr.graphs.measure_store import measure_store
from npczarr.graphs.predictions import Predictions
from npczarr.model.cohort import File
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.mask_files import sort_masks
from tests.builders import nifti_image, noise, oblique_grid, write_series
from tests.sources.structures.build import FRAME, SERIES, seg_dataset, straight_grid

GRID = oblique_grid((6, 12, 14), seed=5, spacing_zyx_mm=(3.0, 0.8, 0.7))
LAYOUT = '[layout]\nimages = "{patient}/{patient}_{sequence}.nii.gz"\nmasks = "{patient}/{patient}_seg.nii.gz"\n'
ONE_SEQUENCE = LAYOUT + '[sequences]\nT1WI = { folder = "t1" }\n'
UNNAMED = '[layout]\nimages = "{patient}/im.nii.gz"\nmasks = "{patient}/{patient}_seg.nii.gz"\n'


def config(folder, text):
    (folder / "layout.toml").write_text(text)
    return folder / "layout.toml"


def files(*paths):
    return [File(path, 1, "") for path in paths]


@pytest.mark.parametrize(
    ("text", "stored", "expected"),
    [
        (LAYOUT, [("1", "t1"), ("1", "t2"), ("2", "t1")], [("1", "t1"), ("1", "t2")]),
        (LAYOUT, [("1", "t2"), ("2", "t1")], [("1", "t2")]),
        (ONE_SEQUENCE, [("1", "T1WI"), ("2", "T1WI")], [("1", "T1WI")]),
        (UNNAMED, [("1", "image")], [("1", "image")]),
    ],
)
def test_a_mask_whose_name_tells_no_sequence_is_of_each_scan_of_its_patient(tmp_path, text, stored, expected):
    rules = load_config(config(tmp_path, text))
    sequences = list(dict.fromkeys(sequence for _, sequence in stored))
    found = sort_masks(files("1/1_seg.nii.gz"), rules, sequences, stored)
    assert list(found.scans) == expected
    assert all([file.path for file in scan.masks] == ["1/1_seg.nii.gz"] for scan in found.scans.values())
    assert found.of_nobody == found.unnamed == {}


def test_a_mask_that_tells_no_sequence_of_a_patient_without_scans_is_of_nobody(tmp_path):
    found = sort_masks(files("9/9_seg.nii.gz"), load_config(config(tmp_path, LAYOUT)), ["t1"], [("1", "t1")])
    assert found.scans == {}
    assert found.of_nobody == {"9/9_seg.nii.gz": "9"}


def test_a_mask_that_names_its_sequence_is_of_that_alone():
    stored = [("1", "T1WI"), ("1", "T2WI")]
    found = sort_masks(files("1/ROI-T2.nii", "9/ROI-T1.nii"), SourceConfig(), ["T1WI", "T2WI"], stored)
    assert list(found.scans) == [("1", "T2WI"), ("9", "T1WI")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A cohort of two sequences with one mask for both, its store, and predictions, one of another patient."""
    root = tmp_path_factory.mktemp("one-mask")
    layout = config(root, LAYOUT)
    mask = np.zeros(GRID.shape_zyx, np.uint8)
    mask[1:4, 2:7, 3:8] = 1
    for i, patient in enumerate(("001", "002", "009")):
        for folder in ("source", "predicted"):
            (root / folder / patient).mkdir(parents=True)
        predicted = nifti_image(np.roll(mask, 1, axis=2), GRID, flips=(1,))
        nibabel.save(predicted, root / "predicted" / patient / f"{patient}_seg.nii.gz")
        if patient == "009":
            (root / "source" / patient).rmdir()
            continue
        nibabel.save(nifti_image(mask, GRID), root / "source" / patient / f"{patient}_seg.nii.gz")
        for j, sequence in enumerate(("t1", "t2")[: 2 - i]):
            image = nifti_image(noise(GRID, seed=2 * i + j), GRID)
            nibabel.save(image, root / "source" / patient / f"{patient}_{sequence}.nii.gz")
    result = npc.convert(root / "source", root / "cohort.zarr", config=layout, workers=0)
    assert result.mask_status.values.tolist() == [["ok", "ok"], ["ok", "missing"]]
    return root


@pytest.mark.slow
def test_one_mask_for_all_sequences_is_scored_by_the_layout_that_converted_it(root):
    dataset = npc.open(root / "cohort.zarr")
    scored = npc.score(dataset, root / "predicted", config=root / "layout.toml")
    assert scored.attrs["predicted_scans"] == 3
    dice = scored.dice.values.squeeze()
    np.testing.assert_allclose(dice[[0, 0, 1], [0, 1, 0]], 0.8)
    assert np.isnan(dice[1, 1])
    one = npc.score(dataset.sel(sequence="t2", patient="001"), root / "predicted", config=root / "layout.toml")
    assert float(one.dice.values.squeeze()) == pytest.approx(0.8)
    shown = Predictions(root / "cohort.zarr", root / "predicted", config=root / "layout.toml")
    assert shown.places == ((0, 0), (0, 1), (1, 0))
    assert shown.unmatched == {("009", ""): "prediction 009_seg.nii.gz: no scan of this patient in the store"}


def test_measuring_names_predictions_of_other_patients_as_the_user_does(root):
    given = {"predictions": str(root / "predicted"), "config": str(root / "layout.toml"), "workers": 0}
    _, failures = measure_store(root / "cohort.zarr", "score", **given)
    assert [(one.patient, one.sequence) for one in failures] == [("009", "")]


@pytest.mark.slow
def test_one_mask_for_all_sequences_is_imported_by_the_layout_that_converted_it(root, tmp_path):
    store = shutil.copytree(root / "cohort.zarr", tmp_path / "cohort.zarr")
    found = import_masks(store, root / "predicted", config=root / "layout.toml")
    assert [(one.patient, one.sequence, one.status) for one in found] == [
        ("001", "t1", "replaced"),
        ("001", "t2", "replaced"),
        ("002", "t1", "replaced"),
        ("009", "", "refused"),
    ]
    assert found[-1].message == "009_seg.nii.gz: no scan of this patient in the store"
    scored = npc.score(npc.open(store), root / "predicted", config=root / "layout.toml")
    np.testing.assert_array_equal(scored.dice.values.squeeze(), [[1, 1], [1, np.nan]])


@pytest.mark.slow
def test_predictions_of_no_patient_of_the_store_are_refused(root, tmp_path):
    (tmp_path / "009").mkdir()
    (tmp_path / "009/009_seg.nii.gz").write_bytes((root / "predicted/009/009_seg.nii.gz").read_bytes())
    given = {"predictions": str(tmp_path), "config": str(root / "layout.toml"), "workers": 0}
    with pytest.raises(SourceError, match="none of the predicted masks is of a patient"):
        measure_store(root / "cohort.zarr", "score", **given)
    (one,) = import_masks(root / "cohort.zarr", tmp_path, config=root / "layout.toml")
    assert (one.patient, one.sequence, one.status) == ("009", "", "refused")


@pytest.mark.slow
@pytest.mark.parametrize(("image_mm", "said"), [(6.0, ""), (3.0, "placed by majority of volume")])
def test_the_thickness_of_stored_slices_tells_thick_frames_apart_as_on_conversion(tmp_path, image_mm, said):
    grid = straight_grid((6, 12, 14))  # slices of 3 mm, and frames that are 6 mm thick: they overlap, or are another's

    def edit(ds, z):
        ds.SliceThickness, ds.FrameOfReferenceUID = f"{image_mm:g}", FRAME

    write_series(tmp_path / "source" / "001" / "T1WI", noise(grid), grid, series=SERIES, edit=edit)
    outlined = np.zeros(grid.shape_zyx[1:], np.uint8)
    outlined[3:8, 4:9] = 1
    dataset = seg_dataset(grid, [(1, 2, outlined)], labels=("GTV",))
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = "6"
    dataset.save_as(tmp_path / "source" / "001" / "ROI-T1.dcm", enforce_file_format=True)
    converted = npc.convert(tmp_path / "source", tmp_path / "cohort.zarr", workers=0)
    message = str(converted.message.sel(patient="001", sequence="T1WI").values)
    assert said in message
    assert bool(message) == bool(said)
    store = npc.open(tmp_path / "cohort.zarr")
    masks = tmp_path / "masks" / "001"
    masks.mkdir(parents=True)
    dataset.save_as(masks / "ROI-T1.dcm", enforce_file_format=True)
    scored = npc.score(store, masks.parent)
    assert float(scored.dice.sel(patient="001", sequence="T1WI").values.squeeze()) == 1
    assert [one.status for one in import_masks(tmp_path / "cohort.zarr", masks.parent)] == ["kept"]
