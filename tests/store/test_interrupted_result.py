"""A result whose writing was interrupted, or that is damaged, is named, and measured anew by the next run."""

import json
import logging
import os
import shutil
import warnings
from itertools import count

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import npczarr as npc
from npczarr.cli.app import app
from npczarr.errors import LeaseError, NpczarrError, ReadOnlyError, StoreError
from npczarr.store import lease as leases
from npczarr.store import run_end
from npczarr.store.catalog import CATALOG_KEY
from npczarr.store.folder_store import DRAFT, FolderStore
from npczarr.store.hierarchy import open_group
from npczarr.store.holder import LEASE_KEY
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from npczarr.store.results import read_kept, read_result, write_result
from tests.store.small import part, snapshot
from tests.store.stopping import Killed, stale, stopped


def chunk(store, path):
    return next(one for one in (store / path / "c").rglob("*") if one.is_file())


def spoil(store, path, how):
    """Damage an array of a result in one of the ways of a disk."""
    if how == "absent":
        chunk(store, path).unlink()
    elif how == "flipped":
        content = bytearray(chunk(store, path).read_bytes())
        content[len(content) // 2] ^= 1
        chunk(store, path).write_bytes(content)
    else:
        (store / path / "zarr.json").write_bytes(b"{" if how == "no JSON" else b"")


def measured(store):
    result, failures = npc.measure_store(store, "morphology")
    assert not failures
    return result


def left_by_a_run(store):
    """Drafts and the lease of a run that has not ended."""
    return [str(one.relative_to(store)) for one in store.rglob("*") if one.suffix == DRAFT or one.match(LEASE_KEY)]


def by_command(store, measure, *options):
    given = [str(store.parent / "masks")] if measure == "score" else []
    done = CliRunner().invoke(app, [measure, str(store), *given, *options])
    assert done.exit_code == 0, done.output


def killed_at_the_end(store, monkeypatch, act, moment):
    """Measure, and end as a kill does once the result is there."""

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "catalog":
            patch.setattr(run_end, "_put_catalog", kill)
        patch.setattr(leases.Lease, "release", kill)
        with pytest.raises(Killed):
            act()
    (store / f"mask/zarr.json.1f{DRAFT}").write_text("{")
    assert len(left_by_a_run(store)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["catalog", "lease"])
@pytest.mark.parametrize("again", ["command", "python", "pack"])
def test_killed_at_the_very_end_the_same_command_or_pack_ends_that_run(copy, monkeypatch, moment, again):
    catalog = copy / CATALOG_KEY
    before = catalog.read_bytes()
    killed_at_the_end(copy, monkeypatch, lambda: measured(copy), moment)
    assert (catalog.read_bytes() == before) == (moment == "catalog")
    if again == "command":
        by_command(copy, "morphology")
    elif again == "python":
        assert measured(copy).attrs["kept"] == 1
    assert bool(left_by_a_run(copy)) == (again == "pack")
    npc.pack(copy, copy.with_suffix(".zip"))
    assert not left_by_a_run(copy)
    assert catalog.read_bytes() != before
    assert npc.info(copy)["results"] == ["morphology"]
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
def test_killed_at_the_very_end_of_a_score_the_same_command_ends_that_run(copy, monkeypatch):
    npc.export_scans(copy, copy.with_name("masks"), format="nifti", workers=0)
    killed_at_the_end(
        copy, monkeypatch, lambda: npc.measure_store(copy, "score", predictions=copy.with_name("masks")), "lease"
    )
    by_command(copy, "score")
    assert not left_by_a_run(copy)
    assert npc.info(copy)["results"] == ["score"]


@pytest.mark.slow
def test_a_lease_of_another_machine_is_left_where_all_is_measured_and_broken_on_request(copy):
    measured(copy)
    stale(copy, host="elsewhere")
    by_command(copy, "morphology")
    assert measured(copy).attrs["kept"] == 1
    with pytest.raises(LeaseError, match=r"being written by process \d+ on elsewhere.*--break-lock"):
        npc.pack(copy, copy.with_suffix(".zip"))
    assert left_by_a_run(copy) == [LEASE_KEY]
    by_command(copy, "morphology", "--break-lock")
    assert not left_by_a_run(copy)
    stale(copy, host="elsewhere")
    by_command(copy, "pack", str(copy.with_suffix(".zip")), "--break-lock")
    assert not left_by_a_run(copy)


@pytest.mark.slow
def test_the_lease_of_a_run_that_was_killed_is_left_where_the_store_may_not_be_written(copy, monkeypatch):
    measured(copy)
    lease = stale(copy)

    def refuse(*_):
        raise ReadOnlyError("may not be written")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "put_if_absent", refuse)
        by_command(copy, "morphology")
        assert measured(copy).attrs["kept"] == 1
        with pytest.raises(LeaseError, match=r"was killed before its end; let somebody pack it who may write"):
            npc.pack(copy, copy.with_suffix(".zip"))
    assert lease.exists()
    with hold_lease(locate(copy).open(), str(copy)), monkeypatch.context() as patch:
        patch.setattr(leases, "put_if_absent", refuse)
        with pytest.raises(LeaseError, match=r"is being written by process .*; wait for it to end, then pack it"):
            npc.pack(copy, copy.with_suffix(".zip"))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["killed", "disk full"])
