"""A run that cannot seal the store at its end leaves it so that the next one can, if nobody else wrote to it."""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
import zarr

import npczarr as npc
from npczarr.errors import StoreError
from npczarr.store import run_end
from npczarr.store.holder import LEASE_KEY
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate
from npczarr.store.seal import SEAL_KEY, read_seal
from tests.store.small import objects
from tests.store.stopping import stopped


@contextmanager
def unable(monkeypatch, **errors):
    """Let functions that the end of a run calls raise errors."""

    def failing(error):
        def fail(*_):
            raise error

        return fail

    with monkeypatch.context() as patch:
        for name, error in errors.items():
            patch.setattr(run_end, name, failing(error))
        yield


def write(store, title="ours"):
    """Change the store, as a run or as another program does."""
    zarr.open_group(store, mode="r+", use_consolidated=False).attrs["title"] = title


def run(store, *titles, **options):
    """Do what every run does, and write what it is given."""
    with hold_lease(locate(store).open(), str(store), **options):
        for title in titles:
            write(store, title)


def sealed(store):
    return npc.info(store)["sealed"]


def seal(store):
    return read_seal(locate(store).open(read_only=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("contents_of", TypeError("zarr cannot read it")),
        ("contents_of", StoreError("it cannot be read")),
        ("seal_of", MemoryError()),
        ("seal_of", KeyboardInterrupt()),
    ],
)
def test_the_next_run_seals_what_a_run_could_not_though_it_writes_nothing(copy, monkeypatch, name, error):
    with unable(monkeypatch, **{name: error}), suppress(MemoryError, KeyboardInterrupt):
        run(copy, "ours")
    assert "not sealed" in sealed(copy)
    assert not (copy / LEASE_KEY).exists()
    run(copy)
    assert sealed(copy) == "as npczarr wrote it"


@pytest.mark.slow
def test_two_runs_may_fail_so(copy, monkeypatch):
    with unable(monkeypatch, contents_of=StoreError("it cannot be read")):
        run(copy, "ours")
        run(copy, "ours again")
    assert "not sealed" in sealed(copy)
    with unable(monkeypatch, contents_of=StoreError("it cannot be read")):
        run(copy, "and again")
    run(copy)
    assert sealed(copy) == "as npczarr wrote it"


@pytest.mark.parametrize("change", ["a value", "an attribute", "an object less", "an object more"])
def test_what_another_program_writes_after_such_a_run_is_not_sealed(copy, monkeypatch, change):
    with unable(monkeypatch, contents_of=StoreError("it cannot be read")):
        run(copy, "ours")
    if change == "a value":
        zarr.open_array(copy / "age", mode="r+")[0] = 99
    elif change == "an attribute":
        write(copy, "of another program")
    elif change == "an object less":
        (copy / objects(copy, "echo_time")[0]).unlink()
    else:
        shutil.copytree(copy / "age", copy / "age_2")
    run(copy)
    assert seal(copy) is None


def test_what_another_program_wrote_before_such_a_run_stays_named(copy, monkeypatch):
    zarr.open_array(copy / "age", mode="r+")[0] = 99
    with unable(monkeypatch, contents_of=StoreError("it cannot be read")):
        run(copy, "ours")
        run(copy, "ours again")
    run(copy)
    assert "age" in seal(copy).changed
    assert "attributes of the store" not in seal(copy).changed
    before = (copy / SEAL_KEY).read_bytes()
    run(copy)
    assert (copy / SEAL_KEY).read_bytes() == before


def test_what_another_program_wrote_before_a_run_that_was_killed_stays_named(copy, monkeypatch):
    zarr.open_array(copy / "age", mode="r+")[0] = 99
    run(copy, "ours")
    assert "age" in seal(copy).changed
    # the lease is written, and nothing after it but what zarr writes by itself
    assert stopped(monkeypatch, 1, "killed", lambda: run(copy, "ours again"))
    assert (copy / LEASE_KEY).exists()
    run(copy, break_lock=True)
    assert "age" in seal(copy).changed
    assert "attributes of the store" not in seal(copy).changed


@pytest.mark.parametrize("why", ["no seal", "not readable"])
def test_a_store_of_which_nobody_knows_who_wrote_it_is_not_sealed_after_such_a_run(copy, monkeypatch, why):
    away = {"contents_of": StoreError("it cannot be read")}
    if why == "no seal":
        (copy / SEAL_KEY).unlink()
    else:
        write(copy, "of another program")
        away["compute_seal"] = StoreError("it cannot be read")
    with unable(monkeypatch, **away):
        run(copy)
    run(copy)
    assert "not sealed" in sealed(copy)


def test_where_nothing_can_be_written_at_the_end_the_seal_is_taken_away(copy, monkeypatch):
    full = StoreError("no space left on the device")
    with unable(monkeypatch, write_seal=full, write_unfinished=full):
        run(copy, "ours")
    assert not (copy / SEAL_KEY).exists()


@pytest.mark.slow
def test_a_result_half_written_by_such_a_run_is_measured_anew_and_sealed(copy, monkeypatch):
    def fail(_):
        raise TypeError("zarr cannot read it")

    with unable(monkeypatch, contents_of=TypeError("zarr cannot read it")), monkeypatch.context() as patch:
        patch.setattr("npczarr.store.results.consolidate", fail)
        with pytest.raises(TypeError):
            npc.measure_store(copy, "morphology", workers=0)
    assert "morphology" in npc.info(copy)["damaged"]
    npc.measure_store(copy, "morphology", workers=0)
    assert npc.info(copy)["damaged"] == {}
    assert npc.validate(copy, workers=0) == ()


@pytest.mark.slow
def test_groups_are_read_and_consolidated_where_python_drops_assertions(tmp_path):
    program = (
        "import json, sys, zarr\n"
        "from npczarr.store.zarr_library import consolidate\n"
        "root = zarr.open_group(sys.argv[1], mode='w', zarr_format=3)\n"
        "root.require_group('score').require_group('unet').attrs['a'] = 1\n"
        "consolidate(root)\n"
        "found = zarr.open_group(sys.argv[1], mode='r', use_consolidated=True)\n"
        "print(json.dumps([__debug__, list(found['score'].group_keys()), found['score/unet'].attrs['a']]))\n"
    )
    command = [sys.executable, "-O", "-c", program, str(tmp_path / "a.zarr")]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.stderr == ""
    assert json.loads(ended.stdout) == [False, ["unet"], 1]
