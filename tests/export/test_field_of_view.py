"""Exports of a store made for training: its padding is no value, as NaN of a store of floats is none."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import zarr
from PIL import Image

import npczarr as npc
from npczarr.export.cohort import export_scans

SCAN = {"patients": ["001"], "sequences": ["T2WI"]}
pytestmark = pytest.mark.slow  # two stores more


@pytest.fixture(scope="module")
def floats(store, tmp_path_factory):
    """The cohort on the grid of T1WI, which T2WI does not fill."""
    url = tmp_path_factory.mktemp("floats") / "floats.zarr"
    npc.resample_store(store, url, like="T1WI", spacing=(5, 3, 3), workers=0)
    return url


@pytest.fixture(scope="module")
def training(store, tmp_path_factory):
    """The same for training: int16, with padding outside the field of view."""
    url = tmp_path_factory.mktemp("training") / "training.zarr"
    npc.resample_store(store, url, like="T1WI", spacing=(5, 3, 3), purpose="training", workers=0)
    return url


@pytest.fixture
def exported(floats, training, tmp_path):
    """A function that exports one scan of both; folders, and what is said of it."""

    def export(format, **options):
        folders = {"floats": tmp_path / f"floats-{format}", "training": tmp_path / f"training-{format}"}
        said = []
        for url, folder in zip((floats, training), folders.values(), strict=True):
            (one,) = export_scans(url, folder, format=format, workers=0, **options)
            assert one.status == "written"
            said.append(one.message)
        told = [message.partition(", which ITK")[0] for message in said]
        assert told[0] == told[1]
        assert "of T2WI lies outside its field of view" in told[0]
        return *folders.values(), said

    return export


def same(found, expected):
    """Whether values are those expected, but for rounding to int16, and unknown in the same places."""
    assert 0 < np.isnan(expected).mean() < 1
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=np.nanmax(expected) / 30000)


@pytest.mark.parametrize("size", [None, 30])
def test_nifti_holds_nan(exported, size):
    floats, training, said = exported("nifti", size=size, **SCAN)
    found, expected = (nibabel.load(out / "001/T2WI.nii.gz").get_fdata() for out in (training, floats))
    same(found, expected)
    for out, message in zip((floats, training), said, strict=True):
        assert f"{np.isnan(expected).mean():.1%}" in message
        told, _, value = message.partition(" there, which ITK (SimpleITK, 3D Slicer) reads as ")
        assert told.endswith("NaN")
        by_itk = sitk.GetArrayFromImage(sitk.ReadImage(out / "001/T2WI.nii.gz"))
        np.testing.assert_allclose(by_itk[np.isnan(expected.T)], float(value), rtol=1e-4)
    assert said[0].endswith(" reads as 0")


def test_ome_zarr_holds_nan(exported):
    values = []
    for out in exported("ome-zarr", **SCAN)[:2]:
        group = zarr.open_group(out / "001/T2WI.ome.zarr", mode="r")
        slope, intercept = (group.attrs["npczarr"][f"rescale_{name}"][0] for name in ("slope", "intercept"))
        values.append(group["0"][...] * slope + intercept)
    same(values[1], values[0])


@pytest.mark.parametrize("bits", [8, 16])
def test_the_window_of_tiff_slices_is_of_known_voxels(exported, bits):
    floats, training, _ = exported("tiff", bits=bits, **SCAN)
    windows = [json.loads((out / "001/T2WI.json").read_text())["window"] for out in (floats, training)]
    np.testing.assert_allclose(windows[1], windows[0], atol=0.1)
    found, expected = (
        np.stack([tifffile.imread(path).astype(int) for path in sorted((out / "001").glob("T2WI_*[0-9].tif"))])
        for out in (training, floats)
    )
    assert np.abs(found - expected).max() <= 2
    assert expected.max() == 2**bits - 1


def test_the_window_of_a_picture_is_of_known_voxels(exported):
    pictures = [Image.open(out / "001/T2WI.png") for out in exported("png", **SCAN)[:2]]
    windows = [[float(end) for end in one.text["window"].split()] for one in pictures]
    np.testing.assert_allclose(windows[1], windows[0], atol=0.1)
    expected, found = (np.asarray(one).astype(int) for one in pictures)
    assert np.abs(found - expected).max() <= 2


def test_nnunet_holds_the_least_value(exported):
    floats, training, _ = exported("nnunet", patients=["001"], sequences=["T1WI", "T2WI"])
    found, expected = (nibabel.load(out / "imagesTr/001_0001.nii.gz").get_fdata() for out in (training, floats))
    np.testing.assert_allclose(found, expected, atol=expected.max() / 30000)
    assert np.isfinite(expected).all()


def test_a_store_without_padding_keeps_its_whole_numbers(store, tmp_path):
    (one,) = export_scans(store, tmp_path / "out", format="nifti", workers=0, **SCAN)
    assert nibabel.load(tmp_path / "out/001/T2WI.nii.gz").get_data_dtype() == np.int16
    assert "field of view" not in one.message
