"""DICOM to arrays on disk: npczarr against other tools, on the same full-size series, two worker processes each.

Run ``python benchmarks/peers.py [--cohort FOLDER] [--patients N] [--used] [--syntax RLELossless]``. Without a cohort a
phantom is made in a temporary folder; with a transfer syntax its slices are compressed before. ``--used`` first fills
the memory with file cache, as that of a machine in use is: a virtual machine that gives free memory back to its host
pays for a page that it takes again several times what a page of the cache costs, and little else is measured.
Masks are left out on every side, as the others do not place them. All sides take turns, one series to a task, on worker
processes that are already up; the voxels of each series must be the same on all sides first.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import dcm2niix
import ngff_zarr
import nibabel
import numpy as np
import psutil
import pydicom
import SimpleITK as sitk
import zarr
from numcodecs import blosc
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

import npczarr as npc
from npczarr.graphs.convert_scan import ScanTask, write_scan
from npczarr.model.layout import plan_layout
from npczarr.sources.config import SourceConfig
from npczarr.sources.dicom import read_scan
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.store.chunks import ScanPlace
from npczarr.store.create import create
from npczarr.store.location import locate
from npczarr.store.zarr_library import image_codecs

WORKERS = 2
NOISE = memoryview(os.urandom(16_000_000))
SYNTAXES = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def with_npczarr(folder, out, task):
    # into a store that was made before the clock: its tables are not what the others write
    row = write_scan(task)
    assert row.values["status"] == "warning", row.values["message"]  # no mask


def read_with_simpleitk(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def with_simpleitk(folder, out, task):
    array = sitk.GetArrayFromImage(read_with_simpleitk(folder))
    stored = zarr.create_array(
        out,
        shape=array.shape,
        chunks=task.target.layout.image_chunk_zyx,
        dtype=array.dtype,
        compressors=image_codecs("lz4"),
    )
    stored[...] = array


def with_ngff_zarr(folder, out, task):
    image = read_with_simpleitk(folder)
    z, y, x = image.GetSpacing()[::-1]
    ngff = ngff_zarr.to_ngff_image(
        sitk.GetArrayViewFromImage(image), dims=["z", "y", "x"], scale={"z": z, "y": y, "x": x}
    )
    ngff_zarr.to_ngff_zarr(str(out), ngff_zarr.to_multiscales(ngff, scale_factors=[]), version="0.5")


def run_dcm2niix(folder, out, gzip):
    out.mkdir(parents=True)
    command = [dcm2niix.bin, "-z", gzip, "-b", "n", "-f", "scan", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def with_dcm2niix_gzip(folder, out, task):
    run_dcm2niix(folder, out, "i")  # its own compressor, in the same process


def with_dcm2niix_plain(folder, out, task):
    run_dcm2niix(folder, out, "n")


def floor_reading(folder, out, task):
    for path in folder.iterdir():
        path.read_bytes()


def floor_codec(folder, out, task):
    path = next(folder.iterdir())
    _, rows, columns = task.target.layout.extent_zyx
    pixels = np.frombuffer(path.read_bytes()[-2 * rows * columns :], "<i2")
    for _ in range(len(task.files.images)):
        blosc.compress(pixels, b"lz4", 3, blosc.SHUFFLE)


def floor_writing(folder, out, task):
    # as many bytes, in as many files, as npczarr has written of this scan
    (patient, _), kept = task.target.index, out.parents[1] / "kept.json"
    for i, size in enumerate(json.loads(kept.read_text())[patient]):
        out.mkdir(parents=True, exist_ok=True)
        (out / str(i)).write_bytes(NOISE[:size])


SIDES = {
    "npczarr": with_npczarr,
    "SimpleITK + zarr-python": with_simpleitk,
    "ngff-zarr (SimpleITK reads)": with_ngff_zarr,
    "dcm2niix, gzip": with_dcm2niix_gzip,
    "dcm2niix, uncompressed": with_dcm2niix_plain,
    "floor: reading the files": floor_reading,
    "floor: lz4 + shuffle of the pixels": floor_codec,
    "floor: writing what npczarr writes": floor_writing,
}


def check(folder, task, scratch):
    """Make sure that all sides give the voxels of one series."""
    expected = read_scan(task.source, task.files.images).image
    array = sitk.GetArrayFromImage(read_with_simpleitk(folder))
    # SimpleITK applies the rescale slope of Philips series; its values are then no longer the stored ones
    assert array.shape == expected.shape
    with_dcm2niix_plain(folder, scratch / "check", task)
    nifti = np.asarray(nibabel.load(next((scratch / "check").glob("*.nii"))).dataobj.get_unscaled())
    assert np.array_equal(nifti.T[:, ::-1], expected)


def compress(folder, syntax):
    """Compress every slice of a folder in place."""
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)


def new_tasks(source, scans, layout, path):
    """Make a store without scans, and return the tasks that write them to it."""
    store = locate(path)
    create(store.open(), [str(i) for i in range(len(scans))], ["all"], layout, {})
    return [ScanTask(source, scan, ScanPlace(store, (i, 0), layout, False), salt="00") for i, scan in enumerate(scans)]


def warm(_):
    time.sleep(0.2)


def fill_memory(path):
    """Leave no memory free: what is written next takes pages of this file."""
    with path.open("wb") as file:
        while psutil.virtual_memory().free > 2**30 and file.tell() < psutil.virtual_memory().total:
            file.write(NOISE)
    os.sync()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, help="folder made by npczarr phantom --size full")
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--used", action="store_true", help="fill the memory with file cache first")
    parser.add_argument("--syntax", choices=[syntax.keyword for syntax in SYNTAXES], help="compress the slices first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        cohort = options.cohort or scratch / "cohort"
        if options.cohort is None:
            npc.make_cohort(cohort, patients=options.patients, size="full", reliability=False)
            if options.syntax:
                compress(cohort, next(syntax for syntax in SYNTAXES if syntax.keyword == options.syntax))
        source = open_source(cohort / "primary_data")
        scans = [replace(s, masks=()) for s in discover(source, SourceConfig()).scans.values()][: 3 * options.patients]
        shapes = [read_scan(source, scan.images).image.shape for scan in scans]
        layout = plan_layout(shapes)
        first = scratch / "first.zarr"
        tasks = new_tasks(source, scans, layout, first)
        folders = [(cohort / "primary_data" / scan.images[0].path).parent for scan in scans]
        megabytes = sum(file.size for scan in scans for file in scan.images) / 1e6
        check(folders[0], tasks[0], scratch)

        for folder, task in zip(folders, tasks, strict=True):
            with_npczarr(folder, scratch, task)
        sizes = [
            [path.stat().st_size for path in (first / "image/c" / str(i)).rglob("*") if path.is_file()]
            for i in range(len(tasks))
        ]
        (scratch / "kept.json").write_text(json.dumps(sizes))

        # the floors are of uncompressed files
        sides = {name: side for name, side in SIDES.items() if not (options.syntax and name.startswith("floor"))}
        seconds = {side: [] for side in sides}
        if options.used:
            fill_memory(scratch / "fill")
        with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
            list(pool.map(warm, range(8)))
            for turn in range(options.turns + 1):
                order = list(sides.items())
                for side, convert in order[turn % len(order) :] + order[: turn % len(order)]:
                    # nothing is deleted until the end: ext4 may search long for an inode that was not freed just now
                    outs = [scratch / "out" / f"{turn}-{side}-{i}" for i in range(len(tasks))]
                    tasks = new_tasks(source, scans, layout, scratch / f"{turn}-{side}.zarr")
                    os.sync()
                    start = time.perf_counter()
                    list(pool.map(convert, folders, outs, tasks))
                    if turn:  # the first warms file cache and imports
                        seconds[side].append(time.perf_counter() - start)
        print(f"{len(tasks)} series, {megabytes:.0f} MB of DICOM, {WORKERS} processes, median of {options.turns} turns")
        for side, times in seconds.items():
            ratio = statistics.median(t / own for t, own in zip(times, seconds["npczarr"], strict=True))
            rate = megabytes / statistics.median(times)
            print(f"{side:38} {statistics.median(times):7.2f} s {rate:7.0f} MB/s   {ratio:5.2f} x npczarr's time")


if __name__ == "__main__":
    main()
