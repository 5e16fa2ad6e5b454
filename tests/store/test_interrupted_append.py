"""A store that a run was killed in while it added patients says so, and is completed by the next run."""

import shutil

import pytest

import npczarr as npc
from npczarr.store.hierarchy import RESIZING
from tests.store.small import make_small, part
from tests.store.stopping import stopped


@pytest.mark.slow
def test_killed_while_patients_are_added_it_says_that_converting_again_completes_it(source, tmp_path, monkeypatch):
    first = make_small(part(source, tmp_path / "one", "001"), tmp_path / "a.zarr")
    half = 0
    for n in range(0, 200, 25):
        store = shutil.copytree(first, tmp_path / f"{n}.zarr")
        if not stopped(monkeypatch, n, "killed", lambda store=store: npc.convert(source, store, workers=0)):
            break
        if (store / RESIZING).exists():
            half += 1
            said = [one.problem for one in npc.validate(store, workers=0)]
            assert any("run `npczarr convert` again to complete it" in problem for problem in said)
            assert not any("different names" in problem for problem in said)
            npc.convert(source, store, workers=0, break_lock=True)
            assert npc.validate(store, workers=0) == ()
        shutil.rmtree(store)
    assert half > 1
