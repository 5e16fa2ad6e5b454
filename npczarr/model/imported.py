"""What the message of a scan says of a mask that was imported in place of its source's."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_IMPORTED = re.compile(r"mask replaced on \d{4}-\d{2}-\d{2} from .*? \(digest \w+\), was (\w+)")
_DIGEST = re.compile(r"[0-9a-f]{32}")


def say_imported(file: str, file_digest: str, before: str) -> str:
    """Return the words of a mask imported today; `before` is the digest of the mask that it replaces, or its status."""
    return f"mask replaced on {datetime.now(UTC).date().isoformat()} from {file} (digest {file_digest}), was {before}"


def mask_before(message: str) -> str | None:
    """Return the digest of the mask that a scan had before any was imported, "" for none; None where none was."""
    found = _IMPORTED.findall(message)
    if not found:
        return None
    oldest: str = found[-1]  # the newest is said first
    return oldest if _DIGEST.fullmatch(oldest) else ""
