"""Patients chosen by words as a store is opened."""

import pickle
import re
import shutil

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError, StoreError
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from npczarr.store.rows import Rows


@pytest.mark.slow
def test_open_chooses_as_xarray_would(store):
    ds = npc.open(store)
    age = float(ds.age.median())
    for where, rows in {
        f"age >= {age}": ds.age >= age,
        "patient in ('001', '003')": ds.patient.isin(["001", "003"]),
        "status == 'ok' and echo_time > 0": ((ds.status == "ok") & (ds.echo_time > 0)).all("sequence"),
        "echo_time < 0 or patient == '002'": ds.patient == "002",
        "patient == 'nobody'": ds.patient == "nobody",
    }.items():
        for dask in (True, False):
            found = npc.open(store, where=where, dask=dask)
            xr.testing.assert_identical(found.compute(), ds.isel(patient=np.flatnonzero(rows)).compute())
    one = npc.open(store, where="patient == '002'")
    xr.testing.assert_identical(one.npc.scan("002", "T2WI").load(), ds.npc.scan("002", "T2WI").load())
    xr.testing.assert_identical(npc.morphology(one).compute(), npc.morphology(ds).sel(patient=["002"]).compute())


@pytest.mark.slow
def test_a_selection_travels_to_other_processes_and_notices_changes(store, tmp_path):
    one = npc.open(store, where="patient in ('002', '003')")
    expected = npc.morphology(npc.open(store)).sel(patient=["002", "003"]).compute()
    xr.testing.assert_identical(npc.morphology(one).compute(scheduler="processes", num_workers=2), expected)
    again = pickle.loads(pickle.dumps(one))
    xr.testing.assert_identical(again.compute(), one.compute())
    changed = shutil.copytree(store, tmp_path / "a.zarr")
    one = npc.open(changed, where="patient == '003'")
    lazily = one.image.data
    with npc.store.lease.hold_lease(locate(changed).open(), "a.zarr"):
        root = open_group(locate(changed).open(), "a.zarr")
        rows = Rows(root)
        rows.amend({("003", str(one.sequence.values[0])): {"message": "changed"}})
    with pytest.raises(StoreError, match="changed while"):
        lazily.compute()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*whole tables were read")  # the catalog is older than the tables
def test_a_sequence_of_which_nobody_has_a_scan_does_not_count(store, tmp_path):
    part = shutil.copytree(store, tmp_path / "a.zarr")
    ds = npc.open(part)
    lacking = str(ds.sequence.values[1])
    where = "echo_time > 0"
    everybody = list(npc.open(part, where=where).patient.values)
    assert everybody
    with npc.store.lease.hold_lease(locate(part).open(), "a.zarr"):
        rows = Rows(open_group(locate(part).open(), "a.zarr"))
        for last, patients in ((False, ds.patient.values[1:]), (True, ds.patient.values[:1])):
            rows.amend({(str(p), lacking): {"status": "missing", "echo_time": np.nan} for p in patients})
            expected = everybody if last else [p for p in everybody if p == ds.patient.values[0]]
            assert list(npc.open(part, where=where).patient.values) == expected


def test_a_selection_of_many_is_the_same(store, monkeypatch):
    few = npc.open(store, where="patient != '001'").compute()
    monkeypatch.setattr(npc.store.open, "_MANY", 0)
    xr.testing.assert_identical(npc.open(store, where="patient != '001'").compute(), few)


@pytest.mark.slow
def test_tables_of_a_large_store_are_read_when_they_are_wanted(store, monkeypatch):
    expected = npc.open(store)
    for module in ("open", "selection"):
        monkeypatch.setattr(getattr(npc.store, module), "TABLE_PATIENTS", 1)
    late = npc.open(store)
    assert not isinstance(late.echo_time.variable._data, np.ndarray)
    xr.testing.assert_identical(late.compute(), expected.compute())
    xr.testing.assert_identical(late.npc.scan("002", "T2WI").load(), expected.npc.scan("002", "T2WI").load())
    chosen = npc.open(store, where="patient == '002'")
    xr.testing.assert_identical(chosen.compute(), expected.sel(patient=["002"]).compute())


@pytest.mark.slow
def test_info_of_a_selection_and_wrong_ones(store):
    assert npc.info(store, where="patient != '001'")["patients"] == 2
    ran = CliRunner().invoke(app, ["info", str(store), "--where", "patient == '001'", "--json"])
    assert '"patients": 1' in ran.output
    with pytest.raises(ParameterError, match=r"no column 'stage'"):
        npc.open(store, where="stage == 'T1'")
    with pytest.raises(ParameterError, match="compares text with a number"):
        npc.open(store, where="patient == 1")


@pytest.mark.slow
def test_nobody_chosen_for_a_sequence_without_values_is_said(store, tmp_path):
    part = shutil.copytree(store, tmp_path / "a.zarr")
    ds = npc.open(part)
    lacking = str(ds.sequence.values[1])
    with npc.store.lease.hold_lease(locate(part).open(), "a.zarr"):
        Rows(open_group(locate(part).open(), "a.zarr")).amend(
            {(str(patient), lacking): {"echo_time": np.nan} for patient in ds.patient.values}
        )
    with pytest.warns(UserWarning, match=f"nobody is chosen, for no scan of {lacking} has a value of echo_time"):
        assert npc.open(part, where="echo_time > 0").sizes["patient"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("by", ["catalog", "tables"])
def test_a_text_that_nobody_has_is_said_with_those_of_the_column(store, by, monkeypatch):
    if by == "tables":
        monkeypatch.setattr(npc.store.selection, "open_catalog", lambda store: None)
    for where, said in {
        "sex == 'male'": "no row has 'male' in sex, which has 'M'",
        "sex != 'm'": "no row has 'm' in sex; did you mean 'M'",
        "status == 'okay'": "no row has 'okay' in status, which may be 'ok', 'warning',",
        "review.decision != 'excluded'": "no row has 'excluded' in review.decision, which may be 'accept', 'exclude'",
        "patient in ('001', '2')": "no row has '2' in patient; did you mean '002'",
    }.items():
        with pytest.warns(UserWarning, match=re.escape(said)):
            npc.open(store, where=where)
    for where in ("sex != ''", "status != 'refused'", "review.decision != 'exclude'", "patient != '017'"):
        npc.open(store, where=where)
