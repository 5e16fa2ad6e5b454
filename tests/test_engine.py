"""``engine="npczarr"`` gives what ``npczarr.open`` gives, with Dask and without."""

import io
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import npczarr as npc
from npczarr.engine import CohortBackend

ROOT = Path(__file__).resolve().parents[1]
VOXELS = ("image", "mask")


def opened(url, **arguments):
    return xr.open_dataset(url, engine=CohortBackend, **arguments)


def test_the_entry_point_names_the_backend():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    place, _, name = project["entry-points"]["xarray.backends"]["npczarr"].partition(":")
    assert (place, name) == (CohortBackend.__module__, CohortBackend.__name__)
    assert isinstance(xr.backends.list_engines()["npczarr"], CohortBackend)


def test_without_chunks_it_is_npc_open_without_dask(store):
    found, expected = opened(store), npc.open(store, dask=False)
    assert not any(variable.chunks for variable in found.variables.values())
    xr.testing.assert_identical(found, expected)
    assert found.encoding["source"] == expected.encoding["source"]


def test_with_chunks_one_dask_chunk_is_one_scan_as_in_npc_open(store):
    found, expected = opened(store, chunks={}), npc.open(store)
    for name in VOXELS:
        assert found[name].chunks == expected[name].chunks
    xr.testing.assert_identical(found.compute(), expected.compute())


def test_reading_an_absent_object_is_an_error_through_it_too(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    dataset = opened(copy)
    removed = min((copy / "image/c/1/0").rglob("0"))
    while removed.is_dir():
        removed = removed / "0"
    removed.unlink()
    with pytest.raises(npc.StoreError, match="002/T1WI"):
        dataset["image"][1, 0].load()
    np.testing.assert_array_equal(dataset["image"][0, 0], npc.open(store)["image"][0, 0])


@pytest.mark.slow
def test_groups_and_dropped_variables(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    npc.measure_store(copy, "morphology", workers=0)
    xr.testing.assert_identical(opened(copy, group="morphology"), npc.open(copy, group="morphology"))
    for dropped in ("age", ["age", "sex"]):
        left = set(npc.open(store).variables) - set(np.atleast_1d(dropped))
        assert set(opened(store, drop_variables=dropped).variables) == left


def test_the_accessor_reads_a_scan_by_its_own_checks(store):
    scan, expected = opened(store).npc.scan("002", "T2WI"), npc.open(store).npc.scan("002", "T2WI")
    xr.testing.assert_identical(scan.load(), expected.load())


def test_what_is_wrong_is_said(store, tmp_path):
    with pytest.raises(npc.StoreError, match="no store here"):
        opened(tmp_path / "none.zarr")
    with pytest.raises(npc.ParameterError, match="a folder or a URL, got BytesIO"):
        CohortBackend().open_dataset(io.BytesIO(b"x"))


def test_it_claims_no_zarr_that_somebody_opens_without_an_engine(store):
    assert not CohortBackend().guess_can_open(str(store))
    assert xr.open_dataset(store).encoding["source"] == str(store)
