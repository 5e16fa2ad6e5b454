"""What a run leaves behind: the seal and the catalog of what the store holds when it ends."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from zarr.abc.store import Store

from npczarr.errors import LeaseError, NpczarrError, StoreError, UnreachableError
from npczarr.store.contents import Contents, contents_of
from npczarr.store.location import put
from npczarr.store.seal import (
    Seal,
    Unfinished,
    compute_seal,
    read_seal,
    read_unfinished,
    remove_seal,
    seal_of,
    state_of,
    write_seal,
    write_unfinished,
)
from npczarr.store.storage_errors import translate_damage

if TYPE_CHECKING:
    from npczarr.store.lease import Lease

_UNREADABLE = Seal({})  # of a store that could not be read before the run: nobody knows who left it so


def changes_of_others(store: Store) -> tuple[Seal | None, tuple[str, ...]]:
    """Return what the store holds before this writer begins, and what another program changed since it was sealed.

    The first is None where all that the store holds is of this writer, or of a run before it that could not seal it.
    """
    sealed = read_seal(store)
    try:
        now = compute_seal(store)
    except UnreachableError:
        raise
    except StoreError:
        return _UNREADABLE, ()
    if now is None:
        return None, ()
    if sealed is None:
        left = _left_by_a_run(store)
        if left is None:
            return now, ()
        # with what others changed named in it, it is not what the store is found to hold, and so is sealed at the end
        return Seal(now.parts, left.changed) if left.changed else None, left.changed
    return now, tuple(dict.fromkeys([*sealed.changed, *sealed.differences(now)]))


def renew(lease: Lease, store: Store, before: Seal | None, changed: tuple[str, ...]) -> None:
    """Seal what the store holds now, and write its catalog anew, unless this writer has written nothing.

    What another program changed stays named in the seal until it is written again. Where the catalog cannot be made the
    old one stays, which is known to be of other tables.
    """
    try:
        _renew(lease, store, before, changed)
    except (LeaseError, UnreachableError):
        raise
    except BaseException as error:  # with the old seal, what this run wrote would be said to be of another program
        _unseal(lease, store, before, changed)
        if not isinstance(error, NpczarrError):
            raise


def _renew(lease: Lease, store: Store, before: Seal | None, changed: tuple[str, ...]) -> None:
    with translate_damage(str(store)):
        contents = contents_of(store)
    if contents is None:
        return
    catalog = _catalog_of(contents)  # first, for it notes the state of the tables before they are read
    now = seal_of(contents)
    if now == before and not lease.accepted:
        return  # what another program wrote stays without a seal of ours
    sealed = read_seal(store)
    if before is None and sealed is not None:  # that of before a run that was killed
        before, changed = sealed, sealed.changed
    parts = {} if before is None else before.parts
    kept = tuple(name for name in changed if now.parts.get(name) == parts.get(name) and not lease.accepted)
    seal = Seal(now.parts, kept)
    if seal != sealed:
        with lease.writing():
            write_seal(store, seal)
    if catalog is not None:
        _put_catalog(lease, store, catalog)


def _unseal(lease: Lease, store: Store, before: Seal | None, changed: tuple[str, ...]) -> None:
    """Take the seal away; where all that changed is known to be of this run, note what it left for the next one."""
    try:
        known = before is None or bool(before.changed) or read_seal(store) is not None
        if known and before != _UNREADABLE:
            left = Unfinished(state_of(store), () if lease.accepted else changed)
            with lease.writing():
                write_unfinished(store, left)
            return
    except (LeaseError, UnreachableError):
        return
    except NpczarrError:
        pass  # of a full disk, say: an object can still be deleted
    with suppress(NpczarrError), lease.writing():
        remove_seal(store)


def _left_by_a_run(store: Store) -> Unfinished | None:
    """Return what a run that could not seal the store noted at its end, if nobody has changed the store since."""
    left = read_unfinished(store)
    try:
        return left if left is not None and left.state == state_of(store) else None
    except UnreachableError:
        raise
    except StoreError:
        return None


def _catalog_of(contents: Contents) -> bytes | None:
    from npczarr.store.catalog import make_catalog  # it needs xarray, which imports the accessor

    try:
        return make_catalog(contents)
    except UnreachableError:
        raise
    except NpczarrError:
        return None


def _put_catalog(lease: Lease, store: Store, catalog: bytes) -> None:
    from npczarr.store.catalog import CATALOG_KEY

    try:
        with lease.writing():
            put(store, CATALOG_KEY, catalog)
    except (LeaseError, UnreachableError):
        raise
    except NpczarrError:
        return
