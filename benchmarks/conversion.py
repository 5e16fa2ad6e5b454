"""Conversion by the first edition against this one, and with zarr-python encoding the chunks against our encoder.

Run ``python benchmarks/conversion.py [--first CHECKOUT] [--cohort FOLDER] [--patients N]``. CHECKOUT is a work tree of
commit c29f798. Each side is a process of its own with its worker processes, up and warm; the sides take turns on the
same source, masks and tables included, and write into a new folder each time. The first edition must give the same
voxels; zarr-python must give the same objects, byte for byte.

The encoder (``store/encoding.py``) is worth keeping only where the whole conversion takes 1.3 times as long without it.
"""

import argparse
import contextlib
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import xarray as xr

HERE = Path(__file__).resolve().parents[1]
FIRST, OURS, BY_ZARR = "first edition", "this edition", "this edition, chunks encoded by zarr-python"


def serve(by_zarr, workers):
    """Convert what is asked for on standard input, line by line, on workers that stay up; the time goes out."""
    import dask
    from distributed import Client

    import npczarr as npc

    warnings.simplefilter("ignore")
    dask.config.set({"distributed.worker.daemon": True})
    with Client(
        n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as client:
        client.run(use, by_zarr)
        for line in sys.stdin:
            source, out = json.loads(line)
            start, used = time.perf_counter(), processor_seconds()
            npc.convert(source, out)
            taken, used = time.perf_counter() - start, processor_seconds() - used
            print(json.dumps([taken, used, npc.__file__]), flush=True)


def processor_seconds():
    """Processor time of this process and its workers: what other work on the machine changes least."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def use(by_zarr):
    """Import what a conversion needs, in a worker, and leave the chunks to zarr-python."""
    import npczarr.graphs.convert

    if by_zarr:
        import npczarr.store.chunks

        npczarr.store.chunks.encoder_of = leave_to_zarr


def leave_to_zarr(array, chunk):
    """Say of every array that it is encoded in another way than ours."""
    return None


class Side:
    """A process that converts."""

    def __init__(self, tree, workers, *, by_zarr=False):
        self._tree = str(tree)
        command = [sys.executable, __file__, "--serve", "--workers", str(workers), *(["--by-zarr"] if by_zarr else [])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(tree)},
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()
        self._process.wait()

    def convert(self, source, out):
        """Seconds that a conversion took, and processor seconds of all its processes."""
        self._process.stdin.write(json.dumps([str(source), str(out)]) + "\n")
        self._process.stdin.flush()
        taken, used, module = json.loads(self._process.stdout.readline())
        assert module.startswith(self._tree), f"{module} was imported, not the tree {self._tree}"
        return taken, used


def check_same_voxels(first, ours):
    """Make sure that two stores hold the same image and mask of every scan."""
    warnings.simplefilter("ignore")  # of the first edition's schema
    # not decoded: each edition has its own way to mark padding
    a, b = (xr.open_zarr(store, chunks=None, decode_cf=False) for store in (first, ours))
    assert list(a.patient.values) == list(b.patient.values)
    assert list(a.sequence.values) == list(b.sequence.values)
    for at in np.ndindex(b["shape"].shape[:2]):
        box = (*at, *(slice(int(n)) for n in b["shape"].values[at]))
        for name in ("image", "mask"):
            assert np.array_equal(a[name][box].values, b[name][box].values), f"{name} at {at} differs"


def check_same_objects(one, other):
    """Make sure that two stores hold the same chunks of image and mask, byte for byte."""
    for name in ("image", "mask"):
        files, others = ({path.relative_to(store): path for path in (store / name / "c").rglob("*") if path.is_file()}
                         for store in (one, other))  # fmt: skip
        assert files.keys() == others.keys(), f"{name}: other objects"
        for key, path in files.items():
            assert path.read_bytes() == others[key].read_bytes(), f"{key} differs"


def measure(sides, source, scratch, turns):
    """Convert in turn; (seconds, processor seconds) of each side, turn by turn, after one that is checked."""
    found = {name: [] for name in sides}
    for turn in range(turns + 1):
        outs = {name: scratch / f"out-{turn}-{i}" for i, name in enumerate(sides)}
        for name, side in sides.items():
            taken = side.convert(source, outs[name])
            if turn:  # the first warms file cache and imports
                found[name].append(taken)
        if not turn:
            if FIRST in outs:
                check_same_voxels(outs[FIRST], outs[OURS])
            check_same_objects(outs[OURS], outs[BY_ZARR])
        for out in outs.values():
            shutil.rmtree(out)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, help="work tree of commit c29f798, to be compared with")
    parser.add_argument("--cohort", type=Path, help="folder made by npczarr phantom --size full")
    parser.add_argument("--patients", type=int, default=12)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--by-zarr", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.by_zarr, options.workers)
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        scratch = Path(temporary)
        cohort = options.cohort or scratch / "cohort"
        if options.cohort is None:
            import npczarr as npc

            npc.make_cohort(cohort, patients=options.patients, size="full", reliability=False)
        trees = {} if options.first is None else {FIRST: options.first.resolve()}
        trees |= {OURS: HERE, BY_ZARR: HERE}
        sides = {
            name: stack.enter_context(Side(tree, options.workers, by_zarr=name == BY_ZARR))
            for name, tree in trees.items()
        }
        found = measure(sides, cohort / "primary_data", scratch, options.turns)
    print(f"{options.workers} workers, median of {options.turns} turns; processor time is of all processes together")
    for name, times in found.items():
        whole, used = (statistics.median(t) for t in zip(*times, strict=True))
        ratios = [statistics.median(t[i] / o[i] for t, o in zip(times, found[OURS], strict=True)) for i in (0, 1)]
        print(f"  {name:40} {whole:6.2f} s {ratios[0]:5.2f} x   processor {used:6.2f} s {ratios[1]:5.2f} x {OURS}")
    gains = [statistics.median(z[i] / o[i] for o, z in zip(found[OURS], found[BY_ZARR], strict=True)) for i in (0, 1)]
    print(f"without the encoder: {gains[0]:.2f} of the time, {gains[1]:.2f} of the processor time (kept from 1.3)")
    if FIRST in found:
        slower = statistics.median(o[0] / f[0] for o, f in zip(found[OURS], found[FIRST], strict=True))
        print(
            f"this edition takes {slower:.2f} of the first edition's time (aim 1: {'met' if slower <= 1 else 'MISSED'})"
        )


if __name__ == "__main__":
    main()
