"""One stored scan: a window is a crop of the whole, and what is absent or damaged is an error that names it."""

import json
import pickle
import random
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
import zarr

import npczarr as npc
from npczarr.errors import StoreError
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import locate
from npczarr.store.scans import as_stored
from tests.store.small import metadata, objects, outcome

pytestmark = pytest.mark.slow  # copies stores, many times

VOXELS = ("image", "mask")


@pytest.fixture(scope="module")
def cohort_(pristine):
    return StoredCohort(locate(pristine))


def windows(shape, dice, count):
    for _ in range(count):
        spans = []
        for n in shape:
            a, b = sorted(dice.sample(range(n + 1), 2))
            spans.append(slice(a, b))
        yield tuple(spans)


def read(scan, name, *arguments, **options):
    return getattr(scan, name)(*arguments, **options)


@pytest.mark.parametrize("name", VOXELS)
def test_a_window_is_a_crop_of_the_whole_and_the_whole_is_what_xarray_reads(cohort_, pristine, name):
    dice, plain = random.Random(0), xr.open_zarr(pristine, mask_and_scale=False)
    for scan in cohort_:
        whole = read(scan, name)
        assert whole.shape == scan.shape_zyx
        np.testing.assert_array_equal(whole, plain[name][(*scan.place, *scan.window)])
        np.testing.assert_array_equal(whole, read(scan, name, verify=False))
        for window in windows(scan.shape_zyx, dice, 12):
            found = read(scan, name, window)
            assert found.dtype == whole.dtype
            np.testing.assert_array_equal(found, whole[window])


def test_selections_of_any_kind_are_those_of_the_loaded_dataset(pristine, truth):
    dice = random.Random(1)
    for dask in (True, False):
        dataset = npc.open(pristine, dask=dask)
        for _ in range(10):
            choice = {
                "patient": dice.choice([0, slice(1, None), [2, 0], -1]),
                "sequence": dice.choice([2, slice(None, None, -1), [1, 1]]),
                "z": dice.choice([0, 5, slice(1, 4), [4, 0, 2], slice(None, None, 2)]),
                "y": dice.choice([slice(2, 7), [1, 7], 3]),
                "x": dice.choice([slice(None), slice(8, 2, -3), 8]),
            }
            for name in VOXELS:
                xr.testing.assert_equal(dataset[name].isel(choice).load(), truth[name].isel(choice))


def test_records_say_what_the_tables_say(cohort_, truth):
    for scan in cohort_:
        row = truth.isel(patient=scan.place[0], sequence=scan.place[1])
        assert scan.label == f"{row.patient.item()}/{row.sequence.item()}"
        assert (scan.status, scan.mask_status, scan.message) == (
            row.status.item(), row.mask_status.item(), row.message.item(),
        )  # fmt: skip
        np.testing.assert_allclose(scan.spacing_zyx_mm, row.spacing)
        np.testing.assert_array_equal(scan.grid.affine, row.affine)
        depth = scan.shape_zyx[0]
        assert len(scan.slope) == len(scan.intercept) == depth
        assert scan.mask_voxels == np.count_nonzero(scan.mask())
    assert cohort_.scan("002", "T2WI").place == cohort_.at((1, 1)).place
    with pytest.raises(KeyError, match="009"):
        cohort_.scan("009", "T2WI")


def test_scans_travel_between_processes(cohort_):
    for scan in list(cohort_)[:2]:
        sent = pickle.loads(pickle.dumps(scan))
        np.testing.assert_array_equal(sent.image(), scan.image())


@pytest.mark.parametrize("name", VOXELS)
def test_every_deleted_object_of_every_scan_is_an_error_unless_a_window_leaves_it_out(copy, cohort_, name):
    """Never a wrong number; the error names the scan and the object, also of a chunk that holds no tumor."""
    scans = {scan.place: scan for scan in cohort_}
    held = {place: read(scan, name) for place, scan in scans.items()}
    damaged, dice = StoredCohort(locate(copy)), random.Random(2)
    harmless = 0
    for key in objects(copy, name):
        place = tuple(int(n) for n in key.split("/")[2:4])
        scan = damaged.at(place)
        (copy / key).rename(copy / "away")
        for window in (None, *windows(scan.shape_zyx, dice, 2)):
            found, error = outcome(lambda scan=scan, window=window: read(scan, name, window))
            if error is None:
                np.testing.assert_array_equal(found, held[place] if window is None else held[place][window])
                harmless += window is None
            else:
                words = (scan.label, key, f"--rewrite {scan.label}")
                assert [word for word in words if word not in str(error)] == []
        (copy / "away").rename(copy / key)
    assert harmless == 0


