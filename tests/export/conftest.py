import pytest
import xarray as xr

import npczarr as npc


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Three small patients; 003 has no T1WI images, 002 no T2WI mask, and 003's T2WI mask is no NIfTI file."""
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    npc.make_cohort(out, patients=3, workers=0)
    data = out / "primary_data/data/MRI-Segments"
    for path in (data / "003/T1WI").iterdir():
        path.unlink()
    (data / "002/ROI-T2.nii").unlink()
    (data / "003/ROI-T2.nii").write_bytes(b"no mask at all")
    return out


@pytest.fixture(scope="session")
def store(cohort, tmp_path_factory):
    url = tmp_path_factory.mktemp("store") / "cohort.zarr"
    npc.convert(cohort / "primary_data", url, workers=0)
    return url


@pytest.fixture(scope="session")
def real_store(real_data, tmp_path_factory):
    url = tmp_path_factory.mktemp("real") / "real.zarr"
    npc.convert(real_data / "real_cohort/primary_data", url, workers=0)
    return url


def stored(url, patient, sequence):
    """The scan as plain xarray reads it: stored values, mask, and its row of the catalogue."""
    one = xr.open_zarr(url, mask_and_scale=False).sel(patient=patient, sequence=sequence).load()
    window = tuple(slice(0, int(n)) for n in one["shape"].values)
    return one["image"].values[window], one["mask"].values[window], one
