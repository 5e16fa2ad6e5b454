"""Starting worker processes: each importing what it needs, against all forked from one process that has imported it.

Run ``python benchmarks/startup.py [--workers 2 8] [--turns N]``. Each side is the command ``npczarr convert`` on the
same small cohort, a process of its own; the sides take turns, and must write the same voxels. Processor time is of all
processes together. Linux only.
"""

import argparse
import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import xarray as xr

import npczarr as npc

PR_SET_CHILD_SUBREAPER = 36
FORKED = "import npczarr.cli; npczarr.cli.main()"
SPAWNED = "import contextlib, npczarr.runner.local as r; r._forked_from_one_import = contextlib.nullcontext; " + FORKED
SIDES = {"each imports": SPAWNED, "forked from one import": FORKED}


def run(side, source, out, workers):
    """Run one side; seconds by the clock, and of processors."""
    shutil.rmtree(out, ignore_errors=True)
    begun, before = time.perf_counter(), used()
    command = [sys.executable, "-c", SIDES[side], "convert", str(source), str(out), "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.read()
    if process.returncode:
        raise SystemExit(f"{side}: {said}")
    taken = time.perf_counter() - begun
    while True:  # what was forked from the server ends as a child of this process
        try:
            os.wait()
        except ChildProcessError:
            return taken, used() - before


def used():
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        npc.make_cohort(folder / "cohort", patients=2, workers=0)
        for workers in options.workers:
            found = {side: [] for side in SIDES}
            for _ in range(options.turns):
                for side in SIDES:
                    store = folder / f"{side}.zarr"
                    found[side].append(run(side, folder / "cohort/primary_data", store, workers))
            one, other = (npc.open(folder / f"{side}.zarr").image.load() for side in SIDES)
            xr.testing.assert_identical(one, other)
            middle = [[statistics.median(times) for times in zip(*rows, strict=True)] for rows in found.values()]
            (before, cost), (after, less) = middle
            print(f"{workers} workers: {before:.1f} / {after:.1f} s by the clock, {before / after:.2f}x; "
                  f"processor {cost:.1f} / {less:.1f} s, {cost / less:.2f}x; {os.cpu_count()} cores")  # fmt: skip


if __name__ == "__main__":
    main()
