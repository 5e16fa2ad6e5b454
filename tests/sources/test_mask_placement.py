"""Masks on a crop of the image's grid, or on another: exact where voxels coincide, by majority of volume elsewhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from npczarr.errors import GeometryError
from npczarr.model.alignment import align_offset
from npczarr.model.geometry import RAS_TO_LPS, Grid, index_map
from npczarr.model.majority import resample_majority
from npczarr.sources.nifti import parse, place
from tests.builders import blob, nifti_image, oblique_grid

law = settings(deadline=None, max_examples=40)
GRID = oblique_grid((5, 6, 8), seed=3, spacing_zyx_mm=(5.5, 0.5, 0.75))
FLIPS = [(), (0,), (1, 2), (0, 1, 2)]


def placed(voxels, source, grid=GRID, **options):
    return place(parse(nifti_image(voxels, source, **options).to_bytes()), grid)


def finer(grid, factors_zyx, shift_zyx=(0, 0, 0)):
    """Grid over the same volume whose voxels are so many times smaller, shifted by parts of a voxel of ``grid``."""
    factors, shift = np.array(factors_zyx[::-1]), np.array(shift_zyx[::-1])
    affine = grid.affine @ np.diag([*(1 / factors), 1])
    affine[:3, 3] += grid.affine[:3, :3] @ (0.5 / factors - 0.5 + shift)
    return Grid(tuple(int(n * f) for n, f in zip(grid.shape_zyx, factors_zyx, strict=True)), affine)


def wider(grid, before_zyx, after_zyx):
    affine = grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.array(before_zyx[::-1])
    return Grid(tuple(b + n + a for b, n, a in zip(before_zyx, grid.shape_zyx, after_zyx, strict=True)), affine)


def volume_shares(mask, source, target, steps=12):
    """Share of each voxel's volume that is tumor, by brute force at steps**3 points of each."""
    points = (np.arange(steps) + 0.5) / steps - 0.5
    matrix = index_map(target, source)
    shares = np.zeros(target.shape_zyx)
    for z, y, x in np.ndindex(*target.shape_zyx):
        at = np.stack(np.meshgrid(x + points, y + points, z + points, indexing="ij"), -1).reshape(-1, 3)
        index = np.floor(at @ matrix[:3, :3].T + matrix[:3, 3] + 0.5).astype(int)
        inside = ((index >= 0) & (index < source.shape_zyx[::-1])).all(axis=1)
        shares[z, y, x] = mask[tuple(index[inside][:, ::-1].T)].sum() / len(at)
    return shares


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)], ids=str)
@pytest.mark.parametrize("flips", FLIPS, ids=str)
def test_a_crop_of_the_image_is_placed_exactly_and_called_one(flips, order):
    window = (slice(1, 3), slice(1, 4), slice(1, 7))
    mask = placed(blob(GRID)[window], GRID.crop(window), flips=flips, order=order)
    assert_array_equal(mask.mask, blob(GRID))
    assert mask.warnings == (
        "mask is a crop of the image, (2, 3, 6) of its (5, 6, 8) voxels from (1, 1, 1); placed exactly",
    )
    assert mask.evidence["mask_inside_fraction"] == 1
    assert mask.evidence["mask_affine_error"] < 1e-3


@pytest.mark.parametrize("flips", FLIPS, ids=str)
def test_a_mask_larger_than_the_image_is_placed_exactly(flips):
    before, after = (1, 2, 3), (2, 0, 1)
    mask = placed(np.pad(blob(GRID), tuple(zip(before, after, strict=True))), wider(GRID, before, after), flips=flips)
    assert_array_equal(mask.mask, blob(GRID))
    assert mask.warnings == (
        "image is a crop of the mask, (5, 6, 8) of its (8, 8, 12) voxels from (1, 2, 3); placed exactly",
    )


def test_tumor_beyond_the_image_refuses_a_larger_mask():
    before, after = (1, 1, 1), (0, 0, 0)
    voxels = np.pad(blob(GRID), tuple(zip(before, after, strict=True)))
    voxels[0, 0, 0] = 1
    with pytest.raises(GeometryError, match=r"96.0% of the tumor lies inside it, expected 99%"):
        placed(voxels, wider(GRID, before, after))


def test_a_mask_that_lies_beside_in_part_is_placed_where_it_overlaps():
    shifted = wider(GRID, (1, 0, 0), (-1, 0, 0))
    mask = placed(np.roll(blob(GRID), 1, axis=0), shifted)
    assert_array_equal(mask.mask, blob(GRID))
    (warning,) = mask.warnings
    assert "begins at voxel (-1, 0, 0) of the image of (5, 6, 8); what overlaps was placed exactly" in warning


