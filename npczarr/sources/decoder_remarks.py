"""What decoders say beside their pixels: that compressed data goes on after them, by which damage shows."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: What libjpeg prints: it tells of corrupt data in no other way, and gives pixels all the same.
_LIBJPEG = re.compile(
    rb"(?:Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid (?:JPEG|SOS|lossless)|"
    rb"Unsupported (?:JPEG|marker)|Bogus|Huffman table|Didn't expect|Sorry, there are legal)[^\n]*\n"
)
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes|non-conformant padding - (\d+) vs\. (\d+) bytes")
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def decoder_remarks() -> Iterator[list[str]]:
    """Gather what decoders say within the block: how many bytes were left over, or the words of libjpeg."""
    found: list[str] = []
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as said, _printed() as printed:
        warnings.simplefilter("always")
        yield found
    for text in (*(str(one.message) for one in said), *printed):
        if left := _LEFT_OVER.search(text):
            extra = int(left[1]) if left[1] else int(left[2]) - int(left[3])
            found.append(f"{extra} bytes are left over after the last pixel")
        elif "Corrupt JPEG data" in text:
            found.append(text)


@contextmanager
def _printed() -> Iterator[list[str]]:
    """Catch the lines of libjpeg on standard error; what others write there meanwhile is passed on."""
    lines: list[str] = []
    try:
        real = os.dup(2)
    except OSError:  # none is open
        yield lines
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(real, 2)
            kept.seek(0)
            content = kept.read()
            if rest := _LIBJPEG.sub(b"", content):
                os.write(real, rest)
            os.close(real)
    lines += [line.decode("ascii", "replace").strip() for line in _LIBJPEG.findall(content)]
