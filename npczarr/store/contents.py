"""What a store holds: its members, each opened once, and its tables, each read once for all who ask."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from npczarr.store.hierarchy import ZarrArray, members_below, open_made
from npczarr.store.table_chunks import read_ours

_AT_ONCE = 16  # tables read at a time
_KEPT = 2**26  # bytes of a table: larger ones are read again by who asks again
_LARGEST_ENTRY = 16  # bytes, of a text


class Contents:
    """The members of a store as its arrays describe themselves.

    Parameters
    ----------
    root
        The root of the store.

    Attributes
    ----------
    members
        Every array and group below the root, by path.
    """

    def __init__(self, root: zarr.Group) -> None:
        self.root = root
        self.members: dict[str, Any] = dict(members_below(root))
        self._tables: dict[str, NDArray[Any]] = {}

    @property
    def arrays(self) -> dict[str, ZarrArray]:
        """Those of the members that are arrays."""
        return {path: one for path, one in self.members.items() if not isinstance(one, zarr.Group)}

    def table(self, path: str) -> NDArray[Any]:
        """Return the values of a table."""
        found = self._tables.get(path)
        return np.asarray(self.members[path][...]) if found is None else found

    def tables(self, paths: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return the values of tables, read all at once."""
        wanted = list(paths)
        self.load(wanted)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(wanted, pool.map(self.table, wanted), strict=True))

    def load(self, paths: Iterable[str]) -> None:
        """Read tables, all at once, and keep their values; what is large, or cannot be read so, is left out."""
        new = {path: self.members[path] for path in paths if path not in self._tables}
        small = {path: one for path, one in new.items() if one.size * _LARGEST_ENTRY <= _KEPT}
        self._tables |= read_ours(small)


def contents_of(store: Store) -> Contents | None:
    """Open what a store holds; None where there is no store, or one that is being created."""
    root = open_made(store)
    return None if root is None else Contents(root)
