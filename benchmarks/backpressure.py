"""Memory of scheduler and client while a hundred thousand scans are written; voxels apart, for none are.

Run ``python benchmarks/backpressure.py [SCANS]``. A store of that many scans is made, metadata only; then each scan is
given to two worker processes as a conversion gives it, with the names of its thirty files, and its row is written to
the catalogue. Scheduler and client run in this process, so its memory is that of both.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil

from npczarr.graphs.convert_scan import ScanTask, source_digest
from npczarr.graphs.store_writer import StoreWriter, Work
from npczarr.model.cohort import File, ScanFiles
from npczarr.model.layout import plan_layout
from npczarr.model.limits import Limits
from npczarr.model.records import Row
from npczarr.runner import Runner
from npczarr.sources.files import Source
from npczarr.store.create import create
from npczarr.store.hierarchy import open_group
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate

SEQUENCES = ("T1WI", "T2WI", "CE-T1WI")


def nothing(task):
    return Row(*task.key, {"status": "ok", "message": "", "source_digest": source_digest(task.files)})


def files_of(key):
    folder = "/".join(("data", *key))
    return ScanFiles(*key, images=tuple(File(f"{folder}/{i:04}.dcm", 524_288, "1700000000") for i in range(30)))


def main():
    scans = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    patients = tuple(f"{i:06}" for i in range(-(-scans // 3)))
    folder = Path(tempfile.mkdtemp())
    target, layout = locate(folder / "big.zarr"), plan_layout([(30, 512, 512)])
    process = psutil.Process()
    store = target.open()
    start = time.perf_counter()
    try:
        with hold_lease(store, target.url) as lease, Runner(2) as runner:
            create(store, patients, SEQUENCES, layout, {})
            root = open_group(store, target.url)
            writer = StoreWriter(root, target, layout, lease, clear=False, limits=Limits())

            def task(key, place):
                return ScanTask(Source("/nowhere"), files_of(key), place)

            work = Work("convert", patients, SEQUENCES, {}, {}, nothing, task)

            def show(progress):
                if progress.done % (scans // 10) == 0:
                    used = process.memory_info().rss / 1e6
                    print(f"{progress.done:7} scans, {time.perf_counter() - start:6.1f} s, {used:5.0f} MB", flush=True)

            print(f"      0 scans, {time.perf_counter() - start:6.1f} s, {process.memory_info().rss / 1e6:5.0f} MB")
            writer.run(runner, work, (), show)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
