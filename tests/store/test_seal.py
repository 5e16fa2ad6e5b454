"""What another program changes, and what is damaged, is named by validate, and repaired from the source."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

import npczarr as npc
from npczarr.model.schema import SCAN_TABLES, STORED
from npczarr.store.holder import LEASE_KEY
from npczarr.store.location import locate
from npczarr.store.seal import SEAL_KEY, compute_seal, digest_row
from tests.store.small import by_xarray, metadata, objects, part, snapshot


@pytest.fixture(scope="module")
def with_result(pristine, tmp_path_factory):
    """A store with a result, in which nothing is wrong."""
    store = shutil.copytree(pristine, tmp_path_factory.mktemp("measured") / "a.zarr")
    npc.measure_store(store, "morphology", workers=0)
    assert problems(store) == []
    return store


@pytest.fixture
def measured(with_result, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(with_result, tmp_path / "a.zarr")


def problems(store, **options):
    return [f"{f.patient} {f.sequence} {f.problem}" for f in npc.validate(store, workers=0, **options)]


def table(store, name):
    return zarr.open_array(store / name, mode="r+", config={"write_empty_chunks": True})


def put(store, name, change):
    found = table(store, name)
    values = found[...]
    change(values)
    found[...] = values


def edit(store, name, change):
    content = metadata(store, name)
    change(content)
    (store / name / "zarr.json").write_text(json.dumps(content))


def swap_labels(store):
    put(store, "patient", lambda v: v.__setitem__(slice(0, 2), v[:2][::-1].copy()))


def double(name):
    return lambda store: put(store, name, lambda v: v.__imul__(2))


def listed(change):
    """Change the consolidated metadata, which readers see, and nothing else."""

    def attack(store):
        edit(store, "", lambda root: change(root["consolidated_metadata"]["metadata"]))

    return attack


def delete_chunks(name):
    def attack(store):
        for key in objects(store, name):
            (store / key).unlink()

    return attack


def restore_old_geometry(store):
    """Spacing and affine of another time, which fit each other."""
    put(store, "spacing", lambda v: v.__imul__(2))
    put(store, "affine", lambda v: v[..., :3, :3].__imul__(2))
    put(store, "z_mm", lambda v: v.__imul__(2))
    put(store, "affine", lambda v: v[..., :3, 3].__imul__(2))


ATTACKS = {
    "swapped labels": (swap_labels, "patient"),
    "swapped sequences": (
        lambda s: put(s, "sequence", lambda v: v.__setitem__(slice(None), v[::-1].copy())), "sequence"),
    "doubled slope": (double("rescale_slope"), "rescale_slope"),
    "doubled echo time": (double("echo_time"), "echo_time"),
    "doubled age": (double("age"), "age"),
    "old geometry": (restore_old_geometry, "affine"),
    "a warning taken away": (lambda s: put(s, "message", lambda v: v.__setitem__(slice(None), "x")), "message"),
    "an attribute": (lambda s: edit(s, "echo_time", lambda c: c["attributes"].update(long_name="x")), "echo_time"),
    "units": (lambda s: edit(s, "echo_time", lambda c: c["attributes"].update(units="s")), "echo_time"),
    "a scale factor": (lambda s: edit(s, "spacing", lambda c: c["attributes"].update(scale_factor=2.0)), "spacing"),
    "a scale factor that readers see": (
        listed(lambda m: m["spacing"]["attributes"].update(scale_factor=2.0)), "spacing"),
    "a fill value that readers see": (listed(lambda m: m["mask"].update(fill_value=1)), "mask"),
    "a table that readers miss": (listed(lambda m: m.pop("echo_time")), "echo_time"),
    "a table that only readers see": (listed(lambda m: m.update(ghost=m["echo_time"])), "ghost"),
    "the title": (lambda s: edit(s, "", lambda c: c["attributes"].update(title="x")), "attributes of the store"),
    "the history": (lambda s: edit(s, "", lambda c: c["attributes"].update(history="x")), "history"),
    "a result": (double("morphology/volume"), "morphology/volume"),
    "attributes of a result": (
        lambda s: edit(s, "morphology", lambda c: c["attributes"].update(measure="x")), "attributes of morphology"),
    "a result without chunks": (delete_chunks("morphology/volume"), "morphology/volume"),
    "a table without chunks": (delete_chunks("echo_time"), "echo_time"),
    "a column without chunks": (delete_chunks("age"), "age"),
    "labels without chunks": (delete_chunks("patient"), "patient"),
    "statuses without chunks": (delete_chunks("status"), "status"),
    "what are coordinates": (
        lambda s: edit(s, "", lambda c: c["attributes"].update(coordinates="status")), "coordinates and fill values"),
    "a mask among the coordinates": (
        lambda s: [edit(s, "echo_time", lambda c: c["attributes"].update(coordinates="mask")),
                   listed(lambda m: m["echo_time"]["attributes"].update(coordinates="mask"))(s)],
        "coordinates and fill values"),
    "a fill value of a result": (
        lambda s: edit(s, "morphology/volume", lambda c: c["attributes"].update(_FillValue=1)),
        "coordinates and fill values"),
    "a missing value of a result's labels": (
        lambda s: edit(s, "morphology/axis", lambda c: c["attributes"].update(missing_value="z")),
        "coordinates and fill values"),
    "no seal": (lambda s: (s / SEAL_KEY).unlink(), "no seal"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_every_change_is_named(measured, name):
    attack, word = ATTACKS[name]
    attack(measured)
    found = problems(measured)
    assert [problem for problem in found if word in problem], found


#: Attacks that are repaired in one run, each in places of its own.
REPAIRED = {
    "values": ("doubled slope", "doubled echo time", "doubled age", "old geometry", "a warning taken away"),
    "attributes": ("an attribute", "a scale factor"),
    "units, and a column without chunks": ("units", "a column without chunks"),
    "what only readers see": (
        "a scale factor that readers see", "a fill value that readers see", "a table that only readers see"),
    **{name: (name,) for name in (
        "swapped labels", "swapped sequences", "labels without chunks", "statuses without chunks",
        "a table without chunks", "a table that readers miss")},
}  # fmt: skip
NOT_REPAIRED = {
    "the title", "the history", "attributes of a result", "no seal", "what are coordinates",
    "a mask among the coordinates",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("names", REPAIRED.values(), ids=REPAIRED)
def test_what_the_source_still_has_is_repaired(source, copy, truth, names):
    for name in names:
        ATTACKS[name][0](copy)
    found = problems(copy, against=source, repair=True)
    assert found == []
    repaired = npc.open(copy).load()
    xr.testing.assert_identical(repaired.drop_attrs(deep=False), truth.drop_attrs(deep=False))


def test_every_attack_is_among_those_that_are_repaired_or_not():
    of_results = {name for name in ATTACKS if "result" in name}
    repaired = {name for names in REPAIRED.values() for name in names}
    assert repaired | NOT_REPAIRED | of_results == set(ATTACKS)
    assert repaired.isdisjoint(NOT_REPAIRED | of_results)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a result", "a result without chunks"])
def test_a_damaged_result_is_measured_again(source, measured, name):
    before = npc.open(measured, group="morphology").load()
    ATTACKS[name][0](measured)
    problems(measured, against=source, repair=True)
    npc.measure_store(measured, "morphology", workers=0)
    if "chunks" in name:
        xr.testing.assert_equal(npc.open(measured, group="morphology").load(), before)
        assert problems(measured) == []


@pytest.mark.slow
def test_rows_are_named_by_patient_and_sequence(copy):
    place = npc.open(copy).status.values.tolist()
    at = next((p, s) for p, row in enumerate(place) for s, status in enumerate(row) if status in STORED)
    put(copy, "rescale_slope", lambda v: v[at].__imul__(2))
    dataset = npc.open(copy)
    label = f"{dataset.patient.values[at[0]]} {dataset.sequence.values[at[1]]}"
    assert [problem for problem in problems(copy) if problem.startswith(label) and "its row" in problem]
    assert len([problem for problem in problems(copy) if "its row" in problem]) == 1


def test_an_absent_chunk_of_a_mask_that_was_empty_is_named(copy):
    array = zarr.open_array(copy / "mask", mode="r")
    empty = [key for key in objects(copy, "mask") if not array[_box(key, array)].any()]
    assert empty
    for key in empty[:3]:
        (copy / key).unlink()
    found = problems(copy)
    assert all(any(key in problem for problem in found) for key in empty[:1])


def test_a_run_that_writes_nothing_leaves_the_seal_where_a_table_cannot_be_read(source, copy, monkeypatch):
    before = (copy / SEAL_KEY).read_bytes()
    read = LocalStore.get

    async def fail(self, key, *args, **options):
        if key.startswith("flip_angle/c/"):
            raise OSError(5, "Input/output error")
        return await read(self, key, *args, **options)

    monkeypatch.setattr(LocalStore, "get", fail)
    result = npc.convert(source, copy, workers=0)
    assert set(result.action.values.ravel()) == {"kept"}
    assert (copy / SEAL_KEY).read_bytes() == before


def _box(key, array):
    at = [int(i) for i in key.removeprefix("mask/c/").split("/")]
    return tuple(slice(i * c, (i + 1) * c) for i, c in zip(at, array.chunks, strict=True))


@pytest.mark.slow
def test_the_seal_is_that_of_copies_however_they_are_encoded_and_of_no_other_store(measured, tmp_path):
    seal = compute_seal(locate(measured).open()).digest
    assert npc.info(measured)["seal"] == seal
    assert npc.info(measured)["sealed"] == "as npczarr wrote it"
    shutil.copytree(measured, tmp_path / "b.zarr")
    assert npc.info(tmp_path / "b.zarr")["seal"] == seal
    put(tmp_path / "b.zarr", "age", lambda v: v.__iadd__(1))
    other = npc.info(tmp_path / "b.zarr")
    assert other["seal"] != seal
    assert "changed" in other["sealed"]
    tree = by_xarray(xr.open_datatree(measured, engine="zarr"), tmp_path / "c.zarr")
    assert npc.info(tree)["seal"] == seal
    assert "not sealed" in npc.info(tree)["sealed"]


@pytest.mark.slow
def test_what_plain_xarray_appends_is_named_and_accepted_on_request(source, pristine, tmp_path):
    store = tmp_path / "a.zarr"
    npc.convert(part(source, tmp_path / "source", "001", "002"), store, workers=0)
    more = xr.open_zarr(pristine).load().isel(patient=[2])
    shared = [name for name in more.variables if "patient" not in more[name].dims]
    there = xr.open_zarr(store)
    fitting = more.drop_vars(shared).isel({dim: slice(there.sizes[dim]) for dim in ("z", "y", "x")})
    by_xarray(fitting.drop_encoding(), store, append_dim="patient")
    found = problems(store)
    assert [problem for problem in found if "changed since npczarr sealed it" in problem and "patient" in problem]
    assert not [problem for problem in problems(store, seal=True) if "changed since" in problem]


@pytest.mark.slow
def test_what_another_program_changed_stays_named_after_the_next_run(source, copy):
    put(copy, "age", lambda v: v.__iadd__(1))
    edit(copy, "", lambda content: content["attributes"].update(title="x"))
    npc.measure_store(copy, "morphology", workers=0)
    assert [problem for problem in problems(copy) if "age" in problem and "attributes of the store" in problem]
    npc.convert(source, copy, workers=0)
    found = problems(copy)
    assert [problem for problem in found if "attributes of the store" in problem]
    assert not [problem for problem in found if ": age" in problem or ", age" in problem]
    assert problems(copy, seal=True) == []


@pytest.mark.slow
def test_reading_and_converting_again_write_no_seal(source, copy):
    before = snapshot(copy)
    npc.convert(source, copy, workers=0)
    npc.info(copy)
    problems(copy)
    assert snapshot(copy) == before
    assert LEASE_KEY not in before


@pytest.mark.slow
def test_a_row_s_digest_covers_every_entry(copy):
    dataset = xr.open_zarr(copy).load()
    at = {"patient": 0, "sequence": 0}
    row = {v.name: dataset[v.name].isel(at).values[()] for v in SCAN_TABLES}
    depth = int(row["shape"][0])
    labels = str(dataset.patient.values[0]), str(dataset.sequence.values[0])
    assert digest_row(*labels, row) == str(dataset.row_digest.values[0, 0])
    unseen = []
    for variable in SCAN_TABLES:
        value = np.array(row[variable.name])
        if variable.name == "row_digest":
            continue
        if variable.dtype == "string":
            value = np.array(f"{value}x")
        else:
            value = np.nan_to_num(value) + 1 if variable.name != "shape" else value + np.array([1, 0, 0])
        unseen += (
            [variable.name] if digest_row(*labels, {**row, variable.name: value}) == digest_row(*labels, row) else []
        )
    assert unseen == []
    beyond = np.array(row["z_mm"])
    beyond[depth:] = 3
    assert digest_row(*labels, {**row, "z_mm": beyond}) == digest_row(*labels, row)
