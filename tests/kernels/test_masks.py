import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from npczarr.errors import ParameterError
from npczarr.kernels.masks import as_mask, as_pair, as_spacing, bounding_box, crop_padded

from .plain import law, masks

NOTHING = (slice(0, 0),) * 3


def plain_box(mask):
    return tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(mask))


@law
@given(masks(), st.integers(0, 9), st.integers(0, 9))
def test_box_is_the_extent_of_the_nonzero_voxels(mask, before, after):
    mask = np.pad(mask, ((1, 0), (0, 2), (before, after)))
    assert bounding_box(as_mask(mask)) == plain_box(mask)


@pytest.mark.parametrize("width", [13, 16], ids=["bytes", "words"])
@pytest.mark.parametrize(
    "layout",
    [
        lambda m: np.ascontiguousarray(m),
        lambda m: np.pad(m, ((1, 2), (3, 5), (8, 16)))[1:-2, 3:-5, 8:-16],
        lambda m: np.asfortranarray(m),
        lambda m: m[::-1, ::-1, ::-1],
        lambda m: np.repeat(m, 2, axis=2)[..., ::2],
        lambda m: np.frombuffer(m.tobytes(), np.uint8).reshape(m.shape),  # read-only, as zarr may give it
    ],
    ids=["contiguous", "view", "fortran", "reversed", "strided", "read-only"],
)
def test_memory_layout_does_not_matter(layout, width):
    mask = np.zeros((4, 5, width), np.uint8)
    mask[1:3, 2, 3:7] = 200
    mask[2, 4, 1] = 1
    view = layout(mask)
    assert bounding_box(view) == plain_box(view)
    assert_array_equal(crop_padded(view, plain_box(view)), np.pad(view[plain_box(view)] > 0, 1))


def test_box_of_two_masks_and_of_none():
    a, b = np.zeros((2, 3, 4, 8), np.uint8)
    assert bounding_box(a, b) == NOTHING
    assert bounding_box(a[:0]) == bounding_box(a[..., :0]) == NOTHING
    a[0, 1, 2], b[2, 3, 7] = 1, 1
    assert bounding_box(a, b) == plain_box(a | b)


def test_window_limits_what_is_read():
    mask = np.ones((4, 5, 16), np.uint8)
    assert bounding_box(mask, window=np.s_[1:3, 2:4, 5:6]) == np.s_[1:3, 2:4, 5:6]
    assert bounding_box(mask, window=np.s_[-1:, :, 3:3]) == NOTHING
    assert bounding_box(mask, window=np.s_[-1:, :, 3:1]) == NOTHING
    with pytest.raises(ParameterError, match="window: expected three slices"):
        bounding_box(mask, window=np.s_[:, ::2, :])


def test_values_above_zero_are_tumor():
    values = np.array([[[-3, 0, 1, 7]]])
    for dtype in (np.int8, np.int16, np.int64):
        assert_array_equal(as_mask(values.astype(dtype)) != 0, values > 0)
    assert_array_equal(as_mask(np.array([[[0, 256, 65535]]], np.uint16)) != 0, [[[False, True, True]]])


def test_bool_and_uint8_are_not_copied():
    for dtype in (bool, np.uint8):
        mask = np.zeros((2, 3, 4), dtype)
        assert np.shares_memory(as_mask(mask), mask)


@pytest.mark.parametrize("bad", [np.zeros((3, 4)), np.zeros((1, 2, 3, 4), bool), 1])
def test_masks_need_three_dimensions(bad):
    with pytest.raises(ParameterError, match=r"truth: expected a \(z, y, x\) array"):
        as_mask(bad, "truth")


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, object, "U1"])
def test_masks_need_booleans_or_integers(dtype):
    with pytest.raises(ParameterError, match="mask: expected booleans or integers"):
        as_mask(np.zeros((2, 2, 2), dtype))


def test_pairs_need_one_shape():
    with pytest.raises(ParameterError, match=r"expected one shape, found \(2, 3, 4\) and \(2, 3, 5\)"):
        as_pair(np.zeros((2, 3, 4), bool), np.zeros((2, 3, 5), bool))


@pytest.mark.parametrize(
    "bad", [(1, 1), 1.0, (1, 1, np.nan), (0, 1, 1), (1, -1, 1), (np.inf, 1, 1), None, ("1", "1", "1"), (1, 1, None)]
)
def test_spacing_needs_three_numbers_above_zero(bad):
    with pytest.raises(ParameterError, match="spacing_zyx_mm: expected three finite numbers above 0"):
        as_spacing(bad)
