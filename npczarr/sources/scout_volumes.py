"""How many volumes NIfTI images hold, by the beginnings of their files."""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Sequence

import nibabel

from npczarr.model.cohort import File
from npczarr.sources.files import Source
from npczarr.sources.nifti_file import silent

_HEAD, _HEADER = 2**12, 540  # bytes of a file, and of the longer of the two headers
_AT_ONCE = 64


def count_volumes(source: Source, files: Sequence[File]) -> Counter[int]:
    """Count files by the number of their volumes; one whose header cannot be read is left out."""
    found: Counter[int] = Counter()
    with silent("nibabel.global"):
        for start in range(0, len(files), _AT_ONCE):
            heads = source.read_heads(files[start : start + _AT_ONCE], _HEAD)
            found.update(volumes for head in heads if not isinstance(head, Exception) and (volumes := _volumes(head)))
    return found


def _volumes(content: bytes) -> int:
    """Return how many volumes the header names; 0 where it is none."""
    try:
        if content[:2] == b"\x1f\x8b":
            content = zlib.decompressobj(wbits=31).decompress(content, _HEADER)
        longer = int.from_bytes(content[:4], "little") == _HEADER or int.from_bytes(content[:4], "big") == _HEADER
        header = nibabel.Nifti2Header if longer else nibabel.Nifti1Header
        shape = [int(n) for n in header.from_fileobj(io.BytesIO(content[:_HEADER])).get_data_shape()]
    except Exception:  # nibabel and zlib name damage in a dozen ways; what reads the image says it at length
        return 0
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return shape[-1] if len(shape) > 3 else 1
