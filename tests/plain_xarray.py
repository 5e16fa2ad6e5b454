"""What a person does with a store by xarray alone; run as a script, where npczarr cannot be imported.

``python -I plain_xarray.py STORE OUT`` runs every step and prints, as JSON, the error of each; "" where there is none.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path


class NoNpczarr:
    """Refuses to import npczarr, which may be installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "npczarr":
            raise ImportError("npczarr is not to be imported here")


def hide_npczarr() -> None:
    """Hide npczarr from imports, and its engine from xarray, which imports every engine that is installed."""
    every = importlib.metadata.entry_points

    def others(**choice):
        found = every(**choice)
        if not choice:  # by group, in Python 3.11; xarray asks for its own group alone
            return found
        return importlib.metadata.EntryPoints(one for one in found if not one.value.startswith("npczarr"))

    importlib.metadata.entry_points = others
    sys.meta_path.insert(0, NoNpczarr())


if __name__ == "__main__":
    hide_npczarr()

import dask  # noqa: E402 - after npczarr is hidden
import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
import zarr  # noqa: E402

STEPS: dict[str, Callable[[Path, Path], None]] = {}
#: What zarr and netCDF4 say on every write, whatever is written.
NOT_OURS = (
    "Consolidated metadata is currently not part in the Zarr format 3 specification",
    "endian-ness of dtype and endian kwarg do not match, using endian kwarg",
    r"numpy\.\w+ size changed, may indicate binary incompatibility",  # NumPy ignores it itself; see its release notes
)


