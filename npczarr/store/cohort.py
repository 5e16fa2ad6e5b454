"""Every scan of a store, from one opening of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import product
from typing import Any
from uuid import uuid4

import numpy as np
import xxhash
import zarr
from numpy.typing import NDArray

from npczarr.errors import GeometryError, MissingStoreError, StoreError, unknown_label
from npczarr.model.geometry import Grid
from npczarr.model.schema import STORED
from npczarr.store.hierarchy import Chosen, check_schema, mask_labels, read_tables, tables_at
from npczarr.store.location import Location, absence_reason
from npczarr.store.scans import StoredScan
from npczarr.store.storage_errors import translate_damage, translate_errors
from npczarr.store.voxels import VoxelArray, describe_voxels
from npczarr.store.watch import Stamp, Watch, stamp_of
from npczarr.store.whole import WholeArrays, is_written_whole

#: Reads tables by their names.
Reader = Callable[[Sequence[str]], Mapping[str, NDArray[Any]]]
#: The tables that reading voxels needs, and what else describes a scan: of a remote store each is a request.
_VOXEL_TABLES = ("status", "mask_status", "shape", "spacing", "affine", "image_digest", "mask_digest", "row_digest")
_TEXTS = ("status", "mask_status", "message", "image_digest", "mask_digest", "row_digest", "frame_digest")
_OTHER_TABLES = ("message", "rescale_slope", "rescale_intercept", "mask_voxels", "frame_digest")


class StoredCohort:
    """Every scan of a store, from one opening of it.

    Tables are read when a scan is first asked for. Sent to another process it opens the store again, and refuses to go
    on if scans have changed in between.

    Parameters
    ----------
    location
        The store.
    root
        Its root group, if it is open already.
    read
        Reads tables, where something else has them in memory already.
    patients
        Numbers of the patients to whom it is confined; by default all. Of the others no table is read.
    """

    def __init__(
        self,
        location: Location,
        root: zarr.Group | None = None,
        read: Reader | None = None,
        patients: Chosen | None = None,
    ) -> None:
        self.location = location
        self.read = read
        self.patients = patients
        #: Name of this opening, for what is cached of it.
        self.opening = uuid4().hex
        with translate_damage(location.shown):
            self._root = open_consolidated(location) if root is None else root
            check_schema(self._root.attrs.asdict(), location.shown, self._root.store)
            self.image, self.mask = (self._described(name) for name in ("image", "mask"))
            #: Labels of the masks, in the order of their numbers.
            self.mask_labels = mask_labels(self._root)
            # noted before any table is read
            self._watch = Watch(location, stamp_of(location), _described_again)

    def __reduce__(self) -> tuple[Any, ...]:
        chosen = None if self.patients is None else tuple(self.patients.tolist())
        return _reopened, (self.location, self.fingerprint, chosen)

    def _described(self, name: str) -> VoxelArray:
        found = self._root.get(name)
        if not isinstance(found, zarr.Array):
            raise StoreError(f"{self.location.shown}: no {name} in it; convert into a new store")
        return describe_voxels(self.location, name, found)

    @cached_property
    def tables(self) -> Mapping[str, NDArray[Any]]:
        """What the store says of the voxels of its scans, by name; each on (patient, sequence, …)."""
        return self._tables((*_VOXEL_TABLES, *self._indexes))

    @cached_property
    def _other_tables(self) -> Mapping[str, NDArray[Any]]:
        return self._tables(_OTHER_TABLES)

    def _tables(self, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        with translate_damage(self.location.shown):
            return self.read(names) if self.read else read_tables(tables_at(self._root, names), self.patients)

    @property
    def _indexes(self) -> tuple[str, ...]:
        return ("patient", "sequence", *(("rater",) if "rater" in self._root else ()))

    @cached_property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """Labels of `patient` and `sequence`, and of `rater` where there are several."""
        return {name: tuple(str(label) for label in self.tables[name]) for name in self._indexes}

    @cached_property
    def _places(self) -> Mapping[str, Mapping[str, int]]:
        return {dim: {label: i for i, label in enumerate(labels)} for dim, labels in self.labels.items()}

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what the store says of its voxels."""
        parts = [np.asarray(self.tables[n]) for n in ("status", "shape", "affine", "image_digest", "mask_digest")]
        content = [part.tolist() for part in parts] + [self.image.fingerprint, self.mask.fingerprint]
        return str(xxhash.xxh3_128_hexdigest(repr(content).encode()))

    @property
    def raters(self) -> tuple[str, ...]:
        """Labels of the raters; empty unless the store holds the masks of several."""
        return self.labels.get("rater", ())

    def __iter__(self) -> Iterator[StoredScan]:
        """Give every scan, in the store's order."""
        for at in product(range(len(self.labels["patient"])), range(len(self.labels["sequence"]))):
            yield self.at(at)

    def scan(self, patient: str, sequence: str, *, voxels_only: bool = False) -> StoredScan:
        """Return one scan by its labels; `voxels_only` as for :meth:`at`.

        Raises
        ------
        UnknownLabelError
            If there is no such patient or sequence.
        """
        for dim, label in (("patient", patient), ("sequence", sequence)):
            if label not in self._places[dim]:
                raise unknown_label(dim, label, self.labels[dim])
        place = self._places["patient"][patient], self._places["sequence"][sequence]
        return self.at(place, voxels_only=voxels_only)

    def at(self, place: tuple[int, int], *, check: bool = True, voxels_only: bool = False) -> StoredScan:
        """Return one scan by its place.

        Parameters
        ----------
        place
            Index of patient and sequence; of the patients to whom the cohort is confined.
        check
            Refuse a grid that makes no sense; else such a scan has none.
        voxels_only
            Leave out what reading voxels does not need: message, rescaling, frame of reference, tumor voxels.

        Raises
        ------
        StoreError
            If its shape or its affine make no sense.
        """
        tables = self.tables if voxels_only else {**self.tables, **self._other_tables}
        texts = {name: str(tables[name][place]) if name in tables else "" for name in _TEXTS}
        try:
            grid = self._grid(place)
        except StoreError:
            if check:
                raise
            grid = None
        depth = 0 if grid is None else grid.shape_zyx[0]
        z, y, x = (bool(known) for known in np.isfinite(tables["spacing"][place]))
        return StoredScan(
            patient=self.labels["patient"][place[0]],
            sequence=self.labels["sequence"][place[1]],
            raters=self.raters,
            place=place if self.patients is None else (int(self.patients[place[0]]), place[1]),
            grid=grid,
            known_zyx=(z, y, x),
            slope=np.empty(0) if voxels_only else np.array(tables["rescale_slope"][place][:depth]),
            intercept=np.empty(0) if voxels_only else np.array(tables["rescale_intercept"][place][:depth]),
            mask_voxels=0 if voxels_only else int(tables["mask_voxels"][place]),
            image_array=self.image,
            mask_array=self.mask,
            labels=self.mask_labels,
            watch=self._watch,
            **texts,
        )

    def _grid(self, place: tuple[int, int]) -> Grid | None:
        z, y, x = (int(n) for n in self.tables["shape"][place])
        label = "/".join((self.labels["patient"][place[0]], self.labels["sequence"][place[1]]))
        if min(z, y, x) < 1:
            if str(self.tables["status"][place]) in STORED:
                raise StoreError(
                    f"{label} ({self.location.shown}): stored, but its shape is {(z, y, x)}; validate the store"
                )
            return None
        if any(n > extent for n, extent in zip((z, y, x), self.image.shape[-3:], strict=True)):
            raise StoreError(
                f"{label} ({self.location.shown}): its shape {(z, y, x)} does not fit the arrays, "
                f"{self.image.shape[-3:]}; validate the store"
            )
        try:
            return Grid((z, y, x), self.tables["affine"][place])
        except GeometryError as error:
            raise StoreError(f"{label} ({self.location.shown}): {error}; validate the store") from error


