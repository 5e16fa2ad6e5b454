"""Damage a store on purpose, so many times of each kind, and count what nobody names; take a lease, pause its holder.

``python -m benchmarks.attacks [--count 100] [--takers 300] [--pauses 50] [--no-each] [--kills 30] [--answers 500]``
prints attempts and failures of each kind. A failure is: what plain xarray reads differs from what was stored, and
`validate` says nothing; two holders of one lease; anything of the second writer lost to the first, or a first one that
ends well; a killed import of masks that run again is not as one in peace; an object that is deleted or answers 404 and
is no error that names it. Run it from the repository: it uses the small cohorts and the server of the tests.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel
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
from tests.store.small import objects, snapshot
from tests.store.test_takeover import stale

WRITER = "import sys, npczarr as npc\nnpc.convert(sys.argv[1], sys.argv[2], rewrite=['001', '002', '003'], workers={})"
#: What a plain reader needs to get the right voxels at the right place; anything else may differ unseen by it.
VOXELS = ("image", "mask")
TAKERS = 3


class Attacks(Soak):
    """Two sources, a store of each, and damage of one kind after another."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        super().__init__(folder, rng)
        npc.measure_store(self.oracle["b"], "morphology", workers=0)
        self.seen = read_plainly(self.oracle["a"])
        self.bytes = snapshot(self.oracle["a"])
        self.examples: dict[str, str] = {}

    def try_damage(self, kind: str, damage: Callable[[Path], str]) -> None:
        """Damage a copy; count a failure where a reader gets something else and `validate` does not say so.

        What leaves every byte as it was, as where two equal values are swapped, does not count as an attempt.
        """
        store = self.copy()
        what = damage(store)
        if snapshot(store) == self.bytes:
            return
        try:
            found = [one.problem for one in npc.validate(store, workers=0)]
        except NpczarrError as error:
            found = [str(error)]
        lost = not found and read_plainly(store) != self.seen
        self.count(kind, lost)
        if lost:
            self.examples.setdefault(kind, what)

    def kinds(self) -> dict[str, Callable[[Path], str]]:
        """Kinds of damage, by name."""
        return {
            "a value of a table": self.change,
            "two patients swapped in a table": self.swap,
            "a deleted chunk of a table": self.drop,
            "a flipped bit of a table": self.spoil,
            "the chunk of another table": self.exchange,
            "old copies of tables": self.restore,
            "an entry of an array's metadata": self.mutate("own"),
            "an entry of the consolidated metadata": self.mutate("readers"),
            "an entry of both": self.mutate("both"),
            "an attribute by which readers decode": self.attribute,
        }

    def repeat_damage(self, kind: str, damage: Callable[[Path], str], count: int) -> None:
        """Damage so many copies; what was counted is printed on the way, for a run that is ended early."""
        while self.attempts[kind] < count:
            self.try_damage(kind, damage)
            if self.attempts[kind] % 10 == 0:
                self.tell_of(kind)

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
            and path.parent != store / name
        ]
        if not alike:
            return "nothing"
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

    def take(self, rounds: int) -> None:
        """Let three processes, round after round, take over one stale lease at one moment."""
        folders = [Path(tempfile.mkdtemp(dir=self.folder)) for _ in range(rounds)]
        for folder in folders:
            stale(folder)
        context = multiprocessing.get_context("spawn")
        barrier, won = context.Barrier(TAKERS), context.Array("i", rounds)
        arguments = (list(map(str, folders)), barrier, won)
        takers = [context.Process(target=take_over, args=arguments) for _ in range(TAKERS)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
        for folder, holders in zip(folders, won, strict=True):
            self.attempts["takers of one stale lease, three at a time"] += TAKERS
            lost = abs(holders - 1) + (folder / LEASE_KEY).exists() + any(t.exitcode for t in takers)
            self.losses["takers of one stale lease, three at a time"] += lost
            shutil.rmtree(folder)

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

    def pause_writers(self, count: int) -> None:
        """Pause so many writers, every other one with workers."""
        self.prepare_pauses()
        for i in range(count):
            self.pause(2 * (i % 2))
            if i % 10 == 9 or i == count - 1:
                self.tell_of("a writer")

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
        key = self.rng.choice(self.voxels)
        proxy.use(Faults(absent=key))
        name = self.rng.choice([*self.commands(url, key)])
        error = said(self.commands(url, key)[name])
        if proxy.faults.injected["absent"]:
            self.note(f"404 of one object: {name}", key, error)
        proxy.use(Faults())

    def delete_each(self) -> None:
        """Delete every object of voxels, one after the other, and read everything in one way and another."""
        store = self.copy()
        for i, key in enumerate(self.voxels):
            (store / key).rename(store / "away")
            commands = self.commands(str(store), key)
            for name in ("ds.npc.scan", [*commands][1 + i % (len(commands) - 1)]):
                self.note(f"a deleted chunk of voxels: {name}", key, said(commands[name]))
            (store / "away").rename(store / key)
            if i % 50 == 49 or i == len(self.voxels) - 1:
                self.tell_of("a deleted chunk of voxels")

    @cached_property
    def voxels(self) -> list[str]:
        """Keys of all objects of image and mask."""
        return [key for name in VOXELS for key in objects(self.oracle["a"], name)]

    def kill_imports(self, count: int) -> None:
        """Kill `import-masks` at random moments, run it again, and compare with one in peace."""
        edited, store = self.folder / "edited", self.folder / "import.zarr"
        npc.export_scans(self.oracle["a"], edited, format="nifti", workers=0)
        for path in edited.rglob("ROI-*.nii.gz"):
            image = nibabel.load(path)
            voxels = np.asarray(image.dataobj).copy()
            voxels[..., np.flatnonzero(voxels.any((0, 1)))[0]] = 0
            nibabel.save(nibabel.Nifti1Image(voxels, image.affine, image.header), path)

        def run(seconds: float | None) -> float:
            begun = time.monotonic()
            process = subprocess.Popen([sys.executable, "-c", IMPORT, str(store), str(edited)], stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()  # it has imported what it needs
            ready = time.monotonic()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.kill()
            process.communicate()
            return time.monotonic() - (ready if seconds is None else begun)

        def held() -> xr.Dataset:
            return xr.open_zarr(store, mask_and_scale=False).load().drop_attrs(deep=False)

        shutil.copytree(self.oracle["a"], store)
        whole = run(None)
        expected = held()
        for i in range(count):
            shutil.rmtree(store)
            shutil.copytree(self.oracle["a"], store)
            run(self.rng.uniform(0, whole))
            run(None)
            self.count(
                "import-masks killed, then run again", not held().identical(expected) or bool(npc.validate(store))
            )
            if i % 10 == 9:
                self.tell_of("import-masks")

    def commands(self, url: str, key: str) -> dict[str, Callable[[], Any]]:
        """List what reads the object with this key, by name."""
        array = key.partition("/")[0]
        found: dict[str, Callable[[], Any]] = {
            "ds.npc.scan": lambda: [npc.open(url).npc.scan(*place).load() for place in self.places],
            "npc.open": lambda: npc.open(url)[array].load(),
            "validate": lambda: complain(npc.validate(url, workers=0)),
            "export": lambda: complain_of_failed(self.exported(url)),
            "resample": lambda: complain_of_failed(self.resampled(url)),
        }
        if array == "mask":
            found["morphology"] = lambda: npc.morphology(npc.open(url)).compute()
        return found

    def exported(self, url: str) -> list[str]:
        """Export a store; return what is said of each scan."""
        shutil.rmtree(self.folder / "exported", ignore_errors=True)
        return [one.message for one in npc.export_scans(url, self.folder / "exported", format="nifti", workers=0)]

    def resampled(self, url: str) -> list[str]:
        """Resample a store; return what is said of each scan."""
        shutil.rmtree(self.folder / "resampled.zarr", ignore_errors=True)
        found = npc.resample_store(url, self.folder / "resampled.zarr", spacing=(2, 2, 2), workers=0)
        return [str(message) for message in found["message"].values.ravel()]

    def note(self, kind: str, key: str, error: str) -> None:
        """Count a failure unless an error names the object."""
        self.count(kind, key not in error)
        if key not in error:
            self.examples.setdefault(kind, f"{key}: {error[:300] or 'no error'}")

    def tell_of(self, prefix: str) -> None:
        """Print what was counted of attacks whose names begin so, and an example of each failure."""
        for kind in [kind for kind in self.attempts if kind.startswith(prefix)]:
            print(f"| {kind} | {self.attempts[kind]} | {self.losses[kind]} |", flush=True)
            if kind in self.examples:
                print(f"    {self.examples[kind]}", flush=True)

    @cached_property
    def places(self) -> list[tuple[str, str]]:
        """Labels of the stored scans."""
        scans = [scan for scan in StoredCohort(locate(self.oracle["a"])) if scan.has_image]
        return [(scan.patient, scan.sequence) for scan in scans]


IMPORT = """
import sys, npczarr as npc
npc.import_masks
print("ready", flush=True)
npc.import_masks(sys.argv[1], sys.argv[2], workers=0)
"""


def take_over(folders: list[str], barrier: Any, won: Any) -> None:
    """Take over the stale lease of each folder, at the moment at which the others try, and hold it until they have."""
    for i, folder in enumerate(folders):
        store = locate(folder).open()
        barrier.wait(60)
        try:
            with hold_lease(store, folder) as lease:
                with won.get_lock():
                    won[i] += 1
                barrier.wait(60)
                lease.check()
        except LeaseError:
            barrier.wait(60)


def complain(problems: Any) -> None:
    """Make an error of what `validate` says."""
    if problems:
        raise StoreError("; ".join(one.problem for one in problems))


def complain_of_failed(messages: list[str]) -> None:
    """Make an error of what is said of scans."""
    raise StoreError("; ".join(messages))


def said(act: Callable[[], Any]) -> str:
    """Return the error of an act, "" where there is none."""
    try:
        act()
    except NpczarrError as error:
        return str(error)
    return ""


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


def withhold_objects(attacks: Attacks, count: int) -> None:
    """Let objects of a real S3 server answer 404, one at a time, if there is a server on this machine."""
    if not weed():
        return
    with served(attacks) as (proxy, url):
        while (answers := sum(n for kind, n in attacks.attempts.items() if kind.startswith("404"))) < count:
            attacks.withhold(proxy, url)
            if answers % 50 == 49:
                attacks.tell_of("404")
    attacks.tell_of("404")


def main() -> None:
    """Run so many attacks of each kind and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="damaged stores of each kind")
    parser.add_argument("--only", default="", help="only damage whose name holds this")
    parser.add_argument("--takers", type=int, default=300)
    parser.add_argument("--pauses", type=int, default=50)
    parser.add_argument("--kills", type=int, default=30, help="of import-masks")
    parser.add_argument("--answers", type=int, default=500, help="objects that answer 404")
    parser.add_argument("--each", action=argparse.BooleanOptionalAction, default=True, help="delete every chunk")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        attacks = Attacks(Path(folder), random.Random(chosen.seed))
        print("| attack | attempts | failures |\n|---|---|---|", flush=True)
        for kind, damage in attacks.kinds().items():
            if chosen.only in kind:
                attacks.repeat_damage(kind, damage, chosen.count)
        if chosen.takers:
            attacks.take(-(-chosen.takers // TAKERS))
            attacks.tell_of("takers")
        if chosen.pauses:
            attacks.pause_writers(chosen.pauses)
        if chosen.each:
            attacks.delete_each()
        if chosen.kills:
            attacks.kill_imports(chosen.kills)
        if chosen.answers:
            withhold_objects(attacks, chosen.answers)
    sys.exit(bool(attacks.losses.total()))


if __name__ == "__main__":
    main()
