"""Morphology of every tumor of a store, from store to table, against merely reading the masks.

Run ``python benchmarks/measure_cohort.py STORE``; the store is one made by ``npczarr convert``. Both sides take turns
in this process on two threads, and the whole command is timed as well, start of its worker processes included.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask

import npczarr as npc


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    ds = npc.open(options.store)
    scans = int((ds.mask_status == "ok").sum())
    reading = ds.mask.data.map_blocks(
        lambda block: block[..., :1, 0, 0], chunks=(*ds.mask.chunks[:2], 1), drop_axis=[3, 4]
    )
    measuring = npc.morphology(ds)
    with dask.config.set(scheduler="threads", num_workers=2):
        measuring.isel(patient=slice(1)).compute()  # compiled once
        turns = [(seconds(reading.compute), seconds(measuring.compute)) for _ in range(options.turns)]
    read, measured = (statistics.median(times) for times in zip(*turns, strict=True))
    ratio = statistics.median(m / r for r, m in turns)
    print(f"{scans} masks: reading {read:.2f} s, measuring {measured:.2f} s, ratio {ratio:.2f} (two threads)")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy.zarr"
        shutil.copytree(
            options.store, copy, ignore=lambda folder, names: {"image"} if Path(folder) == options.store else set()
        )
        (copy / "image").mkdir()
        shutil.copy(options.store / "image/zarr.json", copy / "image")
        command = [sys.executable, "-m", "npczarr", "morphology", str(copy)]
        whole = seconds(lambda: subprocess.run(command, capture_output=True))
    print(f"npczarr morphology, the whole command: {whole:.2f} s")


if __name__ == "__main__":
    main()
