"""A store in one file: the same to every reader, in place, locally and by ranges over HTTP; never changed."""

import errno
import json
import os
import shutil
import signal
import zipfile
from importlib.metadata import version

import numpy as np
import pytest
import xarray as xr
from packaging.version import Version
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.cli.entry import main
from npczarr.store.hierarchy import RESIZING
from npczarr.store.holder import LEASE_KEY
from npczarr.store.location import get, keys_below, locate, put
from npczarr.store.selection import select_patients
from npczarr.store.watch import begin_epoch
from tests.http_ranges import ranges_over_http
from tests.store.stopping import Killed

pytestmark = pytest.mark.slow  # packs stores, many times


@pytest.fixture(scope="module")
def packed(store, tmp_path_factory):
    """A packed store with results beside its scans, and the folder that it was made of."""
    folder = tmp_path_factory.mktemp("pack")
    shutil.copytree(store, folder / "a.zarr")
    npc.measure_store(folder / "a.zarr", "morphology", workers=0)
    made = npc.pack(folder / "a.zarr", folder / "a.zarr.zip", url="https://example.org/a.zarr.zip")
    return made, folder / "a.zarr"


def test_every_object_is_there_uncompressed_and_the_same_store_gives_the_same_bytes(packed, tmp_path):
    made, store = packed
    with zipfile.ZipFile(made.path) as archive:
        names = set(archive.namelist())
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
    assert names == {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}
    assert len(names) == made.objects
    with_draft = shutil.copytree(store, tmp_path / "b.zarr")  # of a command that was killed before it had its lease
    (with_draft / f"{LEASE_KEY}.1f.partial").write_text('{"host": "a"}')
    assert npc.pack(with_draft, tmp_path / "again.zip").sha256 == made.sha256


def test_a_packed_store_reads_as_the_store(packed):
    made, store = packed
    one, other = npc.open(store), npc.open(made.path)
    xr.testing.assert_identical(one.compute(), other.compute())
    one, other = (npc.open(url, group="morphology").compute() for url in (store, made.path))
    xr.testing.assert_identical(one, other)
    table = npc.open(made.path).npc.table()
    assert table["morphology.volume"].notna().any()
    scan = npc.open(made.path).npc.scan("001", "T1WI")
    assert scan["mask"].sum() > 0
    assert npc.validate(made.path, workers=0) == ()
    assert npc.info(made.path)["patients"] == 3


@pytest.mark.skipif(Version(version("fsspec")) < Version("2026.9"), reason="fsspec opens no zip:: path before 2026.9")
def test_plain_xarray_opens_it_in_place(packed):
    made, store = packed
    with_zip = xr.open_zarr(f"zip::{made.path}")
    xr.testing.assert_identical(with_zip.compute(), xr.open_zarr(store).compute())


def test_the_engine_opens_it_in_place(packed):
    made, _ = packed
    xr.testing.assert_identical(
        xr.open_dataset(str(made.path), engine="npczarr").compute(), npc.open(made.path).compute()
    )


def test_over_http_by_ranges_and_not_whole(packed):
    made, store = packed
    with ranges_over_http(made.path.parent) as (url, requests):
        ds = npc.open(f"{url}/{made.path.name}")
        one = ds["image"].sel(patient="001", sequence="T1WI").isel(z=0).values
        read = sum(length for path, length in requests if path.endswith(".zip"))
        assert 0 < read < made.path.stat().st_size
        there = npc.open(store)["image"].sel(patient="001", sequence="T1WI").isel(z=0).values
        np.testing.assert_array_equal(one, there)
        where = "patient == '001' and status == 'ok'"
        there = f"{url}/{made.path.name}"
        assert select_patients(locate(there), where).by == "catalog"
        xr.testing.assert_identical(npc.open(there, where=where).compute(), npc.open(store, where=where).compute())


def test_nothing_changes_it(packed, cohort):
    made, _ = packed
    before = made.path.read_bytes()
    with pytest.raises(npc.ReadOnlyError, match="a packed store is never changed"):
        npc.convert(cohort / "primary_data", made.path, workers=0)
    stored, _ = npc.measure_store(made.path, "morphology", workers=0)
    fresh, _ = npc.measure_store(made.path, "morphology", method="lewiner", workers=0)
    assert (stored.attrs["kept"], fresh.attrs["kept"]) == (1, 0)
    assert made.path.read_bytes() == before


def test_what_is_no_whole_zip_file_is_refused_with_what_to_do(packed, tmp_path):
    made, _ = packed
    content = made.path.read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[:-1000])
    with pytest.raises(npc.StoreError, match="no whole zip file"):
        npc.open(tmp_path / "cut.zip")
    with zipfile.ZipFile(tmp_path / "small.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", "{}" * 1000)
    with pytest.raises(npc.StoreError, match="its members are compressed"):
        npc.open(tmp_path / "small.zip")
    with pytest.raises(npc.MissingStoreError):
        npc.open(tmp_path / "none.zip")


