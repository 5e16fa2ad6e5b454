"""One million simulated scans: ``npczarr.open(where=…)`` of ten patients, by the catalog, and by the tables.

Run ``python benchmarks/million.py [--scans N] [--folder FOLDER]``; in a folder that is given the store is kept, and
used again. The store holds the tables of every scan (random, with clinical columns) and no voxels. Each figure is of a
process of its own; the filter is what selects, once the libraries are imported. Both ways must choose the same patients
and give the same tables.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

from npczarr.model.layout import plan_layout
from npczarr.model.schema import SCAN_TABLES, TEXT, Variable
from npczarr.store.create import add_columns, create
from npczarr.store.hierarchy import array
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate

WHERE = "t_stage == 'T4' and age > {age} and status == 'ok' and echo_time > 0"
TEXTS = {"scanner_model": ("A", "B", "C"), "manufacturer": ("GE", "SIEMENS"), "modality": ("MR",)}
TASK = """
import json, re, sys, time
import npczarr as npc
from npczarr.store.location import locate
from npczarr.store.selection import select_patients
import npczarr.store.catalog, xarray, dask.array
try:
    import pyarrow.parquet
except ImportError:
    pass
if sys.argv[3] == "tables":
    import npczarr.store.selection as selection
    selection.open_catalog = lambda store: None
start = time.perf_counter()
found = select_patients(locate(sys.argv[1]), sys.argv[2])
filtered = time.perf_counter()
ds = npc.open(sys.argv[1], where=sys.argv[2])
opened = time.perf_counter()
ages = ds.age.values.tolist()
scan = ds.isel(patient=0, sequence=0)[["shape", "spacing", "affine"]].load()
used = time.perf_counter()
print(json.dumps({"filter": filtered - start, "open": opened - filtered, "values": used - opened, "by": found.by,
    "patients": ds.patient.values.tolist(), "ages": ages,
    "MB": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024}))
"""


def make(folder, scans):
    """Write a store of tables; return its folder, and an age that about ten patients with T4 pass."""
    url = folder / f"million-{scans}.zarr"
    random = np.random.default_rng(7)
    patients = scans // 3
    ages = random.uniform(20, 80, patients)
    stages = np.array(["T1", "T2", "T3", "T4"], dtype=object)[random.integers(0, 4, patients)]
    if not url.exists():
        store = locate(url).open()
        labels = [f"{i:07d}" for i in range(patients)]
        create(store, labels, ["T1WI", "T2WI", "CE-T1WI"], plan_layout([(20, 256, 256)]), {"title": "simulated"})
        root = zarr.open_group(store, mode="r+", use_consolidated=False)
        with hold_lease(store, str(url)):
            for variable in SCAN_TABLES:
                table = array(root, variable.name)
                table[...] = values_of(variable, table.shape, random)
            clinical = {
                "age": (Variable("age", ("patient",), "float64", "age", "year"), ages),
                "t_stage": (Variable("t_stage", ("patient",), "string", "T stage"), stages.astype(TEXT)),
            }
            add_columns(root, clinical)
            start = time.perf_counter()
        print(f"sealed, and the catalog written, in {time.perf_counter() - start:.1f} s")
    return url, float(np.sort(ages[stages == "T4"])[-11])


def values_of(variable, shape, random):
    """Return plausible entries of a table."""
    if variable.name == "status":
        return np.full(shape, "ok", dtype=TEXT)
    if variable.dtype == "string":
        words = np.array(TEXTS.get(variable.name, ("",)), dtype=object)
        return words[random.integers(0, len(words), shape)].astype(TEXT)
    if variable.name == "shape":
        return np.broadcast_to(np.array([20, 256, 256]), shape)
    if variable.name == "affine":
        return np.broadcast_to(np.eye(4), shape)
    if variable.name == "spacing" or len(shape) > 2:
        return np.ones(shape)
    return random.uniform(1, 5, shape).round(2)


def run(url, where, way):
    ran = subprocess.run([sys.executable, "-c", TASK, str(url), where, way], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--scans", type=int, default=999_999)
    options.add_argument("--folder", type=Path)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        url, age = make(chosen.folder or Path(temporary), chosen.scans)
        where = WHERE.format(age=age)
        catalog = url / "status/catalog.parquet"
        size = sum(path.stat().st_size for path in url.rglob("*") if path.is_file())
        print(f"store {size / 1e6:.0f} MB, of which the catalog {catalog.stat().st_size / 1e6:.0f} MB; {where}")
        for _ in range(chosen.rounds):
            found = {way: run(url, where, way) for way in ("catalog", "tables")}
            assert found["catalog"]["by"] == "catalog", found["catalog"]["by"]
            assert all(found["catalog"][name] == found["tables"][name] for name in ("patients", "ages"))
            for way, one in found.items():
                words = ", ".join(f"{name} {one[name]:.3f} s" for name in ("filter", "open", "values"))
                print(f"{way:8}{len(one['patients'])} patients: {words}; peak memory {one['MB']:.0f} MB")


if __name__ == "__main__":
    main()
