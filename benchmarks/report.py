"""Time, peak memory and size of a cohort's report.

Run ``python benchmarks/report.py [STORE] [--reliability STORE] [--workers N]``; without a store, a small phantom of 277
patients is made, converted and measured first, which is not counted. The report is written by the installed command, in
a process of its own; memory is the most that it and its worker processes held together, looked at ten times a second.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

import npczarr as npc


def phantom_stores(scratch, patients):
    npc.make_cohort(scratch / "cohort", patients=patients)
    for source, store, measure in (
        ("primary_data", "npc.zarr", "morphology"),
        ("inner_reliability.zip", "raters.zarr", "agreement"),
    ):
        npc.convert(scratch / "cohort" / source, scratch / store)
        npc.measure_store(scratch / store, measure)
    return scratch / "npc.zarr", scratch / "raters.zarr"


def peak_while(command):
    """Run a command; seconds, and the most bytes that it and its children held at once."""
    started, peak = time.perf_counter(), 0
    running = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while running.poll() is None:
        held = 0
        for process in (running, *_children(running)):
            try:
                held += process.memory_info().rss
            except psutil.Error:  # it has ended since
                continue
        peak = max(peak, held)
        time.sleep(0.1)
    if running.returncode:
        sys.exit(f"the report ended with {running.returncode}")
    return time.perf_counter() - started, peak


def _children(process):
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?")
    parser.add_argument("--reliability")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--patients", type=int, default=277)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        store, raters = options.store, options.reliability
        if store is None:
            store, raters = phantom_stores(scratch, options.patients)
        out = scratch / "report.html"
        command = [sys.executable, "-m", "npczarr", "report", str(store), "-o", str(out)]
        command += ["--reliability", str(raters)] if raters else []
        command += [] if options.workers is None else ["--workers", str(options.workers)]
        seconds, peak = peak_while(command)
        patients = npc.open(store).sizes["patient"]
        size = out.stat().st_size / 1e6
        print(f"{patients} patients: {seconds:.1f} s, {peak / 1e6:.0f} MB at most, page of {size:.2f} MB")


if __name__ == "__main__":
    main()
