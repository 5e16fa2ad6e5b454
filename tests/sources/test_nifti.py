import gzip
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from npczarr.errors import GeometryError, SourceError
from npczarr.model.geometry import RAS_TO_LPS, Grid
from npczarr.model.limits import Limits
from npczarr.sources.config import SourceConfig
from npczarr.sources.dicom import read_scan
from npczarr.sources.discover import discover
from npczarr.sources.files import open_source
from npczarr.sources.nifti import grids, parse, place, read_mask
from npczarr.sources.nifti_image import parse_image
from tests.builders import blob, nifti_image, oblique_grid

DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
FLIPS = [tuple(axis for axis in range(3) if chosen[axis]) for chosen in product([False, True], repeat=3)]


@pytest.fixture
def grid():
    return oblique_grid((5, 6, 8), seed=3, spacing_zyx_mm=(5.5, 0.5, 0.75))


def moved(grid, mm_xyz):
    """The grid shifted by mm along its own axes."""
    affine = grid.affine.copy()
    affine[:3, 3] += grid.directions @ mm_xyz
    return Grid(grid.shape_zyx, affine)


def placed(image, grid):
    return place(parse(image.to_bytes()), grid)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_type_gives_the_mask(grid, dtype):
    mask = placed(nifti_image(blob(grid), grid, dtype=dtype), grid)
    assert_array_equal(mask.mask, blob(grid))
    assert mask.mask.dtype == np.uint8
    assert mask.warnings == ()


@pytest.mark.parametrize("flips", FLIPS, ids=str)
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_every_axis_order_and_flip_gives_the_mask(grid, order, flips):
    mask = placed(nifti_image(blob(grid), grid, order=order, flips=flips), grid)
    assert_array_equal(mask.mask, blob(grid))
    assert mask.mask.flags.c_contiguous
    assert mask.warnings == ()
    assert mask.evidence["mask_affine_error"] < 1e-3
    assert set(mask.evidence["mask_axes_flipped"].split()) == {"xyz"[axis] for axis in flips}
    assert mask.evidence["mask_inside_fraction"] == 1
    assert mask.evidence["mask_voxels"] == blob(grid).sum()
    assert mask.evidence["mask_touches_end_slice"] == 0


def test_rounding_noise_is_rounded(grid):
    noisy = blob(grid) + np.random.default_rng(0).uniform(-0.49, 0.49, grid.shape_zyx)
    assert_array_equal(placed(nifti_image(noisy, grid, dtype="float32"), grid).mask, blob(grid))
    assert placed(nifti_image(blob(grid) * 0.5, grid, dtype="float64"), grid).evidence["mask_voxels"] == 0


def test_any_label_above_zero_is_tumor_and_none_below(grid):
    assert_array_equal(placed(nifti_image(blob(grid) * 200, grid), grid).mask, blob(grid))
    assert not placed(nifti_image(-blob(grid).astype("int16"), grid, dtype="int16"), grid).mask.any()


def test_header_scaling_is_applied(grid):
    image = nifti_image(blob(grid), grid, dtype="uint8")
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([0.25, 0], "<f4").tobytes()  # scl_slope, scl_inter
    assert not parse(bytes(content)).voxels.any()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_nifti_1_and_2_plain_and_gzipped(tmp_path, grid, version, packed):
    content = nifti_image(blob(grid), grid, version=version).to_bytes()
    # the name does not decide: a .nii may be gzipped
    (tmp_path / "ROI-T1.nii").write_bytes(gzip.compress(content) if packed else content)
    source = open_source(tmp_path)
    assert_array_equal(read_mask(source, source.files(), grid).mask, blob(grid))


def test_a_byte_swapped_file(grid):
    image = nifti_image(blob(grid), grid, dtype="int16")
    swapped = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header.as_byteswapped(">"))
    assert swapped.to_bytes()[:4] == b"\0\0\x01\x5c"
    assert_array_equal(placed(swapped, grid).mask, blob(grid))


def test_a_fourth_axis_of_one_is_none(grid):
    image = nifti_image(blob(grid), grid)
    four = nibabel.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine)
    assert_array_equal(placed(four, grid).mask, blob(grid))


