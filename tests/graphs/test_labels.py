"""A cohort with two labels, from its files through every measure and back."""

import shutil

import nibabel
import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

import npczarr as npc
from npczarr.errors import ParameterError, SourceError, StoreError
from npczarr.export.back import import_masks
from npczarr.export.cohort import export_scans
from npczarr.graphs.measure_store import measure_store
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from npczarr.store.measured import results_of
from tests.builders import nifti_image, noise, oblique_grid, write_series
from tests.sources.structures.build import rtstruct, seg

LABELS = "[labels]\ntumor = 4\nnode = 2\n"
PATIENTS = ("001", "002")
GRID = oblique_grid((6, 12, 14), seed=5, spacing_zyx_mm=(3.0, 0.8, 0.7))


def parts(patient):
    """Voxels of tumor and node of a patient; the node of the second is empty."""
    tumor, node = np.zeros((2, *GRID.shape_zyx), np.uint8)
    tumor[1:4, 2:7, 3:8] = 1
    if patient == "001":
        node[2:5, 8:11, 9:12] = 1
        node[3, 8, 9] = 0
    return tumor, node


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    for i, patient in enumerate(PATIENTS):
        tumor, node = parts(patient)
        write_series(root / "data" / patient / "T1WI", noise(GRID, seed=i), GRID, series=f"1.2.{i}")
        nibabel.save(nifti_image(tumor * 4 + node * 2, GRID, flips=(1,)), root / "data" / patient / "ROI-T1.nii")
    (root / "labels.toml").write_text(LABELS)
    return root


@pytest.fixture(scope="module")
def store(source):
    url = source / "cohort.zarr"
    result = npc.convert(source / "data", url, config=source / "labels.toml", workers=0)
    assert (result.mask_status.sel(sequence="T1WI") == "ok").all()
    return url


def test_the_store_names_its_numbers_as_cf_does(store):
    for dataset in (xr.open_zarr(store), npc.open(store)):
        assert dataset.mask.attrs["flag_meanings"] == "background tumor node"
        assert list(dataset.mask.attrs["flag_values"]) == [0, 1, 2]
        tumor, node = parts("001")
        assert_array_equal(dataset.mask.sel(patient="001", sequence="T1WI"), tumor + 2 * node)
    assert npc.validate(store) == ()


def test_each_label_is_measured_as_if_it_were_alone(store):
    dataset = npc.open(store)
    found = npc.morphology(dataset).compute()
    assert found["label"].values.tolist() == ["tumor", "node"]
    for patient in PATIENTS:
        for label, voxels in zip(("tumor", "node"), parts(patient), strict=True):
            alone = npc.measure_mask(
                voxels, spacing=tuple(dataset.spacing.sel(patient=patient, sequence="T1WI").values)
            )
            one = found.sel(patient=patient, sequence="T1WI", label=label)
            for name, value in alone.items():
                assert_array_equal(one[name].values, value)
    for label in ("tumor", "node"):
        xr.testing.assert_identical(
            npc.morphology(dataset, label=label).compute().drop_attrs(deep=False),
            found.sel(label=label, drop=True).drop_attrs(deep=False),
        )
    assert npc.morphology(dataset, label=["node"])["label"].values.tolist() == ["node"]
    with pytest.raises(ParameterError, match=r"no label 'Node' in the masks, .* did you mean 'node'"):
        npc.morphology(dataset, label="Node")


def test_a_selection_keeps_its_labels_and_measures_are_lazy(store):
    dataset = xr.open_zarr(store).isel(patient=[1])
    with dask_refuses():
        lazy = npc.morphology(dataset)
    assert lazy.volume.dims == ("label", "patient", "sequence")
    assert lazy.voxel_count.sel(label="node", sequence="T1WI").values.tolist() == [0.0]


def dask_refuses():
    import dask

    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    return dask.config.set(scheduler=refuse)


def test_one_mask_of_several_labels_asks_which(store):
    scan = npc.open(store).npc.scan("001", "T1WI")
    with pytest.raises(ParameterError, match=r"holds 2 labels \(tumor, node\); choose one with label="):
        npc.measure_mask(scan.mask)
    assert npc.measure_mask(scan.mask, label="node")["voxel_count"] == parts("001")[1].sum()
    assert npc.compare_masks(scan.mask, scan.mask, label="node")["dice"] == 1.0
    with pytest.raises(ParameterError, match="choose one with label="):
        npc.compare_masks(scan.mask, scan.mask)


