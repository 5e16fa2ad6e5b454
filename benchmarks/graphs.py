"""What Dask costs: tasks, time to build and to compute, on two threads and on a cluster of two workers.

Run ``python benchmarks/graphs.py [--folder FOLDER] [--turns N] [--many N]``. Morphology of 831 small scans, agreement
of 90 pairs of raters, resampling, and morphology of what is resampled. Both schedulers must give the same values; then
they take turns, and the ratio is of the same turn. The first turn of each, which starts the workers' Python up, is
given apart. At last, how long graphs of many scans take to build: as many as 277 patients, and `--many` scans.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from turns import seconds

import npczarr as npc

THREADS, CLUSTER = "two threads", "two workers"
AIM_RATIO, AIM_BUILD = 1.3, 0.5
SPACING = (2.0, 1.0, 1.0)


def stores_of(folder):
    """Return stores of a small phantom and of its raters; made where there are none."""
    cohort, store, raters = folder / "cohort", folder / "npc.zarr", folder / "raters.zarr"
    if not cohort.exists():
        npc.make_cohort(cohort, patients=277, size="small")
    if not store.exists():
        npc.convert(cohort / "primary_data", store)
    if not raters.exists():
        npc.convert(cohort / "inner_reliability.zip", raters)
    return npc.open(store), npc.open(raters)


def tasks_of(lazy):
    """Tasks that a scheduler gets, by what they do."""
    names = {}
    for key in dict(dask.optimize(lazy)[0].__dask_graph__()):
        name = dask.utils.key_split(key)
        names[name] = names.get(name, 0) + 1
    return names


def compare(name, build, scans, client, turns):
    built, lazy = [seconds(build) for _ in range(3)], build()
    names = tasks_of(lazy)
    total = sum(names.values())
    print(f"{name}: {scans} scans, built in {statistics.median(built):.2f} s, {total / scans:.2f} tasks a scan")
    print("   " + ", ".join(f"{count} {task}" for task, count in sorted(names.items(), key=lambda one: -one[1])[:8]))

    def on_threads():
        with dask.config.set(scheduler="threads", num_workers=2):
            return dask.compute(lazy)[0]

    def on_cluster():
        return client.compute(lazy).result() if isinstance(lazy, xr.Dataset) else client.compute(lazy, sync=True)

    cold = {THREADS: seconds(on_threads), CLUSTER: seconds(on_cluster)}
    one, other = on_threads(), on_cluster()
    for variable in one.variables:
        if one[variable].dtype.kind == "f":
            np.testing.assert_array_equal(one[variable].values, other[variable].values)
    del one, other
    pairs = [(seconds(on_threads), seconds(on_cluster)) for _ in range(turns)]
    ratio = statistics.median(cluster / threads for threads, cluster in pairs)
    for side, times in zip((THREADS, CLUSTER), zip(*pairs, strict=True), strict=True):
        print(f"   {side:12} {statistics.median(times):7.2f} s   the first time {cold[side]:.2f} s")
    print(f"   ratio {ratio:.2f}   aim {AIM_RATIO:g}: {'met' if ratio <= AIM_RATIO else 'MISSED'}", flush=True)


def building(small, many):
    """Time to build, of a cohort and of one as large as is asked for: its tables many times over."""
    times = -(-many // small.status.size)
    large = xr.concat([small.assign_coords(patient=[f"{i}-{p}" for p in small.patient.values]) for i in range(times)],
                      dim="patient", data_vars="minimal", coords="minimal", compat="override")  # fmt: skip
    for name, build in BUILDS.items():
        for ds in (small, large):
            taken = []
            for _ in range(3):
                start, used = time.perf_counter(), time.process_time()
                build(ds)
                taken.append((time.perf_counter() - start, time.process_time() - used))
            clock, processor = (statistics.median(times) for times in zip(*taken, strict=True))
            aim = AIM_BUILD * ds.status.size / small.status.size
            print(
                f"to build {name:32} {ds.status.size:6} scans {clock:6.2f} s (processor {processor:5.2f} s)   "
                f"aim {aim:.2f} s: {'met' if clock <= aim else 'MISSED'}",
                flush=True,
            )


BUILDS = {
    "morphology": npc.morphology,
    "resampling": lambda ds: npc.resample(ds, spacing=SPACING),
    "morphology of what is resampled": lambda ds: npc.morphology(npc.resample(ds, spacing=SPACING)),
}


def main():
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="for the phantom and its stores; kept")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", choices=("measuring", "resampling", "building"), help="one part of it")
    parser.add_argument("--many", type=int, default=10_000, help="scans of the larger graph")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as temporary,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local, set_as_default=False) as client,
    ):
        ds, raters = stores_of(options.folder or Path(temporary))
        resampled = BUILDS["morphology of what is resampled"]
        if options.only in (None, "measuring"):
            compare("morphology", lambda: npc.morphology(ds), ds.status.size, client, options.turns)
            compare("agreement", lambda: npc.agreement(raters), raters.status.size, client, options.turns)
        if options.only in (None, "resampling"):
            compare("resampling and morphology", lambda: resampled(ds), ds.status.size, client, min(3, options.turns))
        if options.only in (None, "building"):
            building(ds, options.many)


if __name__ == "__main__":
    main()
