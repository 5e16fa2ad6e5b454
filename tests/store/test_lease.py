"""One writer at a time."""

import json
import os
import subprocess
import sys

import pytest

import npczarr as npc
from npczarr.errors import LeaseError, StoreError
from npczarr.store import lease as lease_module
from npczarr.store.holder import LEASE_KEY
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from tests.store.small import snapshot


@pytest.fixture
def place(tmp_path):
    return locate(tmp_path / "s.zarr").open()


def left_by(place, **changes):
    """Leave a lease as a process would that ended without giving it back."""
    with hold_lease(place, "x"):
        content = json.loads(snapshot(place.root)[LEASE_KEY])
    lease = place.root / LEASE_KEY
    lease.parent.mkdir(parents=True, exist_ok=True)
    lease.write_text(json.dumps({**content, **changes}))
    return lease


def test_a_lease_is_there_while_it_is_held_and_gone_after_also_after_an_error(place):
    with hold_lease(place, "x") as lease:
        lease.check()
        assert (place.root / LEASE_KEY).exists()
    assert not (place.root / LEASE_KEY).exists()
    with pytest.raises(ZeroDivisionError), hold_lease(place, "x"):
        raise ZeroDivisionError
    assert not (place.root / LEASE_KEY).exists()


def test_a_second_writer_is_refused_with_the_name_of_the_first_and_changes_nothing(place):
    with hold_lease(place, "x"):
        before = snapshot(place.root)
        with (
            pytest.raises(
                LeaseError, match=rf"x is being written by process {os.getpid()} on .* since 20.*--break-lock"
            ),
            hold_lease(place, "x"),
        ):
            pytest.fail("two writers")
        assert snapshot(place.root) == before


def test_a_broken_lease_ends_the_first_writer_and_stays_with_the_second(place):
    with hold_lease(place, "x") as first:
        with hold_lease(place, "x", break_lock=True) as second:
            with pytest.raises(LeaseError, match="taken over by process"):
                first.check()
            second.check()
            first.release()
            second.check()  # what is not the first's is not given back by it
        with pytest.raises(LeaseError, match="taken over by a writer that left no name"):
            first.check()


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"process": 2**22 + 5}, True),  # no such process
        ({"process": os.getppid(), "started": 1.0}, True),  # its number went to another
        ({"process": os.getppid(), "started": 1.0, "host": "elsewhere"}, False),
        ({"process": 2**22 + 5, "host": "elsewhere"}, False),
        ({"process": "evil"}, False),
        ({"process": None}, False),
        ({"process": -1}, False),
    ],
)
def test_only_a_lease_of_a_process_that_died_here_is_taken_over(place, changes, taken):
    left = left_by(place, **changes)
    if taken:
        with hold_lease(place, "x") as lease:
            lease.check()
        assert not left.exists()
    else:
        with pytest.raises(LeaseError, match="is being written"), hold_lease(place, "x"):
            pytest.fail("taken over")
        assert left.exists()


def test_a_lease_that_this_process_could_not_give_back_is_taken_over_once_its_run_has_ended(place, monkeypatch):
    def fail(store, key):
        raise StoreError(f"cannot delete {key}: the disk failed")

    with monkeypatch.context() as patch:
        patch.setattr(lease_module, "delete", fail)
        with (
            pytest.raises(StoreError, match="cannot delete"),
            hold_lease(place, "x"),
            pytest.raises(LeaseError, match="is being written"),
            hold_lease(place, "x"),
        ):
            pytest.fail("two writers")
    assert (place.root / LEASE_KEY).exists()
    with hold_lease(place, "x") as again:
        again.check()


def test_what_fails_at_the_end_hides_no_error_of_the_run(place, monkeypatch):
    def fail(store, key):
        raise StoreError("the disk failed")

    monkeypatch.setattr(lease_module, "delete", fail)
    with pytest.raises(StoreError, match="what came first"), hold_lease(place, "x"):
        raise StoreError("what came first")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"3", b'"text"'])
def test_a_lease_that_says_nothing_is_not_taken_over_but_can_be_broken(place, content):
    left = left_by(place)
    left.write_bytes(content)
    with pytest.raises(LeaseError, match="a writer that left no name"), hold_lease(place, "x"):
        pytest.fail("taken over")
    with hold_lease(place, "x", break_lock=True) as lease:
        lease.check()


def test_a_lease_left_by_a_process_that_was_killed_is_taken_over(place):
    code = (
        "import os, sys\nfrom npczarr.store.location import locate\nfrom npczarr.store.lease import hold_lease\n"
        "held = hold_lease(locate(sys.argv[1]).open(), 'x')\nheld.__enter__()\nos._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(place.root)], check=False)
    assert (place.root / LEASE_KEY).exists()
    with hold_lease(place, "x") as lease:
        lease.check()


@pytest.mark.slow
def test_reading_takes_no_lease_and_is_no_matter_of_it(copy):
    with hold_lease(locate(copy).open(), str(copy)):
        before = snapshot(copy)
        npc.open(copy).load()
        npc.info(copy)
        assert npc.validate(copy, workers=0) == ()
        assert snapshot(copy) == before
        with pytest.raises(LeaseError):
            npc.measure_store(copy, "morphology")
