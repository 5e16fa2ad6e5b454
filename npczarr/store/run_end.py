"""What a run leaves behind: the seal and the catalog of what the store holds when it ends."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from zarr.abc.store import Store

from npczarr.errors import LeaseError, NpczarrError, StoreError, UnreachableError
from npczarr.store.contents import Contents, contents_of
from npczarr.store.location import put
from npczarr.store.seal import Seal, compute_seal, read_seal, remove_seal, seal_of, write_seal
from npczarr.store.storage_errors import translate_damage

if TYPE_CHECKING:
    from npczarr.store.lease import Lease


def changes_of_others(store: Store) -> tuple[Seal | None, tuple[str, ...]]:
    """Return what the store holds before this writer begins, and what another program changed since it was sealed."""
    sealed = read_seal(store)
    try:
        now = compute_seal(store)
    except UnreachableError:
        raise
    except StoreError:
        return None, ()
    if sealed is None or now is None:
        return now, ()
    return now, tuple(dict.fromkeys([*sealed.changed, *sealed.differences(now)]))


def renew(lease: Lease, store: Store, before: Seal | None, changed: tuple[str, ...]) -> None:
    """Seal what the store holds now, and write its catalog anew, unless this writer has written nothing.

    What another program changed stays named in the seal until it is written again. Where the catalog cannot be made the
    old one stays, which is known to be of other tables.
    """
    try:
        with translate_damage(str(store)):
            contents = contents_of(store)
        if contents is None:
            return
        catalog = _catalog_of(contents)  # first, for it notes the state of the tables before they are read
        now = seal_of(contents)
        if now == before and not lease.accepted:
            return  # what another program wrote stays without a seal of ours
        parts = {} if before is None else before.parts
        kept = tuple(name for name in changed if now.parts.get(name) == parts.get(name) and not lease.accepted)
        seal = Seal(now.parts, kept)
        if seal != read_seal(store):
            with lease.writing():
                write_seal(store, seal)
        if catalog is not None:
            _put_catalog(lease, store, catalog)
    except (LeaseError, UnreachableError):
        raise
    except NpczarrError:  # without a seal the store is said to be not sealed; with an old one, to be changed
        with suppress(NpczarrError), lease.writing():
            remove_seal(store)


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
