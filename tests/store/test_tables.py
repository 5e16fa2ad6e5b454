"""Tables: their chunks, written whole, resized, and completed where a resize was interrupted."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
import zarr

import npczarr as npc
from npczarr.errors import StoreError
from npczarr.model.schema import SCAN_TABLES, Variable
from npczarr.store import create as creation
from npczarr.store import describe, sizes
from npczarr.store.create import RESIZING, add_columns, create, is_new, resize
from npczarr.store.describe import add_history, root_attributes
from npczarr.store.hierarchy import CREATING, array, arrays_of, labels, open_group
from npczarr.store.location import get, locate
from npczarr.store.table_chunks import write_rows
from npczarr.store.whole import WholeArrays
from tests.store.small import LAYOUT, by_xarray, objects, part, snapshot

TABLES = [variable.name for variable in SCAN_TABLES]
MANY = [f"{i:05d}" for i in range(5000)]


@pytest.fixture
def empty(tmp_path):
    """The root of a store of two patients and two sequences, all pending."""
    return made(tmp_path / "e.zarr", ["a", "b"], ["s", "t"])


def made(url, patients, sequences, layout=LAYOUT):
    opened = locate(url).open()
    create(opened, patients, sequences, layout, root_attributes(layout.dtype, rated=False, of={}))
    return open_group(opened, str(url))


def every_table(root):
    return [(name, found) for name, found in arrays_of(root) if name not in ("image", "mask")]


def is_whole(url, name, found):
    """Whether every chunk of a table is there."""
    counts = [-(-n // chunk) for n, chunk in zip(found.shape, found.chunks, strict=True)]
    return set(objects(url, name)) == {f"{name}/c/{'/'.join(map(str, at))}" for at in np.ndindex(*counts)}


def test_chunks_are_4096_patients_and_64_along_z(tmp_path):
    root = made(tmp_path / "s.zarr", MANY, ["s", "t"])
    for variable in SCAN_TABLES:
        expected = {"patient": 4096, "z": 64}
        found = root[variable.name]
        assert found.chunks == tuple(expected.get(d, n) for d, n in zip(variable.dims, found.shape, strict=True))
        assert is_whole(tmp_path / "s.zarr", variable.name, found), variable.name
    assert root["patient"].chunks == (4096,)
    assert labels(root, "patient") == MANY


def test_every_table_is_written_whole_also_where_it_holds_only_fill_values(pristine):
    root = open_group(locate(pristine).open(read_only=True), str(pristine), mode="r")
    filled = [name for name, found in every_table(root) if found.dtype.kind == "f" and np.isnan(found[...]).all()]
    assert "field_of_view" in filled  # or nothing is tested
    assert all(is_whole(pristine, name, found) for name, found in every_table(root))


@pytest.mark.slow
def test_an_absent_chunk_of_any_table_is_an_error_that_names_it(copy):
    names = [name for name, _ in every_table(open_group(locate(copy).open(), ""))]
    assert {*TABLES, "patient", "sequence", "axis", "age"} <= set(names)
    for name in names:
        victim = objects(copy, name)[-1]
        (copy / victim).rename(copy / "victim")
        with pytest.raises(StoreError, match=victim):
            npc.open(copy).load()
        (copy / "victim").rename(copy / victim)
    npc.open(copy).load()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["status", "spacing", "z_mm", "mask_digest", "age", "field_of_view"])
def test_whatever_reads_an_absent_table_names_it(copy, tmp_path, name):
    victim = objects(copy, name)[-1]
    (copy / victim).unlink()
    acts = [
        npc.info,
        lambda url: npc.measure_store(url, "morphology"),
        lambda url: npc.resample_store(url, tmp_path / "r.zarr", spacing=(2, 2, 2), workers=0),
        lambda url: npc.write_report(url, tmp_path / "report.html"),
    ]
    if name in ("status", "spacing", "mask_digest"):  # an export reads only what describes the voxels
        acts.append(lambda url: npc.export_scans(url, tmp_path / "nii", format="nifti"))
    for act in acts:
        with pytest.raises(StoreError, match=victim):
            act(copy)
    assert name in {finding.problem.partition(":")[0] for finding in npc.validate(copy, workers=0)}


def test_labels_that_are_gone_are_not_taken_for_a_store_without_patients(source, copy, tmp_path):
    """A source of one patient must not shrink the store to that patient."""
    (copy / "patient/c/0").unlink()
    before = snapshot(copy)
    with pytest.raises(StoreError, match="patient/c/0"):
        npc.convert(part(source, tmp_path / "part", "003"), copy, workers=0)
    assert snapshot(copy) == before


def test_only_absent_chunks_of_whole_arrays_are_errors(pristine, tmp_path):
    store = WholeArrays(locate(pristine).open(read_only=True), whole=True)
    assert get(store, "nothing/zarr.json") is None
    assert get(store, "c/zarr.json") is None  # a column may be named c
    for key in ("age/c/9", "c/c/0", "score/x/dice/c/0/9", "image/c/0/0/9/9/9"):
        with pytest.raises(StoreError, match=key):
            get(store, key)
        assert get(WholeArrays(locate(pristine).open()), key) is None


@pytest.mark.slow
def test_what_xarray_leaves_out_of_a_copy_is_no_damage(pristine, truth, tmp_path):
    by_xarray(xr.open_zarr(pristine).load(), tmp_path / "x.zarr")
    assert not objects(tmp_path / "x.zarr", "field_of_view")
    xr.testing.assert_equal(npc.open(tmp_path / "x.zarr").load(), truth)
    assert npc.validate(tmp_path / "x.zarr", workers=0) == ()


@pytest.mark.slow
@pytest.mark.parametrize("patients", [["a", "b", "c"], ["a", "b", *MANY]], ids=["few", "more than a chunk"])
def test_resizing_keeps_values_and_leaves_tables_whole(empty, tmp_path, patients):
    array(empty, "echo_time")[...] = [[1, 2], [3, 4]]
    array(empty, "status")[...] = "ok"
    extent = (70, 9, 9)
    assert resize(empty, patients=patients, sequences=["s", "t", "u"], extent_zyx=extent)
    root = open_group(locate(tmp_path / "e.zarr").open(), "e")
    assert labels(root, "patient") == patients
    assert labels(root, "sequence") == ["s", "t", "u"]
    assert root["echo_time"].shape == (len(patients), 3)
    np.testing.assert_array_equal(root["echo_time"][:2, :2], [[1, 2], [3, 4]])
    assert np.isnan(root["echo_time"][2:]).all()
    status = root["status"][...]
    assert (status[:2, :2] == "ok").all()
    assert (status[2:] == "pending").all()
    assert (status[:, 2:] == "pending").all()
    assert root["image"].shape == (len(patients), 3, *extent)
    assert root["z_mm"].shape[-1] == 70
    for name, found in every_table(root):
        assert is_whole(tmp_path / "e.zarr", name, found), name
    assert set(npc.open(tmp_path / "e.zarr").status.values.ravel()) == {"ok", "pending"}


def test_resizing_to_what_there_is_writes_nothing(empty, tmp_path):
    before = snapshot(tmp_path / "e.zarr")
    assert not resize(empty, patients=["a", "b"], sequences=["s", "t"], extent_zyx=LAYOUT.extent_zyx)
    assert snapshot(tmp_path / "e.zarr") == before


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 9, 33, 49])
def test_an_interrupted_resize_is_completed(empty, tmp_path, monkeypatch, after):
    """Whatever step it stops at, the same call gives the same store."""
    url, wanted = tmp_path / "e.zarr", {"patients": ["a", "b", "c"], "sequences": ["s", "t"], "extent_zyx": (70, 9, 9)}
    shutil.copytree(url, tmp_path / "whole.zarr")
    resize(open_group(locate(tmp_path / "whole.zarr").open(), ""), **wanted)
    steps = iter(range(after))
    real = sizes.resize_array

    def stop(*args, **options):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        real(*args, **options)

    for module in (creation, sizes):
        monkeypatch.setattr(module, "resize_array", stop)
    stopped = False
    try:
        resize(empty, **wanted)
    except KeyboardInterrupt:
        stopped = True
    monkeypatch.undo()
    assert stopped == (url / RESIZING).exists()
    assert stopped
    again = open_group(locate(url).open(), "")
    assert not again.store.whole or not stopped
    resize(again, **wanted)
    assert not (url / RESIZING).exists()
    assert snapshot(url).keys() == snapshot(tmp_path / "whole.zarr").keys()
    first, second = (npc.open(one).load().drop_attrs() for one in (url, tmp_path / "whole.zarr"))
    xr.testing.assert_identical(first, second)


def test_an_interrupted_creation_leaves_nothing_and_takes_nothing_of_others(tmp_path, monkeypatch):
    """What lies beside the arrays in the folder is somebody else's, also where it is an array."""
    url, opened = tmp_path / "s.zarr", locate(tmp_path / "s.zarr").open()
    zarr.create_array(url / "other", data=np.ones(1))
    columns = {"c": (Variable("c", ("patient",), "float64", "a column"), np.array([1.0]))}
    monkeypatch.setattr(creation, "write_rows", lambda tables: (write_rows(list(tables)[-9:]), int("killed")))
    with pytest.raises(ValueError, match="killed"):
        create(opened, ["a"], ["s"], LAYOUT, root_attributes(LAYOUT.dtype, rated=False, of={}), columns=columns)
    monkeypatch.undo()
    assert is_new(opened)
    assert (url / "c/c/0").is_file()
    made(url, ["a"], ["s"])
    assert not is_new(opened)
    made(tmp_path / "whole.zarr", ["a"], ["s"])
    others = {"other/zarr.json", "other/c/0"}
    assert snapshot(url).keys() - others == snapshot(tmp_path / "whole.zarr").keys()
    assert others <= snapshot(url).keys()


