"""Datasets of the synthetic cohort's plan, as a store's tables would have them; no voxels, no files of images."""

import numpy as np
import xarray as xr

from npczarr.model.cohort import Cohort, File
from npczarr.model.published import SEQUENCES
from npczarr.phantom.plan import plan_cohort
from npczarr.phantom.tables import diagnoses
from npczarr.sources.config import SourceConfig
from npczarr.sources.files import open_source
from npczarr.sources.tables import read_tables

TEXT = np.dtypes.StringDType()


def clinical_dataset(folder, text, patients, *, warnings=0):
    """What a store holds of this clinical table (CSV), read as any source's is, with so many warnings."""
    (folder / "info.csv").write_text(text, encoding="utf-8")
    cohort = Cohort(tuple(patients), SEQUENCES, {}, tables=(File("info.csv", 1, ""),))
    tables = read_tables(open_source(folder), cohort, SourceConfig())
    assert len(tables.warnings) == warnings, tables.warnings
    columns = {
        name: (variable.dims, values if variable.dtype == "float64" else values.astype(TEXT), variable.all_attributes())
        for name, (variable, values) in tables.columns.items()
    }
    labels = {"patient": np.array(list(patients), TEXT), "sequence": np.array(SEQUENCES, TEXT)}
    return xr.Dataset(coords=labels | columns)


def planned_dataset(folder, seed=0, patients=277):
    """The store of a full synthetic cohort, without its voxels."""
    plans = plan_cohort(patients, "full", seed)

    def of_scans(value):
        return (("patient", "sequence"), np.array([[value(plan, scan) for scan in plan.scans] for plan in plans]))

    def of_axes(value):
        dims, values = of_scans(value)
        return ((*dims, "axis"), values)

    scans = {
        "shape": of_axes(lambda _, scan: (scan.slices, scan.matrix, scan.matrix)),
        "spacing": of_axes(lambda _, scan: (scan.slice_spacing_mm, scan.pixel_spacing_mm, scan.pixel_spacing_mm)),
        "echo_time": of_scans(lambda _, scan: scan.echo_time_ms),
        "repetition_time": of_scans(lambda _, scan: scan.repetition_time_ms),
        "spacing_between_slices": of_scans(lambda _, scan: scan.header_spacing_mm),
        "slice_thickness": of_scans(lambda _, scan: scan.thickness_mm),
        "field_of_view": of_scans(lambda _, scan: scan.field_of_view_mm),
        "flip_angle": of_scans(lambda _, scan: scan.flip_angle_deg),
        "magnetic_field_strength": of_scans(lambda plan, _: plan.scanner.field_strength_t),
    }
    names = {
        "scanner_model": of_scans(lambda plan, _: plan.scanner.model),
        "manufacturer": of_scans(lambda plan, _: plan.scanner.manufacturer),
    }
    scans |= {name: (dims, values.astype(TEXT)) for name, (dims, values) in names.items()}
    clinical = clinical_dataset(folder, diagnoses(plans), [plan.label for plan in plans])
    return clinical.assign_coords(scans | {"axis": np.array(["z", "y", "x"], TEXT)})


def planned_morphology(dataset, seed=0):
    """The planned volumes as `morphology` would have them; the other sizes are those of a sphere."""
    plans = plan_cohort(dataset.sizes["patient"], "full", seed)
    volume = 1000 * np.array([[scan.tumor_cm3 for scan in plan.scans] for plan in plans])
    radius = np.cbrt(3 * volume / (4 * np.pi))
    values = {
        "volume": volume,
        "surface_area": 4 * np.pi * radius**2,
        "max_diameter": 2 * radius,
        "surface_regularity": np.ones_like(volume),
        "voxel_count": np.round(volume),
    }
    arrays = {name: (("patient", "sequence"), array) for name, array in values.items()}
    return xr.Dataset(arrays, coords={"patient": dataset["patient"].values, "sequence": dataset["sequence"].values})
