"""Published values on real masks: see SOURCES.md beside the data."""

import csv

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose

from npczarr.kernels.agreement import compare
from npczarr.kernels.morphology import measure
from npczarr.kernels.patterns import METHODS
from npczarr.kernels.resample import resample_mask
from npczarr.model.geometry import Grid

IBSI = {
    "morph_volume": "volume_mm3",
    "morph_area_mesh": "surface_area_mm2",
    "morph_diam": "max_diameter_mm",
    "morph_sphericity": "sphericity",
    "morph_vol_approx": "voxel_volume_mm3",
}
PYRADIOMICS = {  # allowed relative difference: its case table is another one
    "MeshVolume": ("volume_mm3", 1e-3),
    "SurfaceArea": ("surface_area_mm2", 6e-3),
    "Sphericity": ("sphericity", 6e-3),
    "Maximum3DDiameter": ("max_diameter_mm", 1e-5),
    "VoxelVolume": ("voxel_volume_mm3", 1e-9),
}


def read_nifti(path):
    image = nib.load(path)
    return np.round(np.asarray(image.dataobj)).T > 0, nib.affines.voxel_sizes(image.affine)[::-1]


@pytest.mark.parametrize(
    ("patient", "sarcoma"),
    [("001", "STS_002"), ("002", "STS_003"), ("003", "STS_008"), ("004", "STS_019"), ("005", "STS_025")],
)
def test_ibsi_sarcomas_at_1_mm(real_data, patient, sarcoma):
    folder = real_data / "real_cohort/primary_data/data/MRI-Segments" / patient
    mask, spacing = read_nifti(next(folder.glob("ROI-T1.nii*")))
    grid = Grid(mask.shape, np.diag([*spacing[::-1], 1]))
    shape = measure(resample_mask(mask, grid, grid.regrid(spacing=(1, 1, 1))), (1, 1, 1), method="lewiner")
    with open(real_data / "oracle/ibsi/reference_morph_MR_T1_1mm.csv") as file:
        published = {row["tag"]: row for row in csv.DictReader(file) if row["id"] == sarcoma}
    for tag, name in IBSI.items():
        for team in ("cardiff", "oncoray", "pyradiomics"):
            assert_allclose(getattr(shape, name), float(published[tag][team]), rtol=5e-4, err_msg=f"{tag} {team}")


@pytest.mark.parametrize("method", METHODS)
def test_ibsi_digital_phantom(real_data, method):
    mask, spacing = read_nifti(real_data / "oracle/ibsi/digital_phantom/nifti/mask/mask.nii.gz")
    shape = measure(mask, spacing, method=method)
    assert_allclose(shape.volume_mm3, 556, atol=4)
    assert_allclose(shape.surface_area_mm2, 388, atol=3)
    assert_allclose(shape.max_diameter_mm, 13.1, atol=0.1)
    assert_allclose(shape.sphericity, 0.843, atol=0.005)
    assert_allclose(shape.voxel_volume_mm3, 592, atol=4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", ["brain1", "brain2", "breast1", "lung1", "lung2"])
def test_pyradiomics_masks(real_data, case, method):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(real_data / f"oracle/pyradiomics/{case}_label.nrrd")
    shape = measure(sitk.GetArrayFromImage(image), image.GetSpacing()[::-1], method=method)
    with open(real_data / "oracle/pyradiomics/baseline_shape.csv") as file:
        baseline = {row["featureName"]: row[case] for row in csv.DictReader(file)}
    for feature, (name, tolerance) in PYRADIOMICS.items():
        published = float(baseline[f"original_shape_{feature}"])
        assert_allclose(getattr(shape, name), published, rtol=tolerance, err_msg=feature)


@pytest.mark.parametrize(
    ("nodule", "dice", "jaccard", "hd95_mm"),
    [("0003", 0.889014, 0.800202, 1.834), ("0020", 0.750000, 0.6, 0.828), ("0115", 0.953408, None, 0.573)],
)
def test_lidc_readers_1_and_2(real_data, nodule, dice, jaccard, hd95_mm):
    paths = [real_data / f"oracle/lidc_tworater/LIDC-IDRI-{nodule}_reader{reader}.nii.gz" for reader in (1, 2)]
    (a, spacing), (b, _) = map(read_nifti, paths)
    result = compare(a, b, spacing, tolerance_mm=1)
    assert_allclose(result.dice, dice, atol=1e-6)
    assert_allclose(result.jaccard, jaccard or dice / (2 - dice), atol=1e-6)
    assert_allclose(result.hd95_mm, hd95_mm, atol=5e-4)
