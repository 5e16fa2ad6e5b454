"""What the parts of a path stand for: folders that are named after what they hold, names that a pattern spells out."""

from __future__ import annotations

from itertools import takewhile

#: Folders between a patient and the series, or a series and its files, as XNAT and others name them; of no one.
_CONTAINERS = frozenset(("scans", "scan", "series", "dicom", "dicoms", "dcm", "images", "resources", "files", "nifti"))


def without_containers(folders: list[str]) -> list[str]:
    """Leave out the innermost folders that are named after what they hold; the topmost stays.

    >>> without_containers(["Muster_Max", "scans"]), without_containers(["scans"])
    (['Muster_Max'], ['scans'])
    """
    while len(folders) > 1 and folders[-1].lower() in _CONTAINERS:
        folders = folders[:-1]
    return folders


def spelt(parts: list[str], wanted: list[str], first: int) -> set[str]:
    """Paths of the files and folders whose names a pattern spells out, before and behind its ``**``."""
    ahead = zip(range(first, len(parts)), wanted, strict=False)
    behind = zip(range(len(parts) - 1, -1, -1), reversed(wanted), strict=False)
    told = (pair for pairs in (ahead, behind) for pair in takewhile(lambda pair: pair[1] != "**", pairs))
    return {"/".join(parts[: i + 1]) for i, name in told if "*" not in _without_ending(name, parts[i])}


def _without_ending(wanted: str, name: str) -> str:
    """Return a pattern of a name without ``.nii*`` where the ``*`` stands for the ending of a packed file at most."""
    return wanted.removesuffix(".nii*") if name.lower().endswith((".nii", ".nii.gz")) else wanted
