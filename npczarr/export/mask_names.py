"""Names of exported masks: those of the source, so that any tool lays one over the image, and they can come back."""

from __future__ import annotations

from npczarr.export.names import check_name
from npczarr.sources.config import SourceConfig

_MASK_NAMES = {rule.name: rule.mask for rule in SourceConfig().sequences}


def mask_stem(sequence: str) -> str:
    """Name of a sequence's mask without its ending: ``ROI-T1`` for ``T1WI``, as published; else ``ROI-<sequence>``."""
    return f"ROI-{check_name(_MASK_NAMES.get(sequence, sequence))}"
