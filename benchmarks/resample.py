"""Resampling one scan against SimpleITK on two threads, in turn; and a whole store to 1 mm and to 256 x 256.

Run ``python benchmarks/resample.py`` for the first, ``python benchmarks/resample.py --store STORE --out FOLDER`` for
both. Both sides resample the same 30 x 512 x 512 int16 volume to float32; npczarr takes one thread.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from npczarr.kernels.resample import resample
from npczarr.model.geometry import Grid

ITK = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline, "nearest": sitk.sitkNearestNeighbor}


def as_image(array, grid):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_zyx_mm[::-1].tolist())
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection(grid.directions.ravel().tolist())
    return image


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def one_scan(turns):
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(2)
    volume = np.random.default_rng(0).integers(0, 4096, (30, 512, 512)).astype(np.int16)
    source = Grid(volume.shape, np.diag([0.43, 0.43, 5.5, 1]))
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", (5, 8, 12), degrees=True).as_matrix()
    turned[:3, 3] = 3, 1, -4
    cases = {
        "linear to 1 mm": ("linear", source.regrid(spacing=(1, 1, 1))),
        "linear to 256 x 256": ("linear", source.regrid(shape=(None, 256, 256))),
        "B-spline to 1 mm": ("cubic", source.regrid(spacing=(1, 1, 1))),
        "linear, rotated grid": ("linear", Grid((150, 220, 220), turned)),
        "B-spline, rotated grid": ("cubic", Grid((150, 220, 220), turned)),
    }
    image = as_image(volume, source)
    for name, (method, target) in cases.items():
        reference = as_image(np.zeros(target.shape_zyx, np.uint8), target)

        def ours(method=method, target=target):
            return resample(volume, source, target, method=method)

        def itk(method=method, reference=reference):
            return sitk.Resample(image, reference, sitk.Transform(), ITK[method], float("nan"), sitk.sitkFloat32)

        difference = np.nanmax(np.abs(ours() - sitk.GetArrayFromImage(itk()))) / 4096
        times = [(seconds(ours), seconds(itk)) for _ in range(turns)]
        mine, theirs = (statistics.median(t) * 1e3 for t in zip(*times, strict=True))
        ratio = statistics.median(b / a for a, b in times)
        print(
            f"{name:24} npczarr {mine:6.1f} ms  SimpleITK {theirs:7.1f} ms  ratio {ratio:5.1f}  "
            f"largest difference {difference:.1e} of the range"
        )


def whole_store(store, out):
    for name, options in (("1mm", ["--spacing", "1,1,1"]), ("256", ["--shape=-,256,256"])):
        target = out / f"{name}.zarr"
        shutil.rmtree(target, ignore_errors=True)
        command = ["/usr/bin/time", "-v", sys.executable, "-m", "npczarr", "resample", store, target, *options]
        start = time.perf_counter()
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        taken = time.perf_counter() - start
        files = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
        peak = [line.split(":")[-1].strip() for line in done.stderr.splitlines() if "Maximum resident" in line]
        print(done.stdout.strip())
        peak_mb = int(peak[0]) / 1e3 if peak else float("nan")
        print(
            f"{name}: {taken:.0f} s, exit code {done.returncode}, {sum(files) / 1e9:.2f} GB in {len(files)} objects, "
            f"peak {peak_mb:.0f} MB in the largest process"
        )
        shutil.rmtree(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    one_scan(options.turns)
    if options.store:
        whole_store(options.store, options.out)


if __name__ == "__main__":
    main()
