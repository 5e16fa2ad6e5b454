import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

from npczarr.errors import ParameterError
from npczarr.kernels.masks import as_mask
from npczarr.kernels.patterns import METHODS, _corners, _face_area, cell_patterns, histogram, pieces

from .plain import law, masks


@pytest.mark.parametrize("method", METHODS)
def test_every_pattern_is_closed_by_caps_on_the_faces_of_its_cell(method):
    surface = pieces(method)
    for code in range(256):
        cell = _corners(code)
        caps = [_face_area(cell.take(1, axis), method) - _face_area(cell.take(0, axis), method) for axis in range(3)]
        assert_allclose(surface.triangles[surface.pattern == code].sum(axis=0) + caps, 0, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_mirrored_patterns_hold_the_same_piece_mirrored(method):
    area, volume = pieces(method).area((5.5, 0.43, 0.61)), pieces(method).volume
    weights = 1 << np.arange(7, -1, -1)
    for axis in range(3):
        mirrored = [int(np.flip(_corners(code), axis).ravel() @ weights) for code in range(256)]
        assert_allclose(area, area[mirrored], rtol=1e-14)
        assert_allclose(volume, volume[mirrored], atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_volume_inside_a_cell_lies_between_nothing_and_all(method):
    volume = pieces(method).volume
    assert volume[0] == 0
    assert volume[255] == 1
    assert ((volume[1:255] > 0) & (volume[1:255] < 1)).all()


@law
@given(masks())
def test_patterns_and_histogram_equal_plain_loops(mask):
    padded = np.pad(as_mask(mask), 1)
    codes = cell_patterns(padded)
    for index in np.ndindex(codes.shape):
        corners = padded[tuple(slice(i, i + 2) for i in index)]
        assert codes[index] == np.packbits(corners.ravel())[0]
    assert_array_equal(histogram(codes)[1:], np.bincount(codes.ravel(), minlength=256)[1:])


def test_unknown_method_is_refused():
    with pytest.raises(ParameterError, match="method: expected one of lorensen, lewiner, found 'dual'"):
        pieces("dual")