@pytest.mark.slow
def test_a_result_of_one_label_alone_is_whole(source, tmp_path):
    store = tmp_path / "npc.zarr"
    npc.convert(source / "data", store, config=source / "labels.toml", workers=0)
    measure_store(store, "morphology", label="node", workers=0)
    assert npc.info(store)["damaged"] == {}
    assert [path for path, _ in results_of(open_group(locate(store).open(), "a store"))] == ["morphology/node"]
    shutil.rmtree(store / "morphology/node/volume")
    (damage,) = npc.info(store)["damaged"].items()
    assert damage[0] == "morphology/node"
    assert "`npczarr morphology STORE --label node` measures it anew" in damage[1]


@pytest.mark.slow
def test_stored_results_have_their_labels_and_the_table_a_column_each(store):
    result, failures = measure_store(store, "morphology")
    assert failures == ()
    assert result.sizes["label"] == 2
    again, _ = measure_store(store, "morphology")
    xr.testing.assert_equal(result, again)
    chosen, _ = measure_store(store, "morphology", label="node")
    assert "label" not in chosen.dims
    assert xr.open_zarr(store, group="morphology").sizes["label"] == 2
    assert "label" not in xr.open_zarr(store, group="morphology/node").dims
    measure_store(store, "morphology", method="lewiner")  # in place of the one of all labels, which it lies below
    assert "label" not in xr.open_zarr(store, group="morphology/node").dims
    assert measure_store(store, "morphology", label="node", workers=0)[0].equals(chosen)
    assert npc.info(store)["damaged"] == {}
    row = npc.open(store).npc.table().set_index("patient").query("sequence == 'T1WI'").loc["001"]
    tumor, node = parts("001")
    assert row["morphology.voxel_count.tumor"] == tumor.sum()
    assert row["morphology.voxel_count.node"] == node.sum()


def write_predictions(folder, values):
    for patient, voxels in values.items():
        (folder / patient).mkdir(parents=True)
        nibabel.save(nifti_image(voxels, GRID), folder / patient / "ROI-T1.nii.gz")
    return folder


@pytest.mark.slow
def test_predictions_have_the_numbers_of_the_store_or_those_that_are_declared(store, tmp_path):
    dataset = npc.open(store)
    tumor, node = parts("001")
    shifted = np.roll(node, 1, axis=2)
    own = write_predictions(tmp_path / "own", {"001": tumor + 2 * shifted})
    others = write_predictions(tmp_path / "others", {"001": 7 * tumor + 9 * shifted})
    (tmp_path / "others.toml").write_text("[labels]\nnode = 9\ntumor = 7\n")
    (tmp_path / "unknown.toml").write_text("[labels]\nbone = 9\n")
    first = npc.score(dataset, own).compute()
    second = npc.score(dataset, others, config=tmp_path / "others.toml").compute()
    xr.testing.assert_equal(first, second)
    one = first.sel(patient="001", sequence="T1WI")
    assert one.dice.sel(label="tumor") == 1.0
    expected = 2 * (node & shifted).sum() / (node.sum() + shifted.sum())
    assert one.dice.sel(label="node") == pytest.approx(expected)
    assert npc.score(dataset, store).dice.sel(patient="001", sequence="T1WI").values.tolist() == [1.0, 1.0]
    with pytest.raises(ParameterError, match="no label 'bone'"):
        npc.score(dataset, others, config=tmp_path / "unknown.toml")


def test_two_raters_are_compared_label_by_label(tmp_path):
    tumor, node = parts("001")
    for rater, voxels in (("a", 4 * tumor + 2 * node), ("b", 4 * tumor + 2 * np.roll(node, 1, axis=1))):
        write_predictions(tmp_path / "data" / rater, {"001": voxels})
    (tmp_path / "labels.toml").write_text(LABELS)
    npc.convert(tmp_path / "data", tmp_path / "raters.zarr", config=tmp_path / "labels.toml", workers=0)
    found = npc.agreement(npc.open(tmp_path / "raters.zarr")).isel(patient=0, sequence=0).compute()
    assert found.dice.sel(label="tumor") == 1.0
    assert 0 < found.dice.sel(label="node") < 1.0
    shutil.rmtree(tmp_path / "data/b")
    write_predictions(tmp_path / "data" / "b", {"001": 9 * node})
    with pytest.raises(SourceError, match="the mask by b: no declared label names any value of the mask: found 9 "):
        npc.convert(tmp_path / "data", tmp_path / "again.zarr", config=tmp_path / "labels.toml", workers=0)