def test_interrupted_at_any_write_it_is_measured_anew_and_named_until_then(copy, tmp_path, monkeypatch, way):
    expected = measured(shutil.copytree(copy, tmp_path / "whole.zarr"))
    if way == "disk full":  # and another result is there already
        npc.measure_store(copy, "morphology", method="lewiner")
    half = 0
    for n in count(step=7 if way == "killed" else 11):
        store = shutil.copytree(copy, tmp_path / f"{n}.zarr")
        if not stopped(monkeypatch, n, way, lambda store=store: npc.measure_store(store, "morphology")):
            break
        about = npc.info(store)
        if "morphology" in about["damaged"]:
            half += 1
            assert "`npczarr morphology STORE` measures it anew" in about["damaged"]["morphology"]
            assert "morphology" not in about["results"]
            with pytest.warns(UserWarning, match="npczarr morphology STORE"):
                table = npc.open(store).npc.table()
            assert not [name for name in table if name.startswith("morphology.")]
        result, _ = npc.measure_store(store, "morphology", break_lock=True)
        np.testing.assert_array_equal(result.volume, expected.volume)
        assert npc.info(store)["damaged"] == {}
        assert npc.info(store)["results"] == ["morphology"]
        assert not left_by_a_run(store)
        assert n % 28 or npc.validate(store, workers=0) == ()  # it takes longer than all the rest
        shutil.rmtree(store)
    assert half > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "how"),
    [
        *((path, how) for path in ("morphology/volume", "morphology/sequence") for how in ("absent", "flipped")),
        *((path, how) for path in ("morphology/volume", "morphology") for how in ("no JSON", "empty")),
    ],
)
def test_a_damaged_result_is_measured_anew_with_one_line_that_says_so(copy, caplog, path, how):
    before = measured(copy)
    location = locate(copy)
    assert read_kept(location, "morphology", "morphology", {"method": "lorensen"}) is not None
    spoil(copy, path, how)
    assert read_kept(location, "morphology", "morphology", {"method": "lorensen"}) is None
    with caplog.at_level(logging.WARNING, logger="npczarr"):
        after = measured(copy)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{copy}: the result morphology is damaged, or was half written")
    assert line.endswith("; it is measured anew")
    np.testing.assert_array_equal(after.volume, before.volume)
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["absent", "flipped"])
def test_who_reads_a_damaged_result_is_told_what_measures_it_anew(copy, how):
    measured(copy)
    spoil(copy, "morphology/volume", how)
    with pytest.raises(StoreError, match="npczarr morphology STORE"):
        npc.open(copy, group="morphology").load()
    assert "npczarr morphology STORE" in npc.info(copy)["damaged"]["morphology"]
    assert any("run `npczarr morphology STORE` again" in one.problem for one in npc.validate(copy, workers=0))
    with pytest.warns(UserWarning, match="npczarr morphology STORE"):
        npc.open(copy).npc.table()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured(copy)
        npc.open(copy).npc.table()


@pytest.mark.slow
def test_a_report_says_of_a_damaged_result_what_to_run(copy, tmp_path):
    from npczarr.report.blocks import Absent
    from npczarr.report.inputs import read_inputs

    measured(copy)
    spoil(copy, "morphology/volume", "absent")
    found = read_inputs(copy, workers=0).morphology
    assert isinstance(found, Absent)
    assert "damaged" in found.what
    assert found.command.startswith("npczarr morphology")
    measured(copy)
    assert not isinstance(read_inputs(copy, workers=0).morphology, Absent)


