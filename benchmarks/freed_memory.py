"""Work on a cluster of the user's, with workers that keep some freed memory and with workers as Dask starts them.

Run ``python benchmarks/freed_memory.py [--patients N] [--turns N]``. Two clusters of two workers are up at once; one
has another threshold than Dask's by a byte, which npczarr takes for the choice of the user and leaves alone. They take
turns, on full-size scans; both must give the same numbers. The first turn, which starts the workers' Python up, does
not count.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import dask
import xarray as xr
from distributed import Client

import npczarr as npc

THRESHOLDS = {"as Dask starts them": 65537, "with memory kept": 65536}
SETTING, PLACE = "MALLOC_TRIM_THRESHOLD_", "distributed.nanny.pre-spawn-environ"
SPACING = (2.0, 1.0, 1.0)


def client_of(threshold):
    os.environ.pop(SETTING, None)  # Dask leaves what it has set for the other, and prefers it
    with dask.config.set({PLACE: {**dask.config.get(PLACE), SETTING: threshold}}):
        return Client(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            set_as_default=False,
        )


def digests_in(url):
    tables = xr.open_zarr(url)
    return [tables[name].values.tolist() for name in ("image_digest", "mask_digest")]


def steps_of(folder, cohort):
    """Return what is done, by name: a function of the path of a new store, and what both sides must then agree on."""
    dataset = npc.open(folder / "npc.zarr")
    few = dataset.isel(patient=slice(0, 6))
    return {
        "convert": (lambda new: npc.convert(cohort, new), digests_in),
        "morphology": (lambda _: float(npc.morphology(dataset)["volume"].sum()), None),
        "resample, written by to_zarr": (lambda new: npc.resample(few, spacing=SPACING).to_zarr(new), digests_in),
        "largest value of all images": (lambda _: int(dataset["image"].max()), None),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # zarr's, about consolidated metadata
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        npc.make_cohort(folder / "cohort", patients=options.patients, size="full", reliability=False)
        npc.convert(folder / "cohort/primary_data", folder / "npc.zarr", workers=2)
        clients = {side: client_of(threshold) for side, threshold in THRESHOLDS.items()}
        for name, (step, agreed) in steps_of(folder, folder / "cohort/primary_data").items():
            times = {side: [] for side in clients}
            for turn in range(options.turns + 1):
                answers = []
                for side in list(clients)[:: 1 if turn % 2 else -1]:
                    new = folder / f"{name}-{turn}-{side}.zarr"
                    with clients[side].as_current():
                        start = time.perf_counter()
                        answer = step(new)
                        times[side].append(time.perf_counter() - start)
                    answers.append(agreed(new) if agreed else answer)
                assert answers[0] == answers[1], answers
            as_dask, kept = (taken[1:] for taken in times.values())
            ratio = statistics.median(a / b for a, b in zip(as_dask, kept, strict=True))
            print(
                f"{name:30} {statistics.median(as_dask):6.2f} s as Dask starts workers, "
                f"{statistics.median(kept):6.2f} s with memory kept: {ratio:.2f}x"
            )
        for client in clients.values():
            client.close()
            client.cluster.close()


if __name__ == "__main__":
    main()
