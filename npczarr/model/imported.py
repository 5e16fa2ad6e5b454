"""What the message of a scan says of masks that were imported in place of its source's."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_IMPORTED = re.compile(
    r"mask replaced on \d{4}-\d{2}-\d{2} from .*? \(digest (?:[0-9a-f]{32}|unknown)\), was (\w+)(?=; |$)"
)
_DIGEST = re.compile(r"[0-9a-f]{32}")
GONE = "the mask that was imported is gone"


def say_imported(file: str, file_digest: str, before: str) -> str:
    """Return the words of a mask imported today; `before` is the digest of the mask that it replaces, or its status."""
    return f"mask replaced on {datetime.now(UTC).date().isoformat()} from {file} (digest {file_digest}), was {before}"


def say_gone(mask_status: str) -> str:
    """Return the words of a scan that has lost an imported mask; `mask_status` is that of the source's mask."""
    words = {"missing": "the source has none", "refused": "the source has none that can be used"}
    return f"{GONE}: {words.get(mask_status, 'the source has another, which was taken')}"


def imports_in(message: str) -> frozenset[str]:
    """Return what a message says of each imported mask."""
    return frozenset(found[0] for found in _IMPORTED.finditer(message))


def mask_before(message: str) -> str | None:
    """Return the digest of the mask that a scan had before any was imported, "" for none; None where none was."""
    found = [match[1] for match in _IMPORTED.finditer(message)]
    if not found:
        return None
    oldest = found[-1]  # the newest is said first
    return oldest if _DIGEST.fullmatch(oldest) else ""
