import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import ndimage

from npczarr.errors import ParameterError
from npczarr.kernels.morphology import measure
from npczarr.kernels.patterns import METHODS

from .plain import ball, law, masks, mesh, mesh_area, mesh_diameter, mesh_volume, spacings

SLICES = np.array([5.5, 0.43, 0.43])  # mm, the cohort's median
MM = ("volume_mm3", "surface_area_mm2", "max_diameter_mm", "surface_regularity", "sphericity", "voxel_volume_mm3")


def close(a, b, rtol=1e-12):
    """Equal to rounding: sums may run in another order."""
    assert_allclose([getattr(a, name) for name in MM], [getattr(b, name) for name in MM], rtol=rtol)
    assert (a.voxel_count, a.components) == (b.voxel_count, b.components)


@pytest.mark.parametrize("method", METHODS)
@law
@given(masks(), spacings)
def test_equals_the_mesh(method, mask, spacing):
    shape = measure(mask, spacing, method=method)
    triangles = mesh(mask, spacing, method)
    assert_allclose(shape.surface_area_mm2, mesh_area(triangles), rtol=1e-12)
    assert_allclose(shape.volume_mm3, mesh_volume(triangles), rtol=1e-12)
    assert_allclose(shape.max_diameter_mm, mesh_diameter(triangles), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_equals_the_mesh_of_a_tumor(method):
    mask = ball((12, 80, 90), SLICES, (22, 11, 15)) & ~ball((12, 80, 90), SLICES, (15, 6, 4), (0, 3, 9))
    shape, triangles = measure(mask, SLICES, method=method), mesh(mask, SLICES, method)
    assert_allclose(shape.surface_area_mm2, mesh_area(triangles), rtol=1e-12)
    assert_allclose(shape.volume_mm3, mesh_volume(triangles), rtol=1e-12)
    assert_allclose(shape.max_diameter_mm, mesh_diameter(triangles), rtol=1e-12)


@law
@given(masks())
def test_components_equal_scipy(mask):
    assert measure(mask, (1, 1, 1)).components == ndimage.label(mask, np.ones((3, 3, 3)))[1]


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2])
def test_components_equal_scipy_where_pieces_branch_and_meet(share):
    mask = np.random.default_rng(3).random((30, 40, 50)) < share
    assert measure(mask, (1, 1, 1)).components == ndimage.label(mask, np.ones((3, 3, 3)))[1]