@pytest.mark.slow
def _seg_of(tumor, node, **options):
    frames = [(n, z, part[z]) for n, part in ((1, tumor), (2, node)) for z in range(len(part)) if part[z].any()]
    return seg(GRID, frames, labels=("Tumor", "Node"), spacing_between=3.0, **options)


@pytest.mark.slow
def test_two_raters_with_dicom_segmentations_lie_on_the_grid_of_their_frames(tmp_path):
    tumor, node = parts("001")
    moved = np.roll(node, 1, axis=0)  # to a slice that the other rater has not
    for rater, other in (("a", node), ("b", moved)):
        (tmp_path / "data" / rater / "001").mkdir(parents=True)
        (tmp_path / "data" / rater / "001" / "ROI-T1.dcm").write_bytes(_seg_of(tumor, other))
    (tmp_path / "labels.toml").write_text('[labels]\ntumor = "Tumor"\nnode = "Node"\n')
    url = tmp_path / "raters.zarr"
    result = npc.convert(tmp_path / "data", url, config=tmp_path / "labels.toml", workers=0)
    assert result["status"].values.tolist() == [["ok"]], result["message"].values
    found = npc.agreement(npc.open(url)).isel(patient=0, sequence=0).compute()
    assert found.dice.sel(label="tumor").item() == 1.0
    assert found.dice.sel(label="node").item() == pytest.approx(2 * (node & moved).sum() / (node.sum() + moved.sum()))
    np.testing.assert_allclose(npc.open(url)["spacing"][0, 0], GRID.spacing_zyx_mm, rtol=1e-6)
    (tmp_path / "data" / "b" / "001" / "ROI-T1.dcm").write_bytes(_seg_of(tumor, node, frame="1.2.9"))
    with pytest.raises(SourceError, match="of several sizes, orientations or frames of reference"):
        npc.convert(tmp_path / "data", tmp_path / "b.zarr", config=tmp_path / "labels.toml", workers=0)


@pytest.mark.parametrize("content", [rtstruct({"GTV": []}), b"no DICOM"], ids=["RTSTRUCT", "no DICOM"])
def test_a_raters_mask_without_a_grid_is_refused(tmp_path, content):
    for rater in ("a", "b"):
        (tmp_path / rater / "001").mkdir(parents=True)
        (tmp_path / rater / "001" / "ROI-T1.dcm").write_bytes(content)
    with pytest.raises(SourceError, match="the mask by a is no DICOM SEG, and without images nothing else in DICOM"):
        npc.convert(tmp_path, tmp_path / "b.zarr", workers=0)


@pytest.mark.slow
def test_resampled_labels_stay_labels(store, tmp_path):
    dataset = npc.open(store)
    spacing = tuple(float(mm) for mm in GRID.spacing_zyx_mm)
    same = npc.resample(dataset, spacing=spacing).compute()
    assert_array_equal(same.mask.sel(patient="001", sequence="T1WI"), dataset.mask.sel(patient="001", sequence="T1WI"))
    fine = npc.resample(dataset, spacing=(1.0, 1.0, 1.0)).compute()
    assert set(np.unique(fine.mask)) == {0, 1, 2}
    assert fine.mask.attrs["flag_meanings"] == "background tumor node"
    one = npc.resample(dataset.assign(mask=(dataset.mask == 2).astype("uint8")), spacing=(1.0, 1.0, 1.0)).compute()
    assert_array_equal(fine.mask == 2, one.mask == 1)
    npc.resample_store(store, tmp_path / "fine.zarr", spacing=(1.0, 1.0, 1.0), workers=0)
    stored = npc.open(tmp_path / "fine.zarr")
    assert stored.mask.attrs["flag_meanings"] == "background tumor node"
    assert_array_equal(stored.mask, fine.mask)
    assert npc.validate(tmp_path / "fine.zarr") == ()


@pytest.mark.slow
def test_a_store_keeps_the_labels_that_it_was_made_with(store, source, tmp_path):
    with pytest.raises(StoreError, match="labels of the store are tumor, node, those of the configuration tumor"):
        npc.convert(source / "data", store, workers=0)
    (tmp_path / "turned.toml").write_text("[labels]\nnode = 2\ntumor = 4\n")
    with pytest.raises(StoreError, match="in this order"):
        npc.convert(source / "data", store, config=tmp_path / "turned.toml", workers=0)
    result = npc.convert(source / "data", store, config=source / "labels.toml", workers=0)
    assert set(result.action.values.ravel()) == {"kept"}
    # what a label is made from is part of what a scan was made from
    (tmp_path / "other.toml").write_text("[labels]\ntumor = [4, 5]\nnode = 2\n")
    result = npc.convert(source / "data", store, config=tmp_path / "other.toml", workers=0)
    assert set(result.action.sel(sequence="T1WI").values.tolist()) == {"replaced"}


