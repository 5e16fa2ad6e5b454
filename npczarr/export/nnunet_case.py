"""One patient as a case of nnU-Net: its files, and what they depend on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from npczarr.errors import NpczarrError, ParameterError
from npczarr.export.names import check_name
from npczarr.export.nifti import NOTICED_MM, encode, off_without_shear_mm
from npczarr.export.scan import outside_remarks
from npczarr.kernels.scan import real_values
from npczarr.model.geometry import RAS_TO_LPS
from npczarr.outputs import write_whole
from npczarr.store.scans import StoredScan

ENDING = ".nii.gz"


@dataclass(frozen=True, slots=True, eq=False)
class CaseTask:
    """One patient to write.

    Parameters
    ----------
    scans
        In the order of the channels.
    mask
        The scan whose mask is the label.
    out, test
        Folder, and whether it is a case for testing, which needs no label.
    """

    scans: tuple[StoredScan, ...]
    mask: StoredScan
    out: str
    test: bool

    @property
    def patient(self) -> str:
        """Label of the patient, the name of the case."""
        return self.mask.patient

    @property
    def has_label(self) -> bool:
        """Whether there is a mask to write."""
        return self.mask.has_mask and not self.mask.raters

    @property
    def reference(self) -> StoredScan:
        """The scan on whose grid all must lie."""
        return self.scans[0] if self.test and not self.has_label else self.mask

    @property
    def images(self) -> tuple[str, ...]:
        """File of each channel, below the folder."""
        suffix = "Ts" if self.test else "Tr"
        return tuple(f"images{suffix}/{self.patient}_{channel:04d}{ENDING}" for channel in range(len(self.scans)))

    @property
    def files(self) -> tuple[str, ...]:
        """All files, the label last."""
        label = f"labels{'Ts' if self.test else 'Tr'}/{self.patient}{ENDING}"
        return (*self.images, label) if self.has_label else self.images

    @property
    def digest(self) -> str:
        """Digest of all that the files depend on."""
        grid = self.reference.grid
        facts: list[Any] = [self.files, None if grid is None else grid.affine.tolist()]
        for scan in self.scans:
            facts += [scan.image_digest, scan.shape_zyx, scan.slope.tolist(), scan.intercept.tolist()]
            facts.append(scan.image_array.padding)
        facts.append(self.mask.mask_digest if self.has_label else "")
        return str(xxhash.xxh3_128_hexdigest(repr(facts).encode()))

    @property
    def problem(self) -> str:
        """What keeps the patient from being a case; "" where nothing does."""
        return next(_problems(self), "")

    @property
    def remark(self) -> str:
        """What is to be known of the case before it is read: that it has no label, that its slices are sheared."""
        remarks = [] if self.has_label else [f"{_lack_of_mask(self.mask)}; images for testing, without a label"]
        off_mm = 0.0 if self.reference.grid is None else off_without_shear_mm(self.reference.grid)
        if off_mm > NOTICED_MM:
            remarks.append(
                f"the axes are not quite square, and ITK, with which nnU-Net reads, makes them so: up to {off_mm:.2f} "
                "mm off in patient space, images and label alike"
            )
        return "; ".join(remarks)


@dataclass(frozen=True, slots=True)
class Case:
    """What became of one patient.

    Parameters
    ----------
    patient
        Label.
    status
        ``written``; ``kept``, as an earlier run wrote it; ``failed``.
    message
        Why, and what is to be known of the files.
    files
        Below the folder of the export.
    """

    patient: str
    status: str
    message: str = ""
    files: tuple[str, ...] = ()


def write_case(task: CaseTask) -> Case:
    """Write the images and the label of one patient; what is wrong with it is in the result."""
    folder, remarks = Path(task.out), [task.remark] if task.remark else []
    assert task.reference.grid is not None
    affine = RAS_TO_LPS @ task.reference.grid.affine  # to the last bit the same in all files, as nnU-Net checks
    try:
        for scan, file in zip(task.scans, task.images, strict=True):
            image = real_values(scan.known_image(), scan.slope, scan.intercept)
            remarks += outside_remarks(image, scan.sequence, "its least value")
            write_whole(folder / file, encode(_without_nan(image), affine))
        if task.has_label:
            write_whole(folder / task.files[-1], encode(task.mask.mask(), affine))
    except (NpczarrError, OSError, ValueError) as error:
        return Case(task.patient, "failed", str(error))
    return Case(task.patient, "written", "; ".join(remarks), task.files)


def _without_nan(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put the least real value (z, y, x) where there is none, in place; 0 where there is none at all."""
    outside = ~np.isfinite(image)
    if outside.any():
        image[outside] = 0 if outside.all() else image[~outside].min()
    return image


def _problems(task: CaseTask) -> Iterator[str]:
    """Give what keeps a patient from being a case."""
    try:
        check_name(task.patient)
    except ParameterError as error:
        yield str(error)
    reference = task.reference
    for scan in task.scans:
        if not scan.has_image or scan.grid is None:
            yield f"{scan.sequence} has no image: {scan.status}"
        elif reference.grid is None or not scan.grid.is_same_as(reference.grid):
            yield (
                f"{scan.sequence} lies on another grid than {reference.sequence}; export a store made by npczarr "
                f"resample --like {task.mask.sequence}"
            )
        elif not all(scan.known_zyx):
            yield f"the voxel size of {scan.sequence} is not known"
    if not (task.has_label or task.test):
        yield _lack_of_mask(task.mask)


def _lack_of_mask(scan: StoredScan) -> str:
    return f"{scan.sequence} has no mask: {scan.mask_status or scan.status}"
