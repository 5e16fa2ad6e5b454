"""Files of formats that are not read, though they may hold images or masks."""

from __future__ import annotations

from collections.abc import Sequence

from npczarr.model.cohort import File
from npczarr.sources.file_kinds import describe_kinds

#: Endings of formats that hold volumes, such as masks of other programs.
_VOLUMES = (".nrrd", ".mha", ".mhd", ".mgz", ".mgh", ".img", ".npy", ".npz")
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def endings_not_read(files: Sequence[File]) -> list[str]:
    """Return the endings of files that may be images of a format that is not read."""
    return sorted({ending for file in files for ending in (*_VOLUMES, *_PICTURES) if _ends(file, ending)})


def remarks_on_formats(files: Sequence[File]) -> tuple[str, ...]:
    """Say of files that belong to no scan that they may be images or masks which are not read.

    >>> remarks_on_formats([File("1/a.nrrd", 0, ""), File("1/a.txt", 0, "")])[0][:21]
    '1 .nrrd: not read. If'
    """
    volumes = [file for file in files if any(_ends(file, ending) for ending in _VOLUMES)]
    if not volumes:
        return ()
    return (
        f"{describe_kinds(volumes)}: not read. If these are masks or images, save them as NIfTI (.nii.gz), and name "
        "masks as [layout] masks has them",
    )


def _ends(file: File, ending: str) -> bool:
    return file.name.lower().endswith(ending)
