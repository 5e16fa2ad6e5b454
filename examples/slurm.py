"""From DICOM to tumor volumes on a SLURM cluster: convert a cohort to a store on shared disk, measure, print a table.

Usage: python slurm.py SOURCE STORE. Needs dask-jobqueue (pip install dask-jobqueue); run it on a login node, in the
environment in which the jobs will run too. Credentials for S3, if any, are read from the environment of each job.
"""

import sys

from dask.distributed import Client
from dask_jobqueue import SLURMCluster

import npczarr as npc

JOBS = 8


def main(source: str, store: str) -> None:
    # one process and one core to a job part: reading DICOM headers holds Python's lock
    with SLURMCluster(cores=4, processes=4, memory="8GB", walltime="02:00:00", queue="normal") as cluster:
        cluster.scale(jobs=JOBS)
        with Client(cluster):
            result = npc.convert(source, store)  # as soon as the first job runs; run again to complete it
            for patient, sequence in zip(*(result.status == "refused").values.nonzero(), strict=True):
                scan = result.isel(patient=patient, sequence=sequence)
                print(scan.patient.item(), scan.sequence.item(), scan.message.item())
            tumors, failures = npc.measure_store(store, "morphology")
    print((tumors.volume / 1000).to_pandas().describe().round(2))  # cm3
    print(f"{len(failures)} scans could not be measured")


if __name__ == "__main__":
    main(*sys.argv[1:3])
