"""Peak memory of each long job for 12 and for 120 patients at full size: it must not grow with the cohort.

Run ``python benchmarks/memory.py [--cohort FOLDER] [--most 120]``, with a full-size phantom of at least 12 patients or
none to make one. The 120 patients are hard links to the files of the twelve. Every step is a process of its own, with
two worker processes or two threads. Memory is what a process has made for itself: neither libraries nor mapped files
count, whose pages the system takes back where it needs them (Linux tells them apart; elsewhere mapped files count).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import dask
import psutil

import npczarr as npc

_PATCHES = 400


class PeakMemory:
    """Largest memory of this process and of any of its children, in MB, while the block runs."""

    def __enter__(self):
        self.driver = self.worker = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._done.set()
        self._thread.join()

    def _watch(self):
        me = psutil.Process()
        while not self._done.wait(0.1):
            self.driver = max(self.driver, own_megabytes(me))
            for child in me.children(recursive=True):
                with suppress(psutil.Error, OSError):
                    self.worker = max(self.worker, own_megabytes(child))


def own_megabytes(process):
    """Return the memory that a process has made for itself, in MB."""
    maps = Path(f"/proc/{process.pid}/smaps_rollup")
    if not maps.exists():
        return process.memory_full_info().uss / 1e6
    lines = maps.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) * 1024 / 1e6


def lazily(measure):
    """Compute a lazy measure on two threads."""
    with dask.config.set(scheduler="threads", num_workers=2):
        measure.compute()


def take_patches(folder):
    """Take patches of the aligned, mapped store."""
    given = iter(npc.patches(folder / "training.zarr", size=(16, 256, 256), batch_size=2, steps=_PATCHES, threads=2))
    for _ in range(_PATCHES):
        next(given)


STEPS = {
    "convert": lambda folder: npc.convert(folder / "source", folder / "store.zarr", workers=2),
    "measure_store, morphology": lambda folder: npc.measure_store(folder / "store.zarr", "morphology", workers=2),
    "morphology of npc.open": lambda folder: lazily(npc.morphology(npc.open(folder / "store.zarr"))),
    "morphology of npc.resample": lambda folder: lazily(
        npc.morphology(npc.resample(npc.open(folder / "store.zarr"), spacing=(3, 1, 1)))
    ),
    "resample_store": lambda folder: npc.resample_store(
        folder / "store.zarr", folder / "resampled.zarr", spacing=(3, 1, 1), workers=2
    ),
    "resample_store for training": lambda folder: npc.resample_store(
        folder / "store.zarr", folder / "training.zarr", like="CE-T1WI", purpose="training", codec="none", workers=2
    ),
    f"{2 * _PATCHES} patches": take_patches,
    "validate": lambda folder: npc.validate(folder / "store.zarr", workers=2),
    "export to NIfTI": lambda folder: npc.export_scans(
        folder / "store.zarr", folder / "out", format="nifti", workers=2
    ),
    "write_report": lambda folder: npc.write_report(folder / "store.zarr", folder / "report.html"),
}
_LEFT = {"resample_store": "resampled.zarr", "export to NIfTI": "out"}


def measure(step, folder):
    """Run one step in this process and print its peak."""
    with PeakMemory() as peak:
        start = time.perf_counter()
        STEPS[step](folder)
        seconds = time.perf_counter() - start
    workers = f", {peak.worker:.0f} MB in a worker" if peak.worker else ""
    print(f"{step}: {seconds:.1f} s, {peak.driver:.0f} MB here{workers}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path)
    parser.add_argument("--most", type=int, default=120, help="patients of the larger cohort")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        measure(options.step[0], Path(options.step[1]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        cohort = options.cohort or scratch / "cohort"
        if options.cohort is None:
            npc.make_cohort(cohort, patients=12, size="full", reliability=False)
        twelve = sorted((cohort / "primary_data/data/MRI-Segments").iterdir())[:12]
        for patients in (12, options.most):
            print(f"{patients} patients", flush=True)
            folder = scratch / str(patients)
            for i in range(patients):
                shutil.copytree(twelve[i % 12], folder / f"source/{i + 1:03d}", copy_function=os.link)
            for step in STEPS:
                subprocess.run([sys.executable, __file__, "--step", step, str(folder)], check=True)
                shutil.rmtree(folder / _LEFT.get(step, "nothing"), ignore_errors=True)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
