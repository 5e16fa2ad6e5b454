"""Image and mask of one scan of a Dataset: from the store behind it where they are the same, else as it holds them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from npczarr.errors import ParameterError
from npczarr.model.geometry import AXES, Shape
from npczarr.store.backend import OneScan, SomeRaters, WholeScan, exactly, stored_dtype
from npczarr.store.cohort import StoredCohort
from npczarr.store.entries import Entries, digest_known, in_memory
from npczarr.store.origin import Held, cohort_behind, held_by, is_table_of, source_of
from npczarr.store.scans import StoredScan

VOXELS = ("image", "mask")


class DatasetVoxels:
    """The voxels of a Dataset, scan by scan; what is read is checked.

    Parameters
    ----------
    dataset
        A cohort or a selection of it; it may be changed in place.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset
        #: What held the voxels when the store behind them was last looked for, and that store.
        self._held: list[Held] = []
        self._behind: StoredCohort | None = None
        self._sources: list[StoredCohort | None] = []
        self._warned: set[str] = set()

    def of_scan(
        self, place: Mapping[str, int], entries: Entries, shape_zyx: Shape, label: str
    ) -> dict[str, xr.Variable]:
        """Return image and mask of a scan as they are stored, lazy, checked when they are read.

        Parameters
        ----------
        place
            Index of the scan by dimension.
        entries, shape_zyx
            What the tables say of it.
        label
            Its name for messages.

        Raises
        ------
        ParameterError
            If the Dataset was cut along z, y or x.

        Warns
        -----
        UserWarning
            If nothing tells what the voxels are: once for each of image and mask.
        """
        names = [name for name in VOXELS if name in self._dataset.variables]
        self._check_whole(names, shape_zyx, label)
        scan = self._stored_scan(names, place, entries, shape_zyx)
        found = {}
        for name in names:
            variable = self._dataset.variables[name].transpose(..., *AXES)
            if scan is not None:
                array: OneScan | WholeScan = OneScan(scan, name)
            else:
                box = {dim: slice(n) for dim, n in zip(AXES, shape_zyx, strict=True)}
                array = self._whole_scan(name, variable.isel({**place, **box}), entries, label)
            attributes = {key: value for key, value in variable.attrs.items() if key != "_FillValue"}
            dims = tuple(dim for dim in variable.dims if dim not in place)
            found[name] = xr.Variable(dims, array.lazy(), attributes)
        return found

    def _check_whole(self, names: list[str], shape_zyx: Shape, label: str) -> None:
        """Refuse a Dataset that was cut along z, y or x: it no longer says where its voxels are."""
        sizes = self._dataset.sizes
        cut = [axis for axis, n in zip(AXES, shape_zyx, strict=True) if sizes.get(axis, n) < n]
        gone = [axis for axis in AXES if axis not in sizes and names]
        if cut or gone:
            raise ParameterError(
                f"{label}: the Dataset was cut along {', '.join(cut or gone)}; take the scan of the whole cohort "
                "first, then select in it (part.npc.affine says where the part is)"
            )

    def _stored_scan(
        self, names: list[str], place: Mapping[str, int], entries: Entries, shape_zyx: Shape
    ) -> StoredScan | None:
        """Return the scan at this place of the store; None where it is not what the Dataset holds and says of it.

        The place is enough, whatever the labels are now: it is asked only where the voxels of the Dataset are the whole
        arrays of the store, and its tables are taken from the same place. What they say may have been changed.
        """
        cohort = self._cohort_behind(names)
        if cohort is None:
            return None
        lead, *others = ([str(dim) for dim in self._dataset.variables[name].dims[:2]] for name in names)
        patient, sequence = (place.get(dim, -1) for dim in lead)
        if any(other != lead for other in others):
            return None
        if not (0 <= patient < len(cohort.labels["patient"]) and 0 <= sequence < len(cohort.labels["sequence"])):
            return None
        scan = cohort.at((patient, sequence), voxels_only=True)
        told = [name for name in names if not self._is_unread(cohort, f"{name}_digest", entries)]
        return scan if _agrees(scan, told, entries, shape_zyx) else None

    def _is_unread(self, cohort: StoredCohort, name: str, entries: Entries) -> bool:
        """Whether a table is that of the store, of which nothing was read yet: it cannot say anything else."""
        if name not in entries or in_memory(entries[name]):
            return False
        return is_table_of(cohort, name, self._dataset.variables[name])

    def _cohort_behind(self, names: list[str]) -> StoredCohort | None:
        """Return the store whose whole, unchanged arrays the voxels of the Dataset are now."""
        held = [held_by(self._dataset.variables[name]) for name in names]
        if len(held) != len(self._held) or not all(a.is_same(b) for a, b in zip(held, self._held, strict=True)):
            self._behind = cohort_behind(self._dataset, tuple(names)) if names else None
            self._held = held
        return self._behind

    def _whole_scan(self, name: str, variable: xr.Variable, entries: Entries, label: str) -> WholeScan:
        """Return the Dataset's own voxels of a scan, held against what is known of them."""
        expected: str | SomeRaters | None = digest_known(entries, name)
        why = (
            f"the Dataset has no {name}_digest; it is given as the Dataset holds it. Keep {name}_digest where "
            "it is as it was stored"
        )
        if self._is_of_raters(entries):
            if name == "image":
                expected = expected or ("" if "image_digest" in entries else None)  # there is none
            elif expected:
                expected = self._of_raters(variable, entries.get("rater"), str(expected))
                why = (
                    "its digest is of the masks of all raters, and they cannot be read from the store; it is given as "
                    "the Dataset holds it. Select raters of a Dataset that was opened from the store"
                )
        if expected is not None:
            return WholeScan(variable, expected, f"{label}: {name}")
        self._warn(name, f"{label}: nothing tells whether the {name} was cut, moved or replaced, for {why}")
        return WholeScan(_in_stored_dtype(variable), "", f"{label}: {name}")

    def _is_of_raters(self, entries: Entries) -> bool:
        """Whether a scan is of a store of raters, which holds no images; a rater may have been selected by a number."""
        if "rater" in entries:
            return True
        if "image_digest" not in entries or str(entries["image_digest"].values):
            return False
        cohort = self._source()
        return cohort is not None and bool(cohort.raters)

    def _of_raters(self, variable: xr.Variable, rater: xr.Variable | None, digest: str) -> str | SomeRaters | None:
        """Return what the mask must hold, of which some raters may be absent or in another order; None if not known."""
        cohort = self._source()
        raters = [] if cohort is None else list(cohort.raters)
        single = variable.ndim == len(AXES)
        labels = [] if rater is None else [str(label) for label in np.atleast_1d(rater.values)]
        if (labels == raters and not single) or (single and len(labels) > 1):
            return digest
        if cohort is not None and set(labels) <= set(raters) and (single or rater is not None):
            scan = _scan_with_mask(cohort, digest, variable.shape[-3:])
            if scan is not None:
                numbers = [raters.index(label) for label in labels]
                return SomeRaters(scan, (numbers[0] if numbers else None) if single else numbers)
        whole = not single and (cohort is None or variable.shape[0] == len(raters))
        return digest if whole else None

    def _source(self) -> StoredCohort | None:
        if not self._sources:
            self._sources.append(source_of(self._dataset))
        return self._sources[0]

    def _warn(self, name: str, message: str) -> None:
        """Warn once of an image, and once of a mask, whoever calls the accessor."""
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(message, stacklevel=5)


