"""Scans whose slices are shifted a little from one to the next: warned of, taken, and every place of a voxel right."""

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose

import npczarr as npc
from npczarr.model.geometry import Grid
from tests.builders import nifti_image, noise, write_series

GRID = Grid((40, 12, 10), np.array([[0.9, 0, 0, -20.3], [0, 0.7, 0.0285, -150.7], [0, 0, 3, -111.1], [0, 0, 0, 1]]))


@pytest.fixture(scope="module")
def sheared(tmp_path_factory):
    root = tmp_path_factory.mktemp("sheared")
    for sequence, roi in (("T1WI", "T1"), ("T2WI", "T2"), ("CE-T1WI", "CE-T1")):
        write_series(root / "data" / "001" / sequence, noise(GRID), GRID, series=f"1.2.{len(sequence)}.{roi[-1]}")
        mask = np.zeros(GRID.shape_zyx, np.uint8)
        mask[20:, 4:8, 3:6] = 1
        nibabel.save(nifti_image(mask, GRID), root / "data" / "001" / f"ROI-{roi}.nii")
    npc.convert(root / "data", root / "cohort.zarr", workers=0)
    return root / "cohort.zarr"


@pytest.mark.parametrize(
    "part", [{"z": slice(20, None)}, {"z": slice(None, None, -1)}, {"y": slice(5, None), "z": slice(None, None, 2)}]
)
def test_the_affine_of_a_part_takes_its_voxels_to_their_places(sheared, part):
    scan = npc.open(sheared).npc.scan("001", "T1WI")
    assert_allclose(scan.npc.affine, GRID.affine, atol=1e-6)
    first_xyz = [range(scan.sizes[axis])[part.get(axis, slice(None))][0] for axis in "xyz"]
    origin = scan.isel(part).npc.affine[:3, 3]
    assert_allclose(origin, (GRID.affine @ [*first_xyz, 1])[:3], atol=1e-6)


def test_a_slice_is_found_by_the_place_of_its_plane(sheared):
    scan = npc.open(sheared).npc.scan("001", "T1WI")
    assert_allclose(scan["z"], -111.1 + 3 * np.arange(40), atol=1e-6)


@pytest.mark.slow
def test_nnunet_is_told_that_its_reader_knows_no_shear(sheared, tmp_path):
    aligned = tmp_path / "aligned.zarr"
    npc.resample_store(sheared, aligned, like="T1WI", workers=0)
    (case,) = npc.export_scans(aligned, tmp_path / "out", format="nnunet", workers=0)
    assert case.status == "written"
    assert "not quite square" in case.message
    (again,) = npc.export_scans(aligned, tmp_path / "out", format="nnunet", workers=0)
    assert (again.status, again.message) == ("kept", case.message)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns", "status"), [(1, 7, "failed"), (2, 4, "written")])
def test_a_seg_of_frames_that_highdicom_packs_wrongly_is_refused(tmp_path, rows, columns, status):
    grid = Grid((5, rows, columns), np.diag([0.9, 0.7, 3, 1]))
    write_series(tmp_path / "data" / "001" / "T1WI", noise(grid), grid)
    nibabel.save(nifti_image((noise(grid, seed=1) % 2).astype(np.uint8), grid), tmp_path / "data/001/ROI-T1.nii")
    npc.convert(tmp_path / "data", tmp_path / "cohort.zarr", workers=0)
    done = npc.export_scans(tmp_path / "cohort.zarr", tmp_path / "out", format="seg", workers=0)
    found = next(one for one in done if one.sequence == "T1WI")
    assert found.status == status, found.message
    assert ("fewer than 8" in found.message) == (status == "failed")
