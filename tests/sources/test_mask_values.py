"""Labels, inverted masks and probability maps: what a mask's values may mean is said, never guessed in silence."""

import io

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from npczarr.errors import SourceError
from npczarr.model.cohort import ScanFiles
from npczarr.model.geometry import Grid
from npczarr.model.labels import describe_cover, merge_labels
from npczarr.sources.files import open_source
from npczarr.sources.nifti import parse, place
from npczarr.sources.raters import read_raters
from tests.builders import blob, nifti_image, oblique_grid

GRID = oblique_grid((5, 6, 8), seed=3, spacing_zyx_mm=(5.5, 0.5, 0.75))


def placed(voxels, dtype="uint8"):
    return place(parse(nifti_image(voxels, GRID, dtype=dtype).to_bytes()), GRID)


def several(*labels):
    """A mask whose first voxels hold the labels, each once more than the one before it."""
    values = np.zeros((4, 10, 10), np.int32)
    values.flat[: len(labels) * (len(labels) + 1) // 2] = np.repeat(labels, range(1, len(labels) + 1))
    return values


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_two_labels_are_merged_with_a_warning_that_names_them_and_their_voxels(dtype):
    voxels = blob(GRID).astype("int16")
    voxels[1] *= 2
    mask = placed(voxels, dtype)
    ones, twos = (voxels == 1).sum(), (voxels == 2).sum()
    assert ones > 1 < twos
    assert_array_equal(mask.mask, blob(GRID))
    assert mask.warnings == (f"labels 1 ({ones} voxels) and 2 ({twos} voxels) merged to tumor",)


@pytest.mark.parametrize("value", [1, 2, 255])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_one_label_is_tumor_whichever_it_is(value, dtype):
    mask = placed(blob(GRID).astype("int16") * value, dtype)
    assert_array_equal(mask.mask, blob(GRID))
    assert mask.warnings == ()


def test_rounding_noise_makes_no_labels():
    noise = np.random.default_rng(0).uniform(-1e-3, 1e-3, GRID.shape_zyx)
    for value in (1, 2, 255):
        mask = placed(blob(GRID) * value + noise, "float32")
        assert_array_equal(mask.mask, blob(GRID))
        assert mask.warnings == ()


def test_hundreds_of_labels_are_counted_in_a_bounded_message():
    values = np.zeros((40, 40, 40), np.int32)
    values.flat[:2000] = np.arange(2000) * 10**6 + 7
    mask, (warning,) = merge_labels(values)
    assert warning == (
        "labels 7 (1 voxel), 1000007 (1 voxel), 2000007 (1 voxel), 3000007 (1 voxel), 4000007 (1 voxel) and 1995 more, "
        "up to 1999000007 (1995 voxels) merged to tumor"
    )
    assert mask.sum() == 2000


def test_five_labels_are_all_named_and_a_sixth_is_counted():
    (five,) = merge_labels(several(1, 2, 3, 4, 5))[1]
    assert "4 (4 voxels) and 5 (5 voxels) merged" in five
    (six,) = merge_labels(several(1, 2, 3, 4, 5, 6))[1]
    assert "5 (5 voxels) and 1 more, up to 6 (6 voxels) merged" in six


@pytest.mark.parametrize("value", [1e38, 3e15, 2.0**62])
def test_huge_labels_do_not_make_long_messages(value):
    values = np.array([[[0, 1, value]]])
    (warning,) = merge_labels(values)[1]
    assert len(warning) < 100


@given(
    hnp.arrays(
        st.sampled_from(["uint8", "int8", "int16", "float32", ">i2", ">f8"]),
        st.just((2, 3, 4)),
        elements=st.integers(0, 3),
    )
)
def test_every_value_above_zero_is_tumor_and_a_warning_means_two_labels(values):
    mask, warnings = merge_labels(values)
    assert_array_equal(mask, np.round(values) > 0)
    assert mask.dtype == np.uint8
    assert len(warnings) == (len(set(values[values > 0].tolist())) > 1)


def test_negative_values_are_said():
    voxels = blob(GRID).astype("int16")
    voxels[4, 5, 5:7] = -3
    for dtype in ("int16", "float32"):
        mask = placed(voxels, dtype)
        assert_array_equal(mask.mask, blob(GRID))
        assert mask.warnings == ("2 voxels below 0, down to -3, taken for background",)


def test_255_read_as_a_signed_byte_is_said_twice():
    mask = placed(-blob(GRID).astype("int8"), "int8")
    assert mask.warnings == (
        f"{blob(GRID).sum()} voxels below 0, down to -1, taken for background",
        "the mask is empty",
    )


def probabilities():
    from scipy.ndimage import gaussian_filter

    inside = np.zeros((20, 40, 40))
    inside[8:14, 15:30, 15:30] = 1
    return gaussian_filter(inside, 2)


@pytest.mark.parametrize("background", [0, 1e-6])
def test_a_probability_map_is_a_warning_whatever_its_background(background):
    values = np.maximum(probabilities(), background)
    mask, (warning,) = merge_labels(values)
    assert_array_equal(mask, values > 0.5)
    assert "are no whole numbers (a probability map?): tumor is above 0.5" in warning


def test_a_few_values_between_whole_numbers_are_none():
    values = np.zeros((10, 10, 10))
    values[:5] = 1
    values.flat[:5] = 0.5  # one in a hundred
    assert merge_labels(values)[1] == ()
    values.flat[:6] = 0.5
    assert merge_labels(values)[1] != ()


def test_an_inverted_mask_is_said_and_a_full_one_is_refused():
    mask = placed(1 - blob(GRID))
    assert_array_equal(mask.mask, 1 - blob(GRID))
    share = 1 - blob(GRID).mean()
    assert mask.warnings == (f"the tumor covers {share:.1%} of the volume: is the mask inverted?",)
    with pytest.raises(SourceError, match=r"every voxel of the volume is tumor, expected a background of 0"):
        placed(np.ones(GRID.shape_zyx))


def test_half_of_the_volume_is_not_yet_suspicious():
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[:2] = 1
    assert describe_cover(mask) == ()
    mask[2, 0, 0] = 1
    assert describe_cover(mask) != ()


def test_a_crop_that_is_inverted_or_a_box_is_said():
    window = (slice(1, 4), slice(1, 5), slice(1, 7))
    hole = np.ones((3, 4, 6), np.uint8)
    hole[1, 1:3, 2:4] = 0
    for voxels in (hole, np.ones_like(hole)):
        image = nifti_image(voxels, GRID.crop(window))
        mask = place(parse(image.to_bytes()), GRID)
        assert mask.warnings[-1] == "tumor fills all faces of the mask's own volume: is it inverted, or a box?"


def test_labels_of_tiff_slices_are_said_by_rater(tmp_path):
    for rater, values in (("a", (255,)), ("b", (1, 2))):
        for z in range(2):
            page = np.zeros((6, 7), np.uint8)
            page[2, 1 : 1 + len(values)] = values
            buffer = io.BytesIO()
            tifffile.imwrite(buffer, page)
            (tmp_path / f"{rater}_{z}.tif").write_bytes(buffer.getvalue())
    source = open_source(tmp_path)
    listed = source.files()
    files = ScanFiles("1", "T1WI", masks=tuple(listed), raters=tuple(file.name[0] for file in listed))
    masks, _, _, mask = read_raters(source, files, ("a", "b"))
    assert masks.sum(axis=(1, 2, 3)).tolist() == [2, 4]
    assert mask.warnings[1:] == ("b: labels 1 (2 voxels) and 2 (2 voxels) merged to tumor",)


def test_labels_of_nifti_masks_are_said_by_rater(tmp_path):
    voxels = blob(GRID)
    voxels[1] *= 2
    (tmp_path / "a.nii").write_bytes(nifti_image(blob(GRID), GRID).to_bytes())
    (tmp_path / "b.nii").write_bytes(nifti_image(voxels, GRID).to_bytes())
    source = open_source(tmp_path)
    files = ScanFiles("1", "T1WI", masks=tuple(source.files()), raters=("a", "b"))
    mask = read_raters(source, files, ("a", "b"))[3]
    (warning,) = mask.warnings
    assert warning.startswith("b: labels 1 (")


def test_a_grid_of_one_voxel_is_no_crash():
    one = Grid((1, 1, 1), np.eye(4))
    with pytest.raises(SourceError, match="every voxel of the volume is tumor"):
        place(parse(nifti_image(np.ones((1, 1, 1)), one).to_bytes()), one)
