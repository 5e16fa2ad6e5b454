"""One file for an archive: a store as an uncompressed zip, with a description for data hubs beside it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zarr.abc.store import Store

from npczarr.errors import LeaseError, ParameterError, ReadOnlyError, StoreError
from npczarr.model.options import check_local
from npczarr.model.progress import Meter, OnProgress
from npczarr.outputs import check_outside_stores, expanded, whole, write_whole
from npczarr.store.croissant import describe
from npczarr.store.folder_store import DRAFT
from npczarr.store.hierarchy import RESIZING, array, open_group
from npczarr.store.holder import LEASE_KEY, died_here, holder
from npczarr.store.lease import hold_lease, lease_is_held
from npczarr.store.location import Location, get, get_all, keys_below, locate
from npczarr.store.seal import SEAL_KEY
from npczarr.store.storage_errors import translate_damage
from npczarr.store.watch import EPOCH_KEY

_NEVER = (1980, 1, 1, 0, 0, 0)  # the same store gives the same bytes
_PIECE = 2**22
#: Objects of which one is another while a command writes, or once it has changed anything.
_STATE = (LEASE_KEY, RESIZING, EPOCH_KEY, SEAL_KEY)


@dataclass(frozen=True, slots=True)
class Packed:
    """Outcome of :func:`pack`.

    Parameters
    ----------
    path, description
        The zip file, and the Croissant description of it.
    objects, bytes
        Objects of the store, and size of the file.
    sha256
        Digest of the zip file.
    """

    path: Path
    description: Path
    objects: int
    bytes: int
    sha256: str


def pack(
    store: str | Path,
    out: str | Path,
    *,
    url: str = "",
    overwrite: bool = False,
    break_lock: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Packed:
    """Write a store as one uncompressed zip file, which opens in place: ``npczarr.open("out.zarr.zip")``.

    Zarr readers open it locally as ``xr.open_zarr("zip::out.zarr.zip")``, and npczarr also over HTTP, S3 and the
    like, by ranges of bytes: nothing has to be downloaded. A packed store is never changed. The same store gives the
    same bytes.

    Parameters
    ----------
    store
        Folder or URL.
    out
        Path of the file, which ends in ``.zip``; ``.zarr.zip`` says best what it is.
    url
        Where the file will be published; for its description.
    overwrite
        Replace files that are there.
    break_lock
        Take over the lease of a run that was killed on another machine, or in another container; one that was killed
        here is ended without it, where this process may write to the store.
    storage_options
        Options of the store's file system; credentials belong in the environment.
    on_progress
        Called with a :class:`npczarr.Progress` as objects are written.

    Returns
    -------
    Packed
        The files that were written, their size and checksum.

    Raises
    ------
    StoreError, LeaseError
        If there is no store, an interrupted run left it incomplete, somebody is writing it, or it was changed while
        it was packed. Then no file is written.
    ParameterError
        If the path does not end in .zip or lies in a store, or there is a file and `overwrite` is not set.
    OSError
        If the file cannot be written.
    """
    path = expanded(out)
    description = path.with_name(path.name + ".croissant.json")
    _check_path(path, description, overwrite=overwrite)
    location = locate(store, storage_options)
    source = location.open(read_only=True)
    if lease_is_held(source):
        _end_run(location, break_lock=break_lock)
    state = get_all(source, _STATE)
    root = open_group(source, location.shown, mode="r")
    with translate_damage(location.shown):
        keys = _ordered([key for key in keys_below(source, "") if key and not key.endswith(DRAFT)])
        _check_complete(keys, array(root, "status")[...], location.shown)
    with whole(path) as draft:
        _write(draft, source, keys, Meter(on_progress, len(keys), "objects"))
        digest = _sha256(draft)
        words = describe(root, file=path.name, size=draft.stat().st_size, sha256=digest, url=url)
        if get_all(source, _STATE) != state:
            raise StoreError(
                f"{location.shown}: was changed while it was packed, and the archive would have held parts of both "
                "states, so none was written; pack it again once nobody writes it"
            )
        # before the archive has its name: no kill leaves one without it
        write_whole(description, (json.dumps(words, indent=1, ensure_ascii=False) + "\n").encode())
    return Packed(path, description, len(keys), path.stat().st_size, digest)


def _check_path(path: Path, description: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() != ".zip":
        raise ParameterError(f"{path}: expected a file that ends in .zip, such as {path.name}.zip")
    check_local(path)
    check_outside_stores(path)
    folder = next((one for one in (path, description) if one.is_dir()), None)
    if folder is not None:
        raise ParameterError(f"{folder} is a folder; name another file")
    there = next((one for one in (path, description) if one.exists()), None)
    if there is not None and not overwrite:
        raise ParameterError(f"{there} is there already; name another file, or overwrite it (--overwrite)")


def _end_run(location: Location, *, break_lock: bool) -> None:
    """Seal a store whose last run was killed before its end, and end its lease; nothing of one that is alive."""
    try:
        with hold_lease(location.open(), location.shown, break_lock=break_lock):
            pass
    except ReadOnlyError as error:
        lease = get(location.open(read_only=True), LEASE_KEY)
        found, remedy = f"is being written by {holder(lease)}", "wait for it to end, then pack it"
        if died_here(lease):
            found = f"its run by {holder(lease)} was killed before its end"
            remedy = "let somebody pack it who may write to the store, which ends that run"
        raise LeaseError(f"{location.shown}: {found}; {remedy}") from error


def _check_complete(keys: Collection[str], status: Any, url: str) -> None:  # noqa: ANN401 - a NumPy array of strings
    if LEASE_KEY in keys:
        raise LeaseError(f"{url}: somebody has begun to write it; wait for that to end, then pack it")
    pending = int((status == "pending").sum())
    if pending or RESIZING in keys:
        raise StoreError(f"{url}: an interrupted run left {pending} scans incomplete; convert again, then pack it")


def _ordered(keys: list[str]) -> list[str]:
    """Metadata first, then tables, then masks and images: what is read together is together."""

    def rank(key: str) -> tuple[int, str]:
        if key.endswith("zarr.json"):
            return 0, key
        return {"mask": 2, "image": 3}.get(key.partition("/")[0], 1), key

    return sorted(keys, key=rank)


def _write(path: Path, store: Store, keys: list[str], meter: Meter) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
        for key in keys:
            content = get(store, key)
            if content is None:
                raise StoreError(f"{store}: {key} went away while it was packed; pack it again")
            packed.writestr(zipfile.ZipInfo(key, _NEVER), content)
            meter.add(bytes=len(content))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
