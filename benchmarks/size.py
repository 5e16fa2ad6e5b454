"""Bytes of a store against ``.nii.gz`` of the same voxels: real scans, a crop of odd size, and scans resampled to 1 mm.

Run ``python benchmarks/size.py --data FOLDER``; FOLDER holds ``real_cohort`` and ``dicom_variety`` (not part of this
repository; without it, a phantom alone is measured, whose noise compresses otherwise than real images). Chunks of
`image` are compared with the images as nibabel writes them, gzip at level 6 as dcm2niix has it; the voxels of both are
the same. The crop is 255 x 255 pixels, not a multiple of eight, of a real brain with much background; four windows of
one real mosaic make four slices.
"""

import argparse
import gzip
import os
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import xarray as xr
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import npczarr as npc
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import locate

#: Bytes of a store's images by those of .nii.gz, at most: lz4 and zstd.
AIMS = {"real cohort": (1.1, 0.95), "255 x 255 crop": (1.7, 0.95)}
GZIP_LEVEL = 6


def bytes_below(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def gzipped(array, grid):
    """Bytes of a volume as ``.nii.gz``."""
    image = nibabel.Nifti1Image(array.T, np.diag([*grid.spacing_zyx_mm[::-1], 1]))
    return len(gzip.compress(image.to_bytes(), GZIP_LEVEL))


def bytes_as_nifti(store):
    """Bytes of all images and masks as ``.nii.gz``, and of the images' voxels."""
    images = masks = plain = 0
    for scan in StoredCohort(locate(store)):
        if scan.has_image:
            image = scan.image()
            plain += image.nbytes
            images += gzipped(image, scan.grid)
        if scan.has_mask:
            masks += gzipped(scan.mask(), scan.grid)
    return images, masks, plain


def tell(name, stores):
    """Compare the stores of one cohort, by codec, with its files."""
    first, *rest = stores.values()
    # lossless, by whichever codec: the same voxels are compared with the same files
    for other in rest:
        a, b = (xr.open_zarr(store, chunks=None) for store in (first, other))
        assert a.image.equals(b.image), "codecs give other voxels"
        assert a.mask.equals(b.mask), "codecs give other masks"
    images, masks, plain = bytes_as_nifti(first)
    array = xr.open_zarr(first, chunks=None).image
    chunks = " x ".join(map(str, array.encoding["chunks"][-3:]))
    print(f"{name}: {plain / 1e6:.1f} MB of voxels, {images / 1e6:.2f} MB as .nii.gz; chunks {chunks}")
    for (codec, store), aim in zip(stores.items(), AIMS.get(name, (None, None)), strict=True):
        size, outlines = bytes_below(Path(store, "image/c")), bytes_below(Path(store, "mask/c"))
        ratio = size / images
        verdict = "" if aim is None else f", aim {aim:g}: {'met' if ratio <= aim else 'MISSED'}"
        print(
            f"  {codec:5} {size / 1e6:7.2f} MB, {ratio:.2f} x .nii.gz{verdict}; voxels / bytes {plain / size:.2f}; "
            f"masks {outlines / 1e3:.0f} kB against {masks / 1e3:.0f}; whole store {bytes_below(store) / 1e6:.2f} MB",
            flush=True,
        )


def convert(source, scratch, name):
    stores = {codec: scratch / f"{name}-{codec}.zarr" for codec in ("lz4", "zstd")}
    for codec, store in stores.items():
        result = npc.convert(source, store, codec=codec, workers=0)
        assert (result.status.isin(["ok", "warning", "missing"])).all(), set(result.message.values.ravel())
    return stores


def crops(mosaic, size=255):
    """Four windows of a brain that is one of many on a sheet."""
    rows, columns = mosaic.shape
    return [mosaic[y : y + size, x : x + size] for y in (0, rows - size) for x in (0, columns - size)]


def write_crop(source, folder):
    """Write four slices of a series with the pixels of a crop, as files of a cohort."""
    original = pydicom.dcmread(source)
    folder.mkdir(parents=True)
    uid = generate_uid()
    for i, pixels in enumerate(crops(original.pixel_array)):
        header = pydicom.Dataset()
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
        header.SeriesInstanceUID, header.Modality = uid, "MR"
        header.Rows, header.Columns = pixels.shape
        header.BitsAllocated, header.BitsStored, header.HighBit = 16, original.BitsStored, original.HighBit
        header.PixelRepresentation, header.SamplesPerPixel = original.PixelRepresentation, 1
        header.PhotometricInterpretation = "MONOCHROME2"
        header.PixelSpacing, header.SliceThickness = [1, 1], 5
        header.ImageOrientationPatient, header.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5 * i]
        header.PixelData = np.ascontiguousarray(pixels).tobytes()
        header.save_as(folder / f"{i}.dcm", enforce_file_format=True)


def resampled(store, scratch):
    stores = {codec: scratch / f"1mm-{codec}.zarr" for codec in ("lz4", "zstd")}
    for codec, out in stores.items():
        npc.resample_store(store, out, spacing=(1, 1, 1), codec=codec, workers=0)
    return stores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("NPCZARR_DATA"), help="folder of real images")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        if options.data is None:
            print("no --data: a phantom instead of real images")
            npc.make_cohort(scratch / "cohort", patients=2, size="full", reliability=False)
            stores = convert(scratch / "cohort/primary_data", scratch, "phantom")
            tell("phantom", stores)
        else:
            data = Path(options.data)
            stores = convert(data / "real_cohort/primary_data", scratch, "real")
            tell("real cohort", stores)
            # the smallest of nine encodings that pydicom reads by itself; all hold the same sheet
            sheets = sorted((data / "dicom_variety/dcm_qa_ts/In").iterdir())
            plain = next(p for p in sheets if not pydicom.dcmread(p).file_meta.TransferSyntaxUID.is_compressed)
            write_crop(plain, scratch / "crop/001/T1WI")
            tell("255 x 255 crop", convert(scratch / "crop", scratch, "crop"))
        tell("resampled to 1 mm", resampled(stores["lz4"], scratch))


if __name__ == "__main__":
    main()
