"""Text as a TOML file has it."""

from __future__ import annotations

import json


def quoted(text: str) -> str:
    """Write text between quotation marks."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
