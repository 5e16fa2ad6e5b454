"""Open a store: one slice, one scan in mm, a selection by stage.

Usage: python first_steps.py [STORE]; without a store, a small synthetic one is made.
"""

import sys
import tempfile
from pathlib import Path

import xarray as xr

import npczarr as npc


def main(store: Path) -> None:
    ds = xr.open_zarr(store)
    print(f"{ds.sizes['patient']} patients, sequences {', '.join(ds.sequence.values)}")

    patient = str(ds.patient.values[0])
    one_slice = ds.image.sel(patient=patient, sequence="T1WI").isel(z=7).compute()
    print(f"slice 7 of {patient}: {one_slice.sizes['y']} x {one_slice.sizes['x']} with its padding")

    scan = ds.npc.scan(patient, "CE-T1WI")
    depth, rows, columns = scan.spacing.values
    print(f"CE-T1WI of {patient}: {scan.image.shape} voxels of {depth:.2f} x {rows:.2f} x {columns:.2f} mm")
    print(f"tumor: {int(scan.mask.sum()) * depth * rows * columns / 1000:.2f} cm3 of voxels")

    advanced = ds.sel(patient=ds.t_stage.isin(["T3", "T4"]))
    print(f"T3 and T4: {advanced.sizes['patient']} patients, median age {float(advanced.age.load().median()):g}")


def synthetic(folder: Path) -> Path:
    npc.make_cohort(folder / "cohort", patients=4, workers=0, reliability=False)
    npc.convert(folder / "cohort/primary_data", folder / "npc.zarr", workers=0)
    return folder / "npc.zarr"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(synthetic(Path(folder)))
