"""``ds.npc``: the verbs of the field on a plain xarray Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from npczarr.errors import ParameterError, unknown_label
from npczarr.graphs.describe import describe_cohort, describe_scan, is_scan
from npczarr.model.geometry import AXES, Grid
from npczarr.model.schema import SCAN, STORED
from npczarr.store.backend import OneScan, WholeScan
from npczarr.store.cohort import StoredCohort
from npczarr.store.entries import DatasetTables
from npczarr.store.origin import cohort_behind

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from npczarr.viewer.notebook import StoreWidget

_VOXELS = ("image", "mask")


@xr.register_dataset_accessor("npc")
class CohortAccessor:
    """Verbs on a cohort opened from a store, by ``npczarr.open`` or plain ``xr.open_zarr``."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset
        self._cohort: StoredCohort | None = None
        self._searched = False
        self._tables = DatasetTables(dataset, _VOXELS)

    def scan(self, patient: str, sequence: str, *, real: bool = False) -> xr.Dataset:
        """Return one scan, without its padding.

        What is read is checked: an absent object, or voxels that do not match their digest, are an error. If the
        Dataset is just as it was opened, a slice of the scan reads no more than it needs; else the scan is read whole.

        Parameters
        ----------
        patient, sequence
            Labels, such as ``"012"`` and ``"CE-T1WI"``.
        real
            Apply rescale slope and intercept: `image` then holds real values, float64.

        Returns
        -------
        xarray.Dataset
            `image` (stored DICOM values, lossless integers) and `mask`, lazy, on z, y, x in mm along each voxel axis;
            geometry and acquisition as scalar coordinates, everything else that is known of the scan as scalars.

        Raises
        ------
        UnknownLabelError
            If there is no such patient or sequence; it is a KeyError and a ParameterError.
        ParameterError
            If the store holds nothing of the scan, or the Dataset holds only a part of it.
        StoreError
            If the scan is damaged; for some damage only when its values are read.
        """
        place = self._place(patient, sequence)
        label = f"{patient}/{sequence}"
        tables = self._tables.entries(place)
        if "shape" not in tables:
            raise ParameterError("the Dataset has no 'shape'; open it with npczarr.open or xr.open_zarr from a store")
        depth, rows, columns = (int(n) for n in tables["shape"].values)
        if not min(depth, rows, columns):
            status, message = (str(tables[name].values) if name in tables else "" for name in ("status", "message"))
            raise ParameterError(f"{label} has no image in the store: {status}, {message}")
        grid = Grid((depth, rows, columns), tables["affine"].values)
        self._check_whole(grid.shape_zyx, label)
        coordinates, variables = self._split(tables, grid.shape_zyx)
        known = np.isfinite(tables["spacing"].values) if "spacing" in tables else np.ones(3, dtype=bool)
        for axis, positions, in_mm in zip(AXES, grid.axis_positions_mm(), known, strict=True):
            attributes = {"units": "mm", "long_name": f"position of the voxel center along {axis}"}
            if not in_mm:
                attributes = {"units": "1", "long_name": f"number of the voxel along {axis}, whose size is not known"}
            coordinates[axis] = xr.Variable(axis, positions, attributes)
        voxels = self._voxels(place, tables, (patient, sequence), grid.shape_zyx)
        scan = xr.Dataset({**voxels, **variables}, coordinates, self._dataset.attrs)
        if real and "image" in scan:
            scan["image"] = scan["image"] * scan["rescale_slope"] + scan["rescale_intercept"]
        return scan

    def _split(
        self, tables: dict[str, xr.Variable], shape_zyx: tuple[int, int, int]
    ) -> tuple[dict[str, xr.Variable], dict[str, xr.Variable]]:
        """Cut what runs along z, y or x to the scan, and tell coordinates from data variables."""
        sizes = dict(zip(AXES, shape_zyx, strict=True))
        coordinates: dict[str, xr.Variable] = {}
        variables: dict[str, xr.Variable] = {}
        for name, found in tables.items():
            if name not in ("z_mm", *AXES):
                spans = {dim: slice(n) for dim, n in sizes.items() if dim in found.dims}
                kept = coordinates if name in self._dataset.coords else variables
                kept[name] = found.isel(spans) if spans else found
        return coordinates, variables

    def table(self, *, results: bool = True) -> pd.DataFrame:
        """Return one row a scan: status, geometry, acquisition, clinical values, results; no voxels are read.

        Parameters
        ----------
        results
            Also read the results that are kept beside the store.

        Returns
        -------
        pandas.DataFrame
            `patient`, `sequence`, `status`, `message`, `mask_status`; `shape_z` … and `spacing_z` … (mm); acquisition
            and clinical values by name; results as ``morphology.volume``, ``agreement.dice``, ``score/<name>.dice``,
            NaN for a scan that changed after it was measured. ``attrs["units"]`` gives units by column.

        Raises
        ------
        ParameterError
            If the Dataset lacks what a cohort store has.
        """
        from npczarr.graphs.scan_table import scan_table

        return scan_table(self._dataset, results=results)

    def plot(
        self,
        patient: str | None = None,
        slice: int | float | Literal["largest tumor"] | None = None,
        sequences: str | Sequence[str] | None = None,
        *,
        percentiles: tuple[float, float] = (1.0, 99.5),
        figure: Figure | None = None,
    ) -> Figure:
        """Draw one slice of each sequence of a patient, side by side, with the outlines of the tumor.

        Slices are upright by their affine: of axial ones the front of the head is up and the patient's right is left.

        Parameters
        ----------
        patient
            Label; may be left out where the Dataset holds one patient.
        slice
            A whole number is a slice of the first sequence, counted from 0; a float is a position `z` in mm; by default
            the slice with the largest tumor. The other sequences show the nearest slice to that place.
        sequences
            Labels; by default all of which the store holds a scan.
        percentiles
            Percentiles of the slice that are shown as black and white.
        figure
            Figure to draw in, such as ``plt.figure()``; by default a new one, which notebooks show.

        Returns
        -------
        matplotlib.figure.Figure
            In mm; ``.savefig("patient.svg")`` keeps the outlines as lines.

        Raises
        ------
        UnknownLabelError
            If there is no such patient or sequence.
        ParameterError
            If the patient has no scan in the store, or another argument is not as described.
        StoreError
            If a scan is damaged.
        """
        try:
            from npczarr.report.patient_figure import patient_figure
        except ModuleNotFoundError as error:
            raise ParameterError(
                f"a plot needs {error.name}, which is not installed: pip install 'npczarr[report]'"
            ) from error
        if is_scan(self._dataset):
            scans = {str(self._dataset["sequence"].values): self._dataset}
        else:
            scans = self._scans_of(self._only_patient() if patient is None else patient, sequences)
        return patient_figure(scans, slice=slice, percentiles=percentiles, figure=figure)

    def view(self, patient: str | None = None, *, height: int = 720) -> StoreWidget:
        """Look through the store in a notebook: what ``npczarr view`` shows in a browser, without a server.

        Parameters
        ----------
        patient
            Label of the patient that is shown first.
        height
            Height in pixels.

        Returns
        -------
        StoreWidget
            Shown by the notebook if it is the last value of a cell.

        Raises
        ------
        UnknownLabelError
            If there is no such patient.
        ParameterError
            If the Dataset was not opened from a store, or anywidget is not installed.
        """
        try:
            from npczarr.viewer.notebook import view_dataset
        except ModuleNotFoundError as error:
            raise ParameterError(
                f"the widget needs {error.name}, which is not installed: pip install 'npczarr[notebook]'"
            ) from error
        return view_dataset(self._dataset, patient, height)

    def __repr__(self) -> str:
        if is_scan(self._dataset):
            return describe_scan(self._dataset)
        return describe_cohort(self._dataset)

    def _only_patient(self) -> str:
        if "patient" not in self._dataset.coords:
            raise ParameterError("the Dataset has no patient coordinate; is it opened from a cohort store?")
        known = np.atleast_1d(self._dataset["patient"].values)
        if len(known) != 1:
            raise ParameterError(f"patient: name one of the {len(known)} patients, such as {str(known[0])!r}")
        return str(known[0])

    def _scans_of(self, patient: str, sequences: str | Sequence[str] | None) -> dict[str, xr.Dataset]:
        """Return the scans of a patient that are to be drawn, by sequence."""
        if "sequence" not in self._dataset.coords:
            raise ParameterError("the Dataset has no sequence coordinate; is it opened from a cohort store?")
        known = [str(label) for label in np.atleast_1d(self._dataset["sequence"].values)]
        wanted = [sequences] if isinstance(sequences, str) else list(known if sequences is None else sequences)
        problems, found = [], {}
        for sequence in wanted:
            entries = self._tables.entries(self._place(patient, sequence))
            status = str(entries["status"].values) if "status" in entries else STORED[0]
            if status in STORED:
                found[sequence] = self.scan(patient, sequence)
            else:
                problems.append(f"{sequence} is {status}")
        if not found:
            raise ParameterError(f"{patient}: no scan to draw; {', '.join(problems) or 'no sequence was named'}")
        return found

    def _check_whole(self, shape_zyx: tuple[int, int, int], label: str) -> None:
        """Refuse a Dataset that was cut along z, y or x: it no longer says where its voxels are."""
        found = self._dataset
        cut = [axis for axis, n in zip(AXES, shape_zyx, strict=True) if found.sizes.get(axis, n) < n]
        gone = [axis for axis in AXES if axis not in found.dims and any(name in found for name in _VOXELS)]
        if cut or gone:
            raise ParameterError(
                f"{label}: the Dataset was cut along {', '.join(cut or gone)}; take the scan of the whole cohort "
                "first, then select in it"
            )

    def _voxels(
        self,
        place: dict[str, int],
        tables: dict[str, xr.Variable],
        labels: tuple[str, str],
        shape_zyx: tuple[int, int, int],
    ) -> dict[str, xr.Variable]:
        """Return image and mask of a scan as they are stored, checked when they are read."""
        cohort = self._stored_cohort()
        found = {}
        for name in (name for name in _VOXELS if name in self._dataset):
            variable = self._dataset.variables[name].transpose(..., *AXES)
            dims = tuple(str(dim) for dim in variable.dims if dim not in place)
            if cohort is not None:
                array: Any = OneScan(cohort.scan(*labels, voxels_only=True), name)
            else:
                box = {dim: slice(n) for dim, n in zip(AXES, shape_zyx, strict=True)}
                expected = str(tables[f"{name}_digest"].values) if f"{name}_digest" in tables else ""
                array = WholeScan(variable.isel({**place, **box}), expected, f"{'/'.join(labels)}: {name}")
            attributes = {key: value for key, value in variable.attrs.items() if key != "_FillValue"}
            found[name] = xr.Variable(dims, array.lazy(), attributes)
        return found

    def _stored_cohort(self) -> StoredCohort | None:
        """Return the store behind the Dataset; None where its voxels are not just those of the store."""
        if not self._searched:
            self._searched = True
            names = tuple(name for name in _VOXELS if name in self._dataset)
            self._cohort = cohort_behind(self._dataset, names) if names else None
        return self._cohort

    def _place(self, patient: str, sequence: str) -> dict[str, int]:
        """Index of a scan along the dimensions that the Dataset still has."""
        place = {}
        for dim, label in zip(SCAN, (patient, sequence), strict=True):
            if dim not in self._dataset.coords:
                raise ParameterError(f"the Dataset has no {dim} coordinate; is it opened from a cohort store?")
            known = [str(value) for value in np.atleast_1d(self._dataset[dim].values)]
            if label not in known:
                raise unknown_label(dim, label, known, where="the Dataset")
            if dim in self._dataset.dims:
                place[dim] = known.index(label)
        return place
