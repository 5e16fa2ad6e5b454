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

import npczarr as npc
from npczarr.errors import NpczarrError, StoreError
from npczarr.store.folder_store import FolderStore
from npczarr.store.hierarchy import open_group
from npczarr.store.location import locate
from npczarr.store.results import read_kept, read_result, write_result
from tests.store.small import part, snapshot
from tests.store.stopping import Killed, stopped


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
