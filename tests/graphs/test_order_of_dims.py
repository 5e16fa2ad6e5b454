"""Datasets that were transposed or cut to one patient: the same results as of the Dataset as it was opened."""

import shutil

import numpy as np
import pytest
import xarray as xr

import npczarr as npc

pytestmark = pytest.mark.slow  # measures and resamples a cohort in every order

OPENED = {
    "npczarr.open": npc.open,
    "npczarr.open, without Dask": lambda url: npc.open(url, dask=False),
    "xr.open_zarr": xr.open_zarr,
    "xr.open_zarr, without Dask": lambda url: xr.open_zarr(url, chunks=None),
}
ORDERS = (("sequence", "patient", ...), ("z", "x", ..., "patient", "y", "sequence"))


@pytest.fixture(scope="module")
def predictions(cohort, tmp_path_factory):
    """Masks of the cohort as files; the last is absent."""
    folder = tmp_path_factory.mktemp("predictions")
    for mask in sorted((cohort / "primary_data").rglob("ROI-*.nii"))[:-1]:
        (folder / mask.parent.name).mkdir(exist_ok=True)
        shutil.copy(mask, folder / mask.parent.name)
    return folder


def results(dataset, store, predictions):
    """Everything that is computed of a cohort's masks and images, by name."""
    resampled = npc.resample(dataset, spacing=3.0)
    return {
        "morphology": npc.morphology(dataset),
        "score against a store": npc.score(dataset, store),
        "score against files": npc.score(dataset, predictions),
        "resample": resampled,
        "resample like": npc.resample(dataset, like="T1WI"),
        "resample around the tumor": npc.resample(dataset, shape=(4, 16, 16), window=(30, 30, 30), center="tumor"),
        "morphology of what is resampled": npc.morphology(resampled),
    }


def assert_same(found, expected):
    for name in expected.variables:
        there, wanted = found[name].transpose(*expected[name].dims).values, expected[name].values
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(there, wanted, rtol=1e-12, err_msg=name)
        else:
            assert (there == wanted).all(), name


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("opened", OPENED)
def test_a_transposed_cohort_gives_the_same_results(opened, order, store, predictions):
    dataset = OPENED[opened](store)
    expected = results(dataset, store, predictions)
    for name, found in results(dataset.transpose(*order), store, predictions).items():
        assert_same(found.load(), expected[name].load())
    lesions = npc.lesions(dataset, predictions)
    assert len(lesions) > 0
    assert npc.lesions(dataset.transpose(*order), predictions).equals(lesions)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_transposed_masks_of_raters_give_the_same_results(order, raters):
    dataset = npc.open(raters)
    assert_same(npc.agreement(dataset.transpose(*order)).load(), npc.agreement(dataset).load())
    assert npc.lesions(dataset.transpose(*order)).equals(npc.lesions(dataset))


@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("dim", ["patient", "sequence"])
def test_lesions_of_one_patient_or_sequence_are_those_of_the_cohort(dim, opened, store, predictions):
    dataset = OPENED[opened](store)
    whole = npc.lesions(dataset, predictions)
    label = str(dataset[dim].values[1])
    found = npc.lesions(dataset.sel({dim: label}), predictions)
    assert found.equals(whole[whole[dim] == label].reset_index(drop=True))


def test_lesions_of_a_list_of_sequences_opened_without_dask(store):
    dataset = xr.open_zarr(store, chunks=None)
    found = npc.lesions(dataset.isel(sequence=[2, 0]), store)
    assert found.equals(npc.lesions(dataset.isel(sequence=[2, 0]).load(), store))


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("opened", ["npczarr.open", "xr.open_zarr"])  # xarray itself fails on the others, transposed
def test_scans_and_tables_of_a_transposed_cohort_are_the_same(opened, order, store):
    dataset = OPENED[opened](store)
    transposed = dataset.transpose(*order)
    assert transposed.npc.table().equals(dataset.npc.table())
    for patient in ("001", "003"):
        found, expected = (one.npc.scan(patient, "CE-T1WI").load() for one in (transposed, dataset))
        assert found.image.dims == ("z", "y", "x")
        assert_same(found, expected)
