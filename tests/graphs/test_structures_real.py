"""A real RTSTRUCT beside real images, from the folder to the store and back to files."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npczarr as npc

T1 = {"patient": "001", "sequence": "T1WI"}


@pytest.fixture(scope="module")
def source(real_data, tmp_path_factory):
    """The first patient alone, by links."""
    folder = tmp_path_factory.mktemp("real") / "001"
    folder.symlink_to(real_data / "real_cohort/primary_data/data/MRI-Segments/001")
    return folder.parent


@pytest.fixture(scope="module")
def published(source, tmp_path_factory):
    url = tmp_path_factory.mktemp("store") / "published.zarr"
    npc.convert(source, url, workers=0)
    return url


def convert(source, folder, text):
    (folder / "layout.toml").write_text(text)
    result = npc.convert(source, folder / "c.zarr", config=folder / "layout.toml", workers=0)
    return result.sel(T1), npc.open(folder / "c.zarr")


@pytest.mark.slow
def test_it_equals_the_published_mask_voxel_for_voxel(source, published, tmp_path):
    result, dataset = convert(source, tmp_path, "[layout]\nmasks = []\n")
    assert "16 of 16 contours name an image that is no slice of this series" in str(result.message.values)
    expected = npc.open(published)
    assert_array_equal(dataset.mask.sel(T1), expected.mask.sel(T1))
    assert int(dataset.mask_voxels.sel(T1)) == 17090
    assert str(dataset.mask_affine_source.sel(T1).values) == "contours"
    for name, value in npc.morphology(expected).sel(T1).items():
        assert_array_equal(npc.morphology(dataset).sel(T1)[name], value)


@pytest.mark.slow
def test_labels_that_name_structures_take_it_before_the_nifti_mask(source, published, tmp_path):
    result, dataset = convert(source, tmp_path, '[labels]\nedema = "*edema*"\nGTV = "gtv*"\n')
    assert "no structure is edema" in str(result.message.values)
    assert_array_equal(dataset.mask.sel(T1), 2 * npc.open(published).mask.sel(T1))
    volumes = npc.morphology(dataset).sel(T1).voxel_count
    assert volumes.sel(label="GTV") == 17090
    assert volumes.sel(label="edema") == 0


@pytest.mark.slow
@pytest.mark.parametrize("format", ["seg", "rtstruct"])
def test_its_mask_goes_out_and_comes_back(source, published, tmp_path, format):
    done = npc.export_scans(published, tmp_path / "out", format=format, source=source, workers=0)
    assert [one.status for one in done] == ["written", "absent", "absent"]
    (back,) = npc.import_masks(published, tmp_path / "out")
    assert back.status == "kept"
    found = npc.lesions(npc.open(published), tmp_path / "out")
    assert found[["found", "dice"]].values.tolist() == [["matched", 1.0]]
    assert np.isclose(found["volume_a"][0], float(npc.morphology(npc.open(published)).sel(T1).voxel_volume))