@pytest.mark.parametrize("format", ["nifti", "tiff", "png", "ome-zarr"])
def test_files_of_other_tools_keep_the_labels(store, tmp_path, format):
    done = export_scans(store, tmp_path / "out", format=format, patients=["001"], sequences=["T1WI"], workers=0)
    assert [one.status for one in done] == ["written"]
    tumor, node = parts("001")
    if format == "nifti":
        (path,) = (tmp_path / "out").rglob("ROI-T1.nii.gz")
        assert_array_equal(np.asarray(nibabel.load(path).dataobj).T, tumor + 2 * node)
    elif format == "tiff":
        import tifffile

        slices = [tifffile.imread(tmp_path / "out" / "001" / f"T1WI_{z + 1}_mask.tif") for z in range(len(tumor))]
        assert_array_equal(np.stack(slices), tumor + 2 * node)
    elif format == "ome-zarr":
        label = xr.open_zarr(next((tmp_path / "out").rglob("labels/labels")), consolidated=False, zarr_format=3)
        assert_array_equal(label["0"], tumor + 2 * node)


@pytest.mark.slow
def test_an_edited_mask_comes_back_with_its_labels(store, tmp_path):
    npc.open(store)  # another test may have changed it
    tumor, node = parts("002")
    node = node.copy()
    node[4, 9:11, 10:12] = 1
    edited = write_predictions(tmp_path / "edited", {"002": tumor + 2 * node})
    (done,) = import_masks(store, edited)
    assert done.status == "replaced"
    assert_array_equal(npc.open(store).mask.sel(patient="002", sequence="T1WI"), tumor + 2 * node)


@pytest.mark.parametrize(("factor", "status"), [(127, "refused"), (0, "replaced")])
def test_a_mask_without_a_declared_value_is_refused_and_one_of_zeros_is_empty(store, tmp_path, factor, status):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    (tmp_path / "edited/001").mkdir(parents=True)
    tumor, node = parts("001")
    nibabel.save(nifti_image((tumor + 2 * node) * factor, GRID), tmp_path / "edited/001/ROI-T1.nii")
    (one,) = import_masks(copy, tmp_path / "edited")
    assert one.status == status
    found = xr.open_zarr(copy).mask.sel(patient="001", sequence="T1WI")
    assert_array_equal(found, (tumor + 2 * node) * (factor > 0))
    said = "found 127 (75 voxels), 254 (26 voxels), expected tumor = 1, node = 2; save it with these values"
    assert (said in one.message) == (factor > 0)


def test_every_lesion_has_a_row(store, tmp_path):
    tumor, node = parts("001")
    missed_and_extra = np.zeros_like(node)
    missed_and_extra[0, 0, :2] = 1
    predictions = write_predictions(tmp_path / "model", {"001": tumor + 2 * missed_and_extra})
    dataset = npc.open(store)
    found = npc.lesions(dataset, predictions)
    assert found.columns.tolist() == [
        *("patient", "sequence", "label", "found", "volume_a", "volume_b", "dice", "iou", "z", "y", "x")
    ]
    assert found[["patient", "label", "found"]].values.tolist() == [
        ["001", "tumor", "matched"],
        ["001", "node", "missed"],
        ["001", "node", "extra"],
    ]
    voxel = float(dataset.spacing.sel(patient="001", sequence="T1WI").prod())
    assert found["volume_a"].tolist()[:2] == pytest.approx([tumor.sum() * voxel, node.sum() * voxel])
    assert found["volume_b"].tolist()[2] == pytest.approx(2 * voxel)
    assert found["dice"].tolist() == [1.0, 0.0, 0.0]
    assert found[["z", "y", "x"]].values.tolist()[2] == [0, 0, 0]
    scan = dataset.npc.scan("001", "T1WI")
    alone = npc.compare_lesions(scan.mask, scan.mask.copy(data=tumor + 2 * missed_and_extra), label="node")
    assert alone["found"].tolist() == ["missed", "extra"]
    score = npc.score(dataset, predictions).sel(patient="001", sequence="T1WI")
    assert score.lesion_f1.values.tolist() == [1.0, 0.0]
    with pytest.raises(ParameterError, match="expected predictions, or a store of masks by two or more raters"):
        npc.lesions(dataset)
    none = npc.lesions(dataset.sel(patient=["002"]), predictions)
    assert len(none) == 0
