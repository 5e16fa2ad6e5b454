"""The objects of a store that the page may read, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from npczarr.store.cohort import open_consolidated
from npczarr.store.hierarchy import check_schema, labels
from npczarr.store.location import Location, get
from npczarr.store.storage_errors import translate_damage

_NAME = r"(?!\.)[^/\\\x00-\x1f]{1,255}"
#: What Zarr reads: metadata, and chunks by either separator. The lease of a writer is no such object.
_KEY = re.compile(rf"(?:{_NAME}/){{0,8}}(?:zarr\.json|c(?:[/.]\d{{1,10}}){{0,8}})")

#: What a page reads first. A packed store may be another file by then, with other places of its members.
_FIRST = "zarr.json"


class StoreObjects:
    """Reads the objects of one store, each whole.

    Parameters
    ----------
    location
        The store.

    Raises
    ------
    StoreError
        If there is no store, or one of a schema that this program does not know.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        with translate_damage(location.shown):
            root = open_consolidated(location)
            check_schema(root.attrs.asdict(), location.shown, root.store)
        self._store = location.open(read_only=True)

    @property
    def name(self) -> str:
        """Last part of the store's address, for the title of the page."""
        return self.location.shown.rpartition("/")[2]

    def patients(self) -> list[str]:
        """Return the labels of the patients."""
        return labels(open_consolidated(self.location), "patient")

    def read(self, key: str) -> bytes | None:
        """Return an object, or None where there is none or where a reader of the store has no business.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        if not _KEY.fullmatch(key) or self._leaves_the_folder(key):
            return None
        if key == _FIRST:
            self._store = self.location.open(read_only=True)
        return get(self._store, key)

    def _leaves_the_folder(self, key: str) -> bool:
        """Whether a link in a local store leads out of it."""
        if self.location.is_remote:
            return False
        root = Path(self.location.url)
        return not (root / key).resolve().is_relative_to(root)
