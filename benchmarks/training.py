"""Patches a second: ``npczarr.patches`` beside blosc2 files as nnU-Net 2 keeps them, and beside plain xarray.

Run ``python benchmarks/training.py [--patients 6] [--seconds 3] [--rounds 3]``. A full-size phantom is laid on the grid
of CE-T1WI and written three times: for training without a codec, for training with lz4, and as blosc2 arrays (float32,
blocks about the patch, zstd; memory-mapped, and normalized before, as nnU-Net does it). All give three sequences and
their masks, a third of the patches about foreground. Before any is timed, the same patches of each are compared. Every
side has two threads; sides take turns. ``--s3`` also reads the lz4 store from a local S3 server with 20 ms added.
"""

import argparse
import contextlib
import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import blosc2
import numpy as np

import npczarr as npc

SIZES = {"16 x 256 x 256": (16, 256, 256), "64 x 64 x 64": (64, 64, 64)}
AIMS = {"16 x 256 x 256": 90, "64 x 64 x 64": 400}
THREADS = 2
blosc2.set_nthreads(1)


def write_blosc2(store, folder, size):
    """Write (sequence, z, y, x) of each patient: normalized images float32 and masks uint8."""
    ds = npc.open(store)
    facts = npc.open(store, group="training")
    for patient in ds.patient.values:
        images, masks = [], []
        for sequence in ds.sequence.values:
            scan, of = ds.npc.scan(patient, sequence), facts.sel(patient=patient, sequence=sequence)
            normal = (scan.image.values - float(of["mean"])) / float(of["standard_deviation"])
            images.append(np.where(scan.image.values == -32768, 0, normal).astype(np.float32))
            masks.append(scan.mask.values)
        for name, values in (("image", np.stack(images)), ("mask", np.stack(masks))):
            shape = values.shape
            # blocks that fit the first cache, chunks that fit the last: as nnU-Net chooses them for a patch
            block = (1, *(min(n, s) for n, s in zip((4, 64, 64), shape[1:], strict=True)))
            chunk = (1, *(min(n, s) for n, s in zip(size, shape[1:], strict=True)))
            blosc2.asarray(
                values, urlpath=str(folder / f"{patient}_{name}.b2nd"), mode="w", chunks=chunk, blocks=block,
                cparams={"codec": blosc2.Codec.ZSTD, "clevel": 8, "nthreads": 1}, dparams={"nthreads": 1},
            )  # fmt: skip


class Blosc2Patches:
    """The same patches, read as nnU-Net's data loader reads them: a box of each file, padded, into the batch."""

    def __init__(self, folder, patches, size):
        self.folder, self.patches, self.size = folder, patches, size

    def batch(self, drawn):
        """Return images and masks of the patches at these places."""
        n = len(drawn.patients)
        images = np.zeros((n, 3, *self.size), np.float32)
        masks = np.zeros((n, 3, *self.size), np.uint8)
        for i, (patient, starts) in enumerate(zip(drawn.patients, drawn.starts_zyx, strict=True)):
            for name, out in (("image", images), ("mask", masks)):
                data = blosc2.open(str(self.folder / f"{patient}_{name}.b2nd"), mode="r", mmap_mode="r",
                                   dparams={"nthreads": 1})  # fmt: skip
                low = [max(int(a), 0) for a in starts]
                high = [min(int(a) + k, s) for a, k, s in zip(starts, self.size, data.shape[1:], strict=True)]
                box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
                place = tuple(slice(a - int(s), b - int(s)) for a, b, s in zip(low, high, starts, strict=True))
                out[(i, slice(None), *place)] = data[(slice(None), *box)]
        return images, masks

    def __iter__(self):
        with ThreadPoolExecutor(THREADS) as pool:
            waiting = []
            for drawn in self.patches:
                waiting.append(pool.submit(self.batch, drawn))
                if len(waiting) > THREADS:
                    yield waiting.pop(0).result()


class Places:
    """Patients and places of patches, without their voxels, over and over."""

    def __init__(self, patches, count):
        self.batches = [(b.patients, b.starts_zyx) for b in islice(iter(patches), count)]

    def __iter__(self):
        while True:
            for patients, starts in self.batches:
                yield Place(patients, starts)


class Place(NamedTuple):
    """Where the patches of a batch are."""

    patients: tuple
    starts_zyx: np.ndarray


