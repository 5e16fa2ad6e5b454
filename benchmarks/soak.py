"""Attacks at random for some minutes, against an oracle that is kept apart: kills, pauses, takers, damage, readers.

``python -m benchmarks.soak --minutes 60`` prints attempts and losses of each kind. A loss is: a scan that is not the
oracle's though the store calls it stored; damage or a change that `validate` does not name; two holders of one lease.
Run it from the repository: it uses the small cohorts and the attacks of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom

import npczarr as npc
from npczarr.errors import LeaseError, StoreError
from npczarr.store.cohort import StoredCohort
from npczarr.store.lease import LEASE_KEY, hold_lease
from npczarr.store.location import locate
from tests.builders import write_cohort
from tests.store.small import make_small, objects
from tests.store.test_seal import ATTACKS
from tests.store.test_takeover import stale

WRITER = "import sys, npczarr as npc\nnpc.convert(sys.argv[1], sys.argv[2], rewrite=['001', '002', '003'], workers=0)"
WINDOW = slice(1, 3), slice(2, 6), slice(1, 5)
SERIES = "data/MRI-Segments/002/T2WI"


class Soak:
    """The source, a second one of which one series differs, a store of each as oracle, and what was counted."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.attempts: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.sources = {"a": folder / "a", "b": folder / "b"}
        write_cohort(self.sources["a"])
        shutil.copytree(self.sources["a"], self.sources["b"])
        for path in (self.sources["b"] / SERIES).glob("*.dcm"):
            header = pydicom.dcmread(path)
            header.PixelSpacing = [2 * float(n) for n in header.PixelSpacing]
            header.PixelData = (header.pixel_array + 1).astype(header.pixel_array.dtype).tobytes()
            header.save_as(path)
        self.oracle = {key: make_small(source, folder / f"{key}.zarr") for key, source in self.sources.items()}
        npc.measure_store(self.oracle["a"], "morphology", workers=0)
        self.truth = {key: self.content(store) for key, store in self.oracle.items()}

    def content(self, store: Path) -> dict[str, str]:
        """Read back what a store says of each stored scan."""
        return {
            scan.label: f"{scan.image_digest} {scan.mask_digest} {scan.spacing_zyx_mm.tolist()} {scan.image().sum()}"
            for scan in StoredCohort(locate(store))
            if scan.has_image
        }

    def copy(self, key: str = "a") -> Path:
        """Make a store to be attacked."""
        shutil.rmtree(self.folder / "attacked.zarr", ignore_errors=True)
        return Path(shutil.copytree(self.oracle[key], self.folder / "attacked.zarr"))

    def count(self, kind: str, lost: bool) -> None:
        """Note an attempt and whether it did harm."""
        self.attempts[kind] += 1
        self.losses[kind] += lost

    def tell(self, seconds: float) -> None:
        """Print attempts and losses of each kind, and their sums."""
        for kind, attempts in sorted(self.attempts.items()):
            print(f"| {kind} | {attempts} | {self.losses[kind]} |")
        sums = {"attempts": self.attempts.total(), "losses": self.losses.total(), "minutes": round(seconds / 60, 1)}
        print(json.dumps(sums), flush=True)

    def tables(self) -> None:
        """Change or damage a table, a label, an attribute, metadata or a result."""
        name = self.rng.choice(list(ATTACKS))
        store = self.copy()
        attack, word = ATTACKS[name]
        attack(store)
        self.count(f"table: {name}", not any(word in one.problem for one in npc.validate(store, workers=0)))

    def flips(self) -> None:
        """Flip a bit of a chunk of voxels."""
        store = self.copy()
        key = self.rng.choice([*objects(store, "image"), *objects(store, "mask")])
        content = bytearray((store / key).read_bytes())
        content[self.rng.randrange(len(content))] ^= 1 << self.rng.randrange(8)
        (store / key).write_bytes(content)
        found = npc.validate(store, workers=0)
        self.count("a flipped bit of voxels", not found and self.content(store) != self.truth["a"])

    def absent(self) -> None:
        """Delete a chunk of voxels, empty or not."""
        store = self.copy()
        (store / self.rng.choice([*objects(store, "image"), *objects(store, "mask")])).unlink()
        self.count("an absent chunk of voxels", not npc.validate(store, workers=0))

    def takers(self) -> None:
        """Let three writers take over one stale lease at one moment."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        stale(folder)
        begin, end, won = threading.Barrier(3), threading.Barrier(3), []

        def take() -> None:
            begin.wait()
            try:
                with hold_lease(locate(folder).open(), "x") as lease:
                    won.append(lease.token)
                    end.wait()
            except LeaseError:
                end.wait()

        threads = [threading.Thread(target=take) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shutil.rmtree(folder)
        self.count("three takers of a stale lease", len(won) != 1)

    def writer(self, store: Path, source: str) -> subprocess.Popen[bytes]:
        """Start a writer, and wait until it is at work and some moment more."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        started = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self.sources[source]), str(store)],
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        while not (store / LEASE_KEY).exists() and started.poll() is None:
            time.sleep(0.001)
        time.sleep(self.rng.random() * 0.3)
        return started

    def kills(self) -> None:
        """Kill a writer; what it left is completed by the next."""
        store, source = self.copy(), self.rng.choice("ab")
        killed = self.writer(store, source)
        killed.kill()
        killed.wait()
        wrong = any(found not in (self.truth["a"][k], self.truth["b"][k]) for k, found in self.content(store).items())
        npc.convert(self.sources[source], store, workers=0)
        self.count("a killed writer", wrong or self.content(store) != self.truth[source] or self.named(store))

    def named(self, store: Path) -> bool:
        """Whether `validate` finds anything in a store that should be sound."""
        return bool(npc.validate(store, workers=0))

    def pauses(self) -> None:
        """Pause a writer, let another take over, and let the first go on."""
        store = self.copy()
        paused = self.writer(store, "a")
        paused.send_signal(signal.SIGSTOP)
        at_work = (store / LEASE_KEY).exists()
        try:
            with suppress(LeaseError):
                npc.convert(self.sources["b"], store, workers=0, break_lock=True)
                at_work = at_work and self.content(store) == self.truth["b"]
                paused.send_signal(signal.SIGCONT)
                paused.wait(120)
                lost = self.content(store) != self.truth["b"] or self.named(store)
                lost = lost or (at_work and not paused.returncode)
                self.count("a paused writer that wakes after another took over", lost)
                return
            paused.send_signal(signal.SIGCONT)
            paused.wait(120)
            self.count("a writer paused in the middle of a write: refused", self.content(store) != self.truth["a"])
        finally:
            paused.kill()

    def readers(self) -> None:
        """Read a scan again and again while it is replaced."""
        store, stop, mixed = self.copy(), threading.Event(), 0
        known = {}
        for key in "ab":
            scan = StoredCohort(locate(self.oracle[key])).scan("002", "T2WI")
            known[key] = scan.image(WINDOW), scan.spacing_zyx_mm

        def write() -> None:
            for key in "ba":
                npc.convert(self.sources[key], store, workers=0)
            stop.set()

        writer = threading.Thread(target=write)
        writer.start()
        while not stop.is_set():
            with suppress(StoreError):
                scan = StoredCohort(locate(store)).scan("002", "T2WI")
                time.sleep(self.rng.random() * 0.02)
                if scan.stored:
                    voxels = scan.image(WINDOW)
                    mixed += not any(
                        np.array_equal(voxels, v) and np.allclose(scan.spacing_zyx_mm, s) for v, s in known.values()
                    )
        writer.join()
        self.count("a scan replaced under a reader", bool(mixed))


def main() -> None:
    """Run attacks for some minutes and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), random.Random(chosen.seed))
        attacks: list[Callable[[], None]] = [
            *[soak.tables] * 4, soak.flips, soak.absent, *[soak.takers] * 2, soak.kills, soak.pauses, soak.readers,
        ]  # fmt: skip
        begin = time.monotonic()
        told = begin
        while (now := time.monotonic()) < begin + 60 * chosen.minutes:
            if now > told + 60:  # a run that is ended early still gives its figures
                soak.tell(now - begin)
                told = now
            soak.rng.choice(attacks)()
        soak.tell(time.monotonic() - begin)
    sys.exit(bool(soak.losses.total()))


if __name__ == "__main__":
    main()
