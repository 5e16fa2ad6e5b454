"""Damage a store on purpose, so many times of each kind, and count what nobody names; take a lease, pause its holder.

``python -m benchmarks.attacks [--count 100] [--takers 300] [--pauses 50] [--answers 500]`` prints attempts and failures
of each kind. A failure is: what plain xarray reads differs from what was stored, and `validate` says nothing; two
holders of one lease; anything of the second writer lost to the first, or a first one that ends well; an object that
answers 404 and is no error that names it. Run it from the repository: it uses the small cohorts and the server of the
tests.
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
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

import npczarr as npc
from benchmarks.soak import Soak
from npczarr.errors import LeaseError, NpczarrError, StoreError
from npczarr.store.cohort import StoredCohort
from npczarr.store.lease import LEASE_KEY, hold_lease
from npczarr.store.location import locate
from tests.builders import write_cohort
from tests.servers import Faults, environment, proxy_to, s3_server, weed
from tests.store.small import objects
from tests.store.test_takeover import stale

WRITER = "import sys, npczarr as npc\nnpc.convert(sys.argv[1], sys.argv[2], rewrite=['001', '002', '003'], workers={})"
#: What a plain reader needs to get the right voxels at the right place; anything else may differ unseen by it.
VOXELS = ("image", "mask")


class Attacks(Soak):
    """Two sources, a store of each, and damage of one kind after another."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        super().__init__(folder, rng)
        npc.measure_store(self.oracle["b"], "morphology", workers=0)
        self.seen = read_plainly(self.oracle["a"])
        self.examples: dict[str, str] = {}

    def try_damage(self, kind: str, damage: Callable[[Path], str]) -> None:
        """Damage a copy; count a failure where a reader gets something else and `validate` does not say so."""
        store = self.copy()
        what = damage(store)
        try:
            found = [one.problem for one in npc.validate(store, workers=0)]
        except NpczarrError as error:
            found = [str(error)]
        lost = not found and read_plainly(store) != self.seen
        self.count(kind, lost)
        if lost:
            self.examples.setdefault(kind, what)

    def table(self, store: Path) -> str:
        """Choose a table of a store, or of its results."""
        found = sorted(str(path.parent.relative_to(store)) for path in store.rglob("zarr.json"))
        tables = [name for name in found if name not in (".", *VOXELS) and (store / name / "c").exists()]
        return self.rng.choice(tables)

    def change(self, store: Path) -> str:
        """Change one value of a table."""
        name = self.table(store)
        array = zarr.open_array(store / name, mode="r+", config={"write_empty_chunks": True})
        values = np.asarray(array[...])
        at = tuple(self.rng.randrange(n) for n in values.shape)
        old = values[at]
        values[at] = f"{old}x" if values.dtype.kind in "OTU" else (0 if np.isnan(float(old)) else old + 1)
        array[...] = values
        return f"{name}{list(at)} was {old}"

    def swap(self, store: Path) -> str:
        """Swap two patients in one table."""
        name = self.table(store)
        array = zarr.open_array(store / name, mode="r+", config={"write_empty_chunks": True})
        values = np.asarray(array[...])
        if len(values) > 1:
            one, other = self.rng.sample(range(len(values)), 2)
            values[[one, other]] = values[[other, one]]
            array[...] = values
        return f"{name}: swapped"

    def drop(self, store: Path) -> str:
        """Delete a chunk of a table."""
        name = self.table(store)
        key = self.rng.choice(objects(store, name))
        (store / key).unlink()
        return f"{key} deleted"

    def spoil(self, store: Path) -> str:
        """Flip a bit of a chunk of a table."""
        key = self.rng.choice(objects(store, self.table(store)))
        content = bytearray((store / key).read_bytes())
        at, bit = self.rng.randrange(len(content)), 1 << self.rng.randrange(8)
        content[at] ^= bit
        (store / key).write_bytes(content)
        return f"{key}: byte {at} ^ {bit}"

    def exchange(self, store: Path) -> str:
        """Put the chunk of one table into another of the same type and shape."""
        name = self.table(store)
        described = json.loads((store / name / "zarr.json").read_text())
        alike = [
            path.parent
            for path in sorted(store.rglob("zarr.json"))
            if (found := json.loads(path.read_text()))["node_type"] == "array"
            and all(found[key] == described[key] for key in ("shape", "data_type", "chunk_grid"))
            and (path.parent / "c").exists()
        ]
        other = self.rng.choice(alike)
        for key in objects(store, name):
            shutil.copyfile(other / key.removeprefix(f"{name}/"), store / key)
        return f"{other.name} in {name}"

    def restore(self, store: Path) -> str:
        """Put back some tables as they were before a scan was replaced, also such that belong together."""
        together = [("spacing", "affine"), ("spacing", "affine", "z_mm"), ("image_digest", "row_digest")]
        names = self.rng.choice([*together, (self.table(store),), (self.table(store), self.table(store))])
        for name in names:
            shutil.rmtree(store / name)
            shutil.copytree(self.oracle["b"] / name, store / name)
        return f"old {names}"

    def mutate(self, which: str) -> Callable[[Path], str]:
        """Change one entry of metadata: of an array, of what readers see of it, or of both alike."""

        def damage(store: Path) -> str:
            root = json.loads((store / "zarr.json").read_text())
            listed = root["consolidated_metadata"]["metadata"]
            name = self.rng.choice([*sorted(listed), ""])
            described = json.loads((store / name / "zarr.json").read_text()) if name else root
            holder, key = self.rng.choice([*_entries(described, skip="consolidated_metadata")])
            said = f"{name} {key}: {holder[key]!r}"
            holder[key] = self.rng.choice(_others(holder[key]))
            if name and which in ("readers", "both"):
                listed[name] = described
            if name and which in ("own", "both"):
                (store / name / "zarr.json").write_text(json.dumps(described))
            if not name or which in ("readers", "both"):
                (store / "zarr.json").write_text(json.dumps(root))
            return f"{said} -> {holder[key]!r}"

        return damage

    def attribute(self, store: Path) -> str:
        """Add an attribute by which xarray decodes, to an array and to what readers see of it."""
        root = json.loads((store / "zarr.json").read_text())
        listed = root["consolidated_metadata"]["metadata"]
        name = self.rng.choice([name for name in sorted(listed) if listed[name]["node_type"] == "array"])
        key, value = self.rng.choice(
            [("scale_factor", 2.0), ("add_offset", 1.0), ("missing_value", 1), ("_FillValue", 1), ("_Unsigned", "true"),
             ("units", "days since 2000-01-01"), ("coordinates", "mask"), ("dtype", "bool"), ("calendar", "noleap")]
        )  # fmt: skip
        own = json.loads((store / name / "zarr.json").read_text())
        for described in (own, listed[name]):
            described["attributes"][key] = value
        (store / name / "zarr.json").write_text(json.dumps(own))
        (store / "zarr.json").write_text(json.dumps(root))
        return f"{name}: {key}={value}"

    def take(self, takers: int = 3) -> None:
        """Let some writers take over one stale lease at one moment."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        stale(folder)
        begin, end = threading.Barrier(takers), threading.Barrier(takers)
        won: list[str] = []

        def one() -> None:
            begin.wait()
            try:
                with hold_lease(locate(folder).open(), "x") as lease:
                    won.append(lease.token)
                    end.wait()
                    lease.check()
            except LeaseError:
                end.wait()

        threads = [threading.Thread(target=one) for _ in range(takers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shutil.rmtree(folder)
        self.attempts["takers of one stale lease"] += takers
        self.losses["takers of one stale lease"] += abs(len(won) - 1)

    def pause(self, workers: int) -> None:
        """Pause a writer and its workers; let another, which replaces a scan and appends a patient, take over."""
        store = self.copy()
        kind = f"a writer paused at some moment{', with workers' if workers else ''}, woken after --break-lock"
        code = WRITER.format(workers)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        started = subprocess.Popen(
            [sys.executable, "-c", code, str(self.sources["a"]), str(store)],
            stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            while not (store / LEASE_KEY).exists() and started.poll() is None:
                time.sleep(0.001)
            time.sleep(self.rng.random() * (1.5 if workers else 0.4))
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGSTOP)
            at_work = (store / LEASE_KEY).exists() and started.poll() is None
            try:
                npc.convert(self.folder / "more", store, workers=0, break_lock=True)
            except LeaseError:  # paused in the middle of a write: it is to be ended first, and is named
                os.killpg(started.pid, signal.SIGCONT)
                started.communicate(timeout=180)
                self.count(kind + ": refused", self.content(store) != self.truth["a"] or self.named(store))
                return
            expected = self.content(store)
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGCONT)
            _, error = started.communicate(timeout=180)
            lost = self.content(store) != expected or expected != self.truth["more"] or self.named(store)
            ended_well = at_work and (not started.returncode or "LeaseError" not in error)
            self.count(kind, lost or ended_well)
            if lost or ended_well:
                self.examples.setdefault(kind, f"lost {lost}, ended well {ended_well}: {error[-600:]}")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)

    def prepare_pauses(self) -> None:
        """Make the source of the second writer: one scan another, one patient more."""
        more = self.folder / "more"
        write_cohort(more, patients=("001", "002", "003", "004"))
        shutil.rmtree(more / "data/MRI-Segments/002/T2WI")
        shutil.copytree(self.sources["b"] / "data/MRI-Segments/002/T2WI", more / "data/MRI-Segments/002/T2WI")
        npc.convert(more, self.copy(), workers=0)
        self.truth["more"] = self.content(self.folder / "attacked.zarr")

    def withhold(self, proxy: Any, url: str) -> None:
        """Let one object of voxels answer 404, and read everything in one way or another."""
        store = self.oracle["a"]
        key = self.rng.choice([*objects(store, "image"), *objects(store, "mask")])
        proxy.use(Faults(absent=key))
        commands: dict[str, Callable[[], Any]] = {
            "ds.npc.scan": lambda: [npc.open(url).npc.scan(*place).load() for place in self.places()],
            "npc.open": lambda: npc.open(url)[key.partition("/")[0]].load(),
            "validate": lambda: complain(npc.validate(url, workers=0)),
            "morphology": lambda: complain_of_failed(npc.morphology(npc.open(url)).compute()),
            "export": lambda: complain(npc.export(url, self.folder / "exported", workers=0)),
        }
        name = self.rng.choice([*commands][: 3 if key.startswith("image") else 4])
        kind = f"404 of one object: {name}"
        try:
            commands[name]()
        except StoreError as error:
            lost = key not in str(error)
            said = str(error)
        else:
            lost = proxy.faults.injected["absent"] > 0
            said = "no error"
        if proxy.faults.injected["absent"]:
            self.count(kind, lost)
            if lost:
                self.examples.setdefault(kind, f"{key}: {said[:300]}")
        proxy.use(Faults())

    def tell_of(self, prefix: str) -> None:
        """Print what was counted of attacks whose names begin so, and an example of each failure."""
        for kind in [kind for kind in self.attempts if kind.startswith(prefix)]:
            print(f"| {kind} | {self.attempts[kind]} | {self.losses[kind]} |", flush=True)
            if kind in self.examples:
                print(f"    {self.examples[kind]}", flush=True)

    def places(self) -> list[tuple[str, str]]:
        """Labels of the stored scans."""
        scans = [scan for scan in StoredCohort(locate(self.oracle["a"])) if scan.has_image]
        return [(scan.patient, scan.sequence) for scan in scans]


def complain(problems: Any) -> None:
    """Make an error of what `validate` says."""
    if problems:
        raise StoreError("; ".join(one.problem for one in problems))


def complain_of_failed(measured: xr.Dataset) -> None:
    """Let a measure that names its failures count as an error."""
    messages = [str(m) for m in np.unique(measured["message"].values.astype(str)) if m] if "message" in measured else []
    if messages:
        raise StoreError("; ".join(messages))


def read_plainly(store: Path) -> str:
    """Return all that plain xarray makes of a store and of its results, or that it cannot open them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            groups = [xr.open_zarr(store, group=group, chunks=None) for group in (None, "morphology")]
            return repr([describe(group) for group in groups])
    except Exception:  # differs from what was stored, so validate has to name it
        return "cannot be opened"


