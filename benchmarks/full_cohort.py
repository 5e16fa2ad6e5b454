"""The whole cohort at full size, 277 patients and 831 series: made, converted once, validated, measured.

Run ``python benchmarks/full_cohort.py FOLDER``; it takes about 35 GB there, and is left for other benchmarks.
"""

import argparse
import time
from pathlib import Path

import xarray as xr
from memory import PeakMemory

import npczarr as npc


def timed(words, call):
    with PeakMemory() as peak:
        start = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - start
    print(f"{words}: {seconds:.1f} s, peak memory {peak.driver:.0f} MB here, {peak.worker:.0f} MB a worker", flush=True)
    return result, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=277)
    options = parser.parse_args()
    cohort, store = options.folder / "cohort", options.folder / "cohort.zarr"
    if not cohort.exists():
        made, seconds = timed("made", lambda: npc.make_cohort(cohort, patients=options.patients, size="full"))
        print(f"  {made.bytes / 1e9:.1f} GB, {made.files} files, {made.bytes / 1e6 / seconds:.0f} MB/s", flush=True)
    result, seconds = timed("converted, 2 workers", lambda: npc.convert(cohort / "primary_data", store, workers=2))
    files = [path for path in store.rglob("*") if path.is_file()]
    read, size = float(result.source_bytes.sum()), sum(path.stat().st_size for path in files)
    print(
        f"  {read / 1e9:.1f} GB read, {read / 1e6 / seconds:.0f} MB/s; store {size / 1e9:.1f} GB, {len(files)} objects"
    )
    print(f"  status: {dict(zip(*map(list, _counts(result.status)), strict=True))}", flush=True)
    found, _ = timed("validated, 2 workers", lambda: npc.validate(store, workers=2))
    print(f"  {len(found)} problems", flush=True)
    for turn in ("first", "second"):
        timed(f"xr.open_zarr, {turn} time", lambda: xr.open_zarr(store))
    timed("measured (npczarr.measure_store), compile time included", lambda: npc.measure_store(store, "morphology"))


def _counts(status):
    values = [str(value) for value in status.values.ravel()]
    names = sorted(set(values))
    return names, [values.count(name) for name in names]


if __name__ == "__main__":
    main()
