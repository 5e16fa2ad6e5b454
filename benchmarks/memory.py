"""Peak memory of a conversion for 12 and for 120 patients at full size: it must not grow with the cohort.

Run ``python benchmarks/memory.py [--cohort FOLDER]``, with a full-size phantom of at least 12 patients or none to make
one. The 120 patients are hard links to the files of the twelve. Two worker processes.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from full_cohort import timed

import npczarr as npc


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path)
    parser.add_argument("--most", type=int, default=120, help="patients of the larger cohort")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        cohort = options.cohort or scratch / "cohort"
        if options.cohort is None:
            npc.make_cohort(cohort, patients=12, size="full", reliability=False)
        twelve = sorted((cohort / "primary_data/data/MRI-Segments").iterdir())[:12]
        for patients in (12, options.most):
            source = scratch / f"source-{patients}"
            for i in range(patients):
                shutil.copytree(twelve[i % 12], source / f"{i + 1:03d}", copy_function=os.link)
            timed(f"{patients} patients", lambda: npc.convert(source, scratch / "store.zarr", workers=2))  # noqa: B023
            shutil.rmtree(scratch / "store.zarr")


if __name__ == "__main__":
    main()