def describe(dataset: xr.Dataset) -> list[Any]:
    """List all that a Dataset says."""
    found: list[Any] = [sorted(map(repr, dataset.attrs.items()))]
    for name, variable in sorted(dataset.variables.items()):
        said = sorted(map(repr, variable.attrs.items()))
        found.append((name, variable.dims, str(variable.dtype), name in dataset.coords, said, variable.values.tolist()))
    return found


def _entries(described: Any, skip: str = "") -> Iterator[tuple[Any, Any]]:
    """List every entry of metadata that is a value, with what holds it."""
    pairs = described.items() if isinstance(described, dict) else enumerate(described)
    for key, value in list(pairs):
        if key == skip:
            continue
        if isinstance(value, (dict, list)) and value:
            yield from _entries(value)
        else:
            yield described, key


def _others(value: Any) -> list[Any]:
    """List values that might be written in the place of one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1, value * 2 or 3, -value or 7]
    if isinstance(value, str):
        return [value + "x", value[::-1] + "y", value.swapcase() + "z"]
    return ["x", 1]


@contextmanager
def served(attacks: Attacks) -> Iterator[tuple[Any, str]]:
    """Serve a copy of the store by a real S3 server, behind a proxy that can say 404."""
    import obstore
    from obstore.store import from_url

    folder = attacks.folder / "server"
    folder.mkdir()
    with s3_server(folder) as server, proxy_to(server) as proxy:
        os.environ.update(environment(proxy.url))
        bucket = from_url("s3://priv/a.zarr")
        for path in attacks.oracle["a"].rglob("*"):
            if path.is_file():
                obstore.put(bucket, str(path.relative_to(attacks.oracle["a"])), path.read_bytes())
        yield proxy, "s3://priv/a.zarr"


def main() -> None:
    """Run so many attacks of each kind and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="damaged stores of each kind")
    parser.add_argument("--only", default="", help="only damage whose name holds this")
    parser.add_argument("--takers", type=int, default=300)
    parser.add_argument("--pauses", type=int, default=50)
    parser.add_argument("--answers", type=int, default=500, help="answers of 404 to requests for voxels")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        attacks = Attacks(Path(folder), random.Random(chosen.seed))
        print("| attack | attempts | failures |\n|---|---|---|", flush=True)
        kinds: dict[str, Callable[[Path], str]] = {
            "a value of a table": attacks.change,
            "two patients swapped in a table": attacks.swap,
            "a deleted chunk of a table": attacks.drop,
            "a flipped bit of a table": attacks.spoil,
            "the chunk of another table": attacks.exchange,
            "old copies of tables": attacks.restore,
            "an entry of an array's metadata": attacks.mutate("own"),
            "an entry of the consolidated metadata": attacks.mutate("readers"),
            "an entry of both": attacks.mutate("both"),
            "an attribute by which readers decode": attacks.attribute,
        }
        for kind, damage in kinds.items():
            if chosen.only in kind:
                for _ in range(chosen.count):
                    attacks.try_damage(kind, damage)
                    if attacks.attempts[kind] % 10 == 0:  # a run that is ended early still gives its figures
                        attacks.tell_of(kind)
        while attacks.attempts["takers of one stale lease"] < chosen.takers:
            attacks.take()
        attacks.tell_of("takers")
        if chosen.pauses:
            attacks.prepare_pauses()
        for i in range(chosen.pauses):
            attacks.pause(2 * (i % 2))
        attacks.tell_of("a writer")
        if chosen.answers and weed():
            with served(attacks) as (proxy, url):
                while Counter({k: n for k, n in attacks.attempts.items() if k[:3] == "404"}).total() < chosen.answers:
                    attacks.withhold(proxy, url)
            attacks.tell_of("404")
    sys.exit(bool(attacks.losses.total()))


if __name__ == "__main__":
    main()
