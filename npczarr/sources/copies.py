"""Copies of one object among the files of a series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from npczarr.errors import SourceError
from npczarr.sources.fields import places_of, raw_text
from npczarr.sources.frames import count_frames
from npczarr.sources.pixels import decode

#: Fields that must be equal in copies, beside the pixels.
_FIELDS = (
    "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept", "EchoTime", "ImageType",
)  # fmt: skip
Image = tuple[Dataset, tuple[int, ...]]


def drop_copies(images: Sequence[Image]) -> tuple[list[Image], int]:
    """Return images without exact copies of others, and how many those were.

    Raises
    ------
    SourceError
        If two files claim to be one object, by their SOPInstanceUID, and differ.
    """
    kept: dict[str, Image] = {}
    nameless: list[Image] = []
    for image in images:
        uid = raw_text(image[0], "SOPInstanceUID")
        if not uid:
            nameless.append(image)
        elif uid not in kept:
            kept[uid] = image
        elif not _same(kept[uid][0], image[0]):
            raise SourceError(
                f"{kept[uid][0].filename} and {image[0].filename} claim to be one object (SOPInstanceUID), but differ "
                "in pixels or in what describes them; keep the right one, or export the series again"
            )
    distinct = [*kept.values(), *nameless]
    return distinct, len(images) - len(distinct)


def _same(one: Dataset, other: Dataset) -> bool:
    if any(_plain(one, name) != _plain(other, name) for name in _FIELDS):
        return False
    if "PerFrameFunctionalGroupsSequence" in one and any(
        places_of(one, index)[:-1] != places_of(other, index)[:-1] for index in range(count_frames(one))
    ):
        return False
    pixels = [dataset.get_item("PixelData").value if "PixelData" in dataset else None for dataset in (one, other)]
    if pixels[0] == pixels[1]:
        return True
    if None in pixels:
        return False
    try:  # one may be compressed, and equal once decoded
        return bool(np.array_equal(decode(one), decode(other)))
    except SourceError:
        return False


def _plain(dataset: Dataset, name: str) -> str:
    return str(dataset.get(name, ""))
