"""DICOM SEG: the labels of a mask as binary segments, on the frames that hold any."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import highdicom
import numpy as np
from pydicom.sr.coding import Code

from npczarr.errors import SourceError
from npczarr.export.dicom_header import MANUFACTURER, encoded, image_headers, remarks, software_version
from npczarr.export.mask_names import mask_stem
from npczarr.export.scan import ScanVoxels
from npczarr.export.terms import Term, terms_of
from npczarr.outputs import write_whole
from npczarr.sources.structures.drawn_on import made_uid
from npczarr.store.scans import StoredScan

_LEAST_PIXELS = 8  # of a frame: a bit each, in whole bytes


def write(scan: ScanVoxels, folder: Path, bits: int) -> tuple[list[Path], list[str]]:
    """Write ``ROI-<mask>.dcm``: a segment for each label of the store, numbered as there.

    Segments are said to be drawn by hand, since a store does not know who drew its masks. The image that they refer to
    has identifiers made up by :func:`npczarr.export.dicom_header.image_headers`.
    """
    if scan.mask is None:
        raise SourceError("there is no mask to write")
    if not scan.mask.any():
        return [], ["the mask is empty: a SEG cannot say so, none was written"]
    if math.prod(scan.mask.shape[1:]) < _LEAST_PIXELS:
        y, x = scan.mask.shape[1:]
        raise SourceError(
            f"slices of {y} x {x} pixels, and highdicom packs frames of fewer than {_LEAST_PIXELS} wrongly; export as "
            "nifti"
        )
    images = image_headers(scan)
    segments = [_description(number, label) for number, label in enumerate(scan.labels, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it finds unusual in a header without pixels
        made = highdicom.seg.Segmentation(
            images,
            _by_segment(scan.mask, len(segments)),
            highdicom.seg.SegmentationTypeValues.BINARY,
            segments,
            series_instance_uid=made_uid("SEG series", scan.patient, scan.sequence, scan.mask_digest),
            series_number=100,
            sop_instance_uid=made_uid("SEG", scan.patient, scan.sequence, scan.mask_digest),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=software_version(),
            device_serial_number="0",
            content_label="MASK",
            specific_character_set=None,  # `encoded` sets it; highdicom refuses some that are of the standard
        )
    path = folder / f"{mask_stem(scan.sequence)}.dcm"
    write_whole(path, encoded(made, images[0]))
    return [path], remarks(scan)


def names(scan: StoredScan) -> list[str]:
    """Names of the files that :func:`write` writes of a scan."""
    return [f"{mask_stem(scan.sequence)}.dcm"] if scan.mask_voxels else []


def _by_segment(mask: np.ndarray, count: int) -> np.ndarray:
    """(z, y, x, segment) 0 and 1."""
    return np.stack([mask == number for number in range(1, count + 1)], axis=-1).astype(np.uint8)


def _description(number: int, label: str) -> highdicom.seg.SegmentDescription:
    category, kind = terms_of(label)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=_code(category),
        segmented_property_type=_code(kind),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_id=label,
        tracking_uid=made_uid("label", label),
    )


def _code(term: Term) -> Code:
    return Code(term.value, "SCT", term.meaning)
