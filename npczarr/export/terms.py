"""Coded terms for the labels of masks, as DICOM objects must give them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """SNOMED CT code and meaning."""

    value: str
    meaning: str


_ALTERED = Term("49755003", "Morphologically Altered Structure")
_ANATOMY = Term("123037004", "Anatomical Structure")
_TISSUE = Term("85756007", "Tissue")
_NEOPLASM = Term("108369006", "Neoplasm")
_LYMPH_NODE = Term("59441001", "Lymph node")
_TUMOR_WORDS = {"tumor", "tumour", "gtv", "gtvp", "gtvt", "lesion", "mass", "primary", "neoplasm"}
_NODE_WORDS = {"node", "nodes", "nodal", "gtvn", "ln", "lymph"}


def terms_of(label: str) -> tuple[Term, Term]:
    """Property category and property type of a label: tumor, lymph node, or else tissue."""
    words = _words(label)
    if words & _NODE_WORDS:
        return _ANATOMY, _LYMPH_NODE
    if words & _TUMOR_WORDS:
        return _ALTERED, _NEOPLASM
    return _TISSUE, _TISSUE


def interpreted_type(label: str) -> str:
    """RT ROI interpreted type of a label: GTV, CTV or PTV where its name says so, else an empty string."""
    words = _words(label)
    for kind in ("ptv", "ctv"):
        if any(word.startswith(kind) for word in words):
            return kind.upper()
    return "GTV" if words & (_TUMOR_WORDS | {"gtvn"}) else ""


def _words(label: str) -> set[str]:
    return set(re.findall(r"[a-z]+", label.lower()))
