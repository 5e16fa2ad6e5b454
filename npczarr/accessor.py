"""``ds.npc``: the verbs of the field on a plain xarray Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from npczarr.errors import ParameterError
from npczarr.graphs.describe import describe_cohort, describe_scan, is_scan
from npczarr.model.geometry import AXES, Grid
from npczarr.model.records import PADDING
from npczarr.model.schema import RESAMPLING, STATUSES, STORED
from npczarr.store.dataset_voxels import VOXELS, DatasetVoxels, known_voxels
from npczarr.store.entries import DatasetTables, Entries
from npczarr.store.places import patients_of, place_of, sequences_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from npczarr.viewer.notebook import StoreWidget


@xr.register_dataset_accessor("npc")
class CohortAccessor:
    """Verbs on a cohort opened from a store, by ``npczarr.open`` or plain ``xr.open_zarr``."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset
        self._tables = DatasetTables(dataset, VOXELS)
        self._voxels = DatasetVoxels(dataset)

    def scan(self, patient: str | int, sequence: str | int, *, real: bool = False) -> xr.Dataset:
        """Return one scan, without its padding.

        What is read is checked: an absent object, or voxels that do not match their digest, are an error. If the
        Dataset is just as it was opened, a slice of the scan reads no more than it needs; else the scan is read whole.
        Voxels that were replaced on purpose need the Dataset to be without their digest, as in
        ``ds.drop_vars("mask_digest")``; nothing is then known of them, and they are of the type of the Dataset where
        that of the store does not hold them.

        Parameters
        ----------
        patient, sequence
            Labels, such as ``"012"`` and ``"CE-T1WI"``, as the Dataset has them now; numbers where they are numbers.
        real
            Apply rescale slope and intercept: `image` then holds real values, float64, NaN where nothing was measured.

        Returns
        -------
        xarray.Dataset
            `image` (stored DICOM values, lossless integers) and `mask`, lazy, on z, y, x in mm along each voxel axis;
            geometry and acquisition as scalar coordinates, everything else that is known of the scan as scalars. Of a
            part, such as ``scan.isel(z=slice(5, 9))``, `affine` and `shape` stay those of the whole scan;
            ``part.npc.affine`` is the part's own. The integers of a resampled scan are the attribute `_FillValue` of
            `image` outside the field of view.

        Raises
        ------
        UnknownLabelError
            If there is no such patient or sequence; it is a KeyError and a ParameterError.
        ParameterError
            If the store holds nothing of the scan, the Dataset holds only a part of it, or several scans that are not
            the same have these labels.
        StoreError
            If the scan is damaged; for some damage only when its values are read.

        Warns
        -----
        UserWarning
            If nothing tells whether the voxels were cut, moved or replaced; once for each of image and mask.
        """
        place = place_of(self._dataset, self._tables, patient, sequence)
        label = f"{patient}/{sequence}"
        tables = self._tables.entries(place)
        grid = _grid_of(tables, label)
        voxels = self._voxels.of_scan(place, tables, grid.shape_zyx, label)
        coordinates, variables = self._split(tables, grid.shape_zyx)
        known = np.isfinite(tables["spacing"].values) if "spacing" in tables else np.ones(3, dtype=bool)
        for axis, positions, in_mm in zip(AXES, grid.axis_positions_mm(), known, strict=True):
            attributes = {"units": "mm", "long_name": f"position of the voxel center along {axis}"}
            if not in_mm:
                attributes = {"units": "1", "long_name": f"number of the voxel along {axis}, whose size is not known"}
            coordinates[axis] = xr.Variable(axis, positions, attributes)
        if RESAMPLING in self._dataset.attrs and "image" in voxels and voxels["image"].dtype.kind == "i":
            voxels["image"].attrs["_FillValue"] = PADDING[voxels["image"].dtype.name]
        scan = xr.Dataset({**voxels, **variables}, coordinates, self._dataset.attrs)
        if real and "image" in scan:
            scan["image"] = known_voxels(scan["image"]) * scan["rescale_slope"] + scan["rescale_intercept"]
        return scan

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel index (x, y, z, 1) to LPS mm of a scan, or of the part of it that was selected.

        Raises
        ------
        ParameterError
            If the Dataset is no scan, as :meth:`scan` returns it.
        GeometryError
            If the selected voxels are not at even distances along an axis.
        """
        if not is_scan(self._dataset):
            raise ParameterError("npc.affine is of one scan: ds.npc.scan(patient, sequence).npc.affine")
        z, y, x = (self._dataset[axis].values for axis in AXES)
        whole = _grid_of(self._tables.entries({}, ("shape", "affine", "status", "message")), "the scan")
        return whole.of_part((z, y, x)).affine

    def _split(
        self, tables: Entries, shape_zyx: tuple[int, int, int]
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
        patient: str | int | None = None,
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
            the slice with the largest tumor. The other sequences show the nearest slice to that place. Above each slice
            stands its number counted from 1, as in the viewer: ``slice=5`` is shown as "slice 6 of 14".
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
        known = patients_of(self._dataset)
        if len(known) != 1:
            example = f", such as {known[0]!r}" if known else ""
            raise ParameterError(f"patient: name one of the {len(known)} patients{example}")
        return known[0]

    def _scans_of(self, patient: str | int, sequences: str | Sequence[str] | None) -> dict[str, xr.Dataset]:
        """Return the scans of a patient that are to be drawn, by sequence."""
        known = sequences_of(self._dataset, patient)
        wanted = [sequences] if isinstance(sequences, str) else list(known if sequences is None else sequences)
        problems, found = [], {}
        for sequence in wanted:
            place = place_of(self._dataset, self._tables, patient, sequence)
            entries = self._tables.entries(place, ("status",))
            status = str(entries["status"].values) if "status" in entries else STORED[0]
            if status in STORED:
                found[sequence] = self.scan(patient, sequence)
            else:
                problems.append(f"{sequence} is {status}")
        if not found:
            raise ParameterError(f"{patient}: no scan to draw; {', '.join(problems) or 'no sequence was named'}")
        return found


def _grid_of(tables: Entries, label: str) -> Grid:
    """Return where the voxels of a scan are.

    Raises
    ------
    ParameterError
        If its tables do not tell, or it has no voxels, or is being written.
    """
    if "shape" not in tables:
        raise ParameterError("the Dataset has no 'shape'; open it with npczarr.open or xr.open_zarr from a store")
    if tables["shape"].ndim != 1:
        others = ", ".join(str(dim) for dim in tables["shape"].dims if dim != "axis")
        raise ParameterError(f"{label}: the labels do not tell one scan, for 'shape' is also on {others}; select one")
    depth, rows, columns = (int(n) for n in tables["shape"].values)
    status = str(tables["status"].values) if "status" in tables else ""
    if status == "pending":
        raise ParameterError(f"{label} is pending: {STATUSES['pending']}")
    if not min(depth, rows, columns):
        message = str(tables["message"].values) if "message" in tables else ""
        raise ParameterError(f"{label} has no image in the store: {status}, {message}")
    return Grid((depth, rows, columns), tables["affine"].values)
