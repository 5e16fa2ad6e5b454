"""Runs that end at a write of one's choice: killed, or because the disk is full."""

import json
import os
from itertools import count

from npczarr.errors import StoreError
from npczarr.store.folder_store import FolderStore
from npczarr.store.holder import LEASE_KEY, identity


class Killed(BaseException):
    """What ends a run as a kill does: nothing is written or deleted after it, its lease neither."""


def stop_at(monkeypatch, n, way):
    """Let the n-th object that is written, and all after it, end the run; by a kill also what is deleted."""
    done = count()
    put, write = FolderStore._put, FolderStore.set
    deletions = {name: getattr(FolderStore, name) for name in ("delete", "delete_dir")}

    def alive():
        if next(done) >= n:
            raise Killed if way == "killed" else StoreError("no space left on the device")

    def put_unless(self, key, content):
        alive()
        put(self, key, content)

    async def write_unless(self, key, value):
        alive()
        await write(self, key, value)

    def guarded(delete):
        async def delete_unless(self, key):
            alive()
            await delete(self, key)

        return delete_unless

    monkeypatch.setattr(FolderStore, "_put", put_unless)
    monkeypatch.setattr(FolderStore, "set", write_unless)
    for name, delete in deletions.items() if way == "killed" else ():
        monkeypatch.setattr(FolderStore, name, guarded(delete))


def stopped(monkeypatch, n, way, act):
    """Run until the n-th write; whether it was ended by it."""
    with monkeypatch.context() as patch:
        stop_at(patch, n, way)
        try:
            act()
        except (Killed, StoreError):
            return True
        return False


def stale(folder, **changes):
    """Leave the lease of a process that died."""
    content = {**identity(), "process": 2**22 + 5, "since": "2026", "token": os.urandom(8).hex(), **changes}
    path = folder / LEASE_KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
