"""Files that a killed writer had begun, where it had given its lease back or had none yet."""

import os

from npczarr.store.holder import LEASE_KEY
from npczarr.store.lease import hold_lease
from npczarr.store.location import locate


def test_what_a_kill_left_beside_the_lease_is_cleared_by_whoever_takes_it_next(tmp_path):
    status = (tmp_path / LEASE_KEY).parent
    status.mkdir()
    names = ("seal.json.1.partial", "catalog.parquet.1.partial", "heartbeat.1.partial", "lease.old.partial")
    begun, asking = [status / name for name in names], status / "lease.young.partial"
    for path in (*begun, asking):
        path.write_bytes(b"x")
    os.utime(status / "lease.old.partial", (0, 0))
    with hold_lease(locate(tmp_path).open(), "x"):
        assert [path for path in begun if path.exists()] == []
        assert asking.exists(), "another process may be asking for the lease"
    os.utime(asking, (0, 0))
    with hold_lease(locate(tmp_path).open(), "x"):
        assert not asking.exists()
