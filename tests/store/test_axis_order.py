"""Tables along `axis` are read by its labels; a Dataset that lacks one of the three is refused in words."""

import nibabel
import numpy as np
import pytest

import npczarr as npc
from npczarr.errors import ParameterError
from npczarr.report import tables
from npczarr.report.quality import findings
from npczarr.store.axis_order import in_axis_order

pytestmark = pytest.mark.slow  # copies whole stores

CONFIG = '[layout]\nimages = "{patient}/{patient}_{sequence}.nii.gz"\nmasks = "{patient}/{patient}_seg.nii.gz"\n'
ORDERS = (["z", "x", "y"], ["x", "y", "z"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A square scan of three voxel sizes: nothing but the labels of `axis` tells which is which."""
    root = tmp_path_factory.mktemp("axis")
    mask = np.zeros((24, 24, 24), np.uint8)
    mask[4:20, 10:13, 3:6] = 1
    affine = np.diag([0.5, 2.0, 4.0, 1.0])
    image = np.random.default_rng(0).integers(0, 99, mask.shape).astype(np.int16)
    (root / "data/P1").mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(image, affine), root / "data/P1/P1_t1.nii.gz")
    nibabel.save(nibabel.Nifti1Image(mask, affine), root / "data/P1/P1_seg.nii.gz")
    (root / "model/P1").mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(np.roll(mask, 1, 1), affine), root / "model/P1/ROI-t1.nii.gz")
    (root / "c.toml").write_text(CONFIG)
    npc.convert(root / "data", root / "c.zarr", config=root / "c.toml", workers=0)
    npc.measure_store(root / "c.zarr", "morphology", workers=0)
    return root


@pytest.fixture(scope="module")
def cohort(folder):
    return npc.open(folder / "c.zarr")


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_another_order_of_the_axes_changes_no_number(order, cohort, folder):
    turned = cohort.sel(axis=order)
    assert in_axis_order(turned)["axis"].values.tolist() == ["z", "y", "x"]
    for measure in (npc.morphology, lambda ds: npc.score(ds, folder / "model")):
        expected, found = (measure(ds).compute() for ds in (cohort, turned))
        assert found.drop_attrs().equals(expected.drop_attrs())
    assert npc.lesions(turned, folder / "model").equals(npc.lesions(cohort, folder / "model"))
    assert npc.score(turned, folder / "c.zarr").dice.compute() == 1
    for resampled in (npc.resample(turned, spacing=2.0), npc.resample(cohort, spacing=2.0)):
        assert resampled["shape"].values.tolist() == [[[48, 24, 6]]]
    scan = turned.npc.scan("P1", "t1")
    assert scan.spacing.values.tolist() == [4.0, 2.0, 0.5]
    assert npc.measure_mask(scan.mask) == npc.measure_mask(cohort.npc.scan("P1", "t1").mask)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_tables_and_flags_go_by_the_labels(order, cohort, folder):
    turned = cohort.sel(axis=order)
    assert turned.npc.table()["morphology.volume"].tolist() == cohort.npc.table()["morphology.volume"].tolist()
    assert tables.mri_parameters(turned).equals(tables.mri_parameters(cohort))
    assert findings(turned).equals(findings(cohort))
    result = npc.open(folder / "c.zarr", group="morphology").load()
    at_end = result.assign(touches_stop=result.touches_stop.where(result.axis != "z", 1.0))
    for one in (at_end, at_end.sel(axis=order), at_end.drop_vars("axis")):
        assert npc.quality(one).touches_end_slice.values.all()


def test_a_dataset_without_labels_is_in_the_order_of_a_store(cohort):
    assert npc.morphology(cohort.drop_vars("axis")).compute().equals(npc.morphology(cohort).compute())


@pytest.mark.parametrize("cut", [{"axis": 0}, {"axis": [1, 2]}, {"axis": [0, 0, 1]}], ids=str)
def test_a_dataset_that_lacks_an_axis_is_refused(cut, cohort, folder):
    ds = cohort.isel(cut)
    result = npc.open(folder / "c.zarr", group="morphology").load().isel(cut)
    for use in (
        lambda: npc.morphology(ds),
        lambda: npc.score(ds, folder / "model"),
        lambda: npc.lesions(ds, folder / "model"),
        lambda: npc.resample(ds, spacing=2.0),
        lambda: ds.npc.scan("P1", "t1"),
        lambda: tables.mri_parameters(ds),
        lambda: npc.quality(result),
    ):
        with pytest.raises(ParameterError, match="expected values for the axes z, y and x along the dimension 'axis'"):
            use()


def test_the_spacing_along_one_axis_is_not_that_of_all(cohort):
    mask = cohort.sel(patient="P1", sequence="t1", axis="z").mask
    with pytest.raises(ParameterError, match="the voxel size along y is not known"):
        npc.measure_mask(mask)
    assert npc.measure_mask(mask, spacing=(4, 2, 0.5))["voxel_volume"] == 16 * 3 * 3 * 4