def by_xarray(store, places, size):
    ds = npc.open(store)
    facts = npc.open(store, group="training").load()
    for drawn in places:
        images = np.zeros((len(drawn.patients), 3, *size), np.float32)
        for i, (patient, starts) in enumerate(zip(drawn.patients, drawn.starts_zyx, strict=True)):
            for s, sequence in enumerate(ds.sequence.values):
                scan, of = ds.npc.scan(patient, sequence), facts.sel(patient=patient, sequence=sequence)
                box = {a: slice(max(int(v), 0), int(v) + n) for a, v, n in zip("zyx", starts, size, strict=True)}
                part = scan.image.isel(box).values
                _ = scan.mask.isel(box).values
                normal = (part - float(of["mean"])) / float(of["standard_deviation"])
                images[i, s][tuple(slice(n) for n in part.shape)] = normal
        yield images, None


def rate(batches, batch_size, seconds):
    todo = iter(batches)
    for _ in range(4):
        next(todo)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(todo)
        count += batch_size
    return count / (time.perf_counter() - start)


def check_equal(raw, lz4, other, count=6):
    for a, b, (images, masks) in zip(islice(raw, count), islice(lz4, count), other, strict=False):
        assert a.patients == b.patients
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.masks, b.masks)
        np.testing.assert_array_equal(a.masks, masks)
        np.testing.assert_allclose(a.images, images, atol=1e-4)


def measure(folder, stores, options):
    for name, size in SIZES.items():
        files = folder / f"blosc2 {name}"
        files.mkdir()
        write_blosc2(stores["none"], files, size)

        def patches(codec, size=size, **more):
            return npc.patches(stores[codec], size=size, batch_size=2, steps=10**6, threads=THREADS, **more)

        places = Places(patches("none"), 40)
        check_equal(patches("none"), patches("lz4"), Blosc2Patches(files, places, size))
        sides = {
            "npczarr.patches, mapped": partial(patches, "none"),
            "npczarr.patches, lz4 tiles": partial(patches, "lz4"),
            "blosc2 as nnU-Net keeps it": partial(Blosc2Patches, files, places, size),
            "ds.npc.scan windows": partial(by_xarray, stores["lz4"], places, size),
        }
        found = {side: [] for side in sides}
        for _ in range(options.rounds):
            for side, make in sides.items():
                found[side].append(rate(make(), 2, options.seconds))
        print(f"\n{name}, patches a second (median, least to most), three sequences and masks, {THREADS} threads")
        reference = np.median(found["blosc2 as nnU-Net keeps it"])
        for side, values in found.items():
            middle = np.median(values)
            aim = f"   aim {AIMS[name]}: {'met' if middle >= AIMS[name] else 'missed'}" if "mapped" in side else ""
            print(
                f"  {side:28} {middle:7.0f} ({min(values):.0f} to {max(values):.0f})  {middle / reference:5.1f}x{aim}"
            )
    print(f"\npeak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB; "
          f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")  # fmt: skip


def from_s3(folder, store, seconds):
    import sys

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
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
        for name, size in SIZES.items():
            patches = npc.patches("s3://priv/training.zarr", size=size, batch_size=2, steps=10**6)
            first = rate(patches, 2, seconds)
            print(
                f"  S3 with 20 ms added, {name}: {first:.0f} patches/s at first, {rate(patches, 2, seconds):.0f} later"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep what is made here, and use it again")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept = options.folder or scratch
        stores = {codec: kept / f"{codec}.zarr" for codec in ("none", "lz4")}
        if not (kept / "npc.zarr").exists():
            npc.make_cohort(kept / "cohort", patients=options.patients, size="full", workers=0, reliability=False)
            npc.convert(kept / "cohort/primary_data", kept / "npc.zarr", workers=0)
            for codec, url in stores.items():
                npc.resample_store(kept / "npc.zarr", url, like="CE-T1WI", purpose="training", codec=codec, workers=0)
        for codec, url in stores.items():
            size = sum(f.stat().st_size for f in url.rglob("*") if f.is_file()) / 1e6
            print(f"{codec}: {size:.0f} MB, {sum(f.is_file() for f in url.rglob('*'))} files")
        measure(scratch, stores, options)
        if options.s3:
            from_s3(scratch, stores["lz4"], options.seconds)


if __name__ == "__main__":
    main()