@pytest.mark.parametrize("name", VOXELS)
def test_whatever_reads_a_scan_names_its_absent_object(copy, tmp_path, name):
    key = f"{name}/c/1/2/0/0/0"
    (copy / key).unlink()
    ours, plain = npc.open(copy), xr.open_zarr(copy)
    for dataset in (ours, plain):
        with pytest.raises(StoreError, match=rf"002/CE-T1WI.*{key}"):
            dataset.npc.scan("002", "CE-T1WI").load()
        dataset.npc.scan("002", "T1WI").load()
    with pytest.raises(StoreError, match=f"002/CE-T1WI.*{key}"):
        ours[name].load()
    with pytest.raises(StoreError, match=f"002/CE-T1WI: {name} does not match"):
        plain.isel(patient=[1]).npc.scan("002", "CE-T1WI").load()
    (finding,) = [f for f in npc.validate(copy, workers=0) if "absent" in f.problem]
    assert (finding.patient, finding.sequence) == ("002", "CE-T1WI")
    assert key in finding.problem
    result = npc.resample_store(copy, tmp_path / "r.zarr", spacing=(2, 2, 2), workers=0)
    assert key in str(result.message.sel(patient="002", sequence="CE-T1WI").values)
    assert (result.status == "refused").sum() == 1
    if name == "mask":
        measured, (failure,) = npc.measure_store(copy, "morphology")
        assert (failure.patient, failure.sequence) == ("002", "CE-T1WI")
        assert key in failure.problem
        assert np.isnan(measured.volume).sum() == 1


@pytest.mark.parametrize("name", VOXELS)
def test_a_flipped_byte_is_an_error_that_names_the_array_and_the_place(copy, name):
    dice = random.Random(3)
    for key in dice.sample(objects(copy, name), 6):
        whole = (copy / key).read_bytes()
        content = bytearray(whole)
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        (copy / key).write_bytes(content)
        scan = StoredCohort(locate(copy)).at(tuple(int(n) for n in key.split("/")[2:4]))
        with pytest.raises(StoreError, match=re.escape("/".join(key.split("/")[2:4]))):
            read(scan, name)
        (copy / key).write_bytes(whole)


@pytest.mark.parametrize("name", VOXELS)
def test_objects_in_each_others_places_are_found_though_their_checksums_are_right(copy, name):
    scan = StoredCohort(locate(copy)).scan("001", "T1WI")
    found = [key for key in objects(copy, name) if key.startswith(f"{name}/c/0/0/")]
    contents = {key: (copy / key).read_bytes() for key in found}
    different = [(a, b) for a in found for b in found if contents[a] != contents[b]]
    for a, b in random.Random(4).sample(different, 3):
        (copy / a).write_bytes(contents[b])
        (copy / b).write_bytes(contents[a])
        with pytest.raises(StoreError, match=rf"001/T1WI.*{name}/c/0/0.*do not match their digest.*--rewrite 001/T1WI"):
            read(scan, name)
        read(scan, name, verify=False)
        for key in (a, b):
            (copy / key).write_bytes(contents[key])
    read(scan, name)


def test_voxels_of_another_scan_are_found(copy):
    shutil.rmtree(copy / "image/c/0/0")
    shutil.copytree(copy / "image/c/0/1", copy / "image/c/0/0")
    with pytest.raises(StoreError, match=r"001/T1WI.*do not match their digest"):
        npc.open(copy).npc.scan("001", "T1WI").load()
    assert [(f.patient, f.sequence) for f in npc.validate(copy, workers=0)] == [("001", "T1WI")]


@pytest.mark.parametrize("table", ["status", "image_digest", "affine", "z_mm", "mask_status"])
def test_a_store_without_a_table_is_refused(copy, table):
    shutil.rmtree(copy / table)
    content = metadata(copy, "")
    del content["consolidated_metadata"]["metadata"][table]
    (copy / "zarr.json").write_text(json.dumps(content))
    if table == "z_mm":  # reading voxels does without
        StoredCohort(locate(copy)).at((0, 0)).image()
    else:
        with pytest.raises(StoreError, match=f"no {table}"):
            StoredCohort(locate(copy)).at((0, 0))
    assert [f.problem for f in npc.validate(copy, workers=0)] == [f"no array {table!r}"]


@pytest.mark.parametrize(
    ("shape", "words"), [((9, 8, 9), "does not fit the arrays"), ((0, 8, 9), "stored, but its shape is")]
)
def test_a_shape_that_makes_no_sense_is_refused_by_name(copy, shape, words):
    table = zarr.open_array(copy, path="shape", mode="r+")
    values = table[...]
    values[1, 0] = shape
    table[...] = values
    cohort = StoredCohort(locate(copy))
    with pytest.raises(StoreError, match=rf"002/T1WI.*{words}"):
        cohort.at((1, 0))
    assert cohort.at((1, 0), check=False).grid is None
    cohort.at((0, 0)).image()
    assert {(f.patient, f.sequence) for f in npc.validate(copy, workers=0) if f.patient} == {("002", "T1WI")}


def test_integers_that_another_program_stored_as_floats_are_known_by_their_digest(cohort_):
    scan = next(iter(cohort_))
    values = scan.image()
    floats = values.astype("float32")
    np.testing.assert_array_equal(scan._verified(scan.image_array, floats, scan.image_digest), values)
    assert [one.dtype.name for one in as_stored(floats)] == ["float32", "int16", "int32"]
    assert [one.dtype.name for one in as_stored(floats + 0.5)] == ["float32"]
    with pytest.raises(StoreError, match="do not match"):
        replace(scan, image_digest="0" * 32).image()