def open_consolidated(location: Location) -> zarr.Group:
    """Open the root of a store to be read, by its consolidated metadata where there are any.

    Raises
    ------
    StoreError
        If there is no store.
    """
    store = location.open(read_only=True)
    tables = WholeArrays(store)
    with translate_errors(store, "open it"):
        try:
            root = zarr.open_group(tables, mode="r", zarr_format=3)
        except FileNotFoundError as error:
            raise MissingStoreError(f"{location.shown}: {absence_reason(store)}") from error
    tables.whole = is_written_whole(root.attrs.asdict())
    return root


def _described_again(location: Location, stamp: Stamp, place: tuple[int, int]) -> StoredScan:
    return _opened_at(location, stamp).at(place, check=False)


@lru_cache(maxsize=4)
def _opened_at(location: Location, stamp: Stamp) -> StoredCohort:
    """Open a store once for each state of its tables."""
    cohort = StoredCohort(location)
    _ = cohort.tables  # now, and not when another run may have changed them again
    return cohort


@lru_cache(maxsize=8)
def _reopened(location: Location, fingerprint: str, patients: tuple[int, ...] | None) -> StoredCohort:
    """Open a cohort in another process, and make sure that it is the same."""
    cohort = StoredCohort(location, patients=None if patients is None else np.array(patients, dtype=np.int64))
    if cohort.fingerprint != fingerprint:
        raise StoreError(f"{location.shown}: scans were changed while they were read; open the store again")
    return cohort