@pytest.mark.parametrize(("sform", "qform"), [(True, False), (False, True)])
def test_one_of_the_two_forms_is_enough(grid, sform, qform):
    mask = placed(nifti_image(blob(grid), grid, sform=sform, qform=qform, flips=(1,)), grid)
    assert_array_equal(mask.mask, blob(grid))
    assert mask.evidence["mask_affine_source"] == ("sform" if sform else "qform")
    assert "mask_form_difference" not in mask.evidence


def in_unit(image, unit, mm):
    """The image with its geometry in another unit, in each form that it has."""
    to_unit = np.diag([1 / mm] * 3 + [1])
    header, zooms = image.header, np.array(image.header.get_zooms())
    for get, code, put in (
        (header.get_sform, header["sform_code"], image.set_sform),
        (header.get_qform, header["qform_code"], image.set_qform),
    ):
        put(to_unit @ get() if code else None, code=int(code))
    header.set_zooms(zooms / mm)
    image.header.set_xyzt_units(unit)
    return image


@pytest.mark.parametrize(("sform", "qform"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("unit", "mm"), [("unknown", 1), ("mm", 1), ("meter", 1000), ("micron", 0.001)])
def test_geometry_in_meters_or_microns_is_in_mm_as_simpleitk_has_it(tmp_path, grid, unit, mm, sform, qform):
    sitk = pytest.importorskip("SimpleITK")
    made = nifti_image(blob(grid), grid, dtype="int16", sform=sform, qform=qform)
    content = in_unit(made, unit, mm).to_bytes()
    (tmp_path / "a.nii").write_bytes(content)
    read = sitk.ReadImage(str(tmp_path / "a.nii"))
    (form, *_) = grids(parse(content)).values()
    np.testing.assert_allclose(form.spacing_zyx_mm[::-1], read.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(form.affine[:3, 3], read.GetOrigin(), rtol=1e-6)
    found = parse_image(content, Limits(), Limits().clock())
    np.testing.assert_allclose(np.sort(found.grid.corners_mm(), axis=0), np.sort(grid.corners_mm(), axis=0), atol=1e-3)
    mask = place(parse(content), grid)
    assert_array_equal(mask.mask, blob(grid))
    said = {"meter": "meters", "micron": "microns"}.get(unit)
    for warnings, what in ((found.warnings, "image"), (mask.warnings, "mask")):
        words = f"the {what} gives its geometry in {said} (xyzt_units); it was multiplied by {mm:g} to be mm"
        assert warnings == ((words,) if said else ())


def test_forms_of_a_file_in_meters_are_compared_in_mm(grid):
    image = nifti_image(blob(grid), moved(grid, [1, 0, 0]), version=2)
    image.set_qform(RAS_TO_LPS @ grid.affine, code=1)
    warnings = placed(in_unit(image, "meter", 1000), grid).warnings
    assert any("lie 1.00 mm apart" in warning for warning in warnings), warnings


def test_forms_that_differ_are_a_warning_also_where_sform_fits(grid):
    image = nifti_image(blob(grid), grid)
    other = RAS_TO_LPS @ moved(grid, [0, 0, 3.0]).affine
    image.set_qform(other, code=1)
    mask = placed(image, grid)
    assert mask.evidence["mask_affine_source"] == "sform"
    assert mask.evidence["mask_form_difference"] == pytest.approx(3, abs=1e-3)
    assert mask.warnings == ("sform and qform of the mask lie 3.00 mm apart; sform was used",)
    assert_array_equal(mask.mask, blob(grid))


@pytest.mark.parametrize(("voxels", "said"), [(0.04, False), (0.06, True)])
def test_forms_that_differ_by_rounding_are_no_warning(grid, voxels, said):
    image = nifti_image(blob(grid), grid)
    image.set_qform(RAS_TO_LPS @ moved(grid, [0.75 * voxels, 0, 0]).affine, code=1)
    assert bool(placed(image, grid).warnings) is said


def test_a_form_that_cannot_be_inverted_is_said(grid):
    content = bytearray(nifti_image(blob(grid), grid).to_bytes())
    content[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    mask = place(parse(bytes(content)), grid)
    assert_array_equal(mask.mask, blob(grid))
    assert mask.warnings == ("sform of the mask cannot be inverted, qform was used",)


def test_qform_is_used_with_a_warning_where_only_it_fits(grid):
    image = nifti_image(blob(grid), grid)
    image.set_sform(RAS_TO_LPS @ moved(grid, [0, 0, 300.0]).affine, code=1)
    mask = placed(image, grid)
    assert_array_equal(mask.mask, blob(grid))
    assert mask.evidence["mask_affine_source"] == "qform"
    (warning,) = mask.warnings
    assert warning == ("sform and qform of the mask lie 300.00 mm apart; qform was used, as it fits the image better")


def test_qform_is_used_where_sform_makes_a_shifted_mask_of_it(grid):
    image = nifti_image(blob(grid), grid)
    image.set_sform(RAS_TO_LPS @ moved(grid, [0, 0, 5.5]).affine, code=1)
    mask = placed(image, grid)
    assert_array_equal(mask.mask, blob(grid))
    assert mask.evidence["mask_affine_source"] == "qform"


def test_neither_form_is_refused(grid):
    with pytest.raises(SourceError, match="neither sform nor qform"):
        placed(nifti_image(blob(grid), grid, sform=False, qform=False), grid)


def test_a_grid_less_than_half_a_voxel_off_is_reordered_with_a_warning(grid):
    mask = placed(nifti_image(blob(grid), moved(grid, [0.3, 0, 0])), grid)
    assert_array_equal(mask.mask, blob(grid))
    assert mask.warnings == ("mask grid lies 0.30 mm (0.40 voxel) off the image",)
    assert mask.evidence["mask_affine_error"] == pytest.approx(0.3, abs=1e-3)


def test_another_grid_over_the_same_space_is_resampled_with_numbers(grid):
    fine_affine = grid.affine @ np.diag([0.5, 0.5, 1, 1])
    fine_affine[:3, 3] -= 0.25 * (grid.affine[:3, 0] + grid.affine[:3, 1])
    fine = Grid((5, 12, 16), fine_affine)
    voxels = blob(grid).repeat(2, axis=1).repeat(2, axis=2)
    mask = placed(nifti_image(voxels, fine, flips=(0, 2)), grid)
    assert_array_equal(mask.mask, blob(grid))
    (warning,) = mask.warnings
    cm3 = blob(grid).sum() * 5.5 * 0.5 * 0.75 / 1000
    assert "(5, 12, 16) of (5.5, 0.25, 0.375) mm" in warning
    assert "(5, 6, 8) of (5.5, 0.5, 0.75) mm" in warning
    assert f"volume {cm3:.2f} cm3 became {cm3:.2f} cm3" in warning
    assert mask.evidence["mask_inside_fraction"] == 1


def test_a_mask_cropped_to_the_tumor_is_put_back(grid):
    window = (slice(1, 3), slice(1, 4), slice(1, 6))
    mask = placed(nifti_image(blob(grid)[window], grid.crop(window)), grid)
    assert_array_equal(mask.mask, blob(grid))
    assert mask.warnings == (
        "mask is a crop of the image, (2, 3, 5) of its (5, 6, 8) voxels from (1, 1, 1); placed exactly",
    )


@pytest.mark.parametrize("shift_mm", [(100, 0, 0), (0, 0, 11.0)])
def test_a_mask_that_does_not_fit_is_refused_with_its_shapes_and_share(grid, shift_mm):
    other = moved(grid, shift_mm)
    image = nifti_image(np.ones((5, 6, 8)), other)
    with pytest.raises(GeometryError, match=r"\(5, 6, 8\) does not fit the image of shape \(5, 6, 8\): \d+\.\d%"):
        placed(image, grid)


def test_an_affine_that_cannot_be_inverted_is_refused(grid):
    content = bytearray(nifti_image(blob(grid), grid, qform=False).to_bytes())
    content[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    with pytest.raises(GeometryError, match="cannot be inverted"):
        place(parse(bytes(content)), grid)


def test_an_empty_mask_is_a_warning(grid):
    mask = placed(nifti_image(np.zeros(grid.shape_zyx), grid), grid)
    assert mask.warnings == ("the mask is empty",)
    assert mask.evidence["mask_voxels"] == 0
    assert np.isnan(mask.evidence["mask_inside_fraction"])


@pytest.mark.parametrize(("z", "touches"), [(0, 1), (4, 1), (2, 0)])
def test_tumor_on_an_end_slice_is_told(grid, z, touches):
    voxels = np.zeros(grid.shape_zyx)
    voxels[z, 2, 2] = 1
    assert placed(nifti_image(voxels, grid, flips=(2,)), grid).evidence["mask_touches_end_slice"] == touches


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(grid, value):
    voxels = blob(grid).astype("float32")
    voxels[0, 0, 0] = value
    with pytest.raises(SourceError, match="NaN or infinite"):
        placed(nifti_image(voxels, grid, dtype="float32"), grid)


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4, 5, 2), "u1"), np.zeros((3, 4), "u1"), np.zeros((3, 4, 5), "complex64")], ids=str
)
def test_what_is_no_volume_of_real_numbers_is_refused(array, grid):
    with pytest.raises(SourceError, match="expected one 3-D volume of real numbers"):
        parse(nibabel.Nifti1Image(array, np.eye(4)).to_bytes())


