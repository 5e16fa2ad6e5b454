"""Requests that a store costs over HTTP: to open it, one slice with and without coordinates, neighboring slices.

Run ``python benchmarks/http_requests.py [--delay 0.02]``. A server in this process gives the files of a small phantom's
store, counts what it is asked, and may wait before each answer. Values must be those of the same store on disk. Ways to
open: what ``xr.open_zarr`` takes for an address (fsspec), zarr's ObjectStore (obstore), and ``npczarr.open``.
"""

import argparse
import contextlib
import functools
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import xarray as xr
from obstore.store import HTTPStore
from zarr.storage import ObjectStore

import npczarr as npc

SLICES = slice(1, 9)
#: Requests at most.
AIMS = {"opened": 7, "one slice, with coordinates": 20, "one slice, bare": 1, "eight slices, bare": 3}


class Counting(SimpleHTTPRequestHandler):
    """Files of a folder, and a list of what was asked for."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []
    delay = 0.0

    def send_head(self):
        """Note the request, and answer it."""
        Counting.asked.append(f"{self.command} {self.path}")
        time.sleep(self.delay)
        return super().send_head()

    def log_message(self, *arguments):
        """Quiet."""


@contextlib.contextmanager
def served(folder, delay):
    Counting.delay = delay
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Counting, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def by_obstore(url, **options):
    store = ObjectStore(HTTPStore.from_url(url, client_options={"allow_http": True}), read_only=True)
    return xr.open_zarr(store, zarr_format=3, **options)


#: How a store is opened, and whether a slice without coordinates is taken by ``.data`` (Dask) or is one anyway.
WAYS = {
    "xr.open_zarr(url)": xr.open_zarr,
    "xr.open_zarr(url, chunks=None)": functools.partial(xr.open_zarr, chunks=None),
    "xr.open_zarr(ObjectStore)": by_obstore,
    "xr.open_zarr(ObjectStore, chunks=None)": functools.partial(by_obstore, chunks=None),
    "npczarr.open(url)": npc.open,
    "npczarr.open(url, dask=False)": functools.partial(npc.open, dask=False),
}


def counted(call):
    """Return what a call gives, the requests it made, and the seconds it took."""
    Counting.asked.clear()
    start = time.perf_counter()
    result = call()
    return result, list(Counting.asked), time.perf_counter() - start


def tell(name, asked, taken, *, verbose):
    aim = AIMS.get(name)
    verdict = "" if aim is None else f"   aim {aim}: {'met' if len(asked) <= aim else 'MISSED'}"
    print(f"  {name:34} {len(asked):4} requests {taken * 1e3:8.1f} ms{verdict}", flush=True)
    if verbose or verdict.endswith("MISSED"):
        print("   ", *sorted(asked), sep="\n    ")


def measure(url, way, local, *, verbose):
    dataset, asked, taken = counted(lambda: way(url))
    tell("opened", asked, taken, verbose=verbose)

    def place(z):
        return {"patient": 1, "sequence": 0, "z": z}

    expected = local.image.isel(place(SLICES)).values
    _, rows, columns = local["shape"].isel(patient=1, sequence=0).values
    bare = dataset.image.drop_vars(list(dataset.image.coords))
    cases = {
        # what is printed, plotted or computed brings its coordinates along
        "one slice, with coordinates": (lambda: dataset.image.isel(place(1)).compute(), 0),
        "one slice, .values": (lambda: way(url).image.isel(place(1)).values, 0),
        "one slice, bare": (lambda: np.asarray(bare.isel(place(1)).data), 0),
        "eight slices, bare": (lambda: np.asarray(bare.isel(place(SLICES)).data), slice(None)),
        "one scan of ds.npc.scan()": (lambda: dataset.npc.scan("002", "T1WI").image[SLICES].values, slice(None)),
    }
    for name, (call, at) in cases.items():
        found, asked, taken = counted(call)
        cut = expected[at][..., : found.shape[-2], : found.shape[-1]]
        assert found.shape[-2] >= rows
        assert found.shape[-1] >= columns
        assert np.array_equal(found, cut, equal_nan=True), f"{name}: not the values of the store on disk"
        if name.endswith(".values"):
            name += " (opening included)"
        tell(name, asked, taken, verbose=verbose)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="with a store npc.zarr whose second patient is 002")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--only", default="", help="ways whose names hold this")
    parser.add_argument("--verbose", action="store_true", help="list the requests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        store = folder / "npc.zarr"
        if not store.exists():
            npc.make_cohort(folder / "cohort", patients=3, size="full", reliability=False)
            npc.convert(folder / "cohort/primary_data", store)
            time.sleep(5)  # what is read is older than the last scan, as all but a few of a cohort are
            npc.convert(folder / "cohort/primary_data", store, rewrite=["003/T2WI"])
        local = xr.open_zarr(store, chunks=None)
        z, y, x = local.image.encoding["chunks"][-3:]
        print(f"image in chunks of {z} x {y} x {x}; {options.delay * 1e3:g} ms before each answer")
        with served(folder, options.delay) as url:
            for name, way in WAYS.items():
                if options.only not in name:
                    continue
                print(name)
                measure(f"{url}/npc.zarr", way, local, verbose=options.verbose)


if __name__ == "__main__":
    main()
