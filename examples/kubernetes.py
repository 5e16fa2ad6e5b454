"""From DICOM on S3 to tumor volumes on Kubernetes: convert to a store on S3, measure, print a table.

Usage: python kubernetes.py s3://bucket/primary_data s3://bucket/npc.zarr. Needs dask-kubernetes (pip install
dask-kubernetes) and its operator in the cluster, and an image with npczarr[s3]. The pods read their credentials from
the secret `s3`, whose entries are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; nothing else ever carries them.
"""

import sys

from dask.distributed import Client
from dask_kubernetes.operator import KubeCluster, make_cluster_spec

import npczarr as npc

IMAGE = "registry.example.org/npczarr:latest"
WORKERS = 8


def main(source: str, store: str) -> None:
    spec = make_cluster_spec(name="npczarr", image=IMAGE, n_workers=WORKERS, resources={"limits": {"memory": "2Gi"}})
    worker = spec["spec"]["worker"]["spec"]["containers"][0]
    worker["args"] += ["--nthreads", "1"]
    worker["envFrom"] = [{"secretRef": {"name": "s3"}}]
    with KubeCluster(custom_cluster_spec=spec) as cluster, Client(cluster):
        result = npc.convert(source, store)
        for patient, sequence in zip(*(result.status == "refused").values.nonzero(), strict=True):
            scan = result.isel(patient=patient, sequence=sequence)
            print(scan.patient.item(), scan.sequence.item(), scan.message.item())
        tumors, failures = npc.measure_store(store, "morphology")
    print((tumors.volume / 1000).to_pandas().describe().round(2))  # cm3
    print(f"{len(failures)} scans could not be measured")


if __name__ == "__main__":
    main(*sys.argv[1:3])
