"""Declared labels: what a cohort calls the structures of its masks, and what each is made from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npczarr.errors import ParameterError, unknown_label

TUMOR = "tumor"  # the one label of a store without declared labels
BACKGROUND = "background"
MOST_LABELS = 254  # of uint8
LABEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,63}", re.ASCII)  # CF allows no other in one word


@dataclass(frozen=True, slots=True)
class Label:
    """One structure of the masks.

    Parameters
    ----------
    name
        Its name in the store.
    number
        Its value in `mask`, from 1. Where structures overlap, the lowest number counts.
    values
        Values of NIfTI and TIFF masks that it is made from.
    rois
        Names or patterns of structures of an RTSTRUCT; the first that matches any decides.
    segments
        Numbers, labels, patterns or codes (``"SCT:108369006"``) of segments of a SEG; likewise.
    threshold
        Part of the maximum from which a voxel of a fractional SEG counts.
    """

    name: str
    number: int
    values: tuple[int, ...] = ()
    rois: tuple[str, ...] = ()
    segments: tuple[int | str, ...] = ()
    threshold: float = 0.5


#: Labels in the order of their numbers; empty where none are declared, and whatever is outlined is tumor.
Labels = tuple[Label, ...]


def label_names(labels: Labels) -> tuple[str, ...]:
    """Names in the store, in the order of their numbers: the declared ones, or tumor alone."""
    return tuple(label.name for label in labels) or (TUMOR,)


def check_mask_type(dtype: np.dtype[Any], name: str = "mask") -> None:
    """Check that a mask holds booleans or integers.

    Raises
    ------
    ParameterError
        If it does not.
    """
    if dtype.kind not in "bui":
        raise ParameterError(
            f"{name}: expected booleans or integers above 0 for tumor, found {dtype}; choose the threshold yourself, "
            "for example mask >= 0.5"
        )


def flag_attributes(names: Sequence[str]) -> dict[str, Any]:
    """Attributes by which CF names the values of `mask`."""
    return {"flag_values": list(range(len(names) + 1)), "flag_meanings": " ".join((BACKGROUND, *names))}


def flag_names(attributes: Mapping[str, Any]) -> dict[str, int]:
    """Values of `mask` by label, as its attributes name them; empty where they do not, or not well."""
    values = attributes.get("flag_values")
    words = str(attributes.get("flag_meanings", "")).split()
    try:
        numbers = [int(value) for value in values] if values is not None else []
    except (TypeError, ValueError):
        return {}
    if len(numbers) != len(words) or len(set(words)) != len(words):
        return {}
    return {word: number for word, number in zip(words, numbers, strict=True) if number > 0}


def labels_of_store(names: Sequence[str]) -> Labels:
    """Labels by which masks that were made for a store are read back: its own numbers and names."""
    if len(names) == 1:
        return ()  # whatever is outlined is this label
    return tuple(Label(name, n, (n,), (name,), (name, n)) for n, name in enumerate(names, 1))


def renumbered(labels: Labels, names: Sequence[str], *, where: str) -> Labels:
    """Give declared labels the numbers that a store has for their names.

    Raises
    ------
    ParameterError
        If the store has no label of that name.
    """
    for label in labels:
        if label.name not in names:
            raise unknown_label("label", label.name, names, where=where)
    numbered = (_with_number(label, names.index(label.name) + 1) for label in labels)
    return tuple(sorted(numbered, key=lambda label: label.number))


def _with_number(label: Label, number: int) -> Label:
    return Label(label.name, number, label.values, label.rois, label.segments, label.threshold)


def check_label_names(names: Sequence[str]) -> None:
    """Check that names can stand in a store.

    Raises
    ------
    ParameterError
        If there are too many, or one is no word or not the only one of its name.
    """
    if len(names) > MOST_LABELS:
        raise ParameterError(f"{len(names)} labels, expected {MOST_LABELS} or fewer")
    for name in names:
        if not LABEL_NAME.fullmatch(name) or name.lower() == BACKGROUND:
            raise ParameterError(
                f"label {name!r}: expected one word of letters, digits and _ . + -, beginning with a letter, and not "
                f"{BACKGROUND}"
            )
    folded = [name.lower() for name in names]
    if len(set(folded)) != len(folded):
        raise ParameterError("two labels of one name but for upper and lower case; rename one")
