"""Patches a second: ``npczarr.patches`` beside the loaders of nnU-Net, MONAI and TorchIO, on the same patients.

Run ``python benchmarks/training.py [--patients 6] [--seconds 5] [--rounds 3] [--s3] [--folder KEPT]``. A full-size
phantom is laid on the grid of CE-T1WI and written for training twice, mapped (no codec) and in lz4 tiles; the others'
files are made from that store (``training_peers.py``). Patches of all are compared before any is timed. Every
measurement is a process of its own, and sides take turns: seconds until as many patches were given as there are
patients (the first epoch, with what a loader reads, caches or compiles; not its imports), then patches a second, and
the most memory of the process and its workers (proportional set size, with pages of mapped files). Two threads or two
workers each. ``--s3`` reads the lz4 tiles from an S3 server on this machine with 20 ms added to each request. Loaders
that are not installed are left out, and that is said.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil

import npczarr as npc

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
import training_peers as peers  # noqa: E402

SIZES = {"16 x 256 x 256": (16, 256, 256), "64 x 64 x 64": (64, 64, 64)}
AIMS = {"16 x 256 x 256": 90, "64 x 64 x 64": 400}
S3_AIM = 40
OURS = {"npczarr.patches, mapped": "none", "npczarr.patches, lz4 tiles": "lz4"}
REFERENCE = "nnU-Net, its blosc2 loader"
PACKAGES = {REFERENCE: "nnunetv2", "MONAI CacheDataset": "monai", "MONAI PersistentDataset": "monai",
            "TorchIO Queue": "torchio"}  # fmt: skip


def batches_of(side, folder, size, store):
    """Return an endless iterator of batches of two, and the patients."""
    if side in peers.LOADERS:
        patients = [str(p) for p in npc.open(folder / "none.zarr").patient.values]
        return iter(peers.LOADERS[side](folder, size, patients)), len(patients)
    p = npc.patches(store, size=size, batch_size=peers.BATCH, steps=10**6, threads=None if "://" in store else 2)
    return iter(p), len(p.subjects)


def watch_memory(most, done):
    """Keep the most memory of this process and its children, in MB, in ``most[0]``."""
    me = psutil.Process()
    while not done.wait(0.3):
        found = 0
        for process in (me, *me.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                found += process.memory_full_info().pss
        most[0] = max(most[0], found / 1e6)


def measure_one(side, folder, size, seconds, store):
    """Measure one side in this process, and print it."""
    if side in PACKAGES:
        __import__(PACKAGES[side])
    most, done = [0.0], threading.Event()
    watcher = threading.Thread(target=watch_memory, args=(most, done), daemon=True)
    watcher.start()
    begun = time.perf_counter()
    todo, patients = batches_of(side, folder, size, store)
    for _ in range(-(-patients // peers.BATCH)):
        next(todo)
    first = time.perf_counter() - begun
    for _ in range(6):
        next(todo)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        next(todo)
        count += peers.BATCH
    later = count / (time.perf_counter() - begun)
    done.set()
    watcher.join()
    print(json.dumps({"first": first, "later": later, "memory": most[0]}), flush=True)
    os._exit(0)  # workers of some loaders outlive what uses them


def ask(side, folder, size, seconds, store):
    """Measure one side in a process of its own."""
    line = [sys.executable, __file__, "--side", side, "--size", json.dumps(size), "--folder", str(folder),
            "--seconds", str(seconds), "--store", store]  # fmt: skip
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:  # orphaned workers hold a pipe open
        code = subprocess.call(line, stdout=out, stderr=err)
        out.seek(0)
        err.seek(0)
        said = out.read().strip().splitlines()
        if code or not said:
            raise RuntimeError(f"{side}: exit code {code}\n{err.read()[-3000:]}")
        return json.loads(said[-1])


def measure(folder, options, remote):
    sides = dict.fromkeys(OURS) | {side: None for side in peers.LOADERS if find_spec(PACKAGES[side])}
    if left_out := [side for side in peers.LOADERS if side not in sides]:
        print("not installed: " + ", ".join(left_out))
    stores = {side: str(folder / f"{codec}.zarr") for side, codec in OURS.items()}
    if remote:
        stores["npczarr.patches, S3 with 20 ms added"] = remote
        sides |= dict.fromkeys(stores)
    for name, size in SIZES.items():
        if find_spec("nnunetv2"):
            for codec in OURS.values():
                peers.check(folder / f"{codec}.zarr", folder, size)
        found = {side: [] for side in sides}
        for _ in range(options.rounds):
            for side in sides:
                found[side].append(ask(side, folder, size, options.seconds, stores.get(side, "")))
        print(f"\n{name}: first epoch, s | later, patches a second, median (least to most) | peak memory, MB")
        middle = {side: {k: np.median([m[k] for m in ms]) for k in ms[0]} for side, ms in found.items()}
        for side, ms in found.items():
            rates = [m["later"] for m in ms]
            of = middle[side]
            times = f"{of['later'] / middle[REFERENCE]['later']:.1f}x" if REFERENCE in middle else ""
            aim = S3_AIM if "S3" in side else AIMS[name] if "mapped" in side else 0
            met = f"  aim {aim}: {'met' if of['later'] >= aim else 'missed'}" if aim else ""
            spread = f"({min(rates):.0f} to {max(rates):.0f})"
            print(
                f"  {side:38} {of['first']:6.1f} | {of['later']:6.0f} {spread} {times:>6} | {of['memory']:6.0f}{met}",
                flush=True,
            )
        print(f"  load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


@contextlib.contextmanager
def s3_copy(folder, store):
    """Serve a store from S3 with 20 ms added to each request; credentials are in the environment meanwhile."""
    from obstore import put
    from obstore.store import from_url

    from tests.servers import Faults, environment, proxy_to, s3_server

    with s3_server(folder) as server, proxy_to(server) as proxy:
        os.environ |= environment(proxy.url)
        target = from_url("s3://priv/training.zarr")
        for path in Path(store).rglob("*"):
            if path.is_file():
                put(target, str(path.relative_to(store)), path)
        proxy.use(Faults(delay=0.02))
        yield "s3://priv/training.zarr"


def prepare(folder, patients):
    """Make the phantom, the stores and the files of the others."""
    if not (folder / "npc.zarr").exists():
        npc.make_cohort(folder / "cohort", patients=patients, size="full", workers=0, reliability=False)
        npc.convert(folder / "cohort/primary_data", folder / "npc.zarr", workers=0)
        for codec in OURS.values():
            npc.resample_store(
                folder / "npc.zarr", folder / f"{codec}.zarr", like=peers.SEQUENCE, purpose="training", codec=codec,
                workers=0,
            )  # fmt: skip
    if find_spec("nnunetv2") and not (folder / "nifti").exists():
        peers.write(folder / "none.zarr", folder, SIZES.values())
    for what in ("none.zarr", "lz4.zarr", "nifti", *(f"blosc2 {size}" for size in SIZES.values())):
        files = [f for f in (folder / what).rglob("*") if f.is_file()]
        print(f"{what}: {sum(f.stat().st_size for f in files) / 1e6:.0f} MB, {len(files)} files")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep what is made here, and use it again")
    for internal in ("--side", "--size", "--store"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, tempfile.gettempdir())  # nnU-Net warns otherwise
    if options.side:
        measure_one(options.side, options.folder, tuple(json.loads(options.size)), options.seconds, options.store)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = options.folder or scratch
        prepare(folder, options.patients)
        remote = stack.enter_context(s3_copy(scratch, folder / "lz4.zarr")) if options.s3 else ""
        measure(folder, options, remote)


if __name__ == "__main__":
    main()
