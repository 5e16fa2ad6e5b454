"""Zarr stores where images, masks and tables were expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from npczarr.errors import SourceError
from npczarr.model.cohort import File

_METADATA = frozenset(("zarr.json", ".zgroup", ".zarray"))  # of Zarr v3 and v2


def refuse_store(shown: str, files: Iterable[File], expected: str) -> None:
    """Refuse a source that is a Zarr store itself.

    Parameters
    ----------
    shown
        The source, for the message.
    files
        What it holds.
    expected
        What the command reads.

    Raises
    ------
    SourceError
        If it is a store.
    """
    if any(file.path in _METADATA for file in files):
        raise SourceError(f"{shown}: a Zarr store, expected {expected}")


def split_stores(files: Sequence[File]) -> tuple[list[File], list[str]]:
    """Split files into those that lie in no Zarr store, and the folders that are stores.

    >>> split_stores([File(path, 0, "") for path in ("1/a.dcm", "b.zarr/zarr.json", "b.zarr/age/zarr.json")])[1]
    ['b.zarr']
    """
    found = {file.path.rpartition("/")[0] for file in files if file.path.rpartition("/")[2] in _METADATA}
    stores = {folder for folder in found if folder and not found & set(_above(folder))}
    return [file for file in files if not stores & set(_above(file.path))], sorted(stores)


def _above(path: str) -> list[str]:
    """Return the folders above a path."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]
