"""How fast the phantom is written at full size: ``python benchmarks/phantom_rate.py [patients] [workers]``.

Without the raters' masks, which only 30 of 277 patients have: twelve patients would all pay for them. Beside it, the
rate at which the same disk takes files of a slice's size, which is the limit. The cohort goes to a temporary folder
and is removed.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from npczarr.phantom import make_cohort

SLICE_BYTES = 2 * 512 * 512


def main():
    patients = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        made = make_cohort(Path(folder) / "cohort", patients=patients, size="full", workers=workers, reliability=False)
        seconds = time.perf_counter() - started
        print(
            f"phantom: {patients} patients, {made.files} files, {made.bytes / 1e6:,.0f} MB, {workers} workers:", end=" "
        )
        print(f"{seconds:.1f} s, {made.bytes / 1e6 / seconds:.0f} MB/s")
        print(f"disk, plain writes: {write_plainly(Path(folder), made.files // 4):.0f} MB/s")


def write_plainly(folder, files):
    content = os.urandom(SLICE_BYTES)
    started = time.perf_counter()
    for i in range(files):
        (folder / f"{i}.bin").write_bytes(content)
    return files * SLICE_BYTES / 1e6 / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
