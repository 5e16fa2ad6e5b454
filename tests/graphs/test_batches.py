"""What Dask is given: few tasks, with names that a person can read, and the same values."""

from collections import Counter

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.utils import key_split

import npczarr as npc
from npczarr.graphs.batches import in_batches


def tasks_of(lazy):
    """Count the tasks that run, by name; without a token of the whole, for which old Dask wants pyarrow."""
    graph = lazy.__dask_optimize__(lazy.__dask_graph__(), lazy.__dask_keys__())
    return Counter(key_split(key) for key in dict(graph))


def sums(table, *blocks):
    found = np.stack([block.sum(axis=(-3, -2, -1), dtype=float) for block in blocks], axis=-1)
    return found + table[..., :1]


@pytest.fixture(scope="module")
def many(store):
    """A cohort of many scans: one store many times over."""
    ds = npc.open(store)
    parts = [ds.assign_coords(patient=[f"{i}-{p}" for p in ds.patient.values]) for i in range(40)]
    return xr.concat(parts, "patient", data_vars="minimal", coords="minimal", compat="override", join="override")


def own(voxels):
    return da.from_array(voxels, chunks=(1, 1, -1, -1, -1), inline_array=True)


def joined(voxels):
    return own(voxels).rechunk((7, 2, -1, -1, -1))


def shared(voxels):
    """Several scans come from one task, which all batches need."""
    return own(voxels).rechunk((40, 3, -1, -1, -1)).rechunk((1, 1, -1, -1, -1)) + 0


def selected(voxels):
    return own(np.repeat(voxels, 2, axis=0))[::2]


def persisted(voxels):
    return own(voxels).persist(scheduler="sync")


@pytest.mark.parametrize("made", [own, joined, shared, selected, persisted])
@pytest.mark.parametrize("lazy_table", [False, True])
def test_any_blocks_give_what_they_give_together(made, lazy_table):
    rng = np.random.default_rng(3)
    voxels, table = rng.integers(0, 9, (80, 3, 2, 4, 3)), rng.random((80, 3, 2))
    blocks = made(voxels)
    assert blocks.shape == voxels.shape
    known = da.from_array(table, chunks=(50, 3, 2)) if lazy_table else table
    lazy, _ = in_batches(sums, [blocks, blocks + 1], known, (2,), name="sums")
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), sums(table, voxels, voxels + 1))
    np.testing.assert_array_equal(lazy[3:5].compute(scheduler="threads"), sums(table, voxels, voxels + 1)[3:5])
    assert len([key for key in lazy.dask if str(key[0]).startswith("sums")]) <= 60


def test_blocks_in_other_chunks_are_joined_or_cut():
    voxels, table = np.random.default_rng(4).integers(0, 9, (5, 3, 2, 4, 3)), np.zeros((5, 3, 1))
    for one, other in ((1, 2), (3, 1)):
        blocks = [da.from_array(voxels, chunks=(n, 1, -1, -1, -1)) for n in (one, other)]
        lazy, _ = in_batches(sums, blocks, table, (2,), name="sums")
        np.testing.assert_array_equal(lazy.compute(scheduler="sync"), sums(table, voxels, voxels))


def test_large_blocks_are_a_task_each():
    voxels = da.zeros((4, 1, 40, 512, 512), chunks=(1, 1, -1, -1, -1), dtype=np.int32)
    assert tasks_of(in_batches(sums, [voxels], np.zeros((4, 1, 1)), (1,), name="sums")[0])["sums"] == 4


def test_measuring_takes_at_most_two_tasks_a_scan_and_their_names_can_be_read(many, raters):
    found = tasks_of(npc.morphology(many))
    assert 0 < found["morphology"] <= 64
    assert sum(found.values()) < many.status.size
    assert set(found) <= {"morphology", "join-morphology", "transpose", "getitem", "getitem-getitem", "xarray-mask"}
    two = npc.open(raters)
    found = tasks_of(npc.agreement(two))
    assert found["agreement"] <= two.status.size


def test_resampling_takes_three_tasks_a_scan_and_measuring_it_fewer(many):
    resampled = npc.resample(many, spacing=(3, 2, 2))
    found = tasks_of(resampled)
    assert {found[name] for name in ("resample-image", "resample-mask", "describe-resampled")} == {many.status.size}
    others = sum(n for name, n in found.items() if not name.startswith(("concatenate", "xarray")))  # of the cohort
    assert others <= 3 * many.status.size + 20
    assert sum(tasks_of(npc.morphology(resampled)).values()) <= many.status.size


@pytest.mark.slow
def test_image_and_mask_in_other_chunks_are_resampled_alike(store):
    ds = npc.open(store).isel(patient=slice(2), sequence=slice(2))
    expected = npc.resample(ds, window=20)
    found = npc.resample(ds.assign(mask=ds.mask.chunk(patient=2, sequence=2)), window=20)
    xr.testing.assert_identical(*(one.compute(scheduler="sync") for one in (found, expected)))


def test_several_labels_are_measured_in_one_reading(many):
    labeled = many.assign(mask=many.mask.assign_attrs(flag_values=[1, 2], flag_meanings="one two"))
    found = tasks_of(npc.morphology(labeled))
    assert found["morphology"] == tasks_of(npc.morphology(many))["morphology"]
    assert npc.morphology(labeled).volume.dims == ("label", "patient", "sequence")
