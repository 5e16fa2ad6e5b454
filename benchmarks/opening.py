"""Plain ``xr.open_zarr`` against ``npczarr.open``: to open, one slice, one scan, the sum of all masks, morphology.

Run ``python benchmarks/opening.py [--folder FOLDER] [--threads N]``. Two stores: a phantom at full size, and one of 277
small patients; in a folder that is given they are kept, and used again. Both sides must give the same values first,
then they take turns. At last, how long stores of 277 and of 10 000 patients take to open; those hold tables, no voxels.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from turns import in_turns, seconds, tell

import npczarr as npc
from npczarr.model.layout import plan_layout
from npczarr.store.create import create
from npczarr.store.location import locate

AIM = 2.0
PLAIN, OURS = "xr.open_zarr", "npczarr.open"
WAYS = {
    "xr.open_zarr": xr.open_zarr,
    "xr.open_zarr, chunks=None": lambda url: xr.open_zarr(url, chunks=None),
    "xr.open_datatree": lambda url: xr.open_datatree(url, engine="zarr"),
    "npczarr.open (tables loaded)": npc.open,
}


def store_of(folder, patients, size):
    """Return a store of a phantom; made where there is none."""
    cohort, store = folder / "cohort", folder / "npc.zarr"
    if not cohort.exists():
        npc.make_cohort(cohort, patients=patients, size=size, reliability=False)
    if not store.exists():
        npc.convert(cohort / "primary_data", store)
    return store


def one_slice(dataset, at):
    """Read a slice in the middle of one scan, of another scan each time."""
    patient, sequence = divmod(next(at) % dataset.status.size, dataset.sizes["sequence"])
    return dataset.image.isel(patient=patient, sequence=sequence, z=8).values


def one_scan(dataset, at):
    patient, sequence = divmod(next(at) % dataset.status.size, dataset.sizes["sequence"])
    return dataset.image.isel(patient=patient, sequence=sequence).values


def sum_of_masks(dataset, at):
    return dataset.mask.sum().compute()


def largest_value(dataset, at):
    return dataset.image.max().compute()


def morphology(dataset, at):
    return npc.morphology(dataset).compute()


#: What is done, and how often.
DEEDS = {one_slice: 40, one_scan: 20, sum_of_masks: 5, largest_value: 3, morphology: 5}


def compare(store):
    plain, ours = xr.open_zarr(store), npc.open(store)
    unchunked = xr.open_zarr(store, chunks=None), npc.open(store, dask=False)
    for deed, turns in DEEDS.items():
        counts = {side: iter(range(10**6)) for side in (PLAIN, OURS, f"{PLAIN}, chunks=None", f"{OURS}, dask=False")}
        sides = {
            PLAIN: lambda deed=deed, counts=counts: deed(plain, counts[PLAIN]),
            OURS: lambda deed=deed, counts=counts: deed(ours, counts[OURS]),
        }
        if deed in (one_slice, one_scan):
            name, own = f"{PLAIN}, chunks=None", f"{OURS}, dask=False"
            sides[name] = lambda deed=deed, counts=counts, name=name: deed(unchunked[0], counts[name])
            sides[own] = lambda deed=deed, counts=counts, own=own: deed(unchunked[1], counts[own])
        expected, *others = (side() for side in sides.values())
        for other in others:
            equal = deed is morphology or np.array_equal(other, expected, equal_nan=True)  # NaN outside the scan
            assert equal, f"{deed.__name__}: the sides differ"
            if deed is morphology:
                xr.testing.assert_allclose(
                    other.drop_vars(list(other.coords)), expected.drop_vars(list(expected.coords))
                )
        print(f" {deed.__name__.replace('_', ' ')}")
        tell(in_turns(sides, turns), OURS, {PLAIN: AIM})


def time_to_open():
    with tempfile.TemporaryDirectory() as folder:
        urls = {}
        for patients in (277, 10_000):
            urls[patients] = Path(folder) / f"{patients}.zarr"
            labels = [f"{i:05d}" for i in range(1, patients + 1)]
            layout = plan_layout([(34, 512, 512), (30, 512, 512), (30, 640, 640)])
            create(locate(urls[patients]).open(), labels, ("T1WI", "T2WI", "CE-T1WI"), layout, {})
        for name, way in WAYS.items():
            turns = [[seconds(lambda url=url, way=way: way(url)) for url in urls.values()] for _ in range(12)][2:]
            small, large = (statistics.median(times) * 1e3 for times in zip(*turns, strict=True))
            print(
                f"{name:30} 277 patients {small:6.1f} ms   10 000 patients {large:6.1f} ms   ratio {large / small:.2f}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="for the phantoms and their stores; kept")
    parser.add_argument("--patients", type=int, default=12, help="of the phantom at full size")
    parser.add_argument("--small", type=int, default=277, help="patients of the small phantom")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, dask.config.set(scheduler="threads", num_workers=options.threads):
        folder = options.folder or Path(temporary)
        for name, patients in (("full", options.patients), ("small", options.small)):
            store = store_of(folder / name, patients, name)
            print(f"{3 * patients} scans, {name} size, {options.threads} threads", flush=True)
            compare(store)
    time_to_open()


if __name__ == "__main__":
    main()
