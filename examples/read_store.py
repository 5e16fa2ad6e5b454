"""A reader of a cohort store with NumPy and zarr only, written from npczarr/store/FORMAT.md.

python read_store.py npc.zarr 002 T1WI scan.npz
"""

import asyncio
import sys
from dataclasses import dataclass
from itertools import product

import numpy as np
import zarr

STORED = ("ok", "warning")


@dataclass(frozen=True)
class Scan:
    """One scan: voxels (z, y, x), and where they are."""

    status: str
    message: str
    image: np.ndarray  # stored values; real value = slope * stored value + intercept
    mask: np.ndarray | None  # (z, y, x), or (rater, z, y, x); None where there is none
    slope: np.ndarray  # (z,)
    intercept: np.ndarray  # (z,)
    spacing_zyx_mm: np.ndarray  # (3,)
    affine: np.ndarray  # (4, 4): voxel index (x, y, z, 1) to patient coordinates (LPS) in mm


def read_scan(url: str, patient: str, sequence: str) -> Scan:
    """Read one scan; an object that should be there and is not is an error."""
    root = zarr.open_group(url, mode="r", zarr_format=3)
    if root.attrs.get("npczarr_schema") != 2:
        raise ValueError(f"{url}: no cohort store of schema version 2")
    place = index(root, "patient", patient), index(root, "sequence", sequence)
    status = str(root["status"][place])
    if status not in STORED:
        raise ValueError(f"{patient}/{sequence} is {status}: {root['message'][place]}")
    shape = tuple(int(n) for n in root["shape"][place])
    has_image = str(root["image_digest"][place]) != ""  # a store of several raters holds masks alone
    has_mask = str(root["mask_status"][place]) in STORED
    rated = "rater" in root
    places = [(*place, rater) for rater in range(root["rater"].shape[0])] if rated else [place]
    masks = [read_box(root, "mask", at, shape) for at in places] if has_mask else []
    return Scan(
        status=status,
        message=str(root["message"][place]),
        image=read_box(root, "image", place, shape) if has_image else padding(root, shape),
        mask=(np.stack(masks) if rated else masks[0]) if masks else None,
        slope=root["rescale_slope"][place][: shape[0]],
        intercept=root["rescale_intercept"][place][: shape[0]],
        spacing_zyx_mm=root["spacing"][place],
        affine=root["affine"][place],
    )


def index(root: zarr.Group, dim: str, label: str) -> int:
    labels = [str(one) for one in root[dim][:]]
    if label not in labels:
        raise KeyError(f"no {dim} {label!r}; there are {', '.join(labels)}")
    return labels.index(label)


def read_box(root: zarr.Group, name: str, place: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Read the box of a scan, after all its chunks are seen to be there."""
    array = root[name]
    chunk = array.chunks[-3:]
    for at in product(*(range(-(-n // size)) for n, size in zip(shape, chunk, strict=True))):
        key = "/".join((array.path, "c", *map(str, place), *map(str, at)))
        if not asyncio.run(array.store.exists(key)):
            raise FileNotFoundError(f"{key} is absent: the store is damaged")
    return array[(*place, *(slice(n) for n in shape))]


def padding(root: zarr.Group, shape: tuple[int, ...]) -> np.ndarray:
    image = root["image"]
    return np.full(shape, image.attrs.get("_FillValue", np.nan), image.dtype)


if __name__ == "__main__":
    found = read_scan(*sys.argv[1:4])
    spacing = " x ".join(f"{mm:.3f}" for mm in found.spacing_zyx_mm)
    print(f"{found.status}: {found.image.shape} voxels of {spacing} mm, {found.image.dtype}")
    if found.mask is not None:
        print(f"tumor: {int(np.count_nonzero(found.mask))} voxels")
    if len(sys.argv) > 4:
        arrays = {name: value for name, value in vars(found).items() if isinstance(value, np.ndarray)}
        np.savez(sys.argv[4], **arrays)
