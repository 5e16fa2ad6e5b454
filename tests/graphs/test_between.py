"""A writer that ends between the looks of another command at one store: states are not mixed."""

import shutil

import numpy as np
import pytest
import xarray as xr

import npczarr as npc
from npczarr.errors import StoreError
from npczarr.export import nnunet
from npczarr.export.cohort import export_scans
from npczarr.graphs import measure_batches, resample_store
from npczarr.report import inputs
from npczarr.store import results
from npczarr.store.hierarchy import open_group
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from npczarr.store.rows import Rows
from tests.builders import oblique_grid, write_series


@pytest.fixture
def copy(store, tmp_path):
    return shutil.copytree(store, tmp_path / "a.zarr")


@pytest.fixture
def other(cohort, tmp_path):
    """The source with one patient more, and another image of one."""
    source = shutil.copytree(cohort / "primary_data", tmp_path / "source")
    patients = source / "data" / "MRI-Segments"
    shutil.copytree(patients / "002", patients / "900")
    grid = oblique_grid((6, 16, 20))
    shutil.rmtree(patients / "002" / "T1WI")
    write_series(patients / "002" / "T1WI", np.ones(grid.shape_zyx, np.int16), grid, series="1.2.3")
    return source


def before(function, act):
    """Let something happen just before a call."""
    happened = []

    def hooked(*args, **kwargs):
        if not happened:
            happened.append(True)
            act()
        return function(*args, **kwargs)

    return hooked


@pytest.mark.slow
def test_a_measure_is_of_the_store_as_its_lease_found_it(copy, other, monkeypatch):
    def convert():
        npc.convert(other, copy, workers=0, replace=True)

    monkeypatch.setattr(measure_batches, "hold_lease", before(measure_batches.hold_lease, convert))
    found, _ = npc.measure_store(copy, "morphology", method="lewiner")
    ds = npc.open(copy)
    assert found.patient.values.tolist() == ds.patient.values.tolist()
    assert "900" in ds.patient.values
    stored = npc.open(copy, group="morphology")
    xr.testing.assert_equal(stored.volume.load(), npc.morphology(ds, method="lewiner").volume.compute())
    assert xr.open_datatree(copy, engine="zarr").groups == ("/", "/morphology")


def touch(path):
    """Be a writer who comes and goes."""
    with hold_lease(locate(path).open(), str(path)):
        Rows(open_group(locate(path).open(), str(path))).amend({("001", "T1WI"): {"message": "changed"}})


@pytest.mark.parametrize(
    ("module", "function", "act"),
    [
        (nnunet, "StoredCohort", lambda path: export_scans(path, path.parent / "Dataset501_A", format="nnunet")),
        (inputs, "StoredCohort", lambda path: inputs.read_inputs(path, workers=0)),
        (
            resample_store,
            "StoredCohort",
            lambda path: npc.resample_store(path, path.parent / "b.zarr", spacing=(4, 2, 2), workers=0),
        ),
    ],
)
def test_what_is_opened_twice_is_of_one_state(copy, monkeypatch, module, function, act):
    monkeypatch.setattr(module, function, before(getattr(module, function), lambda: touch(copy)))
    with pytest.raises(StoreError, match="changed while it was read, and two states of it would have been mixed"):
        act(copy)
    assert not (copy.parent / "b.zarr").exists()


@pytest.mark.slow
def test_a_result_that_the_consolidated_metadata_do_not_name_is_measured_again(copy, monkeypatch):
    def killed(root):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results, "consolidate", killed)
        with pytest.raises(KeyboardInterrupt):
            npc.measure_store(copy, "morphology")
    with pytest.raises(KeyError):
        xr.open_zarr(copy, group="morphology")
    assert any("run `npczarr morphology STORE` again" in one.problem for one in npc.validate(copy, workers=0))
    npc.measure_store(copy, "morphology")
    found = xr.open_zarr(copy, group="morphology")
    xr.testing.assert_equal(found.volume.load(), npc.morphology(npc.open(copy)).volume.compute())
    assert npc.validate(copy, workers=0) == ()
