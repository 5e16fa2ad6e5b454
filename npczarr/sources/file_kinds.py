"""Files by place and kind, in words that hold nothing of a patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from npczarr.model.cohort import File

#: Stands in the place of the files of a folder that this user may not list.
UNLISTED = "folder that cannot be listed"
#: Endings of files that are not DICOM.
NO_DICOM = (
    ".csv", ".tsv", ".txt", ".json", ".xml", ".xls", ".xlsx", ".pdf", ".doc", ".docx", ".html", ".png", ".jpg",
    ".jpeg", ".tif", ".tiff", ".nii", ".gz", ".nrrd", ".mha", ".mhd", ".raw", ".npy", ".zip", ".tar", ".py", ".md",
)  # fmt: skip
_SHOWN = 5
#: Endings that are named; any other may be a part of a name.
_ENDINGS = (
    ".nii.gz", ".nii", ".dcm", ".dicom", ".ima", ".csv", ".tsv", ".txt", ".json", ".xml", ".xls", ".xlsx", ".pdf",
    ".doc", ".docx", ".html", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".nrrd", ".mha", ".mhd", ".raw",
    ".npy", ".npz", ".mat", ".h5", ".mgz", ".mgh", ".hdr", ".img", ".zip", ".gz", ".tar", ".bval", ".bvec", ".md",
    ".py", ".toml", ".yaml", ".log",
)  # fmt: skip


def describe_kinds(files: Sequence[File]) -> str:
    """Count files by the ending of their names.

    >>> describe_kinds([File("1/a.dcm", 0, ""), File("1/b.DCM", 0, ""), File("IM_0001", 0, "")])
    '2 .dcm, 1 of another ending'
    """
    endings = (next((one for one in _ENDINGS if file.name.lower().endswith(one)), "") for file in files)
    counts = Counter(endings).most_common()
    shown = [f"{count} {ending or 'of another ending'}" for ending, count in counts[:_SHOWN]]
    rest = sum(count for _, count in counts[_SHOWN:])
    return ", ".join([*shown, *([f"{rest} more"] if rest else [])]) or "no files"


def group_strays(paths: Sequence[str]) -> list[str]:
    """Describe files that belong to no scan by how deep they are and by kind; names of folders are left out.

    Folders that this user may not list are said to be that: a patient in them is missing.

    >>> group_strays(["readme.txt", "001/FLAIR/1.dcm", "002/FLAIR/1.dcm"])
    ['at the top: 1 .txt', '2 folders deep, in 2 folders: 2 .dcm']
    """
    by_depth: dict[int, list[str]] = {}
    for path in readable(paths):
        by_depth.setdefault(path.count("/"), []).append(path)
    lines = []
    for depth, found in sorted(by_depth.items()):
        folders = len({path.rpartition("/")[0] for path in found})
        place = f"{depth} folder{'s' if depth > 1 else ''} deep, in {folders} folder{'s' if folders > 1 else ''}"
        lines.append(f"{place if depth else 'at the top'}: {describe_kinds([File(path, 0, '') for path in found])}")
    closed = len(paths) - len(readable(paths))
    if closed:
        lines.append(f"{closed} folder{'s' if closed > 1 else ''} that cannot be listed: what is in there is missing; "
                     "change the permissions, and run again")  # fmt: skip
    return lines


def readable(paths: Sequence[str]) -> list[str]:
    """Leave out what stands for folders that cannot be listed."""
    return [path for path in paths if path.rpartition("/")[2] != UNLISTED]