@pytest.mark.parametrize("method", METHODS)
@law
@given(masks(), spacings, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_flips_and_swapped_axes_change_nothing(method, mask, spacing, order, flips):
    turned = np.flip(mask, np.flatnonzero(flips)).transpose(order)
    close(measure(turned, [spacing[axis] for axis in order], method=method), measure(mask, spacing, method=method))


@law
@given(masks(), spacings, st.tuples(*[st.tuples(st.integers(0, 9), st.integers(0, 9))] * 3))
def test_translation_and_padding_move_the_box_alone(mask, spacing, margins):
    alone, moved = measure(mask, spacing), measure(np.pad(mask, margins), spacing)
    for at in ("box_start_zyx", "box_stop_zyx"):
        assert getattr(moved, at) == tuple(
            n + before for n, (before, _) in zip(getattr(alone, at), margins, strict=True)
        )
    borders = {
        name: getattr(moved, name)
        for name in ("box_start_zyx", "box_stop_zyx", "touches_start_zyx", "touches_stop_zyx")
    }
    assert replace(alone, **borders) == moved


@law
@given(masks(), spacings, st.floats(0.1, 10))
def test_scales_with_the_spacing(mask, spacing, factor):
    one, other = measure(mask, spacing), measure(mask, [factor * s for s in spacing])
    assert_allclose(other.volume_mm3, one.volume_mm3 * factor**3, rtol=1e-12)
    assert_allclose(other.surface_area_mm2, one.surface_area_mm2 * factor**2, rtol=1e-12)
    assert_allclose(other.max_diameter_mm, one.max_diameter_mm * factor, rtol=1e-12)
    assert_allclose(other.surface_regularity, one.surface_regularity, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@given(st.tuples(*[st.integers(1, 12)] * 3), spacings)
@law
def test_box_is_its_voxels_less_the_bevels(method, counts, spacing):
    """Marching cubes cuts every edge of a box at half a voxel, every corner by a triangle."""
    (a, b, c), (z, y, x) = counts, spacing
    shape = measure(np.ones(counts, bool), spacing, method=method)
    faces = 2 * ((a - 1) * (b - 1) * z * y + (b - 1) * (c - 1) * y * x + (a - 1) * (c - 1) * z * x)
    edges = 2 * ((a - 1) * z * math.hypot(y, x) + (b - 1) * y * math.hypot(z, x) + (c - 1) * x * math.hypot(z, y))
    corners = math.hypot(z * y, y * x, z * x)
    assert_allclose(shape.surface_area_mm2, faces + edges + corners, rtol=1e-12)
    assert_allclose(shape.volume_mm3, (a * b * c - (a + b + c - 3) / 2 - 5 / 6) * z * y * x, rtol=1e-12)
    assert shape.touches_start_zyx == shape.touches_stop_zyx == (True, True, True)


@pytest.mark.parametrize("semi_axes", [(20, 20, 20), (30, 12, 18)], ids=["sphere", "ellipsoid"])
def test_ellipsoids_converge_from_thick_slices(semi_axes):
    volume, diameter = 4 / 3 * math.pi * math.prod(semi_axes), 2 * max(semi_axes)
    areas = []
    for refined, tolerance in ((1, 0.02), (2, 0.01), (4, 0.003)):
        spacing = SLICES / (refined, 1, 1)
        shape = measure(ball(np.ceil(70 / spacing).astype(int), spacing, semi_axes, (1.1, 0.1, 0.2)), spacing)
        assert_allclose(shape.volume_mm3, volume, rtol=tolerance)
        assert_allclose(shape.max_diameter_mm, diameter, atol=np.linalg.norm(spacing))
        assert shape.sphericity < 1
        areas.append(shape.surface_area_mm2)
    # the steps between slices add surface, the less the thinner they are; those of single voxels never go away
    assert areas[0] > areas[1] > areas[2]
    a, b, c = semi_axes
    true_area = 4 * math.pi * (((a * b) ** 1.6075 + (a * c) ** 1.6075 + (b * c) ** 1.6075) / 3) ** (1 / 1.6075)
    assert 1 < areas[2] / true_area < 1.2


def test_definitions_of_the_ratios():
    shape = measure(ball((12, 80, 90), SLICES, (22, 11, 15)), SLICES)
    radius = math.sqrt(shape.surface_area_mm2 / (4 * math.pi))
    assert_allclose(shape.surface_regularity, shape.volume_mm3 / (4 / 3 * math.pi * radius**3), rtol=1e-12)
    assert_allclose(shape.sphericity, shape.surface_regularity ** (2 / 3), rtol=1e-12)
    assert_allclose(shape.voxel_volume_mm3, shape.voxel_count * math.prod(SLICES), rtol=1e-12)


def test_empty_mask_has_no_shape():
    for mask in (np.zeros((3, 4, 5), bool), np.zeros((0, 4, 5), bool)):
        shape = measure(mask, SLICES)
        assert all(math.isnan(getattr(shape, name)) for name in MM[:-1])
        assert (shape.voxel_volume_mm3, shape.voxel_count, shape.components) == (0.0, 0, 0)
        assert shape.box_start_zyx == shape.box_stop_zyx == (0, 0, 0)
        assert not any(shape.touches_start_zyx + shape.touches_stop_zyx)


def test_one_voxel_is_an_octahedron():
    shape = measure(np.ones((1, 1, 1), bool), (3, 2, 1))
    assert_allclose(shape.volume_mm3, 1.0)
    assert_allclose(shape.surface_area_mm2, 7.0)  # 8 triangles of half |(1.5, 0, 0) … (0, 0, 0.5)|: (6, 3, 2) / 8 each
    assert shape.max_diameter_mm == 3.0
    assert shape.components == 1


def test_border_contact_names_the_faces():
    mask = np.zeros((4, 5, 6), np.int16)
    mask[0, 2, 2:6] = 3
    shape = measure(mask, SLICES)
    assert shape.touches_start_zyx == (True, False, False)
    assert shape.touches_stop_zyx == (False, False, True)
    assert (shape.box_start_zyx, shape.box_stop_zyx) == ((0, 2, 2), (1, 3, 6))


@law
@given(masks(), spacings)
def test_a_window_around_the_tumor_changes_nothing(mask, spacing):
    mask = np.pad(mask, 3)
    assert measure(mask, spacing, window=np.s_[2:-1, 3:-3, 1:]) == measure(mask, spacing)


def test_wrong_arguments_are_refused():
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(ParameterError, match="spacing_zyx_mm"):
        measure(mask, (1, 1, math.nan))
    with pytest.raises(ParameterError, match="booleans or integers"):
        measure(mask.astype(float), (1, 1, 1))
    with pytest.raises(ParameterError, match="method"):
        measure(mask, (1, 1, 1), method="cubes")