def test_a_file_that_is_there_and_a_store_that_is_written_are_refused(packed, tmp_path):
    made, store = packed
    with pytest.raises(npc.ParameterError, match=r"is there already.*--overwrite"):
        npc.pack(store, made.path)
    with pytest.raises(npc.ParameterError, match=r"ends in \.zip, such as a\.tar\.zip"):
        npc.pack(store, tmp_path / "a.tar")
    shutil.copytree(store, tmp_path / "b.zarr")
    (tmp_path / "b.zarr" / "status" / "lease.json").write_text("{}")
    with pytest.raises(npc.LeaseError, match=r"being written by a writer that left no name; wait .* --break-lock"):
        npc.pack(tmp_path / "b.zarr", tmp_path / "b.zip")
    assert not list(tmp_path.glob("*.zip*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda url: npc.split(url, name="fold", folds=3),  # another command, from beginning to end
        lambda url: begin_epoch(locate(url).open()),  # rows change
        lambda url: put(locate(url).open(), LEASE_KEY, b"{}"),  # a command that has begun and not ended
        lambda url: put(locate(url).open(), RESIZING, b""),
    ],
    ids=["split", "epoch", "lease", "resizing"],
)
def test_a_store_that_was_changed_while_it_was_packed_leaves_no_archive(packed, tmp_path, monkeypatch, change):
    store = shutil.copytree(packed[1], tmp_path / "s.zarr")
    out, waiting = tmp_path / "a.zip", [change]

    def read(source, key):
        if key.startswith("mask/c/") and waiting:  # tables are in the archive, and voxels begin
            waiting.pop()(store)
        return get(source, key)

    monkeypatch.setattr("npczarr.store.pack.get", read)
    out.write_bytes(b"before")
    with pytest.raises(npc.StoreError, match=r"s\.zarr: was changed while it was packed.*; pack it again"):
        npc.pack(store, out, overwrite=True)
    assert not waiting
    assert out.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"s.zarr", "a.zip"}


def test_a_kill_before_the_archive_has_its_name_leaves_none_without_a_description(packed, tmp_path, monkeypatch):
    replace = os.replace

    def kill(draft, path):
        if str(path).endswith(".zip"):
            raise Killed
        replace(draft, path)

    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(Killed):
        npc.pack(packed[1], tmp_path / "a.zip")
    assert [one.name for one in tmp_path.iterdir()] == ["a.zip.croissant.json"]


def test_sigterm_leaves_nothing_of_an_archive(packed, tmp_path, monkeypatch):
    def read(source, key):
        if key.startswith("mask/c/"):
            assert len(list(tmp_path.iterdir())) == 1
            signal.raise_signal(signal.SIGTERM)
        return get(source, key)

    monkeypatch.setattr("npczarr.store.pack.get", read)
    monkeypatch.setattr("sys.argv", ["npczarr", "pack", str(packed[1]), str(tmp_path / "a.zip")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 143
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named_and_the_store_is_not_blamed(packed, tmp_path, monkeypatch, capsys):
    _, store = packed

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(args[0]))

    out = tmp_path / "x.zip"
    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    monkeypatch.setattr("sys.argv", ["npczarr", "pack", str(store), str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error {out}: Read-only file system; check the path")
    assert not list(tmp_path.iterdir())


def test_a_folder_or_a_place_in_a_store_is_refused_whatever_may_be_overwritten(packed, tmp_path):
    _, store = packed
    (tmp_path / "x.zip" / "kept").mkdir(parents=True)
    with pytest.raises(npc.ParameterError, match="is a folder"):
        npc.pack(store, tmp_path / "x.zip", overwrite=True)
    assert (tmp_path / "x.zip" / "kept").is_dir()
    with pytest.raises(npc.ParameterError, match="lies in the store"):
        npc.pack(store, store / "x.zip", overwrite=True)
    with pytest.raises(npc.ParameterError, match="expected a local path, found a URL"):
        npc.pack(store, "s3://bucket/x.zip")


def test_a_long_directory_is_read_whole(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(6000):
            archive.writestr(f"a/{i:04d}" + "x" * 40, str(i))
    opened = locate(tmp_path / "a.zip").open(read_only=True)
    assert len(keys_below(opened, "")) == 6000
    assert get(opened, "a/5999" + "x" * 40) == b"5999"
    assert get(opened, "a/0000" + "x" * 40) == b"0"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's own, within mlcroissant
def test_the_description_is_croissant(packed):
    made, _ = packed
    words = json.loads(made.description.read_text(encoding="utf-8"))
    (file,) = words["distribution"]
    assert (file["sha256"], file["contentUrl"]) == (made.sha256, "https://example.org/a.zarr.zip")
    arrays = {record["arrays/name"]: record for record in words["recordSet"][0]["data"]}
    assert arrays["image"]["arrays/dimensions"] == "patient sequence z y x"
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed: it checks the description")
    dataset = mlcroissant.Dataset(jsonld=words)
    assert not dataset.metadata.issues.errors
    assert len(list(dataset.records(record_set="arrays"))) == len(arrays)


def test_the_command_says_how_to_open_it(store, tmp_path):
    ran = CliRunner().invoke(app, ["pack", str(store), str(tmp_path / "a.zarr.zip")])
    assert ran.exit_code == 0, ran.output
    assert f"zip::{tmp_path / 'a.zarr.zip'}" in ran.output
