"""Convert on a Dask cluster: npczarr uses the active client, whatever cluster it belongs to.

Usage: python convert_on_cluster.py [SOURCE STORE]; without a source, a small synthetic one is made.
"""

import sys
import tempfile
from pathlib import Path

from dask.distributed import Client, LocalCluster

import npczarr as npc


def main(source: str, store: str) -> None:
    # any cluster will do: SLURMCluster of dask-jobqueue, KubeCluster, Client("tcp://scheduler:8786")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        result = npc.convert(source, store)
    print(result.status.to_pandas())


def synthetic(folder: Path) -> Path:
    npc.make_cohort(folder / "cohort", patients=3, workers=0, reliability=False)
    return folder / "cohort/primary_data"


if __name__ == "__main__":  # worker processes import this file
    if len(sys.argv) > 2:
        main(sys.argv[1], sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(str(synthetic(Path(folder))), str(Path(folder) / "npc.zarr"))
