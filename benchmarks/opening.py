"""How long a store takes to open, for 277 and for 10 000 patients; the stores hold tables and metadata, no voxels.

Run ``python benchmarks/opening.py``. Each way of opening takes its turn on both stores.
"""

import statistics
import tempfile
import time
from pathlib import Path

import xarray as xr

import npczarr as npc
from npczarr.model.layout import plan_layout
from npczarr.store.create import create
from npczarr.store.location import locate

WAYS = {
    "xr.open_zarr": xr.open_zarr,
    "xr.open_datatree": lambda url: xr.open_datatree(url, engine="zarr"),
    "npczarr.open (tables loaded)": npc.open,
}


def seconds(call, url):
    start = time.perf_counter()
    call(url)
    return time.perf_counter() - start


def main():
    with tempfile.TemporaryDirectory() as folder:
        urls = {}
        for patients in (277, 10_000):
            urls[patients] = Path(folder) / f"{patients}.zarr"
            labels = [f"{i:05d}" for i in range(1, patients + 1)]
            layout = plan_layout([(34, 512, 512), (30, 512, 512), (30, 640, 640)])
            create(locate(urls[patients]).open(), labels, ("T1WI", "T2WI", "CE-T1WI"), layout, {})
        for name, way in WAYS.items():
            turns = [[seconds(way, url) for url in urls.values()] for _ in range(12)][2:]
            small, large = (statistics.median(times) * 1e3 for times in zip(*turns, strict=True))
            print(
                f"{name:30} 277 patients {small:6.1f} ms   10 000 patients {large:6.1f} ms   ratio {large / small:.2f}"
            )


if __name__ == "__main__":
    main()