def step(function: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    STEPS[function.__name__] = function
    return function


def tables_loaded(ds):
    """Load all but the voxels, as the README says."""
    return ds.drop_vars(["image", "mask"]).load().assign(image=ds.image, mask=ds.mask)


def assert_copied(url, store, **choice):
    """A copy equals the part of the store that it was made from, as stored: values, types, coordinates, padding."""
    found = xr.open_zarr(url, mask_and_scale=False)
    expected = xr.open_zarr(store, mask_and_scale=False).isel(choice)
    xr.testing.assert_equal(found, expected)
    assert {n: v.dtype for n, v in found.variables.items()} == {n: v.dtype for n, v in expected.variables.items()}
    assert set(found.coords) == set(expected.coords)
    assert found.image.attrs["_FillValue"] == expected.image.attrs["_FillValue"]
    assert "_FillValue" not in found.mask.attrs


def raises(message, action):
    found = "nothing"
    try:
        action()
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    assert message in found, f"expected {message!r}, raised {found}"


@step
def opening(store, out):
    ds = xr.open_zarr(store)
    assert ds.sizes["patient"] == 3
    assert {"status", "shape", "spacing", "affine", "z_mm"} <= set(ds.coords)
    xr.testing.assert_identical(ds, xr.open_dataset(store))


@step
def datatree_with_results_after_an_append(store, out):
    tree = xr.open_datatree(store)
    assert set(tree.groups) == {"/", "/morphology"}
    volume = tree["morphology"]["volume"]
    assert list(volume.patient.values) == list(tree["patient"].values)
    assert np.isnan(volume.values[2]).all()
    assert np.isfinite(volume.values[:2]).all()


@step
def one_slice(store, out):
    stored = zarr.open_array(store, path="image", mode="r")[1, 2, 5]
    for chunks in ({}, None):
        ds = xr.open_zarr(store, chunks=chunks)
        found = ds.image.sel(patient="002", sequence="CE-T1WI").isel(z=5).values
        np.testing.assert_array_equal(found, np.where(stored == -(2**15), np.nan, stored))
        assert np.isfinite(found).any()


@step
def one_scan(store, out):
    scan = xr.open_zarr(store).sel(patient="002", sequence="T2WI").load()
    z, y, x = (int(n) for n in scan["shape"].values)
    assert np.isfinite(scan.image[:z, :y, :x]).all()
    assert int(np.isfinite(scan.image).sum()) == z * y * x
    assert int(scan.mask.sum()) == int(scan.mask_voxels) > 0


@step
def copy_of_patients_and_append(store, out):
    ds = xr.open_zarr(store)
    ds.isel(patient=slice(0, 2)).to_zarr(out / "first.zarr")
    assert_copied(out / "first.zarr", store, patient=slice(0, 2))
    shutil.copytree(out / "first.zarr", out / "appended.zarr")
    ds.isel(patient=slice(2, 3)).to_zarr(out / "appended.zarr", append_dim="patient")
    assert_copied(out / "appended.zarr", store)


@step
def append_of_loaded_tables(store, out):
    ds = tables_loaded(xr.open_zarr(store))
    ds.isel(patient=slice(0, 1)).to_zarr(out / "loaded.zarr")
    ds.isel(patient=slice(1, 3)).to_zarr(out / "loaded.zarr", append_dim="patient")
    assert_copied(out / "loaded.zarr", store)


@step
def region_of_the_mask(store, out):
    copy = out / "region.zarr"
    shutil.copytree(store, copy)
    original = xr.open_zarr(store)[["mask"]].isel(patient=slice(1, 2), sequence=slice(1, 2)).load()
    original = original.drop_vars(list(original.coords))
    place = {"patient": slice(1, 2), "sequence": slice(1, 2)}
    (original * 0).astype("uint8").to_zarr(copy, region=place)
    expected = xr.open_zarr(store).mask.load()
    expected[1, 1] = 0
    xr.testing.assert_equal(xr.open_zarr(copy).mask, expected)
    assert original.mask.any()
    original.to_zarr(copy, region=place, write_empty_chunks=True)  # as the README says: empty chunks would vanish
    assert_copied(copy, store)


@step
def dataframe_of_two_columns(store, out):
    frame = xr.open_zarr(store)[["age", "t_stage"]].to_dataframe()
    assert list(frame.index) == ["001", "002", "003"]
    assert {"age", "t_stage"} <= set(frame.columns)


@step
def sum_of_the_masks(store, out):
    ds = xr.open_zarr(store)
    sums = ds.mask.sum(["z", "y", "x"]).compute()
    np.testing.assert_array_equal(sums, ds.mask_voxels)
    assert int(ds.mask.sum()) == int(ds.mask_voxels.sum()) > 0


@step
def netcdf_of_a_scan(store, out):
    scan = xr.open_zarr(store).sel(patient="001", sequence="T1WI")
    scan.to_netcdf(out / "scan.nc", engine="netcdf4")
    with xr.open_dataset(out / "scan.nc", engine="netcdf4") as found:
        xr.testing.assert_equal(found, scan.load())


@step
def groupby(store, out):
    loaded = tables_loaded(xr.open_zarr(store))
    for ds in (loaded, xr.open_zarr(store, chunks=None)):
        mean = ds.groupby("t_stage").mean(...)["age"]
        frame = xr.open_zarr(store)[["age", "t_stage"]].to_dataframe().groupby("t_stage").age.mean()
        np.testing.assert_allclose(mean.sel(t_stage=list(frame.index)), frame)


@step
def concat(store, out):
    ds = tables_loaded(xr.open_zarr(store))
    xr.concat([ds.isel(patient=slice(0, 1)), ds.isel(patient=slice(1, 3))], "patient").to_zarr(out / "concat.zarr")
    assert_copied(out / "concat.zarr", store)


@step
def merge(store, out):
    ds = tables_loaded(xr.open_zarr(store))
    risk = xr.Dataset({"risk": ("patient", [0.1, 0.2, 0.3])}, coords={"patient": ds.patient.values})
    xr.merge([ds, risk]).to_zarr(out / "merge.zarr")
    found = xr.open_zarr(out / "merge.zarr")
    np.testing.assert_array_equal(found.risk, [0.1, 0.2, 0.3])
    xr.testing.assert_equal(found.drop_vars("risk"), xr.open_zarr(store))


@step
def crops(store, out):
    for axis in ("z", "y", "x"):
        crop = {axis: slice(1, 11)}
        xr.open_zarr(store, chunks=None).isel(crop).to_zarr(out / f"crop_{axis}.zarr")
        assert_copied(out / f"crop_{axis}.zarr", store, **crop)
        xr.open_zarr(store).isel(crop).to_zarr(out / f"aligned_{axis}.zarr", align_chunks=True)
        assert_copied(out / f"aligned_{axis}.zarr", store, **crop)


@step
def crop_of_padding(store, out):
    ds = xr.open_zarr(store).isel(patient=slice(1, 2))
    z, y, x = (int(n) for n in ds["shape"].max(["patient", "sequence"]).values)
    crop = {"patient": slice(1, 2), "z": slice(z), "y": slice(y), "x": slice(x)}
    assert min(ds.sizes["y"] - y, ds.sizes["x"] - x) > 0
    ds.isel({dim: crop[dim] for dim in ("z", "y", "x")}).to_zarr(out / "padding.zarr", align_chunks=True)
    assert_copied(out / "padding.zarr", store, **crop)


@step
def help_1_load_the_tables(store, out):
    ds = xr.open_zarr(store)
    raises("chunked array", lambda: ds.groupby("t_stage"))
    parts = [ds.isel(patient=slice(0, 1)), ds.isel(patient=slice(1, 3))]
    raises("would overlap multiple Dask chunks", lambda: xr.concat(parts, "patient").to_zarr(out / "lazy.zarr"))


class ReadBeforeEitherWrites(zarr.storage.LocalStore):
    """A folder where both writers of the chunk of `age` read it before one writes: what threads do by chance."""

    readers = 0

    async def get(self, key, *arguments, **options):
        found = await super().get(key, *arguments, **options)
        if key == "age/c/0":
            self.readers += 1
            for _ in range(3000):
                if self.readers >= 2:
                    break
                await asyncio.sleep(0.01)
        return found


@step
def help_2_chunks(store, out):
    crop = xr.open_zarr(store).isel(z=slice(1, None))
    raises("would overlap multiple Dask chunks", lambda: crop.to_zarr(out / "refused.zarr"))
    ds = xr.open_zarr(store)[["age"]].reset_coords(drop=True)
    parts = xr.concat([ds.isel(patient=slice(0, 1)), ds.isel(patient=slice(1, 3))], "patient")
    with dask.config.set(scheduler="threads", num_workers=4):
        parts.to_zarr(ReadBeforeEitherWrites(out / "corrupted.zarr"), safe_chunks=False)
        parts.to_zarr(ReadBeforeEitherWrites(out / "aligned.zarr"), align_chunks=True)
    assert not xr.open_zarr(out / "corrupted.zarr").age.equals(ds.age)
    assert xr.open_zarr(out / "aligned.zarr").age.equals(ds.age)


@step
def help_3_text_holds_no_nan(store, out):
    ds = tables_loaded(xr.open_zarr(store))
    stage = str(ds.t_stage.values[0])
    raises("StringDType", lambda: ds.where(ds.t_stage == stage, drop=True))
    raises("StringDType", lambda: xr.merge([ds.isel(patient=slice(0, 1)), ds.isel(patient=slice(1, 3))], join="outer"))
    raises("StringDType", lambda: ds.reindex(patient=["001", "999"]))
    chosen = ds.sel(patient=ds.t_stage.isin([stage]))
    assert list(chosen.patient.values) == [str(p) for p in ds.patient.values[ds.t_stage.values == stage]]


@step
def help_4_a_crop_keeps_its_tables(store, out):
    ds = xr.open_zarr(store)
    for axis in ("z", "y", "x"):
        crop = xr.open_zarr(out / f"crop_{axis}.zarr")
        assert crop["shape"].equals(ds["shape"])
        assert crop.affine.equals(ds.affine)


@step
def help_5_what_is_absent_reads_as_background(store, out):
    copy = out / "absent.zarr"
    shutil.copytree(store, copy)
    (copy / "image/c/1/0/0/0/0").unlink()
    (copy / "mask/c/1/0/0/0/0").unlink()
    scan = xr.open_zarr(copy).isel(patient=1, sequence=0)
    assert np.isnan(scan.image[:4]).all()
    assert not scan.mask[:8].any()


def run(name: str, store: Path, out: Path) -> str:
    try:
        STEPS[name](store, out)
    except Exception:
        return traceback.format_exc()
    return ""


def main(store: Path, out: Path) -> None:
    warnings.simplefilter("error")
    for message in NOT_OURS:
        warnings.filterwarnings("ignore", message)
    errors = {name: run(name, store, out) for name in STEPS}
    assert not [name for name in sys.modules if name.partition(".")[0] == "npczarr"]
    print(json.dumps(errors))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
