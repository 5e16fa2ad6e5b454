"""Patients chosen by words as a store is opened."""

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import ParameterError


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


def test_info_of_a_selection_and_wrong_ones(store):
    assert npc.info(store, where="patient != '001'")["patients"] == 2
    ran = CliRunner().invoke(app, ["info", str(store), "--where", "patient == '001'", "--json"])
    assert '"patients": 1' in ran.output
    with pytest.raises(ParameterError, match=r"no column 'stage'"):
        npc.open(store, where="stage == 'T1'")
    with pytest.raises(ParameterError, match="compares text with a number"):
        npc.open(store, where="patient == 1")