@pytest.mark.slow
def test_a_damaged_result_does_not_stop_a_conversion_and_is_no_loss_of_others(source, copy, tmp_path, caplog):
    npc.measure_store(copy, "morphology")
    npc.measure_store(copy, "morphology", name="kept")
    spoil(copy, "morphology/volume", "flipped")
    more = part(source, tmp_path / "more", "001", "002", "003")
    (more / "data/MRI-Segments/003").rename(more / "data/MRI-Segments/004")
    shutil.copytree(source / "data/MRI-Segments/003", more / "data/MRI-Segments/003")
    with caplog.at_level(logging.WARNING, logger="npczarr"):
        npc.convert(more, copy, workers=0)
    assert any("`npczarr morphology STORE` measures it anew" in one.getMessage() for one in caplog.records)
    assert npc.open(copy).sizes["patient"] == 4
    assert np.isfinite(measured(copy).volume).all()
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
def test_a_review_is_no_result_and_a_repair_leaves_it(source, copy):
    from npczarr.model.review import Mark
    from npczarr.store.review import Review

    measured(copy)
    Review(locate(copy)).keep([Mark("001", "T1WI", "accept")])
    spoil(copy, "review/decision", "absent")
    spoil(copy, "morphology/volume", "absent")
    npc.validate(copy, against=source, repair=True, workers=0)
    assert (copy / "review/mark/zarr.json").is_file()
    assert not (copy / "morphology").exists()


def test_a_result_that_storage_does_not_give_is_no_damaged_one(copy, monkeypatch):
    measured(copy)
    before = snapshot(copy)

    async def fail(self, key, prototype=None, byte_range=None):
        raise StoreError("the network is away")

    root = open_group(locate(copy).open(read_only=True), str(copy), mode="r")
    monkeypatch.setattr(FolderStore, "get", fail)
    with pytest.raises(NpczarrError, match="away"):
        read_result(root, "morphology")
    monkeypatch.undo()
    assert snapshot(copy) == before
    assert json.loads((copy / "morphology/zarr.json").read_text())["attributes"]["measure"] == "morphology"


def killed_at_deletion(monkeypatch, n, act):
    """Run until the n-th file is deleted, as a kill ends a run; whether it was ended by it."""
    done, unlink = count(), os.unlink

    def unlink_unless(*args, **options):
        if next(done) >= n:
            raise Killed
        unlink(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink_unless)
        try:
            act()
        except Killed:
            return True
        return False


@pytest.mark.slow
def test_killed_while_the_old_result_is_deleted_nothing_of_it_counts_and_it_is_named(copy, tmp_path, monkeypatch):
    measured(copy)
    old = read_result(open_group(locate(copy).open(), str(copy)), "morphology").result

    def write_again(store):
        write_result(open_group(locate(store).open(), str(store)), "morphology", old.as_dataset(), old.attributes)

    for n in count(step=9):
        store = shutil.copytree(copy, tmp_path / f"{n}.zarr")
        if not killed_at_deletion(monkeypatch, n, lambda store=store: write_again(store)):
            break
        about = npc.info(store)
        assert "morphology" not in about["results"]
        assert "`npczarr morphology STORE` measures it anew" in about["damaged"]["morphology"]
        with pytest.raises(NpczarrError, match=r"morphology\.volume"):
            npc.open(store, where="morphology.volume > 0")
        with pytest.raises(KeyError, match="consolidated"):
            xr.open_zarr(store, group="morphology")
    assert n > 20
    assert npc.info(store)["results"] == ["morphology"]
    store = tmp_path / f"{n - 9}.zarr"
    np.testing.assert_array_equal(measured(store).volume, old.tables["volume"].values)
    assert npc.info(store)["damaged"] == {}
    assert not npc.validate(store, workers=0)


@pytest.mark.slow
@pytest.mark.parametrize("absent", ["input_digest", "volume", "zarr.json"])
def test_a_result_that_is_listed_and_not_all_there_is_damaged(copy, tmp_path, absent):
    measured(copy)
    (copy / "morphology" / absent).rename(tmp_path / "moved")
    assert "`npczarr morphology STORE` measures it anew" in npc.info(copy)["damaged"]["morphology"]
    assert read_kept(locate(copy), "morphology", "morphology", {"method": "lorensen"}) is None
    measured(copy)
    assert npc.info(copy)["damaged"] == {}
    assert npc.info(copy)["results"] == ["morphology"]