def _scan_with_mask(cohort: StoredCohort, digest: str, shape_zyx: tuple[int, ...]) -> StoredScan | None:
    """Find the first scan of a shape that has a mask by its digest."""
    same_shape = (cohort.tables["shape"] == shape_zyx).all(axis=-1)
    places = np.argwhere(same_shape & (cohort.tables["mask_digest"] == digest))
    return cohort.at((int(places[0][0]), int(places[0][1])), voxels_only=True) if len(places) else None


def _agrees(scan: StoredScan, names: list[str], entries: Entries, shape_zyx: Shape) -> bool:
    """Whether a stored scan is the one of which the tables of a Dataset tell; names: of voxels to hold against them."""
    if scan.grid is None or scan.shape_zyx != shape_zyx:
        return False
    for name in names:
        digest = digest_known(entries, name)
        if digest is None:
            if not np.array_equal(scan.grid.affine, entries["affine"].values):
                return False
        elif digest != (scan.image_digest if name == "image" else scan.mask_digest):
            return False
    return True


def _in_stored_dtype(variable: xr.Variable) -> xr.Variable:
    """Return a variable in the type of integers in which it was stored, if that holds every value: it is read."""
    dtype = stored_dtype(variable)
    if variable.dtype == dtype:
        return variable
    values: Any = np.asarray(variable.values)
    exact = exactly(values, dtype)
    return variable.copy(data=values if exact is None else exact)


def known_voxels(image: xr.DataArray) -> xr.DataArray:
    """Return a scan's image with NaN where it holds the number that its attribute `_FillValue` says is unknown."""
    if "_FillValue" not in image.attrs:
        return image
    known = image.where(image != image.attrs["_FillValue"])
    known.attrs.pop("_FillValue", None)
    return known
