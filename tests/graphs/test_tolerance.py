"""Surface Dice of the same disagreement is the same, however a scan lies."""

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import npczarr as npc


@pytest.mark.slow
def test_oblique_files_agree_as_upright_ones(tmp_path):
    a = np.zeros((14, 16, 12), np.uint8)
    a[2:10, 3:11, 2:10] = 1
    readings = {"A": a, "B": np.roll(a, 2, 1)}
    for i, angles in enumerate([(0, 0, 0), (10, -7, 20), (5, 12, -8)]):
        affine = np.eye(4)
        affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        (tmp_path / f"data/P{i}").mkdir(parents=True)
        for rater, voxels in readings.items():
            nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"data/P{i}/{rater}_seg.nii.gz")
    (tmp_path / "r.toml").write_text('[layout]\nraters = "{patient}/{rater}_seg.nii.gz"\n')
    npc.convert(tmp_path / "data", tmp_path / "r.zarr", config=tmp_path / "r.toml", workers=0)
    dataset = npc.open(tmp_path / "r.zarr")
    assert (dataset.spacing.values != 1).any()  # float32 affines
    assert npc.agreement(dataset, tolerance=2.0).surface_dice.values.ravel().tolist() == [1.0, 1.0, 1.0]