def test_damaged_files_are_refused(grid):
    plain = nifti_image(blob(grid), grid, dtype="float64").to_bytes()
    packed = gzip.compress(plain)
    spoilt = packed[: len(packed) // 2] + b"\xff" * 20 + packed[len(packed) // 2 + 20 :]
    strange = bytearray(plain)
    strange[70:72] = b"\x77\x77"  # a data type that there is not
    huge = bytearray(plain)
    huge[40:48] = np.array([3, 32767, 32767, 32767], "<i2").tobytes()
    damaged = [b"", b"text", plain[:100], plain[:352], plain[:-1], packed[:-20], packed[:5], spoilt, strange, huge]
    for content in map(bytes, damaged):
        with pytest.raises(SourceError, match="not a whole NIfTI file"):
            parse(content)


def test_two_masks_of_one_scan_are_refused_by_name(tmp_path, grid):
    for name in ("ROI-T1.nii", "ROI-T1.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    source = open_source(tmp_path)
    with pytest.raises(SourceError, match=r"2 masks for one scan \(file ROI-T1\.nii, file ROI-T1\.nii\.gz\)"):
        read_mask(source, source.files(), grid)


def test_a_mask_that_cannot_be_read_tells_no_path(tmp_path, grid):
    (tmp_path / "ROI-T1.nii").write_bytes(b"")
    source = open_source(tmp_path)
    files = source.files()
    (tmp_path / "ROI-T1.nii").unlink()
    with pytest.raises(SourceError, match="cannot be read") as caught:
        read_mask(source, files, grid)
    assert str(tmp_path) not in str(caught.value)


def canonical_lps(path):
    """Tumor voxels (z, y, x), z to the head, y to the back and x to the left, by nibabel alone."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.round(np.asarray(image.dataobj)[::-1, ::-1, :]).transpose(2, 1, 0) > 0, image.affine


@pytest.mark.parametrize("patient", ["001", "002", "003", "004", "005"])
def test_real_masks_lie_where_nibabel_puts_them(real_data, patient):
    source = open_source(real_data / "real_cohort" / "primary_data")
    files = discover(source, SourceConfig()).scans[patient, "T1WI"]
    scan = read_scan(source, files.images)
    mask = read_mask(source, files.masks, scan.grid)
    assert (np.abs(scan.grid.directions) > 0.9).sum() == 3  # near enough to the axes for the canonical orientation
    expected, affine = canonical_lps(f"{source.url}/{files.masks[0].path}")
    assert np.diag(scan.grid.directions).min() > 0.9
    assert_array_equal(mask.mask, expected)
    assert mask.evidence["mask_voxels"] == expected.sum() > 100
    assert mask.evidence["mask_affine_error"] < 0.05
    # and the center of the tumor is at one place in the patient by either reckoning
    center = scan.grid.affine @ [*np.argwhere(mask.mask).mean(axis=0)[::-1], 1]
    ijk = np.argwhere(expected).mean(axis=0)[::-1]
    ras = affine @ [*(np.array(expected.shape[:0:-1]) - 1 - ijk[:2]), ijk[2], 1]
    np.testing.assert_allclose(RAS_TO_LPS @ ras, center, atol=0.05)
