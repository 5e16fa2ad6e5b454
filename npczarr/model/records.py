"""What readers return and writers take: one scan, its mask, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import SourceError
from npczarr.model.geometry import Floats, Grid

Value = float | int | str
#: Of `image` outside each scan, by its type; decoded by xarray to NaN.
PADDING: Mapping[str, float] = {"int16": -(2**15), "int32": -(2**31), "float32": math.nan}


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One series: its stored values on a regular grid.

    Parameters
    ----------
    image
        (z, y, x) stored values: int16; int32 where int16 cannot hold them; float32 of a NIfTI image of floats.
    grid
        Where the voxels lie.
    rescale_slope, rescale_intercept
        (z,) per slice: real value = slope * stored value + intercept.
    acquisition
        Header fields of the allow-list, by variable name of the schema.
    notes
        What was passed over or chosen, for the record.
    warnings
        What a user must know before trusting the scan.
    z_spacing_known
        False for a single slice whose header does not tell it; the grid then takes 1 mm, the store says NaN.
    series_uid, study_uid, frame_of_reference_uid
        SeriesInstanceUID, StudyInstanceUID and FrameOfReferenceUID; only hashes of them may enter a store.
    instance_uids
        SOPInstanceUID of each slice, in the order of z; none of them enters a store.
    frame_numbers
        Number of each slice in its object, from 1; empty where it is not made of DICOM objects.
    structures
        Contents of the RTSTRUCT and SEG files among its files.
    named
        Whether the label of its patient is the name in the header, which enters no record.
    person
        PatientID where it may tell persons apart, else ""; it enters no record.
    """

    image: NDArray[Any]
    grid: Grid
    rescale_slope: Floats
    rescale_intercept: Floats
    acquisition: Mapping[str, Value] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    z_spacing_known: bool = True
    series_uid: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)
    frame_of_reference_uid: str = field(default="", repr=False)
    instance_uids: tuple[str, ...] = field(default=(), repr=False)
    frame_numbers: tuple[int, ...] = ()
    structures: tuple[bytes, ...] = field(default=(), repr=False)
    named: bool = False
    person: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.image.shape != self.grid.shape_zyx or self.image.dtype.name not in PADDING:
            raise SourceError(
                f"image {self.image.dtype} {self.image.shape} does not fit its grid {self.grid.shape_zyx}"
            )
        depth = (self.grid.shape_zyx[0],)
        if self.rescale_slope.shape != depth or self.rescale_intercept.shape != depth:
            raise SourceError(f"rescale slope and intercept must hold one value for each of {depth[0]} slices")


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A tumor mask on the grid of its image.

    Parameters
    ----------
    mask
        (z, y, x) uint8, 0 background, then the number of each label; 1 tumor where none are declared.
    evidence
        How it was placed, by variable name of the schema.
    warnings
        What a user must know before trusting the mask.
    notes
        What was passed over, for the record.
    """

    mask: NDArray[np.uint8]
    evidence: Mapping[str, Value] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one scan: its labels and its entries in the tables.

    Parameters
    ----------
    patient, sequence
        Its labels.
    values
        Entries by variable name of the schema; an array is the leading part of the variable's row. Of a scan that is
        kept its status alone.
    seconds, source_bytes
        What it took.
    outgrown
        The scan's shape where it does not fit the store's arrays: nothing was written, grow them and try again.
    declined
        Why nothing was written, and the store keeps what it holds of the scan.
    kept
        Why nothing was written though the store holds the scan: what its source no longer gives.
    named
        Whether the label of its patient is the name in the header.
    person
        Salted digest of the PatientID where it may tell persons apart, else "".
    """

    patient: str
    sequence: str
    values: Mapping[str, Any]
    seconds: float = 0.0
    source_bytes: int = 0
    outgrown: tuple[int, int, int] | None = None
    declined: str = ""
    kept: str = ""
    named: bool = False
    person: str = field(default="", repr=False)

    @property
    def is_written(self) -> bool:
        """Whether it is to be written: the scan fits, and is neither declined nor kept."""
        return not (self.declined or self.kept) and self.outgrown is None
