"""What it costs to hold every scan that is read against its digest: in measuring, exporting and resampling.

Run ``python benchmarks/digests.py [--store STORE]``; without a store, a phantom at full size is made and converted.
Both sides take turns in this process: as it is, and with the check taken out. Results must be the same. What counts is
processor time of all threads, for the check waits for nothing; the time by the clock is beside it.
"""

import argparse
import contextlib
import filecmp
import itertools
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import dask
import xarray as xr

import npczarr as npc
from npczarr.store.scans import StoredScan

MOST = 0.05


def unchecked():
    """Take what was read as it is."""
    return mock.patch.object(StoredScan, "_verified", lambda self, array, values, expected: values)


def measure(store, out):
    return npc.morphology(npc.open(store)).compute()


def measure_images(store, out):
    """Read every image and do nothing with it: the most that a check can cost."""
    return npc.open(store).image.max().compute()


def export(store, out):
    npc.export_scans(store, out, format="tiff", bits=16, workers=0)


def resample(store, out):
    npc.resample_store(store, out, shape=(None, 256, 256), workers=0)


def same(one, other):
    """Whether two folders hold the same voxels; or two results the same numbers."""
    if isinstance(one, xr.Dataset):
        return one.identical(other)
    if isinstance(one, xr.DataArray):
        return one.equals(other)
    files, others = (sorted(p.relative_to(d) for p in d.rglob("*") if p.is_file() and p.parts[-2] != "lease")
                     for d in (one, other))  # fmt: skip
    if not files or files != others:
        return False
    voxels = [p for p in files if p.suffix != ".json"]  # those hold times and salts
    return not filecmp.cmpfiles(one, other, voxels, shallow=False)[1] or _same_stores(one, other)


def _same_stores(one, other):
    a, b = (xr.open_zarr(store, chunks=None) for store in (one, other))
    return all(a[name].equals(b[name]) for name in ("image", "mask", "image_digest", "mask_digest"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--patients", type=int, default=6, help="of the phantom")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, dask.config.set(scheduler="threads", num_workers=2):
        scratch = Path(temporary)
        store = options.store or scratch / "npc.zarr"
        if options.store is None:
            npc.make_cohort(scratch / "cohort", patients=options.patients, size="full", reliability=False)
            npc.convert(scratch / "cohort/primary_data", store)
        for deed in (measure, measure_images, export, resample):
            compare(deed, store, scratch, options.turns)


def compare(deed, store, scratch, turns):
    count = itertools.count()

    def run(context):
        out = scratch / f"{deed.__name__}-{next(count)}"
        with context:
            result = deed(store, out)
        return out if result is None else result

    def timed(context):
        result = run(context)
        if isinstance(result, Path):
            shutil.rmtree(result)

    checked, bare = run(contextlib.nullcontext()), run(unchecked())
    assert same(checked, bare), f"{deed.__name__}: the check changes the result"
    for one in (checked, bare):
        if isinstance(one, Path):
            shutil.rmtree(one)
    clock, used = zip(*(measured(timed) for _ in range(turns)), strict=True)
    cost, by_clock = (statistics.median(ratios) - 1 for ratios in (used, clock))
    low, _, high = statistics.quantiles(used, n=4)
    print(
        f"{deed.__name__.replace('_', ' '):16} costs {cost:+.1%} of processor time (quartiles {low - 1:+.1%} to "
        f"{high - 1:+.1%}), {by_clock:+.1%} by the clock; aim {MOST:.0%}: {'met' if cost <= MOST else 'MISSED'}",
        flush=True,
    )


def measured(timed):
    """Run both sides; their ratios by the clock, and of processor time."""
    found = []
    for context in (contextlib.nullcontext(), unchecked()):
        clock, used = time.perf_counter(), time.process_time()
        timed(context)
        found.append((time.perf_counter() - clock, time.process_time() - used))
    (clock, used), (bare_clock, bare_used) = found
    return clock / bare_clock, used / bare_used


if __name__ == "__main__":
    main()
