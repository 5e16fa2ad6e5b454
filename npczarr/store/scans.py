"""The one description of a stored scan: what everything that reads voxels reads them through.

What is read is checked, whoever wrote or encoded the store. A whole scan must match its digest. In a store that npczarr
alone wrote, every chunk of a scan must be there. In any other, of a part of a scan every chunk that holds nothing but
the fill value is suspect, since that is how an absent object reads; then the whole scan is read and held against its
digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npczarr.errors import StoreError
from npczarr.model.geometry import Floats, Grid, Shape
from npczarr.model.label_set import TUMOR
from npczarr.model.schema import STORED
from npczarr.store.chunks import digest, is_padding, without_padding
from npczarr.store.objects import times_of_reading
from npczarr.store.voxels import VoxelArray, Window
from npczarr.store.watch import Watch


@dataclass(frozen=True, slots=True, eq=False)
class StoredScan:
    """One scan of a store: small, and free of open files, so it can travel in a task.

    Parameters
    ----------
    patient, sequence, raters
        Labels; raters where the store holds the masks of several.
    place
        Index of patient and sequence.
    status, mask_status, message
        What became of image and mask, and why.
    grid
        Where the voxels are; None where there is no scan.
    known_zyx
        Along which axes the voxel size is known; elsewhere the grid takes 1 mm.
    slope, intercept
        (z,): real value = slope * stored value + intercept.
    image_digest, mask_digest, row_digest, frame_digest
        Digests of the voxels, of all that the tables say, and of the frame of reference; "" where there is none.
    mask_voxels
        Voxels of tumor.
    image_array, mask_array
        The voxels of the store.
    labels
        What the numbers of the mask stand for, from 1.
    watch
        Tells whether the scan was changed since it was described; None where nothing does.
    """

    patient: str
    sequence: str
    raters: tuple[str, ...]
    place: tuple[int, int]
    status: str
    mask_status: str
    message: str
    grid: Grid | None
    known_zyx: tuple[bool, bool, bool]
    slope: Floats
    intercept: Floats
    image_digest: str
    mask_digest: str
    row_digest: str
    frame_digest: str
    mask_voxels: int
    image_array: VoxelArray
    mask_array: VoxelArray
    labels: tuple[str, ...] = (TUMOR,)
    watch: Watch | None = None

    @property
    def label(self) -> str:
        """Patient and sequence, for messages."""
        return f"{self.patient}/{self.sequence}"

    @property
    def stored(self) -> bool:
        """Whether the scan is in the store."""
        return self.status in STORED

    @property
    def has_image(self) -> bool:
        """Whether its image is in the store; a store of raters holds none."""
        return self.stored and bool(self.image_digest)

    @property
    def has_mask(self) -> bool:
        """Whether its mask is in the store."""
        return self.stored and self.mask_status in STORED

    @property
    def shape_zyx(self) -> Shape:
        """Voxels along z, y, x; zeros where there is no scan."""
        return (0, 0, 0) if self.grid is None else self.grid.shape_zyx

    @property
    def spacing_zyx_mm(self) -> Floats:
        """(3,) distance between voxel centers, NaN where it is not known."""
        if self.grid is None:
            return np.full(3, np.nan)
        return np.where(self.known_zyx, self.grid.spacing_zyx_mm, np.nan)

    @property
    def window(self) -> Window:
        """All of the scan, as slices."""
        z, y, x = self.shape_zyx
        return slice(0, z), slice(0, y), slice(0, x)

    def image(self, window: Window | None = None, *, verify: bool = True) -> NDArray[Any]:
        """(z, y, x) stored values, of the whole scan or of a window of it.

        Parameters
        ----------
        window
            Slices of step 1 with both ends, inside the scan.
        verify
            Hold a whole scan against its digest.

        Raises
        ------
        StoreError
            If an object is absent or damaged, or the values are not those that were stored.
        """
        return self._read(self.image_array, self.image_digest, (), window, verify=verify)

    def known_image(self, window: Window | None = None, *, verify: bool = True) -> NDArray[Any]:
        """(z, y, x) stored values with NaN for padding: what lies outside the field of view has no value.

        Stored whole numbers stay what they are where there is no padding; else they become floats that hold them, as
        xarray decodes them. Otherwise as :meth:`image`.
        """
        return without_padding(self.image(window, verify=verify), self.image_array.padding)

    def mask(self, window: Window | None = None, *, verify: bool = True) -> NDArray[np.uint8]:
        """(z, y, x) labels, or (rater, z, y, x) in a store of several raters; otherwise as :meth:`image`."""
        raters = (len(self.raters),) if self.raters else ()
        return self._read(self.mask_array, self.mask_digest, raters, window, verify=verify)

    def _read(
        self, array: VoxelArray, expected: str, raters: tuple[int, ...], window: Window | None, *, verify: bool
    ) -> NDArray[Any]:
        window = self.window if window is None else window
        written: Sequence[datetime] = ()
        try:
            with times_of_reading() as times:
                values = self._values(array, raters, window)
                whole = window == self.window
                if whole and verify and expected:
                    values = self._verified(array, values, expected)
                elif not (whole or array.whole) and expected and _has_empty_chunk(array, values, window):
                    values = self._verified(array, self._values(array, raters, self.window), expected)[(..., *window)]
            written = times
        finally:  # also where an error looks like damage: a scan that was changed meanwhile is not damaged
            if self.watch is not None:
                self.watch.check(self, written)
        return values

    def _values(self, array: VoxelArray, raters: tuple[int, ...], window: Window) -> NDArray[Any]:
        places = [(*self.place, rater) for rater in range(raters[0])] if raters else [self.place]
        try:
            values = [array.read(place, window) for place in places]
        except StoreError as error:
            damaged = [key for place in places for key in array.damaged_objects(place, self.shape_zyx)]
            object_ = f"{damaged[0]} cannot be read" if damaged else "it cannot be read"
            raise StoreError(
                f"{self.label} ({array.location.shown}): the {array.name} is damaged, {object_}; check the store with "
                f"npczarr validate, and convert the scan again (--rewrite {self.label}). {error}"
            ) from error
        return np.stack(values) if raters else values[0]

    def _verified(self, array: VoxelArray, values: NDArray[Any], expected: str) -> NDArray[Any]:
        """Return a whole scan in the type in which it was stored.

        Raises
        ------
        StoreError
            If no type of it has the digest that is expected.
        """
        for candidate in as_stored(values):
            if digest(candidate) == expected:
                return candidate
        raters = [(rater,) for rater in range(len(self.raters))] if values.ndim == 4 else [()]
        absent = [key for rater in raters for key in array.absent_objects((*self.place, *rater), self.shape_zyx)]
        where = f"{self.label} ({self.image_array.location.shown})"
        if absent:
            raise StoreError(
                f"{where}: {len(absent)} object(s) of the {array.name} are absent or may not be read, the first "
                f"{absent[0]}; restore them from a copy, or convert the scan again (--rewrite {self.label})"
            )
        raise StoreError(
            f"{where}: the voxels of the {array.name} ({array.name}/c/{'/'.join(map(str, self.place))}/…) do not match "
            f"their digest: damaged, or changed while they were read; open the store again, or convert the scan again "
            f"(--rewrite {self.label})"
        )


def as_stored(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Give the values in each type in which they may have been stored: other programs turn integers to floats."""
    yield values
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.rint(values)).all():
        for dtype in ("int16", "int32", "uint8"):
            limits = np.iinfo(dtype)
            if values.size and values.min() >= limits.min and values.max() <= limits.max:
                yield values.astype(dtype)


def _has_empty_chunk(array: VoxelArray, values: NDArray[Any], window: Window) -> bool:
    """Whether a chunk of which values were read holds only what an absent one would give."""
    edges = []
    for span, chunk in zip(window, array.chunks[-3:], strict=True):
        inner = range((span.start // chunk + 1) * chunk, span.stop, chunk)
        cuts = [span.start, *inner, span.stop]
        edges.append([slice(a - span.start, b - span.start) for a, b in pairwise(cuts)])
    for part in product(*edges):
        chosen: tuple[Any, ...] = (..., *part)
        for one in values[chosen].reshape(-1, *(s.stop - s.start for s in part)):
            # the first voxel tells most chunks from an absent one without reading the rest
            if one.size and _is_fill(one.flat[0], array) and _is_fill(one, array).all():
                return True
    return False


def _is_fill(values: Any, array: VoxelArray) -> Any:  # noqa: ANN401 - a scalar or an array, and its truth
    """Whether values may be those of an absent chunk, whichever program wrote the store."""
    return is_padding(values, array.fill)
