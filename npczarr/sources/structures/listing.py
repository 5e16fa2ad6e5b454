"""The names of all structures of a source, for whoever writes its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npczarr.errors import SourceError
from npczarr.sources.files import open_source
from npczarr.sources.labels import IGNORED
from npczarr.sources.structures.masks import is_structure, read_object
from npczarr.sources.structures.records import SegmentationObject, StructureSet


@dataclass(frozen=True, slots=True)
class ListedStructure:
    """One structure of a file.

    Parameters
    ----------
    path
        The file, below the source.
    kind
        ``"RTSTRUCT"`` or ``"SEG"``.
    number, name
        ROI number and name, or segment number and label.
    meaning
        Interpreted type, or coded type as ``scheme:value (meaning)``; "" where the file gives none.
    parts
        Contours, or frames.
    problem
        Why the file or the structure cannot be used; "" where it can.
    """

    path: str
    kind: str = ""
    number: int = 0
    name: str = ""
    meaning: str = ""
    parts: int = 0
    problem: str = ""


def list_structures(
    source: str | Path, *, source_options: Mapping[str, Any] | None = None
) -> tuple[ListedStructure, ...]:
    """List the structures of every RTSTRUCT and SEG file below a folder; every file is read.

    What it returns are the names as they stand in the files, which may hold anything: print them, do not store them.

    Parameters
    ----------
    source
        Folder, zip archive or URL.
    source_options
        Options of its file system.

    Returns
    -------
    tuple of ListedStructure
        In the order of the paths, and of the structures in each file.

    Raises
    ------
    SourceError
        If the source cannot be read.
    """
    origin = open_source(source, source_options)
    found: list[ListedStructure] = []
    for file in origin.files():
        if IGNORED.search(file.path) or file.name.lower().endswith((".nii", ".nii.gz", ".csv")):
            continue
        content = origin.read([file.path])[0]
        if not isinstance(content, bytes) or not is_structure(content):
            continue
        try:
            found += _listed(file.path, read_object(content, origin.limits))
        except SourceError as error:
            found.append(ListedStructure(file.path, problem=str(error)))
    return tuple(found)


def _listed(path: str, found: StructureSet | SegmentationObject) -> list[ListedStructure]:
    if isinstance(found, StructureSet):
        return [
            ListedStructure(
                path, "RTSTRUCT", roi.number, roi.name, roi.interpreted_type, len(roi.contours), "; ".join(roi.faults)
            )
            for roi in found.rois
        ]
    return [
        ListedStructure(
            path,
            "SEG",
            segment.number,
            segment.label,
            f"{segment.type.scheme}:{segment.type.value} ({segment.type.meaning})" if segment.type.value else "",
            len(found.frames_of(segment.number)),
        )
        for segment in found.segments
    ]