def test_a_crop_a_part_of_a_voxel_off_is_placed_with_the_distance():
    window = (slice(1, 3), slice(1, 4), slice(1, 7))
    cropped = GRID.crop(window)
    affine = cropped.affine.copy()
    affine[:3, 3] += 0.3 * affine[:3, 0]
    mask = placed(blob(GRID)[window], Grid(cropped.shape_zyx, affine))
    assert_array_equal(mask.mask, blob(GRID))
    assert mask.warnings == (
        "mask is a crop of the image, (2, 3, 6) of its (5, 6, 8) voxels from (1, 1, 1); placed by whole voxels",
        "mask grid lies 0.22 mm (0.30 voxel) off the image",
    )


@law
@given(st.integers(0, 10_000), st.tuples(*[st.integers(-7, 7)] * 3), st.tuples(*[st.integers(1, 5)] * 3))
def test_pasting_by_an_offset_equals_world_coordinates(seed, offset, shape):
    target = oblique_grid((4, 5, 6), seed=seed)
    affine = target.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(offset[::-1])
    source = Grid(shape, affine)
    values = np.random.default_rng(seed).integers(1, 255, shape)
    expected = np.zeros(target.shape_zyx, int)
    for index in np.ndindex(*shape):
        at = tuple(np.add(index, offset))
        if all(0 <= i < n for i, n in zip(at, target.shape_zyx, strict=True)):
            expected[at] = values[index]
    found = align_offset(source, target)
    assert found.offset_zyx == offset
    assert found.error_voxels < 1e-6
    assert_array_equal(found.paste(values, target.shape_zyx), expected)


def test_other_voxels_have_no_offset():
    assert align_offset(finer(GRID, (1, 2, 2)), GRID) is None
    assert align_offset(oblique_grid((5, 6, 8), seed=4), GRID) is None


@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 3, 1), (1, 4, 4), (3, 1, 2)], ids=str)
@pytest.mark.parametrize("flips", FLIPS, ids=str)
def test_a_finer_mask_of_whole_image_voxels_is_that_mask(factors, flips):
    voxels = blob(GRID)
    for axis, factor in enumerate(factors):
        voxels = voxels.repeat(factor, axis)
    mask = placed(voxels, finer(GRID, factors), flips=flips)
    assert_array_equal(mask.mask, blob(GRID))
    (warning,) = mask.warnings
    cm3 = blob(GRID).sum() * 5.5 * 0.5 * 0.75 / 1000
    assert "placed by majority of volume" in warning
    assert f"volume {cm3:.2f} cm3 became {cm3:.2f} cm3" in warning


def test_half_of_a_voxel_is_tumor_and_less_is_not():
    fine = finer(GRID, (1, 2, 2))
    for count, tumor in ((0, 0), (1, 0), (2, 1), (3, 1), (4, 1)):
        voxels = np.zeros(fine.shape_zyx, np.uint8)
        voxels[2, 4:6, 6:8].flat[:count] = 1
        assert resample_majority(voxels, fine, GRID)[2, 2, 3] == tumor
        assert resample_majority(voxels, fine, GRID).sum() == tumor


@pytest.mark.parametrize("shift", [0, 0.25, -0.25])
def test_a_mask_twice_as_fine_is_not_decided_by_ties(shift):
    """Also where every second voxel of the mask lies across a face of the image's: the nearest one is then a tie."""
    fine = finer(GRID, (1, 2, 2), (0, shift, shift))
    rng = np.random.default_rng(0)
    voxels = np.zeros(fine.shape_zyx, np.uint8)
    voxels[:, 3:9, 3:13] = rng.integers(0, 2, (5, 6, 10))
    shares = volume_shares(voxels, fine, GRID, steps=8)  # exact: the faces are at quarters of a voxel
    assert ((shares > 0) & (shares < 1)).any()
    assert_array_equal(resample_majority(voxels, fine, GRID), shares >= 0.5)
    # and rounding of the affine as NIfTI keeps it changes nothing
    rounded = Grid(fine.shape_zyx, fine.affine.astype("float32").astype(float))
    assert_array_equal(resample_majority(voxels, rounded, GRID), shares >= 0.5)


