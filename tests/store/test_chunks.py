"""Chunks of scans: written whole, also if empty; none for padding; cleared with the scan that they held."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import npczarr as npc
from npczarr.model.layout import Layout, chunk_counts
from npczarr.model.records import PADDING
from npczarr.store.chunks import ScanPlace, chunk_keys, clear_voxels, digest, write_voxels
from npczarr.store.create import create, resize
from npczarr.store.describe import root_attributes
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from tests.store.small import LAYOUT, make_small, objects, part, places, snapshot

FILL = PADDING["int16"]
VOXELS = ("image", "mask")


@pytest.fixture
def blank(tmp_path):
    """A store of two patients and one sequence without a voxel."""
    return made(tmp_path / "b.zarr", LAYOUT)


def made(url, layout, patients=("a", "b")):
    location = locate(url)
    create(location.open(), patients, ["s"], layout, root_attributes(layout.dtype, rated=False, of={}))
    return location


def read(location, name):
    return zarr.open_array(location.url, path=name, mode="r")[...]


@pytest.mark.parametrize("name", VOXELS)
def test_every_chunk_of_a_scan_is_there_and_no_other(pristine, truth, name):
    """Also those of a mask that hold no tumor; chunks of padding alone are absent."""
    expected = set()
    for place, *_ in places(truth):
        shape = tuple(int(n) for n in truth["shape"].values[place])
        expected |= set(chunk_keys(name, place, LAYOUT, shape))
        assert len(list(chunk_keys(name, place, LAYOUT, shape))) == math.prod(
            chunk_counts(shape, LAYOUT.chunk_zyx(name))
        )
    assert set(objects(pristine, name)) == expected
    whole = math.prod(chunk_counts(LAYOUT.extent_zyx, LAYOUT.chunk_zyx(name)))
    assert name == "mask" or len(expected) < 9 * whole  # else no padding chunk could have been written


def test_plain_xarray_and_ours_read_the_same_voxels(pristine, truth):
    plain = xr.open_zarr(pristine).load()
    xr.testing.assert_equal(plain, truth)


@pytest.mark.parametrize("value", [0, FILL, 7])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 4), (3, 6, 9), (6, 8, 9)])
def test_a_box_is_written_whole_whatever_it_holds(blank, shape, value):
    voxels = np.full(shape, value, np.int16)
    write_voxels(blank, "image", (1, 0), voxels, LAYOUT, FILL)
    assert objects(pathed(blank), "image") == sorted(chunk_keys("image", (1, 0), LAYOUT, shape))
    found = read(blank, "image")
    np.testing.assert_array_equal(found[(1, 0, *(slice(n) for n in shape))], voxels)
    found[(1, 0, *(slice(n) for n in shape))] = FILL
    assert (found == FILL).all()


def pathed(location):
    return Path(location.url)


@pytest.mark.parametrize("smaller", [(1, 1, 1), (2, 5, 4), (3, 8, 9), (6, 8, 9)])
def test_a_smaller_scan_in_place_of_a_larger_one_leaves_none_of_it(blank, smaller):
    old, new = np.full((6, 8, 9), 5, np.int16), np.full(smaller, 3, np.int16)
    for index in ((0, 0), (1, 0)):
        ScanPlace(blank, index, LAYOUT, clear=False).write("image", old, FILL)
    ScanPlace(blank, (0, 0), LAYOUT, clear=True).write("image", new, FILL)
    expected = [*chunk_keys("image", (0, 0), LAYOUT, smaller), *chunk_keys("image", (1, 0), LAYOUT, old.shape)]
    assert objects(pathed(blank), "image") == sorted(expected)
    found = read(blank, "image")
    assert (found[0] == 3).sum() == math.prod(smaller)
    assert not (found[0] == 5).any()
    assert (found[1] == 5).all()


def test_clearing_takes_one_scan_and_no_neighbor(tmp_path):
    """Neither patient 10 with patient 1, nor the tables, nor the mask."""
    location = made(tmp_path / "b.zarr", LAYOUT, [str(i) for i in range(12)])
    voxels = np.ones((2, 2, 2), np.int16)
    for patient in (1, 10, 11):
        write_voxels(location, "image", (patient, 0), voxels, LAYOUT, FILL)
        write_voxels(location, "mask", (patient, 0), voxels.astype("uint8"), LAYOUT, 0)
    before = snapshot(tmp_path / "b.zarr")
    clear_voxels(location, "image", (1, 0), LAYOUT)
    gone = before.keys() - snapshot(tmp_path / "b.zarr").keys()
    assert gone == {"image/c/1/0/0/0/0"}
    clear_voxels(location, "image", (1, 0), LAYOUT)  # again: nothing is there


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_padding_inside_a_chunk_is_the_fill_value_of_the_type(tmp_path, dtype):
    layout = Layout((4, 4, 4), (4, 4, 4), (4, 4, 4), dtype)
    location = made(tmp_path / "b.zarr", layout)
    write_voxels(location, "image", (0, 0), np.ones((2, 3, 4), dtype), layout, PADDING[dtype])
    found = read(location, "image")
    padding = np.isnan(found) if dtype == "float32" else found == PADDING[dtype]
    assert (~padding).sum() == 24


def test_edges_between_whole_chunks_hold_nothing_of_their_neighbors(tmp_path):
    layout = Layout((7, 20, 30), (2, 8, 8), (2, 8, 8), "int16")
    location = made(tmp_path / "e.zarr", layout)
    voxels = np.arange(1, 1 + 7 * 20 * 19, dtype=np.int16).reshape(7, 20, 19)
    write_voxels(location, "image", (0, 0), voxels, layout, FILL)
    expected = np.full((7, 20, 30), FILL)
    expected[:, :, :19] = voxels
    np.testing.assert_array_equal(read(location, "image")[0, 0], expected)


def test_a_store_that_has_grown_since_it_was_opened_is_written_to(blank):
    write_voxels(blank, "image", (0, 0), np.ones((2, 2, 2), np.int16), LAYOUT, FILL)
    root = open_group(blank.open(), blank.url)
    resize(root, patients=["a", "b", "c"], sequences=["s", "t"], extent_zyx=LAYOUT.extent_zyx)
    write_voxels(blank, "image", (2, 1), np.full((2, 2, 2), 4, np.int16), LAYOUT, FILL)
    assert (read(blank, "image")[2, 1] == 4).sum() == 8


def test_a_store_made_anew_at_the_same_place_is_written_as_it_is_now(tmp_path):
    """What one process remembers of a store must not outlive it."""
    voxels = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    for codec, patients in (("lz4", ["a"]), ("zstd", ["a", "b"]), ("lz4", ["c"])):
        layout = Layout((6, 8, 9), (2, 5, 4), (3, 5, 4), codec=codec)
        location = made(tmp_path / "b.zarr", layout, patients)
        write_voxels(location, "image", (len(patients) - 1, 0), voxels, layout, FILL)
        np.testing.assert_array_equal(read(location, "image")[-1, 0, :2, :2, :2], voxels)
        shutil.rmtree(tmp_path / "b.zarr")


def test_a_digest_is_of_values_and_type_in_c_order():
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    assert digest(voxels) == digest(voxels.astype(">i2")) == digest(np.asfortranarray(voxels))
    others = [voxels.astype("int32"), voxels[::-1], voxels + np.int16(1), voxels[1:]]
    assert len({digest(voxels), *map(digest, others)}) == 5


@pytest.mark.slow
def test_a_scan_that_vanishes_shrinks_or_grows_leaves_what_a_new_store_would_hold(source, tmp_path):
    """Conversions one after another into small chunks give the objects of one conversion."""
    changing = part(source, tmp_path / "changing", "001", "002", "003")
    make_small(changing, tmp_path / "a.zarr", layout=Layout((4, 8, 9), (2, 5, 4), (3, 5, 4)))
    folder = changing / "data/MRI-Segments/003"
    sorted((folder / "T2WI").glob("*.dcm"))[-1].unlink()
    shutil.rmtree(folder / "T1WI")
    npc.convert(changing, tmp_path / "a.zarr", workers=0, rewrite=["003"])
    make_small(changing, tmp_path / "new.zarr", layout=Layout((4, 8, 9), (2, 5, 4), (3, 5, 4)))
    for name in VOXELS:
        assert objects(tmp_path / "a.zarr", name) == objects(tmp_path / "new.zarr", name)
    assert npc.validate(tmp_path / "a.zarr", workers=0) == ()