@pytest.mark.parametrize("left", [True, [["a"], {}, "status"], "status"])
def test_a_creation_that_left_an_odd_mark_is_completed(tmp_path, left):
    url = tmp_path / "s.zarr"
    zarr.open_group(url, mode="w", attributes={CREATING: left})
    assert is_new(locate(url).open())
    made(url, ["a"], ["s"])
    assert not is_new(locate(url).open())


def test_a_line_of_history_is_one_write_and_leaves_the_metadata_of_all_arrays(empty, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(describe, "put", lambda store, key, content: written.append((key, content)))
    add_history(empty, "convert", {"codec": "lz4"})
    ((key, content),) = written
    before, after = json.loads((tmp_path / "e.zarr/zarr.json").read_text()), json.loads(content)
    assert key == "zarr.json"
    assert after["attributes"].pop("history").endswith("convert codec=lz4")
    before["attributes"].pop("history", None)
    assert after == before
    assert after["consolidated_metadata"]["metadata"]


def test_columns_are_added_once_kept_and_made_anew_where_their_type_changes(empty, tmp_path):
    url = tmp_path / "e.zarr"
    numbers = {"c": (Variable("c", ("patient",), "float64", "a column"), np.array([1.0, np.nan]))}
    assert add_columns(empty, numbers)
    before = snapshot(url)
    assert not add_columns(empty, numbers)
    assert snapshot(url) == before
    np.testing.assert_array_equal(npc.open(url).c, [1, np.nan])
    texts = {"c": (Variable("c", ("patient",), "string", "a column"), np.array(["1", "x"], dtype=object))}
    assert add_columns(empty, texts)
    assert npc.open(url).c.values.tolist() == ["1", "x"]
    assert xr.open_zarr(url).c.values.tolist() == ["1", "x"]
    assert is_whole(url, "c", zarr.open_array(url, path="c"))


def test_tables_are_written_whole_by_many_threads_and_whatever_else_zarr_is_told(copy):
    """A setting that all threads share would be lost by one while another opens its table."""
    root = open_group(locate(copy).open(), str(copy))
    names = [name for name, _ in every_table(root)]
    for name in names:
        shutil.rmtree(copy / name / "c")
    root.store.whole = False

    def fill(name):
        with zarr.config.set({"array.write_empty_chunks": False}):
            table = array(root, name)
            table[...] = np.full(table.shape, table.fill_value, dtype=table.dtype)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(fill, names))
    for name in names:
        assert is_whole(copy, name, root[name]), name
