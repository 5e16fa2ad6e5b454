"""Paths that begin with a tilde: of the home folder, of somebody's, or a name like any other."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import MissingStoreError
from npczarr.export.cohort import export_scans
from npczarr.outputs import expanded
from npczarr.sources.files import open_source
from npczarr.store.location import locate

NAME = "~nobody-of-this-name"


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_a_tilde_is_the_home_folder_where_there_is_one(tmp_path):
    assert expanded("~/a") == tmp_path / "home/a"
    assert expanded(f"{NAME}/a") == Path(f"{NAME}/a")
    assert locate("~/a").url == str(tmp_path / "home/a")
    assert locate(f"{NAME}.zarr").url == str(tmp_path / f"{NAME}.zarr")


@pytest.mark.parametrize("command", [["info"], ["validate"], ["morphology"], ["pack", NAME]])
def test_a_name_with_a_tilde_that_is_not_there_is_said_to_be_not_there(command):
    ran = CliRunner().invoke(app, [command[0], f"{NAME}.zarr", *command[1:]])
    assert isinstance(ran.exception, MissingStoreError)


@pytest.mark.slow
def test_a_name_with_a_tilde_is_a_folder_like_any_other(cohort, tmp_path):
    shutil.copytree(cohort / "primary_data", f"{NAME}-source")
    assert open_source(f"{NAME}-source").url == str(tmp_path / f"{NAME}-source")
    npc.convert(f"{NAME}-source", f"{NAME}.zarr", workers=0)
    npc.resample_store(f"{NAME}.zarr", f"{NAME}-2.zarr", spacing=(4, 2, 2), workers=0)
    npc.make_cohort(f"{NAME}-3", patients=1, workers=0)
    export_scans(f"{NAME}.zarr", f"{NAME}-4", format="nifti", patients=["001"])
    npc.pack(f"{NAME}.zarr", f"{NAME}.zip")
    made = {path.name.removeprefix(NAME) for path in tmp_path.glob("~*")}
    assert made == {"-source", ".zarr", "-2.zarr", "-3", "-4", ".zip", ".zip.croissant.json"}
