"""What a run leaves behind: the seal and the catalog of what the store holds when it ends."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from zarr.abc.store import Store

from npczarr.errors import LeaseError, NpczarrError, StoreError
from npczarr.store.location import put
from npczarr.store.seal import Seal, compute_seal, read_seal, remove_seal, write_seal

if TYPE_CHECKING:
    from npczarr.store.lease import Lease


def changes_of_others(store: Store) -> tuple[Seal | None, tuple[str, ...]]:
    """Return what the store holds before this writer begins, and what another program changed since it was sealed."""
    sealed = read_seal(store)
    try:
        now = compute_seal(store)
    except StoreError:
        return None, ()
    if sealed is None or now is None:
        return now, ()
    return now, tuple(dict.fromkeys([*sealed.changed, *sealed.differences(now)]))


def renew_seal(lease: Lease, store: Store, before: Seal | None, changed: tuple[str, ...]) -> bool:
    """Seal what the store holds now; what another program changed stays named until it is written again.

    Returns
    -------
    bool
        Whether this writer wrote anything, as far as can be told.
    """
    try:
        now = compute_seal(store)
        sealed = read_seal(store)
        if now is None or (now == before and not lease.accepted):
            return False  # nothing was written, so what another program wrote stays without a seal of ours
        parts = {} if before is None else before.parts
        kept = tuple(name for name in changed if now.parts.get(name) == parts.get(name) and not lease.accepted)
        seal = Seal(now.parts, kept)
        if seal != sealed:
            with lease.writing():
                write_seal(store, seal)
    except LeaseError:
        raise
    except NpczarrError:  # without a seal the store is said to be not sealed; with an old one, to be changed
        with suppress(NpczarrError), lease.writing():
            remove_seal(store)
    return True


def renew_catalog(lease: Lease, store: Store) -> None:
    """Write the catalog anew; where that fails the old one stays, which is known to be of other tables."""
    from npczarr.store.catalog import CATALOG_KEY, make_catalog  # it needs xarray, which imports the accessor

    try:
        catalog = make_catalog(store)
        if catalog is not None:
            with lease.writing():
                put(store, CATALOG_KEY, catalog)
    except LeaseError:
        raise
    except NpczarrError:
        return
