"""A lease is taken over by one writer alone, and whoever lost it writes nothing more."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

import npczarr as npc
from npczarr.errors import LeaseError
from npczarr.model.schema import SCAN_TABLES
from npczarr.store import lease as leases
from npczarr.store.chunks import ScanPlace
from npczarr.store.create import resize
from npczarr.store.hierarchy import labels, open_group
from npczarr.store.holder import LEASE_KEY
from npczarr.store.lease import HEARTBEAT_KEY, hold_lease
from npczarr.store.location import get, locate
from npczarr.store.rows import Rows
from tests.store.small import LAYOUT, part, snapshot
from tests.store.stopping import stale

TAKERS = 3
ROUNDS = 100


@pytest.mark.slow
def test_of_takers_of_one_stale_lease_one_alone_has_it(tmp_path):
    """300 takers, three at a time, all started at one moment."""
    holders, others = [], []
    for i in range(ROUNDS):
        folder = tmp_path / str(i)
        stale(folder)
        begin, end = threading.Barrier(TAKERS), threading.Barrier(TAKERS)
        won = []

        def take(folder=folder, begin=begin, end=end, won=won):
            store = locate(folder).open()
            begin.wait()
            try:
                with hold_lease(store, "x") as lease:
                    won.append(lease.token)
                    end.wait(60)
                    lease.check()
            except LeaseError:
                end.wait(60)
            except Exception as error:
                others.append(error)
                end.abort()

        threads = [threading.Thread(target=take) for _ in range(TAKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        holders.append(len(won))
        assert others == []
        assert not (folder / LEASE_KEY).exists()
    assert holders == [1] * ROUNDS


def test_what_a_killed_writer_began_is_cleared_and_what_another_taker_writes_is_not(tmp_path):
    lease = stale(tmp_path)
    begun, asking, old = (
        tmp_path / "image/c/0.1.partial",
        lease.with_name("lease.2.partial"),
        lease.with_name("3.partial"),
    )
    begun.parent.mkdir(parents=True)
    for path in (begun, asking, old):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    with hold_lease(locate(tmp_path).open(), "x"):
        assert [path.exists() for path in (begun, asking, old)] == [False, True, False]


@pytest.mark.parametrize(
    "changes", [{"namespace": "pid:[1]"}, {"boot": "another"}, {"host": "elsewhere"}, {"namespace": None}], ids=str
)
def test_a_process_of_another_machine_container_or_start_is_not_taken_for_dead(tmp_path, changes):
    stale(tmp_path, **changes)
    with pytest.raises(LeaseError, match="being written by process"), hold_lease(locate(tmp_path).open(), "x"):
        pytest.fail("taken over")
    with hold_lease(locate(tmp_path).open(), "x", break_lock=True) as lease:
        lease.check()


def test_a_holder_is_heard_of(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_BEAT_SECONDS", 0.01)
    store = locate(tmp_path).open()
    with hold_lease(store, "x"):
        while get(store, HEARTBEAT_KEY) is None:
            time.sleep(0.01)
        with pytest.raises(LeaseError, match="last heard of at 20"), hold_lease(store, "x"):
            pytest.fail("two writers")
    assert get(store, HEARTBEAT_KEY) is None


@pytest.mark.slow
def test_a_writer_that_lost_its_lease_changes_nothing(copy):
    """Neither its tables, nor a resize, nor the voxels of its workers."""
    store = locate(copy).open()
    with hold_lease(store, "x") as first:
        root = open_group(store, "x")
        rows, patients, sequences = Rows(root, first), labels(root, "patient"), labels(root, "sequence")
        key = patients[0], sequences[0]
        with hold_lease(store, "x", break_lock=True):
            before = snapshot(copy)
            place = ScanPlace(locate(copy), (0, 0), LAYOUT, clear=True, token=first.token)
            acts = [
                lambda: rows.mark_pending([key]),
                lambda: rows.amend({key: {"message": "x"}}),
                lambda: place.write("image", np.zeros((4, 8, 9), np.int16), -32768),
                lambda: place.write("mask", None, 0),
                lambda: resize(
                    root, patients=patients[:1], sequences=sequences, extent_zyx=LAYOUT.extent_zyx, check=first.check
                ),
            ]
            for act in acts:
                with pytest.raises(LeaseError, match="taken over by process"):
                    act()
            after = snapshot(copy)
            after.pop("status/resizing", None)
            assert after == before


def test_a_lease_is_not_taken_over_in_the_middle_of_a_write(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_PATIENCE_SECONDS", 0.1)
    store = locate(tmp_path).open()
    with hold_lease(store, "x") as first:
        with first.writing():
            with (
                pytest.raises(LeaseError, match="in the middle of a write"),
                hold_lease(store, "x", break_lock=True),
            ):
                pytest.fail("taken over")
            first.check()
        with hold_lease(store, "x", break_lock=True), pytest.raises(LeaseError), first.writing():
            pytest.fail("written")


WRITER = "import sys, npczarr as npc\nnpc.convert(sys.argv[1], sys.argv[2], rewrite=['001', '002', '003'], workers=0)"


@pytest.mark.slow
@pytest.mark.parametrize("i", range(3))
def test_a_writer_that_was_paused_wakes_to_find_the_store_another_s(source, copy, tmp_path, i):
    """Paused at some moment of its run, it ends with an error and leaves what the other wrote."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    first = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(source), str(copy)], stderr=subprocess.PIPE, text=True, env=env
    )
    while not (copy / LEASE_KEY).exists() and first.poll() is None:
        time.sleep(0.001)
    time.sleep(0.05 * i)
    first.send_signal(signal.SIGSTOP)
    paused_at_work = (copy / LEASE_KEY).exists()
    other = part(source, tmp_path / "source", "001", "002", "003")
    shutil.rmtree(other / "data/MRI-Segments/002/T2WI")
    expected = None
    try:
        with suppress(LeaseError):  # of one paused in the middle of a write, which is to be ended first
            npc.convert(other, copy, workers=0, break_lock=True, rewrite=["001", "003"])
            expected = npc.open(copy).load()
            assert npc.validate(copy, workers=0) == ()
        first.send_signal(signal.SIGCONT)
        _, err = first.communicate(timeout=120)
    finally:
        first.kill()
    if expected is None:
        assert first.returncode == 0
        return
    assert (first.returncode != 0 and "LeaseError" in err) or not paused_at_work
    assert npc.validate(copy, workers=0) == ()
    found = npc.open(copy).load()
    for name in (v.name for v in SCAN_TABLES):
        assert found[name].equals(expected[name]), name
