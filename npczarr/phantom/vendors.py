"""Header fields of each maker: rescaling, and private blocks of its kind and size with made-up content."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydicom.datadict import private_dictionary_VR
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from npczarr.phantom.plan import Scanner

_CSA = 6000  # bytes of a Siemens image header


def vendor_fields(dataset: Dataset, scanner: Scanner, rng: np.random.Generator) -> None:
    """Add the fields of the scanner's maker."""
    if scanner.manufacturer == "SIEMENS":
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        for offset, size in ((0x10, _CSA), (0x20, _CSA // 2)):
            block.add_new(offset, "OB", b"SV10\4\3\2\1" + rng.bytes(size))
        _fill(dataset, 0x0029, "SIEMENS CSA HEADER", (0x08, 0x09, 0x18, 0x19), rng)
    elif scanner.manufacturer.startswith("Philips"):
        if rng.random() < 0.6:
            dataset.RescaleIntercept, dataset.RescaleType = "0", "normalized"
            dataset.RescaleSlope = f"{rng.uniform(0.5, 3):.6f}"
        _fill(dataset, 0x2001, "Philips Imaging DD 001", range(0x2A), rng)
        item = Dataset()
        _fill(item, 0x2005, "Philips MR Imaging DD 001", range(0x2A), rng)
        dataset.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x02, "SQ", [item])
    else:
        _fill(dataset, 0x0019, "GEMS_ACQU_01", range(0x10, 0x60), rng)
        _fill(dataset, 0x0043, "GEMS_PARM_01", range(0x12), rng)
        dataset.private_block(0x0043, "GEMS_PARM_01").add_new(0x2A, "OB", rng.bytes(1000))


def _fill(dataset: Dataset, group: int, creator: str, offsets: Iterable[int], rng: np.random.Generator) -> None:
    """Add those elements of a private block that pydicom knows: implicit headers are then read as they were written."""
    block = dataset.private_block(group, creator, create=True)
    for offset in offsets:
        try:
            vr = private_dictionary_VR(Tag(block.get_tag(offset)), creator)
        except KeyError:
            continue
        number = int(rng.integers(0, 100))
        values = {"DS": str(number), "IS": str(number), "FL": float(number), "CS": "MADE UP", "LO": "made up"}
        if vr in ("SS", "US", "SL", "UL"):
            block.add_new(offset, vr, number)
        elif vr in values:
            block.add_new(offset, vr, values[vr])