@law
@given(
    st.integers(0, 10_000),
    st.tuples(*[st.floats(0.4, 3)] * 3),
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.tuples(*[st.integers(2, 8)] * 3),
)
def test_the_volume_is_exact_for_voxels_of_any_size(seed, sizes, shift, shape):
    target = oblique_grid((3, 4, 5), seed=seed)
    affine = target.affine @ np.diag([*sizes, 1])
    affine[:3, 3] += target.affine[:3, :3] @ shift
    source = Grid(shape, affine)
    mask = np.random.default_rng(seed).integers(0, 2, shape).astype(np.uint8)
    shares = volume_shares(mask, source, target)
    clear = abs(shares - 0.5) > 0.15  # farther than brute force errs
    assert_array_equal(resample_majority(mask, source, target)[clear], (shares >= 0.5)[clear])


@pytest.mark.parametrize("degrees", [-2, 3, 5, 15, 45])
def test_a_mask_on_a_turned_grid_neither_grows_nor_shrinks(degrees):
    turn = np.deg2rad(degrees)
    affine = np.diag([0.8, 0.8, 3, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ [6, 6, 3]
    target = Grid((7, 13, 13), affine)
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    source = Grid(target.shape_zyx, turned @ affine)
    z, y, x = np.indices(source.shape_zyx)
    mask = (((z - 3) / 2.6) ** 2 + ((y - 6) / 5.2) ** 2 + ((x - 6) / 4.3) ** 2 <= 1).astype(np.uint8)
    shares = volume_shares(mask, source, target)
    clear = abs(shares - 0.5) > 0.03  # farther than brute force errs
    found = resample_majority(mask, source, target)
    assert_array_equal(found[clear], (shares >= 0.5)[clear])
    assert abs(found.sum() / (shares >= 0.5).sum() - 1) < 0.02


def test_a_rotated_grid_is_sampled():
    target = oblique_grid((6, 8, 8), seed=1, spacing_zyx_mm=(3, 1, 1))
    turned = oblique_grid((40, 40, 40), seed=2, spacing_zyx_mm=(0.7, 0.7, 0.7))
    affine = turned.affine.copy()
    affine[:3, 3] += target.center_mm() - turned.center_mm()
    source = Grid(turned.shape_zyx, affine)
    z, y, x = np.indices(source.shape_zyx)
    mask = (((z - 20) ** 2 + (y - 18) ** 2 + (x - 21) ** 2) < 49).astype(np.uint8)
    shares = volume_shares(mask, source, target)
    clear = abs(shares - 0.5) > 0.1
    found = resample_majority(mask, source, target)
    assert_array_equal(found[clear], (shares >= 0.5)[clear])
    assert 20 < found.sum() < found.size / 2


@given(st.integers(0, 10_000), st.sampled_from([0, 1, 2]))
@law
def test_placing_commutes_with_flips(seed, axis):
    target = oblique_grid((3, 4, 5), seed=seed)
    source = finer(target, (1, 2, 2), (0, 0.25, 0))
    mask = np.random.default_rng(seed).integers(0, 2, source.shape_zyx).astype(np.uint8)
    affine = source.affine.copy()
    affine[:3, 3] += affine[:3, 2 - axis] * (source.shape_zyx[axis] - 1)
    affine[:3, 2 - axis] *= -1
    flipped = Grid(source.shape_zyx, affine)
    assert_array_equal(resample_majority(np.flip(mask, axis), flipped, target), resample_majority(mask, source, target))


def test_an_empty_or_distant_mask_gives_no_voxel():
    fine = finer(GRID, (1, 2, 2))
    assert not resample_majority(np.zeros(fine.shape_zyx, np.uint8), fine, GRID).any()
    affine = fine.affine.copy()
    affine[:3, 3] += 1e5
    far = Grid(fine.shape_zyx, affine)
    assert not resample_majority(np.ones(fine.shape_zyx, np.uint8), far, GRID).any()


def test_a_tumor_smaller_than_half_a_voxel_is_refused():
    fine = finer(GRID, (1, 4, 4))
    voxels = np.zeros(fine.shape_zyx, np.uint8)
    voxels[2, 9, 9] = 1
    with pytest.raises(GeometryError, match="no voxel of the image is tumor by half of its volume"):
        placed(voxels, fine)


def test_on_another_grid_the_form_that_keeps_the_tumor_inside_is_used():
    fine = finer(GRID, (1, 2, 2))
    image = nifti_image(blob(GRID).repeat(2, 1).repeat(2, 2), fine)
    away = fine.affine.copy()
    away[:3, 3] += 500
    image.set_sform(RAS_TO_LPS @ away, code=1)
    mask = place(parse(image.to_bytes()), GRID)
    assert_array_equal(mask.mask, blob(GRID))
    assert mask.evidence["mask_affine_source"] == "qform"
    assert "qform was used, as it fits the image better" in mask.warnings[0]
