"""What `info` says of a store that somebody is writing at this moment, or was when he was last heard of."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import zarr

import npczarr as npc
from npczarr.store import info as module
from npczarr.store.holder import LEASE_KEY, identity
from npczarr.store.lease import HEARTBEAT_KEY, hold_lease
from npczarr.store.location import delete, locate, put


def sealed(store):
    return npc.info(store)["sealed"]


def ago(**passed):
    return (datetime.now(UTC) - timedelta(**passed)).isoformat(timespec="seconds")


def hold(store, since, heard=None, token="t"):
    """Leave the lease of a process of another machine."""
    holder = {**identity(), "host": "elsewhere", "process": 7, "since": since, "token": "t"}
    put(locate(store).open(), LEASE_KEY, json.dumps(holder).encode())
    if heard is not None:
        put(locate(store).open(), HEARTBEAT_KEY, json.dumps({"token": token, "time": heard}).encode())


@pytest.mark.slow
def test_a_store_that_is_being_written_is_not_said_to_be_changed(copy):
    with hold_lease(locate(copy).open(), str(copy)):
        zarr.open_group(copy, mode="r+", use_consolidated=False).attrs["title"] = "half of what is to come"
        there = sealed(copy)
        assert there.startswith(f"being written by process {identity()['process']} on {identity()['host']} since 2")
        (copy / "status/seal.json").unlink()
        assert sealed(copy) == there
    assert sealed(copy) == "as npczarr wrote it"


@pytest.mark.slow
def test_during_a_conversion_it_names_the_writer(source, tmp_path):
    said = set()
    npc.convert(
        source, tmp_path / "a.zarr", workers=0, on_progress=lambda _: said.add(sealed(tmp_path / "a.zarr")[:16])
    )
    assert said == {"being written by"}


@pytest.mark.parametrize(
    ("since", "heard", "token", "young"),
    [
        ({"seconds": 5}, None, "", True),
        ({"hours": 5}, {"seconds": 40}, "t", True),
        ({"hours": 5}, {"seconds": 40}, "of an earlier lease", False),
        ({"hours": 5}, {"hours": 4}, "t", False),
        ({"hours": 5}, None, "", False),
    ],
)
def test_a_writer_elsewhere_counts_while_it_is_heard_of(copy, since, heard, token, young):
    since, heard = ago(**since), heard and ago(**heard)
    hold(copy, since, heard, token)
    last, writer = heard if token == "t" else since, f"process 7 on elsewhere since {since}"
    assert sealed(copy) == (
        f"being written by {writer}; npczarr seals it at the end"
        if young
        else f"not sealed: held by {writer}, last heard of at {last}; if it died, run it again with --break-lock"
    )


@pytest.mark.parametrize("lease", [b"", b"[1]", b'{"token": "t", "since": "yesterday"}', b'{"since": "2020-01-01"}'])
def test_a_damaged_lease_is_of_nobody_who_is_heard_of(copy, lease):
    put(locate(copy).open(), LEASE_KEY, lease)
    assert sealed(copy).startswith("not sealed: held by ")


def test_a_lease_whose_process_died_here_is_of_an_interrupted_run(copy):
    put(locate(copy).open(), LEASE_KEY, json.dumps({**identity(), "process": 2**22 + 1, "since": ago()}).encode())
    assert sealed(copy) == "as npczarr wrote it"
    (copy / "status/seal.json").unlink()
    assert "a run of npczarr was interrupted" in sealed(copy)


def test_a_writer_that_begins_while_it_is_looked_at_is_named(copy, monkeypatch):
    zarr.open_group(copy, mode="r+", use_consolidated=False).attrs["title"] = "another"
    assert "changed since npczarr sealed it" in sealed(copy)
    found = module.seal_of
    monkeypatch.setattr(module, "seal_of", lambda contents: (hold(copy, ago()), found(contents))[1])
    assert sealed(copy).startswith("being written by process 7 on elsewhere")
    delete(locate(copy).open(), LEASE_KEY)
