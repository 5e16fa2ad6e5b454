"""Labels that name files."""

from __future__ import annotations

import re

from npczarr.errors import ParameterError
from npczarr.sources.local import check_writable

_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f]')


def check_name(label: str) -> str:
    """Return a label that can name a file or folder.

    Raises
    ------
    ParameterError
        If it would lead elsewhere, no file system takes it, or this locale has no letters for it.
    """
    if not label.strip(". ") or _UNSAFE.search(label):
        raise ParameterError(f"{label!r} cannot name a file; rename the patient or sequence in the source")
    check_writable(label)
    return label
